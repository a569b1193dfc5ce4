#pragma once
/// Arms side by side over seeds: what `motley compare` computes and how it prints it.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "experiments/statistics.hpp"

namespace motley {

/// Below so many seeds nothing is called established.
inline constexpr std::size_t kEnoughSeeds = 10;
/// Student's t is shown beside the bootstrap below so many.
inline constexpr std::size_t kManySeeds = 30;

/// One finished run, as far as it is compared.
struct CompareRow {
  std::string arm, file;
  std::string task;  ///< the task.* options in which the runs differ; one stratum each
  std::uint64_t seed = 0;
  std::map<std::string, double> value;
  std::map<std::string, double>
      base;           ///< the same metric before the first step, where there is one
  double tokens = 0;  ///< that the run sampled in all its steps
  bool base_passed = true;
  double base_skill = 0;
};

/// The seed of a task: what pairs the runs of two arms.
using Unit = std::pair<std::string, std::uint64_t>;

struct CompareArm {
  std::string name;
  std::map<Unit, const CompareRow*> rows;
};

/// One arm, one metric.
struct ArmFigures {
  std::size_t seeds = 0;
  double mean = 0, iqm = 0, sd = 0;
  Interval interval, iqm_interval, t;  ///< of the mean, of the IQM, of the mean by Student's t
  std::vector<double> values;
};

/// One arm against the baseline, one metric, over the seeds both have.
struct PairFigures {
  std::size_t pairs = 0;
  double difference = 0, sd = 0, p_improvement = 0;
  Interval interval, t;
  double p = 1, p_holm = 1;  ///< sign flips; Holm over the arms of this metric
  double seeds_needed = 0;   ///< to see a difference of this size with power .8
};

struct Comparison {
  std::vector<std::string> metrics;
  std::vector<CompareRow> rows;
  std::vector<CompareArm> arms;
  std::size_t baseline = 0;
  std::size_t tasks = 1;
  int reps = 50000;
  std::uint64_t seed = 0;
  double tokens = 0;  ///< the runs are read where they had sampled so many; 0 = at their end
  std::vector<std::vector<ArmFigures>> arm;    ///< [arm][metric]
  std::vector<std::vector<PairFigures>> pair;  ///< [arm][metric]; the baseline's are empty
};

/// Files named, in a run folder, or one level below a sweep folder; sorted.
/// \throws Error(input)
std::vector<std::string> find_runs(const std::vector<std::string>& words);

struct CompareRequest {
  std::vector<std::string> files;
  std::vector<std::string> metrics;  ///< empty: the default ones, as far as the runs have them
  std::string by = "run.name";
  std::string baseline;  ///< "" = grpo, else the first arm
  int reps = 50000;
  std::uint64_t seed = 0;
  /// Every run is read where it had sampled so many tokens; 0 = at its end, below 0 = the least
  /// total of the runs.
  double tokens = 0;
};
/// Reads the finished runs and computes every figure. `unfinished` counts the others.
/// \throws Error(config|input)
Comparison compare_runs(const CompareRequest& request, std::size_t& unfinished);

/// "pass@16" of eval.pass_at_16.
std::string metric_title(const std::string& metric);
/// The fewest pairs behind a difference to the baseline, per task.
std::size_t fewest_pairs(const Comparison& c);
/// What the intervals support, in words, one line each.
std::string comparison_verdict(const Comparison& c);

/// How tables are written.
enum class TableFormat { text, markdown, latex };
/// The tables; `details` adds one per metric with every figure.
std::string comparison_text(const Comparison& c, TableFormat format, bool details);
/// Keys: arms[] of arm, metric, mean, iqm, low, high, n_seeds, ...; pairs[] of arm, baseline,
/// metric, difference, low, high, p_improvement, ...
std::string comparison_json(const Comparison& c);

}  // namespace motley
