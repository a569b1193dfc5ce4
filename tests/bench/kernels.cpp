/// Google Benchmark of every kernel of a step, at the shapes of motley bench, and of the product
/// they rest on beside Eigen's.
///
///     bench_kernels [--benchmark_filter=policy_gradient/M]

#include <benchmark/benchmark.h>

#include <Eigen/Dense>

#include "core/base/gemm.hpp"
#include "core/base/gemm_bf16.hpp"
#include "experiments/bench.hpp"
#include "experiments/step_stages.hpp"

namespace {

using namespace motley;

/// A batch after one whole step, so that every stage finds what it reads.
struct Batch {
  Exec exec;
  BenchBatch batch;
  StepRecord record;
  explicit Batch(const std::string& name)
      : batch(make_bench_batch(exec, bench_case(name))), record(batch.state.shape) {
    training_step(exec, batch.state, 0, record);
  }
};

template <class Stage>
void run_stage(benchmark::State& state, const char* name, const Stage& stage) {
  Batch b(name);
  for (auto _ : state) {
    stage(b.exec, b.batch.state, b.record);
    b.exec.fence();
  }
  const Shape& s = b.batch.state.shape;
  state.SetItemsProcessed(state.iterations() * s.R * s.B * s.G * s.T);
}

template <class Stage>
void add_stage(const char* name, const Stage& stage) {
  for (const char* shape : {"S", "M", "L"})
    benchmark::RegisterBenchmark((std::string(name) + "/" + shape).c_str(),
                                 [=](benchmark::State& state) { run_stage(state, shape, stage); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
}

void register_stages() {
  using State = TrainingState;
  constexpr std::uint32_t kStep = 1;
  add_stage("sample_prompts", [](const Exec& e, State& s, StepRecord&) {
    stage_sample_prompts(e, s, Generation{kStep});
  });
  add_stage("rollout",
            [](const Exec& e, State& s, StepRecord&) { stage_rollout(e, s, Generation{kStep}); });
  add_stage("score_tokens", [](const Exec& e, State& s, StepRecord&) {
    stage_score_tokens(e, s, Generation{kStep});
  });
  add_stage("score", [](const Exec& e, State& s, StepRecord&) { stage_score(e, s, kStep); });
  add_stage("pair_scores",
            [](const Exec& e, State& s, StepRecord&) { stage_pair_scores(e, s, kStep); });
  add_stage("partition",
            [](const Exec& e, State& s, StepRecord&) { stage_partition(e, s, kStep); });
  add_stage("shape_reward",
            [](const Exec& e, State& s, StepRecord&) { stage_shape_reward(e, s, kStep); });
  add_stage("group_advantage",
            [](const Exec& e, State& s, StepRecord&) { stage_group_advantage(e, s, kStep); });
  add_stage("policy_gradient", [](const Exec& e, State& s, StepRecord&) {
    stage_policy_gradient(e, s, kStep, 0, minibatch_of(s, 0));
  });
  add_stage("adamw_step", [](const Exec& e, State& s, StepRecord&) { stage_adamw_step(e, s); });
  add_stage("collect",
            [](const Exec& e, State& s, StepRecord& r) { stage_collect(e, s, kStep, r); });
}

/// The gradient as a program would add it up that promises nothing: one partial sum per thread,
/// where policy_gradient has as many as the shape says, so that threads do not change the bits.
void gradient_per_thread(benchmark::State& state, const char* name) {
  Batch b(name);
  PolicyWorkspace<float>& w = b.batch.state.policy_workspace;
  const int threads = b.exec.concurrency();
  const auto R = w.partial.extent(0), N = w.partial.extent(2);
  w.tiling.chunks = threads;
  w.partial = View3<float>("motley::bench::partial", R, threads, N);
  w.sums = View3<double>("motley::bench::sums", R, threads, w.sums.extent(2));
  w.ratio_max = View2<double>("motley::bench::ratio_max", R, threads);
  for (auto _ : state) {
    stage_policy_gradient(b.exec, b.batch.state, 1, 0, minibatch_of(b.batch.state, 0));
    b.exec.fence();
  }
}

void register_cost_of_order() {
  for (const char* shape : {"S", "M", "L"})
    benchmark::RegisterBenchmark(
        (std::string("policy_gradient_per_thread/") + shape).c_str(),
        [=](benchmark::State& state) { gradient_per_thread(state, shape); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
}

/// M x N x K; C += A^T B where `transposed` (a weight gradient), else C = A B.
template <class Product>
void run_product(benchmark::State& state, const Product& product) {
  const int M = static_cast<int>(state.range(0));
  const int N = static_cast<int>(state.range(1));
  const int K = static_cast<int>(state.range(2));
  std::vector<float> a(static_cast<std::size_t>(M) * K, 0.5f);
  std::vector<float> b(static_cast<std::size_t>(K) * N, 0.25f);
  std::vector<float> c(static_cast<std::size_t>(M) * N);
  for (auto _ : state) {
    product(M, N, K, a.data(), b.data(), c.data());
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * M * N * K * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate, benchmark::Counter::OneK::kIs1000);
}

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void own_product(benchmark::State& state) {
  run_product(state, [](int M, int N, int K, const float* a, const float* b, float* c) {
    host_gemm(M, N, K, a, K, 1, b, N, c, N, false);
  });
}
void eigen_product(benchmark::State& state) {
  run_product(state, [](int M, int N, int K, const float* a, const float* b, float* c) {
    Eigen::Map<RowMajor>(c, M, N).noalias() =
        Eigen::Map<const RowMajor>(a, M, K) * Eigen::Map<const RowMajor>(b, K, N);
  });
}
void own_gradient(benchmark::State& state) {
  run_product(state, [](int M, int N, int K, const float* a, const float* b, float* c) {
    host_gemm(M, N, K, a, 1, M, b, N, c, N, true);
  });
}
void bf16_product(benchmark::State& state) {
  const int N = static_cast<int>(state.range(1)), K = static_cast<int>(state.range(2));
  std::vector<std::uint32_t> image(static_cast<std::size_t>((K + 1) / 2) * N, 0x3e803e80u);
  run_product(state, [&](int M, int, int, const float* a, const float*, float* c) {
    host_gemm_bf16(M, N, K, a, K, 1, image.data(), N, c, N, false);
  });
}
void bf16_gradient(benchmark::State& state) {
  run_product(state, [](int M, int N, int K, const float* a, const float* b, float* c) {
    host_gemm_bf16(M, N, K, a, 1, M, b, N, c, N, true);
  });
}
void eigen_gradient(benchmark::State& state) {
  run_product(state, [](int M, int N, int K, const float* a, const float* b, float* c) {
    Eigen::Map<RowMajor>(c, M, N).noalias() +=
        Eigen::Map<const RowMajor>(a, K, M).transpose() * Eigen::Map<const RowMajor>(b, K, N);
  });
}

/// Rows, columns and depth of the products of cases S, M and L.
void forward_shapes(benchmark::internal::Benchmark* b) {
  for (const auto& shape : {std::array{48, 192, 64},
                            {192, 192, 64},
                            {192, 64, 192},
                            {48, 384, 128},
                            {192, 768, 128},
                            {192, 128, 384},
                            {192, 1536, 256},
                            {192, 256, 768}})
    b->Args({shape[0], shape[1], shape[2]});
}
void gradient_shapes(benchmark::internal::Benchmark* b) {
  for (const auto& shape : {std::array{64, 64, 192},
                            {192, 64, 192},
                            {128, 128, 192},
                            {384, 128, 192},
                            {128, 384, 192},
                            {768, 256, 192},
                            {256, 768, 192}})
    b->Args({shape[0], shape[1], shape[2]});
}
BENCHMARK(own_product)->Apply(forward_shapes);
BENCHMARK(bf16_product)->Apply(forward_shapes);
BENCHMARK(eigen_product)->Apply(forward_shapes);
BENCHMARK(own_gradient)->Apply(gradient_shapes);
BENCHMARK(bf16_gradient)->Apply(gradient_shapes);
BENCHMARK(eigen_gradient)->Apply(gradient_shapes);

}  // namespace

int main(int argc, char** argv) {
  Kokkos::ScopeGuard kokkos(argc, argv);
  Eigen::setNbThreads(1);  // as the own product
  register_stages();
  register_cost_of_order();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
