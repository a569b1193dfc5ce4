#pragma once
/// Time and arithmetic of whole training steps on made-up work of fixed size (motley bench).
///
/// The policy is random, every completion has exactly T tokens (its end token does not end it) and
/// half of each group passes, so that a step is the same amount of work on every machine and in
/// every program it is compared with.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/types.hpp"
#include "experiments/bench_counts.hpp"
#include "experiments/bench_task.hpp"
#include "experiments/training_step.hpp"

namespace motley {

/// What is run. V and P are the made-up task's, everything else stands in `config`.
struct BenchCase {
  std::string name;
  int vocab = 32;          ///< V
  int prompt_tokens = 12;  ///< P
  int replicas = 1;        ///< R, seeds run.seed, run.seed + 1, ...
  RunConfig config;
};

struct BenchOptions {
  int blocks = 9;                ///< blocks of logged steps, each followed by one without a log
  double block_seconds = 0.3;    ///< a block takes about so long, and holds at least two steps
  std::filesystem::path folder;  ///< for the run files, which are removed at the end
};

/// Seconds per step, over blocks of steps.
struct Spread {
  double low = 0, median = 0, high = 0;  ///< 10 %, 50 %, 90 %
};

struct BenchResult {
  int threads = 0;
  int steps = 0;  ///< logged ones that were timed
  Spread step;    ///< a logged step of all replicas
  Spread rollout, score, partition, update, log;
  double unlogged_step_s = 0;   ///< median over blocks without a log
  StepCounts counts;            ///< per step, all replicas
  double calls = 0;             ///< verdicts asked of the classifier, per step
  double log_bytes = 0;         ///< of the run files, per step
  double gemm_peak = 0;         ///< operations per second of the best product of this run
  std::size_t peak_memory = 0;  ///< bytes resident at most
};

/// The runs of a case with a random policy (and classifier), ready for their first step.
struct BenchBatch {
  std::vector<RunConfig> configs;  ///< [R]
  std::unique_ptr<FixedLengthTask> task;
  TrainingState state;
};
BenchBatch make_bench_batch(const Exec& exec, const BenchCase& bench);

/// Case S, M or L of docs/performance.md. \throws Error(config) for another name
BenchCase bench_case(const std::string& name);

/// Warms up, then alternates blocks of logged and unlogged steps. \throws Error(config|refused|io)
BenchResult run_bench(const BenchCase& bench, const BenchOptions& options);

/// Operations per second of the best matrix product over the shapes of a tile, all threads at once,
/// each on operands of its own: what the kernels of a step could reach at most.
double measure_gemm_peak(const Exec& exec);

}  // namespace motley
