#pragma once
/// The stages of `training_step`, each the calls that make it on the arrays of a TrainingState.
/// None allocates or prints; only `draw_again` waits for the device, and only where a replica
/// filters its groups. Some end by `inject`, which does nothing unless a test asks for a fault.

#include "experiments/training_step.hpp"

namespace motley {

/// One generation batch of a step: attempt 0 draws every group, later ones the groups that dynamic
/// sampling has refused.
struct Generation {
  std::uint32_t step = 0;
  int attempt = 0;
};

/// Clears the status words and sets what depends on the step alone: the temperature of replicas
/// that schedule it.
void begin_step(const Exec& exec, TrainingState& state, std::uint32_t step);

void stage_sample_prompts(const Exec& exec, TrainingState& state, const Generation& generation);
void stage_rollout(const Exec& exec, TrainingState& state, const Generation& generation);
/// The trainer's log-probabilities of the new completions: computed, or where nothing parts them
/// taken over from the sampler (kAgreementSteps).
void stage_score_tokens(const Exec& exec, TrainingState& state, const Generation& generation);
/// Quality and classes: `quality_true` by the task, `quality` the same or, where the task is not
/// verifiable, by the reward model.
void stage_score(const Exec& exec, TrainingState& state, std::uint32_t step);
void stage_pair_scores(const Exec& exec, TrainingState& state, std::uint32_t step);
void stage_partition(const Exec& exec, TrainingState& state, std::uint32_t step);
void stage_shape_reward(const Exec& exec, TrainingState& state, std::uint32_t step);
/// Every number so far is finite, and sampler and trainer agree to the bit.
void stage_check_rollout(const Exec& exec, TrainingState& state);
/// Dynamic sampling: judges the groups; true where some are to be drawn again, with the next
/// attempt in `generation`. The stages from `stage_sample_prompts` to here are pure: run again on
/// the same completions they give the same bits.
bool draw_again(const Exec& exec, TrainingState& state, Generation& generation);

/// The reference's log-probabilities, and the weights that correct a mismatch of the sampler.
void stage_score_reference(const Exec& exec, TrainingState& state, std::uint32_t step);
/// From shaped rewards to advantages, once per step: remembers the prompts' classes, marks what the
/// loss uses, adds the terms that are no shaping.
void stage_group_advantage(const Exec& exec, TrainingState& state, std::uint32_t step);
/// Metrics of the rollouts and the entropy coefficient that follows from them.
void stage_entropy_control(const Exec& exec, TrainingState& state);

/// Prompts of update `pass`.
Minibatch minibatch_of(const TrainingState& state, int pass);
/// What a loss needs to know of the whole minibatch before a token's gradient.
void stage_token_plan(const Exec& exec, TrainingState& state, std::uint32_t step, int pass,
                      const Minibatch& minibatch);
void stage_policy_gradient(const Exec& exec, TrainingState& state, std::uint32_t step, int pass,
                           const Minibatch& minibatch);
void stage_adamw_step(const Exec& exec, TrainingState& state);
void stage_collect(const Exec& exec, TrainingState& state, std::uint32_t step, StepRecord& record);

/// log.diagnostics: gradients before the first update; the entropy's change after the last.
void stage_gradient_diagnostics(const Exec& exec, TrainingState& state, std::uint32_t step);
void stage_entropy_diagnostics(const Exec& exec, TrainingState& state, std::uint32_t step,
                               StepRecord& record);

}  // namespace motley
