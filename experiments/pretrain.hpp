#pragma once
/// Training of base policies and pair classifiers, many at a time.

#include "experiments/base_policy.hpp"

namespace motley {

/// Trains the bases of these runs (all different) as replicas of one batch.
std::vector<BasePolicy> train_bases(const std::vector<RunConfig>& configs, const Message& say);

/// Makes the arrays of that training and frees them, for a tally (experiments/memory_plan.hpp).
void allocate_pretraining(const std::vector<RunConfig>& configs, const Task& task);

}  // namespace motley
