#pragma once
/// Training the reward model on preference pairs of a task's judge.

#include "experiments/base_policy.hpp"

namespace motley {

/// Trains one reward model per run, side by side, on reward_model.pairs noisy preferences of
/// training prompts, and fills the reports' reward_* members: accuracy on held-out pairs (the
/// judge's own order, pairs it holds equal left out), correlation with the judge's utility over
/// uniform texts of held-out prompts, mean and deviation of the training texts' scores.
/// \param seeds [R] base seeds   \return parameters [R][N]
std::vector<std::vector<float>> train_reward_models(const std::vector<RunConfig>& configs,
                                                    const Task& task,
                                                    const View1<std::uint64_t>& seeds,
                                                    std::vector<BaseReport>& reports,
                                                    const Message& say);

/// Makes the arrays of that training and frees them, for a tally (experiments/memory_plan.hpp).
void allocate_reward_training(const std::vector<RunConfig>& configs, const Task& task);

}  // namespace motley
