/// One training step of all replicas: the list of its stages, in order. Each stage is a function of
/// experiments/step_stages.cpp; what it computes stands in core/ and models/.

#include "experiments/training_step.hpp"

#include "experiments/numeric_fault.hpp"
#include "experiments/stage_timer.hpp"
#include "experiments/step_stages.hpp"

namespace motley {

void training_step(const Exec& exec, TrainingState& s, std::uint32_t step, StepRecord& record) {
  StageTimer timer(exec, record.timing);
  begin_step(exec, s, step);

  // Once, but where dynamic sampling draws groups without a signal again.
  Generation generation{step};
  do {
    timer.stage("motley::step::sample_prompts", &StepTiming::rollout_s);
    stage_sample_prompts(exec, s, generation);

    timer.stage("motley::step::rollout", &StepTiming::rollout_s);
    stage_rollout(exec, s, generation);

    timer.stage("motley::step::score_tokens", &StepTiming::score_s);
    stage_score_tokens(exec, s, generation);

    timer.stage("motley::step::score", &StepTiming::score_s);
    stage_score(exec, s, step);

    timer.stage("motley::step::pair_scores", &StepTiming::partition_s);
    stage_pair_scores(exec, s, step);

    timer.stage("motley::step::partition", &StepTiming::partition_s);
    stage_partition(exec, s, step);

    timer.stage("motley::step::shape_reward", &StepTiming::partition_s);
    stage_shape_reward(exec, s, step);

    timer.stage("motley::step::check_rollout", &StepTiming::partition_s);
    stage_check_rollout(exec, s);
  } while (draw_again(exec, s, generation));

  timer.stage("motley::step::score_reference", &StepTiming::score_s);
  stage_score_reference(exec, s, step);

  timer.stage("motley::step::group_advantage", &StepTiming::partition_s);
  stage_group_advantage(exec, s, step);

  timer.stage("motley::step::entropy_control", &StepTiming::update_s);
  stage_entropy_control(exec, s);
  stage_gradient_diagnostics(exec, s, step);

  for (int pass = 0; pass < s.update.epochs * s.update.minibatches; ++pass) {
    const Minibatch minibatch = minibatch_of(s, pass);
    timer.stage("motley::step::token_plan", &StepTiming::update_s);
    stage_token_plan(exec, s, step, pass, minibatch);

    timer.stage("motley::step::policy_gradient", &StepTiming::update_s);
    stage_policy_gradient(exec, s, step, pass, minibatch);

    timer.stage("motley::step::adamw_step", &StepTiming::update_s);
    stage_adamw_step(exec, s);
  }

  timer.stage("motley::step::collect", &StepTiming::log_s);
  stage_collect(exec, s, step, record);
  stage_entropy_diagnostics(exec, s, step, record);
  timer.finish();
  require_finite(exec, s, step);
}

}  // namespace motley
