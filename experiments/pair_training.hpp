#pragma once
/// Training the pair classifier on labelled pairs of the task.

#include "experiments/base_policy.hpp"

namespace motley {

/// Trains one classifier per run, side by side, on pairs drawn from the task's classifier corpus
/// (groups of texts of one training prompt, all pairs of a group, labels from the ground truth) and
/// measures each on held-out prompts.
/// \param seeds [R] base seeds   \param quality out, one per run
/// \return parameters [R][N]
std::vector<std::vector<float>> train_pair_classifiers(const std::vector<RunConfig>& configs,
                                                       const Task& task,
                                                       const View1<std::uint64_t>& seeds,
                                                       std::vector<PairQuality>& quality,
                                                       const Message& say);

/// Makes the arrays of that training and frees them, for a tally (experiments/memory_plan.hpp).
void allocate_pair_training(const std::vector<RunConfig>& configs, const Task& task);

}  // namespace motley
