#include "experiments/bench.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "core/base/error.hpp"
#include "experiments/memory_limit.hpp"
#include "experiments/options.hpp"
#include "experiments/trainer.hpp"
#include "io/log_writer.hpp"

namespace motley {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmUpSteps = 3;

double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto i = static_cast<std::size_t>(at);
  const double next = values[std::min(i + 1, values.size() - 1)];
  return values[i] + (at - std::floor(at)) * (next - values[i]);
}

Spread spread_of(const std::vector<double>& values) {
  return {quantile(values, 0.1), quantile(values, 0.5), quantile(values, 0.9)};
}

/// Mean seconds per step of every block, stage by stage: what happens every so many steps counts
/// with its share.
struct Samples {
  std::vector<double> step, rollout, score, partition, update, log;

  /// \param sums  of the block's stages   \param seconds  of the whole block
  void add(const StepTiming& sums, double seconds, int steps) {
    const double stages = sums.rollout_s + sums.score_s + sums.partition_s + sums.update_s;
    step.push_back(seconds / steps);
    rollout.push_back(sums.rollout_s / steps);
    score.push_back(sums.score_s / steps);
    partition.push_back(sums.partition_s / steps);
    update.push_back(sums.update_s / steps);
    log.push_back(std::max(0.0, seconds - stages) / steps);
  }
};

/// Takes steps of a batch, with a log and without.
class Machine {
 public:
  Machine(const BenchCase& bench, const std::filesystem::path& folder)
      : folder_(folder), batch_(make_bench_batch(exec_, bench)) {
    records_ = {StepRecord(state().shape), StepRecord(state().shape)};
  }

  TrainingState& state() { return batch_.state; }

  /// Runs `steps` steps that are written to run files, the writer's last row included.
  void logged(int steps, Samples& samples) {
    open();
    const Clock::time_point begin = Clock::now();
    StepTiming sums;
    {
      std::vector<RunFile*> files;
      for (RunFile& file : files_) files.push_back(&file);
      LogWriter writer(files, records_);
      for (int i = 0; i < steps; ++i) {
        StepRecord& record = writer.acquire();
        training_step(exec_, state(), static_cast<std::uint32_t>(step_++), record);
        record.step = i;
        sums.rollout_s += record.timing.rollout_s;
        sums.score_s += record.timing.score_s;
        sums.partition_s += record.timing.partition_s;
        sums.update_s += record.timing.update_s;
        calls_.push_back(total(record, Metric::num_classifier_calls));
        require_whole(total(record, Metric::tokens_total));
        writer.submit();
      }
      writer.drain();
    }
    samples.add(sums, seconds_since(begin), steps);
    close(steps);
  }

  double unlogged(int steps) {
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < steps; ++i)
      training_step(exec_, state(), static_cast<std::uint32_t>(step_++), records_[0]);
    return seconds_since(begin);
  }

  double calls_per_step() const { return quantile(calls_, 0.5); }
  double log_bytes_per_step() const { return bytes_; }

 private:
  /// Of a metric, over all replicas.
  static double total(const StepRecord& record, Metric metric) {
    double sum = 0;
    for (std::size_t r = 0; r < record.metrics.extent(0); ++r)
      sum += record.metrics(r, static_cast<int>(metric));
    return sum;
  }

  /// The work is only what is counted while no completion ends early.
  void require_whole(double tokens) {
    const Shape& s = state().shape;
    const double want = double(s.R) * s.B * s.G * s.T;
    MOTLEY_REQUIRE(tokens == want, ErrorKind::internal, "bench: a step sampled ", tokens,
                   " tokens, expected ", want);
  }

  std::filesystem::path file_of(std::size_t r) const {
    return folder_ / concat("bench-", r, ".h5");
  }

  void open() {
    for (std::size_t r = 0; r < batch_.configs.size(); ++r)
      files_.push_back(RunFile::create(
          file_of(r),
          make_run_header(batch_.configs[r], *batch_.task, static_cast<int>(r), BasePolicy{})));
    empty_ = size_of_files();
  }

  void close(int steps) {
    for (RunFile& file : files_) file.close(RunStatus::complete);
    bytes_ = (size_of_files() - empty_) / steps;
    files_.clear();
    for (std::size_t r = 0; r < batch_.configs.size(); ++r) std::filesystem::remove(file_of(r));
  }

  double size_of_files() const {
    double bytes = 0;
    for (std::size_t r = 0; r < batch_.configs.size(); ++r)
      bytes += static_cast<double>(std::filesystem::file_size(file_of(r)));
    return bytes;
  }

  std::filesystem::path folder_;
  Exec exec_;
  BenchBatch batch_;
  std::array<StepRecord, 2> records_;
  std::vector<RunFile> files_;
  std::vector<double> calls_;
  std::int64_t step_ = 0;
  double empty_ = 0, bytes_ = 0;
};

