#pragma once
/// Training of base policies and pair classifiers, many at a time.

#include "experiments/base_policy.hpp"

namespace motley {

/// Trains the bases of these runs (all different) as replicas of one batch.
std::vector<BasePolicy> train_bases(const std::vector<RunConfig>& configs, const Message& say);

}  // namespace motley
