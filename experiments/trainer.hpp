#pragma once
/// From configurations to run folders: training a batch of runs side by side.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/base_policy.hpp"
#include "experiments/progress.hpp"
#include "experiments/run_config.hpp"
#include "io/checkpoint.hpp"
#include "io/run_header.hpp"

namespace motley {

struct RunRequest {
  RunConfig config;
  std::filesystem::path folder;
};

struct TrainOptions {
  ProgressMode progress = ProgressMode::automatic;
  bool overwrite = false;  ///< begin anew whatever the folders hold
};

struct RunOutcome {
  RunStatus status = RunStatus::complete;
  std::string digest;  ///< "" unless complete
  std::int64_t step = 0;
  double seconds = 0;
  double tokens = 0;
};

/// What a folder holds before training.
struct FolderState {
  enum class Kind { empty, resumable, complete } kind = Kind::empty;
  std::int64_t step = 0;  ///< where a resumable run goes on
  std::string warnings;
};
/// \throws Error(input) when run.h5 is there but is no run file
FolderState inspect_folder(const std::filesystem::path& folder);

/// Do two runs fit in one batch: the same shapes everywhere?
bool same_shape(const RunConfig& a, const RunConfig& b);

/// Steps between two logged ones of a schedule all | every:N | none; 0 = none.
int steps_between(const std::string& schedule);

/// Trains runs of one shape as replicas, each into its own folder, from `start` (the same for all;
/// 0 = fresh, or what inspect_folder said). Each file is bit for bit what the run alone would
/// write. Stops early on a signal, a time limit or DIR/stop_now with status interrupted. \throws
/// Error(refused|input|io|numeric)
std::vector<RunOutcome> train_batch(const std::vector<RunRequest>& runs, std::int64_t start,
                                    bool resume, const TrainOptions& options);

/// Header of a run file, without the provenance of this process.
RunHeader make_run_header(const RunConfig& config, const Task& task, int replica,
                          const BasePolicy& base);

/// Policy parameters of a checkpoint, in the order of the arena.
std::vector<float> policy_of_checkpoint(const Checkpoint& checkpoint,
                                        const ParameterLayout& layout);

}  // namespace motley
