#pragma once
/// What a step leaves for the next, between a TrainingState and checkpoints: weights, moments, a
/// reference that moves, the carried numbers. Training, resuming and replaying go through here.

#include <filesystem>
#include <memory>
#include <vector>

#include "experiments/base_policy.hpp"
#include "experiments/training_step.hpp"
#include "io/checkpoint.hpp"

namespace motley {

/// A checkpoint and where it was found, for messages.
struct StartPoint {
  std::filesystem::path file;
  Checkpoint checkpoint;
};

/// Fills the weights of a batch: of replica r from bases[r], then from starts[r] unless it is null.
/// \throws Error(input) naming the file and the tensor that does not fit, or a checkpoint written
/// by another configuration
void load_state(const Exec& exec, const std::vector<RunConfig>& configs,
                const std::vector<BasePolicy>& bases, const std::vector<const StartPoint*>& starts,
                TrainingState& state);

/// A host copy of a batch's state, from which each replica's checkpoint is made in turn: one at a
/// time is in memory.
class SavedState {
 public:
  explicit SavedState(const TrainingState& state);
  ~SavedState();
  /// Complete but for what the run itself adds: tokens_total, run.rows.
  Checkpoint checkpoint(const RunConfig& config, std::size_t r, std::int64_t step) const;

 private:
  struct Host;
  const TrainingState& state_;
  std::unique_ptr<Host> host_;
};

}  // namespace motley
