#pragma once
/// Reads run files: finished, live (while a run writes them) and killed.
///
/// Opening refuses what is no run of format 1.x with one clear line, Error(input). What
/// `committed()` says is read once, at opening; open a live file again for newer rows.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/run_header.hpp"

namespace motley {

/// /eval as columns. Rows are evaluations.
struct EvalTable {
  std::vector<std::int64_t> step;  ///< [E]
  std::vector<int> k;              ///< [K]
  int prompts = 0;                 ///< Q
  /// [E,Q] or [E,K] row-major, by dataset name ("pass_at_k", "num_correct", ...)
  std::map<std::string, std::vector<double>> columns;
};

/// /rollouts and /partition of one step. Optional datasets that the file lacks are empty.
struct RolloutStep {
  int B = 0, G = 0, T = 0;
  std::vector<int> prompt_id;                                ///< [B]
  std::vector<int> token;                                    ///< [B,G,T]
  std::vector<float> log_prob, old_log_prob;                 ///< [B,G,T], NaN after the end
  std::vector<float> kept_mass, entropy;                     ///< [B,G,T], NaN after the end
  std::vector<int> length, finish, used, class_id;           ///< [B,G]
  std::vector<float> quality, diversity, reward, advantage;  ///< [B,G]
  std::vector<int> cluster, cluster_size;                    ///< [B,G]
  std::vector<int> num_clusters;                             ///< [B]
  std::vector<float> pair_score;                             ///< [B,G,G]
};

class RunReader {
 public:
  /// \throws Error(input) for a missing, foreign, cut or newer-major file
  explicit RunReader(const std::filesystem::path& path);
  ~RunReader();
  RunReader(RunReader&&) noexcept;
  RunReader& operator=(RunReader&&) noexcept;

  RunStatus status() const;
  std::int64_t committed() const;      ///< steps complete in all groups, at opening
  std::int64_t steps_planned() const;  ///< of the header
  std::string ini() const;             ///< configuration text that reproduces the run
  std::vector<Attribute> config() const;
  std::vector<Attribute> provenance() const;
  std::vector<Attribute> root() const;  ///< title, run_name, seed, versions, ...
  std::vector<std::string> vocab() const;
  PromptColumns prompts() const;
  std::vector<std::int64_t> resumes() const;

  /// Names of /metrics (or /timing), without `step`, in name order.
  std::vector<std::string> columns(const std::string& group = "/metrics") const;
  /// One column up to `committed()`; with `live`, all rows that are there already.
  /// \throws Error(input) naming the nearest when there is no such column
  std::vector<double> column(const std::string& name, const std::string& group = "/metrics",
                             bool live = false) const;

  bool has(const std::string& path) const;
  /// Extents of a dataset, the rows that lie in the file first. \throws Error(input)
  std::vector<std::int64_t> extents(const std::string& dataset) const;
  /// Elements of rows [first, first + count) of a dataset of numbers, row-major.
  std::vector<double> numbers(const std::string& dataset, std::int64_t first,
                              std::int64_t count) const;
  /// Element type of a dataset, as docs/schema.md spells it: "i8", "f4", "text", ...
  std::string type(const std::string& dataset) const;
  /// A text attribute of a dataset; "" when it has none.
  std::string attribute(const std::string& dataset, const std::string& name) const;

  bool has_eval() const;
  EvalTable eval() const;  ///< \throws Error(input) when the file has none

  /// Steps of /rollouts up to `committed()`; empty when none are logged.
  std::vector<std::int64_t> rollout_steps() const;
  /// Steps of /diagnostics up to `committed()`; empty when none are logged.
  std::vector<std::int64_t> diagnostic_steps() const;
  /// \throws Error(input) when that step is not in the file
  RolloutStep rollouts(std::int64_t step) const;
  /// A dataset of /rollouts or /partition over all `rollout_steps()`, row-major.
  /// \throws Error(input) when it is missing
  std::vector<double> rollout_column(const std::string& path) const;

  /// HDF5 id of the open file, for other functions of io.
  std::int64_t file() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace motley
