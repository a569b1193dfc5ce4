#include "experiments/evaluate.hpp"

#include <algorithm>
#include <map>

#include "core/base/error.hpp"
#include "core/metrics.hpp"

namespace motley {

void load_held_out_prompts(const Exec& exec, const PromptTable& table,
                           const RolloutBuffer& buffer) {
  const View3<int> token = table.token;
  const View2<int> length = table.length;
  const View3<int> prompt = buffer.prompt;
  const View2<int> prompt_length = buffer.prompt_length;
  const View2<int> prompt_id = buffer.prompt_id;
  const int first = table.num_train;
  const int Q = buffer.shape.B;
  const int P = buffer.shape.P;
  Kokkos::parallel_for(
      "motley::evaluate::load_prompts", Kokkos::RangePolicy<Exec>(exec, 0, buffer.shape.R * Q),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / Q;
        const int q = job % Q;
        prompt_id(r, q) = first + q;
        prompt_length(r, q) = length(r, first + q);
        for (int p = 0; p < P; ++p) prompt(r, q, p) = token(r, first + q, p);
      });
}

namespace {

/// Only what an evaluation needs; the fields of later stages stay empty.
RolloutBuffer evaluation_buffer(const Shape& s) {
  RolloutBuffer b;
  b.shape = s;
  b.prompt = View3<int>("motley::evaluate::prompt", s.R, s.B, s.P);
  b.prompt_length = View2<int>("motley::evaluate::prompt_length", s.R, s.B);
  b.prompt_id = View2<int>("motley::evaluate::prompt_id", s.R, s.B);
  b.token = View4<int>("motley::evaluate::token", s.R, s.B, s.G, s.T);
  b.length = View3<int>("motley::evaluate::length", s.R, s.B, s.G);
  b.finish = View3<int>("motley::evaluate::finish", s.R, s.B, s.G);
  b.sampler_log_prob = View4<float>("motley::evaluate::log_prob", s.R, s.B, s.G, s.T);
  b.entropy = View4<float>("motley::evaluate::entropy", s.R, s.B, s.G, s.T);
  b.kept_mass = View4<float>("motley::evaluate::kept_mass", s.R, s.B, s.G, s.T);
  b.quality = View3<float>("motley::evaluate::quality", s.R, s.B, s.G);
  b.class_id = View3<int>("motley::evaluate::class_id", s.R, s.B, s.G);
  return b;
}

}  // namespace

Evaluator::Evaluator(const std::vector<RunConfig>& configs, const Task& task, const Net& net, int T)
    : task_(task), net_(net), k_(configs.front().eval.k) {
  const int R = static_cast<int>(configs.size());
  const Shape shape{
      R, task.prompts().num_eval, configs.front().eval.samples, task.max_prompt(), T, net.vocab};
  samples_ = evaluation_buffer(shape);
  workspace_ = make_rollout_workspace<float>(net, R, shape.B, shape.G, shape.P, shape.T);
  sampling_ = View1<SamplingParams>("motley::evaluate::sampling", R);
  seeds_ = View1<std::uint64_t>("motley::evaluate::seed", R);
  status_ = View1<StatusWord>("motley::evaluate::status", R);
  const auto sampling = Kokkos::create_mirror(sampling_);
  const auto seeds = Kokkos::create_mirror(seeds_);
  for (int r = 0; r < R; ++r) {
    const RunConfig& c = configs[static_cast<std::size_t>(r)];
    sampling(r) = SamplingParams{};
    sampling(r).temperature = c.eval.temperature;
    seeds(r) = c.run.seed;
  }
  Kokkos::deep_copy(sampling_, sampling);
  Kokkos::deep_copy(seeds_, seeds);
  class_id_ = HostView3<int>("motley::evaluate::host_class", R, shape.B, shape.G);
  length_ = HostView3<int>("motley::evaluate::host_length", R, shape.B, shape.G);
  finish_ = HostView3<int>("motley::evaluate::host_finish", R, shape.B, shape.G);
  quality_ = HostView3<float>("motley::evaluate::host_quality", R, shape.B, shape.G);
}

