#pragma once
/// The costly diagnostics of a step (log.diagnostics): gradients of parts of the batch, and how the
/// update moved the entropy. They read the step's state and change none of it.

#include <memory>
#include <vector>

#include "core/record.hpp"
#include "experiments/run_config.hpp"
#include "models/entropy_shift.hpp"

namespace motley {

struct TrainingState;

/// Their own memory, made once.
struct Diagnostics {
  std::vector<int> every;      // [R] steps between two measurements; 0 = none
  View1<LossParams> loss;      // [R] the policy term alone: no divergence, no entropy bonus
  View3<float> share;          // [R,B,G] token weights of the whole batch
  View3<float> weight;         // [R,B,G] of the part at hand
  View2<float> first, second;  // [R,N] gradients of the two parts
  View2<double> update_sums;   // [R,kUpdateSums]
  View1<double> ratio_max;     // [R]
  View2<double> partial;       // [R,chunks of N]
  View1<double> total;         // [R]
  Weights<float> before;       // the policy before the update
  EntropyShiftWorkspace<float> shift;
  View2<double> entropy_sums;  // [R,kEntropySums]
  HostView2<double> values;    // [R,kDiagnostics]

  bool due(std::int64_t step) const;
};

/// Null where no replica asks for any.
std::shared_ptr<Diagnostics> make_diagnostics(const std::vector<RunConfig>& configs,
                                              const TrainingState& state);

/// Before the update: gradients of the completions with advantage above and below 0, of the largest
/// cluster of every group and of the others, and of the two halves of the prompts; keeps the
/// policy. Where the loss reads statistics over a minibatch, they are of the whole batch.
void gradient_diagnostics(const Exec& exec, const TrainingState& state, std::uint32_t step,
                          Diagnostics& diagnostics);

/// After the update: entropy change, mode log odds; writes record.diagnostics.
void entropy_diagnostics(const Exec& exec, const TrainingState& state, Diagnostics& diagnostics,
                         StepRecord& record);

/// Mean over groups of ln((n + 1/2) / (G - n + 1/2)), n the members of the group's most frequent
/// ground-truth class; NaN where a completion's class is unknown.
/// \param class_id [R,B,G]
double mode_log_odds(const HostView3<int>& class_id, int replica);

}  // namespace motley