/// A case as an ini text: shapes for the program, and the keys a user would write.
struct NamedCase {
  const char* name;
  int vocab, prompt_tokens;
  const char* ini;
};
constexpr NamedCase kCases[] = {
    {"S", 32, 12,
     "[model]\nlayers = 2\nwidth = 64\nheads = 4\nkv_heads = 4\nff = 192\n"
     "[rollout]\nprompts = 32\ngroup_size = 8\nmax_tokens = 20\n"},
    {"M", 64, 16,
     "[model]\nlayers = 4\nwidth = 128\nheads = 4\nkv_heads = 4\nff = 384\n"
     "[rollout]\nprompts = 32\ngroup_size = 16\nmax_tokens = 32\n"},
    {"L", 256, 32,
     "[model]\nlayers = 6\nwidth = 256\nheads = 8\nkv_heads = 8\nff = 768\n"
     "[rollout]\nprompts = 16\ngroup_size = 16\nmax_tokens = 64\n"},
};

}  // namespace

BenchCase bench_case(const std::string& name) {
  std::vector<std::string> names;
  for (const NamedCase& c : kCases) {
    names.emplace_back(c.name);
    if (name != c.name) continue;
    BenchCase out{name, c.vocab, c.prompt_tokens, 1, {}};
    out.config = config_from_ini(c.ini, concat("case ", name));
    return out;
  }
  throw Error(ErrorKind::config, concat("--case: no such case, got \"", name,
                                        "\"; allowed: ", join(names), did_you_mean(name, names)));
}

BenchBatch make_bench_batch(const Exec& exec, const BenchCase& bench) {
  BenchBatch batch;
  std::vector<std::uint64_t> seeds;
  for (int r = 0; r < bench.replicas; ++r) {
    RunConfig c = bench.config;
    c.run.seed += static_cast<std::uint64_t>(r);
    c.rollout.sampling.ignore_eos = true;
    batch.configs.push_back(c);
    seeds.push_back(c.run.seed);
  }
  batch.task = std::make_unique<FixedLengthTask>(bench.vocab, bench.prompt_tokens,
                                                 bench.config.rollout.max_tokens, seeds);
  batch.state = make_training_state(batch.configs, *batch.task);
  const TrainingState& state = batch.state;
  const ConstView1<std::uint64_t> keys(state.replicas.seed);
  const auto draw = [&](const Weights<float>& w, const NetLayout& layout) {
    init_weights(exec, layout, keys, static_cast<std::uint32_t>(Stream::init), w.params);
    pack_weights(exec, layout.net, w);
  };
  draw(state.weights, state.policy);
  if (state.any_reference) draw(state.reference, state.policy);
  if (state.any_classifier)
    init_pair_weights(exec, state.classifier, keys, state.classifier_weights);
  exec.fence("motley::bench::make_bench_batch");
  return batch;
}

BenchResult run_bench(const BenchCase& bench, const BenchOptions& options) {
  Machine machine(bench, options.folder);
  const double warm = machine.unlogged(kWarmUpSteps);
  const double step = std::min(warm / kWarmUpSteps, machine.unlogged(1));
  const int steps = std::clamp(static_cast<int>(options.block_seconds / step), 2, 10000);

  Samples samples;
  std::vector<double> unlogged;
  for (int block = 0; block < options.blocks; ++block) {
    machine.logged(steps, samples);
    unlogged.push_back(machine.unlogged(steps) / steps);
  }
  const TrainingState& state = machine.state();
  BenchResult out;
  out.threads = HostExec().concurrency();
  out.steps = options.blocks * steps;
  out.step = spread_of(samples.step);
  out.rollout = spread_of(samples.rollout);
  out.score = spread_of(samples.score);
  out.partition = spread_of(samples.partition);
  out.update = spread_of(samples.update);
  out.log = spread_of(samples.log);
  out.unlogged_step_s = quantile(unlogged, 0.5);
  out.counts = count_step(state.policy.net, state.shape, state.policy_workspace.tiling,
                          bench.config.update.epochs,
                          state.any_classifier ? &state.classifier.net : nullptr);
  out.calls = machine.calls_per_step();
  out.log_bytes = machine.log_bytes_per_step();
  out.gemm_peak = measure_gemm_peak(Exec());
  out.peak_memory = peak_memory();
  return out;
}

}  // namespace motley
