#pragma once
/// What a report shows, read from run files and reduced; no drawing here.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiments/compare.hpp"
#include "io/run_reader.hpp"
#include "models/tasks/task.hpp"

namespace motley {

/// Arms with a colour of their own; the others are drawn in grey.
inline constexpr std::size_t kDrawnArms = 8;

struct ReportRequest {
  std::vector<std::string> files;
  std::string title;
  std::string by = "run.name", baseline;
};

/// Rollout columns of a run, [S,B,G] but prompt_id [S,B].
struct RolloutColumns {
  std::vector<std::int64_t> step;
  std::size_t B = 0, G = 0;
  std::vector<double> prompt_id, class_id, cluster, cluster_size, quality, advantage;
};

struct ReportRun {
  std::string file, folder, arm, task;  ///< task: the task.* options in which the runs differ
  std::uint64_t seed = 0;
  RunStatus status = RunStatus::running;
  std::int64_t committed = 0, planned = 0;
  std::map<std::string, std::string> config, facts;  ///< facts: root attributes and /provenance
  std::map<std::string, double> numbers;             ///< the numbers of /provenance
  std::map<std::string, std::vector<double>> metric, timing;  ///< [committed]
  std::optional<EvalTable> eval;
  std::string digest, ini;
  bool has_rollouts = false;
};

struct ReportArm {
  std::string name;
  int color = -1;                 ///< of the palette; -1 = grey
  std::vector<std::size_t> runs;  ///< ordered by task and seed
  bool drawn() const { return color >= 0; }
};

struct Report {
  std::string title;
  std::vector<ReportRun> runs;
  std::vector<ReportArm> arms;  ///< the baseline first
  std::optional<Comparison> comparison;
  std::string no_comparison;  ///< why there is none
  std::unique_ptr<Task> task;
  double pass_above = 0;  ///< a logged quality above it is right

  bool single() const { return runs.size() == 1; }
  bool any_rollouts() const;
  std::size_t seeds() const;  ///< the most of any arm
  /// The arm's run of the lead seed: the first seed of the baseline; -1 where it has none.
  int lead_run(const ReportArm& arm) const;
};

/// \throws Error(config|input)
Report load_report(const ReportRequest& request);
RolloutColumns read_rollout_columns(const ReportRun& run);

/// Values of one run along some x, in order of x.
using Track = std::vector<std::pair<double, double>>;
/// A middle and its 95 % interval over the seeds of an arm, at every x.
struct Curve {
  std::vector<double> x, middle, low, high;
  std::vector<std::size_t> n;
};
enum class Middle { mean, iqm };
/// \param tracks one per run of the arm, in its order
Curve curve_over_seeds(const Report& report, const ReportArm& arm, const std::vector<Track>& tracks,
                       Middle middle, Bootstrap& bootstrap);

/// Steps that one point of a curve over steps averages: at most 60 points a run.
std::int64_t bin_width(const Report& report);
/// Means over bins; x is the middle of the bin. NaN values are left out.
Track binned(const std::vector<double>& values, std::int64_t width);
/// A column of /eval against the steps done: the mean over the prompts, or the value at k.
Track eval_track(const ReportRun& run, const std::string& column, int k = 0);
/// Unbiased pass@k of the last evaluation at every power of two and every evaluated k.
Track pass_curve(const ReportRun& run);
/// A column over k of the last evaluation.
Track last_over_k(const ReportRun& run, const std::string& column);
/// The logged column, or an empty one.
const std::vector<double>& metric_of(const ReportRun& run, const std::string& name);

}  // namespace motley
