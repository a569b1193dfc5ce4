#include "experiments/training_step.hpp"

#include "experiments/stage_timer.hpp"

namespace motley {

void training_step(const Exec& exec, TrainingState& s, std::uint32_t step, StepRecord& record) {
  StageTimer timer(exec, record.timing);
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  const Net& net = s.policy.net;
  Kokkos::deep_copy(exec, s.status, kStatusClear);

  timer.stage("motley::step::sample_prompts", &StepTiming::rollout_s);
  sample_prompts(exec, s.task->prompts(), table.seed, step, x.prompt, x.prompt_length, x.prompt_id);

  timer.stage("motley::step::rollout", &StepTiming::rollout_s);
  rollout(exec, net, s.weights, s.rollout_workspace,
          {table.sampling, table.seed, Stream::sample, step}, x.prompt, x.prompt_length,
          ConstView2<int>(), rollout_output(x), s.status);

  timer.stage("motley::step::score_tokens", &StepTiming::score_s);
  score_tokens(exec, net, s.weights, s.policy_workspace, table.loss, x, table.active,
               x.old_log_prob);
  if (s.any_reference)
    score_tokens(exec, net, s.reference, s.policy_workspace, table.loss, x, table.has_reference,
                 x.ref_log_prob);

  timer.stage("motley::step::score", &StepTiming::score_s);
  score_completions(exec, s);

  reward_stages(exec, s, step, timer);

  for (int pass = 0; pass < s.update.epochs * s.update.minibatches; ++pass) {
    const int part = pass % s.update.minibatches;
    const Minibatch minibatch{s.shape.B * part / s.update.minibatches,
                              s.shape.B * (part + 1) / s.update.minibatches,
                              s.update.micro_batches};
    timer.stage("motley::step::policy_gradient", &StepTiming::update_s);
    token_weights(exec, table.loss, x.length, x.used, s.shape.T, minibatch.b_first,
                  minibatch.b_last, s.token_weight);
    policy_gradient<float>(exec, net, s.weights, s.reference, s.policy_workspace, table.loss, x,
                           s.token_weight, minibatch, s.gradient, s.update_sums, s.ratio_max,
                           s.status);

    timer.stage("motley::step::adamw_step", &StepTiming::update_s);
    adamw_step(exec, table.optim, table.lr, table.active, s.gradient, s.adam, s.weights.params,
               s.grad_norm, s.status);
    pack_weights(exec, net, s.weights);
  }

  timer.stage("motley::step::collect", &StepTiming::log_s);
  rollout_metrics(exec, x, s.group_metrics, s.metrics);
  update_metrics(exec, s.update_sums, s.ratio_max, s.grad_norm, table.lr, table.loss, s.metrics);
  collect(exec, x, s.metrics, record);
  record.step = step;
  timer.finish();
  require_finite(s, step);
}

void score_completions(const Exec& exec, TrainingState& s) {
  RolloutBuffer& x = s.buffer;
  s.task->score(exec, x.prompt_id, x.token, x.length, x.finish, x.quality_true, x.class_id);
  if (s.task->verifiable()) {
    Kokkos::deep_copy(exec, x.quality, x.quality_true);
    return;
  }
  reward_texts(exec, x.prompt, x.prompt_length, x.token, x.length, s.reward_texts);
  reward_scores(exec, s.reward.net, s.reward_weights, s.reward_workspace, s.reward_texts,
                s.reward_score);
  reward_quality(exec, s.replicas.reward, s.reward_score, x.quality, s.status);
}

void reward_stages(const Exec& exec, TrainingState& s, std::uint32_t step, StageTimer& timer) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;

  timer.stage("motley::step::pair_scores", &StepTiming::partition_s);
  rule_pair_scores(exec, table.partition, x.token, x.length, x.class_id, x.pair_score, x.num_calls);
  if (s.any_classifier)
    pair_scores(exec, s.classifier.net, s.classifier_weights, s.pair_workspace, s.symmetrize,
                table.partition, x.token, x.length, x.pair_score, x.num_calls, s.status);

  timer.stage("motley::step::partition", &StepTiming::partition_s);
  partition_members(exec, table.shaping, x.quality, s.member);
  partition(exec, table.partition, x.pair_score, s.member, x.cluster, x.cluster_size,
            x.num_clusters);

  timer.stage("motley::step::shape_reward", &StepTiming::partition_s);
  shape_reward<float>(exec, table.shaping, table.partition, step, x.quality, x.cluster_size,
                      x.pair_score, x.token, x.length, x.old_log_prob, x.diversity, x.reward,
                      x.used);

  timer.stage("motley::step::group_advantage", &StepTiming::partition_s);
  group_advantage<float>(exec, table.advantage, x.reward, x.used, x.group_mean, x.group_std,
                         x.advantage);
}

}  // namespace motley