std::vector<EvalRecord> Evaluator::evaluate(const Exec& exec, const Weights<float>& weights,
                                            std::int64_t step) {
  RolloutBuffer& x = samples_;
  load_held_out_prompts(exec, task_.prompts(), x);
  Kokkos::deep_copy(exec, status_, kStatusClear);
  rollout<float>(exec, net_, weights, workspace_,
                 {sampling_, seeds_, Stream::eval, static_cast<std::uint32_t>(step)}, x.prompt,
                 x.prompt_length, ConstView2<int>(), rollout_output(x), status_);
  task_.score(exec, x.prompt_id, x.token, x.length, x.finish, x.quality, x.class_id);
  Kokkos::deep_copy(exec, class_id_, x.class_id);
  Kokkos::deep_copy(exec, length_, x.length);
  Kokkos::deep_copy(exec, finish_, x.finish);
  Kokkos::deep_copy(exec, quality_, x.quality);
  const auto status = Kokkos::create_mirror(status_);
  Kokkos::deep_copy(exec, status, status_);
  exec.fence("motley::evaluate");
  std::vector<EvalRecord> records;
  for (int r = 0; r < x.shape.R; ++r) {
    MOTLEY_REQUIRE(status(r) == kStatusClear, ErrorKind::numeric, "evaluation at step ", step,
                   ", replica ", r, ": a number is not finite in ", describe_status(status(r)));
    records.push_back(summarise(r, step));
  }
  return records;
}

EvalRecord Evaluator::summarise(int r, std::int64_t step) const {
  const int Q = samples_.shape.B;
  const int M = samples_.shape.G;
  EvalRecord e;
  e.step = step;
  e.pass_at_k.assign(k_.size(), 0.0);
  e.distinct_at_k.assign(k_.size(), 0.0);
  e.coverage_at_k.assign(k_.size(), 0.0);
  for (int q = 0; q < Q; ++q) {
    // Members per class, split by correctness: a class is one meaning, so it is either.
    std::map<int, int> right, wrong;
    int correct = 0, truncated = 0;
    double tokens = 0, quality = 0;
    for (int m = 0; m < M; ++m) {
      const bool good = double(quality_(r, q, m)) > task_.pass_above();
      ++(good ? right : wrong)[class_id_(r, q, m)];
      correct += good ? 1 : 0;
      truncated += finish_(r, q, m) == static_cast<int>(Finish::length) ? 1 : 0;
      tokens += length_(r, q, m);
      quality += double(quality_(r, q, m));
    }
    std::vector<int> all, covered;
    for (const auto& [id, count] : right) {
      all.push_back(count);
      covered.push_back(count);
    }
    for (const auto& [id, count] : wrong) all.push_back(count);
    e.num_samples.push_back(M);
    e.num_correct.push_back(correct);
    e.num_distinct.push_back(static_cast<int>(right.size() + wrong.size()));
    e.num_distinct_correct.push_back(static_cast<int>(right.size()));
    e.num_distinct_wrong.push_back(static_cast<int>(wrong.size()));
    e.quality.push_back(static_cast<float>(quality / M));
    e.class_entropy.push_back(static_cast<float>(class_entropy(all)));
    e.length.push_back(static_cast<float>(tokens / M));
    e.truncated_frac.push_back(static_cast<float>(double(truncated) / M));
    for (std::size_t i = 0; i < k_.size(); ++i) {
      e.pass_at_k[i] += pass_at_k(M, correct, k_[i]) / Q;
      e.distinct_at_k[i] += distinct_at_k(all, M, k_[i]) / Q;
      e.coverage_at_k[i] += distinct_at_k(covered, M, k_[i]) / Q;
    }
  }
  return e;
}

}  // namespace motley
