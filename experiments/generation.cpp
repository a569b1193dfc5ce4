/// The stages of a step from prompts to shaped rewards, and the loop of dynamic sampling around
/// them.

#include <algorithm>

#include "experiments/stage_timer.hpp"
#include "experiments/training_step.hpp"

namespace motley {

namespace {

/// Old log-probabilities, task scores and shaped rewards of the completions in the buffer.
/// \param active [R] replicas whose completions are new
void score_and_shape(const Exec& exec, TrainingState& s, std::uint32_t step,
                     const ConstView1<int>& active, StageTimer& timer) {
  RolloutBuffer& x = s.buffer;
  timer.stage("motley::step::score_tokens", &StepTiming::score_s);
  score_tokens(exec, s.policy.net, s.weights, s.policy_workspace, s.replicas.loss, x, active,
               x.old_log_prob);

  timer.stage("motley::step::score", &StepTiming::score_s);
  score_completions(exec, s);

  shaping_stages(exec, s, step, timer);
}

/// Judges the groups of generation batch `attempt`; true where some are to be drawn again.
bool refuse_groups(const Exec& exec, TrainingState& s, int attempt, StageTimer& timer) {
  RolloutBuffer& x = s.buffer;
  timer.stage("motley::step::filter_groups", &StepTiming::partition_s);
  judge_groups(exec, s.replicas.filter, attempt, x.quality, x.reward, x.length, s.filter);
  Kokkos::deep_copy(exec, s.pending_on_host, s.filter.pending);
  exec.fence("motley::step::filter_groups");
  const int* first = s.pending_on_host.data();
  return std::any_of(first, first + s.pending_on_host.extent(0), [](int p) { return p != 0; });
}

}  // namespace

void score_completions(const Exec& exec, TrainingState& s) {
  RolloutBuffer& x = s.buffer;
  s.task->score(exec, x.prompt_id, x.token, x.length, x.finish, x.quality_true, x.class_id);
  if (s.task->verifiable()) {
    Kokkos::deep_copy(exec, x.quality, x.quality_true);
    return;
  }
  reward_texts(exec, x.prompt, x.prompt_length, x.token, x.length, s.reward_texts);
  reward_scores(exec, s.reward_model.net, s.reward_model_weights, s.reward_model_workspace,
                s.reward_texts, s.reward_score);
  reward_quality(exec, s.replicas.reward_model, s.reward_score, x.finish, x.quality, s.status);
}

void begin_step(const Exec& exec, TrainingState& s, std::uint32_t step) {
  if (s.any_schedule)
    set_temperature(exec, s.replicas.temperature, step, s.replicas.sampling, s.replicas.loss);
}

void generation_stages(const Exec& exec, TrainingState& s, std::uint32_t step, StageTimer& timer) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  const Net& net = s.policy.net;
  RolloutKey key{table.sampling, table.seed, Stream::sample, step};

  timer.stage("motley::step::sample_prompts", &StepTiming::rollout_s);
  sample_prompts(exec, s.task->prompts(), table.seed, step, x.prompt, x.prompt_length, x.prompt_id);

  timer.stage("motley::step::rollout", &StepTiming::rollout_s);
  rollout(exec, net, s.weights, s.rollout_workspace, key, x.prompt, x.prompt_length,
          ConstView2<int>(), rollout_output(x), s.status);

  score_and_shape(exec, s, step, table.active, timer);
  if (!s.any_filter) return;

  accept_groups(exec, s.filter);
  for (int attempt = 0; refuse_groups(exec, s, attempt, timer);) {
    ++attempt;
    timer.stage("motley::step::resample_prompts", &StepTiming::rollout_s);
    key.stream = Stream::resample_token;
    key.attempt = static_cast<std::uint32_t>(attempt);
    key.slots = s.filter.slots;
    key.num_slots = s.filter.num_slots;
    resample_prompts(exec, s.task->prompts(), table.seed, step, key.attempt, key.slots,
                     key.num_slots, x.prompt, x.prompt_length, x.prompt_id);

    timer.stage("motley::step::rollout", &StepTiming::rollout_s);
    rollout(exec, net, s.weights, s.rollout_workspace, key, x.prompt, x.prompt_length,
            ConstView2<int>(), rollout_output(x), s.status);
    score_and_shape(exec, s, step, s.filter.pending, timer);
  }
}

}  // namespace motley
