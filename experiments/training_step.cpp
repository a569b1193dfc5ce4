#include "experiments/training_step.hpp"

#include "core/history.hpp"
#include "experiments/stage_timer.hpp"

namespace motley {

namespace {

/// kl.reset_every: copies the rows of the replicas whose turn it is.
void copy_due_rows(const Exec& exec, const ConstView1<LossParams>& params, std::uint32_t step,
                   const ConstView2<float>& from, const View2<float>& to) {
  const auto R = static_cast<std::int64_t>(from.extent(0));
  const auto N = static_cast<std::int64_t>(from.extent(1));
  Kokkos::parallel_for(
      "motley::step::reset_reference",
      Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(exec, 0, R * N),
      KOKKOS_LAMBDA(const std::int64_t i) {
        const int every = params(i / N).kl_reset_every;
        if (every > 0 && step % static_cast<std::uint32_t>(every) == 0)
          to(i / N, i % N) = from(i / N, i % N);
      });
}

}  // namespace

void training_step(const Exec& exec, TrainingState& s, std::uint32_t step, StepRecord& record) {
  StageTimer timer(exec, record.timing);
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  const Net& net = s.policy.net;
  Kokkos::deep_copy(exec, s.status, kStatusClear);

  begin_step(exec, s, step);
  generation_stages(exec, s, step, timer);

  timer.stage("motley::step::score_reference", &StepTiming::score_s);
  if (s.any_reset && step > 0) {
    copy_due_rows(exec, table.loss, step, s.weights.params, s.reference.params);
    copy_due_rows(exec, table.loss, step, s.weights.packed, s.reference.packed);
  }
  if (s.any_reference)
    score_tokens(exec, net, s.reference, s.policy_workspace, table.loss, x, table.has_reference,
                 x.ref_log_prob);
  if (s.any_correction)
    mismatch_weights(exec, table.mismatch, x.old_log_prob, x.sampler_log_prob, x.length,
                     s.token_scale);

  advantage_stages(exec, s, step, timer);

  timer.stage("motley::step::entropy_control", &StepTiming::log_s);
  rollout_metrics(exec, x, s.group_metrics, s.metrics);
  entropy_control(exec, table.entropy, s.entropy_coef, table.loss, s.metrics);

  const bool diagnose = s.diagnostics && s.diagnostics->due(step);
  if (diagnose) {
    timer.stage("motley::step::gradient_diagnostics", &StepTiming::update_s);
    gradient_diagnostics(exec, s, *s.diagnostics);
  }

  update_stages(exec, s, step, timer);

  timer.stage("motley::step::collect", &StepTiming::log_s);
  update_metrics(exec, s.update_sums, s.ratio_max, s.grad_norm, table.lr, table.loss, s.metrics);
  generation_metrics(exec, x, s.filter, table.sampling, s.generation_terms, s.metrics);
  collect(exec, x, s.metrics, record);
  if (diagnose) {
    timer.stage("motley::step::entropy_diagnostics", &StepTiming::update_s);
    entropy_diagnostics(exec, s, *s.diagnostics, record);
  }
  record.step = step;
  timer.finish();
  require_finite(s, step);
}

void update_stages(const Exec& exec, TrainingState& s, std::uint32_t step, StageTimer& timer) {
  const RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  const Net& net = s.policy.net;
  for (int pass = 0; pass < s.update.epochs * s.update.minibatches; ++pass) {
    const int part = pass % s.update.minibatches;
    const Minibatch minibatch{s.shape.B * part / s.update.minibatches,
                              s.shape.B * (part + 1) / s.update.minibatches,
                              s.update.micro_batches};
    if (s.any_plan) {
      // The first update is made with the policy that sampled: new = old bit for bit.
      timer.stage("motley::step::token_plan", &StepTiming::update_s);
      const bool anew = s.any_new_log_prob && pass > 0;
      if (anew)
        score_tokens(exec, net, s.weights, s.policy_workspace, table.loss, x,
                     table.needs_new_log_prob, s.new_log_prob);
      token_plan<float>(exec, table.loss, {table.seed, step, pass},
                        anew ? s.new_log_prob : x.old_log_prob, x, minibatch.b_first,
                        minibatch.b_last, s.token_plan);
    }

    timer.stage("motley::step::policy_gradient", &StepTiming::update_s);
    token_weights(exec, table.loss, x.length, x.used, s.shape.T, minibatch.b_first,
                  minibatch.b_last, s.token_weight);
    policy_gradient<float>(exec, net, s.weights, s.reference, s.policy_workspace, table.loss, x,
                           s.token_weight, minibatch, s.gradient, s.update_sums, s.ratio_max,
                           s.status, s.token_scale, s.token_plan);

    timer.stage("motley::step::adamw_step", &StepTiming::update_s);
    adamw_step(exec, table.optim, table.lr, table.active, s.gradient, s.adam, s.weights.params,
               s.grad_norm, s.status);
    pack_weights(exec, net, s.weights);
  }
}

void shaping_stages(const Exec& exec, TrainingState& s, std::uint32_t step, StageTimer& timer) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;

  timer.stage("motley::step::pair_scores", &StepTiming::partition_s);
  rule_pair_scores(exec, table.partition, x.token, x.length, x.class_id, x.pair_score, x.num_calls);
  if (s.any_judge)
    judge_pair_scores(exec, table.partition, x.prompt_id, x.token, x.length, x.class_id,
                      x.pair_score, x.num_calls);
  if (s.any_classifier)
    pair_scores(exec, s.classifier.net, s.classifier_weights, s.pair_workspace, s.symmetrize,
                table.partition, x.token, x.length, x.pair_score, x.num_calls, s.status);
  if (s.any_clustering) {
    const ClusterWorkspace& w = s.cluster_workspace;
    ngram_embeddings(exec, table.partition, x.token, x.length, w.embedding);
    if (s.any_classifier && s.classifier.net.form == ClassifierForm::bi_encoder)
      text_embeddings(exec, s.classifier.net, s.classifier_weights, s.pair_workspace,
                      table.partition, x.token, x.length, w.embedding, s.status);
    embedding_pair_scores(exec, table.partition, w.embedding, x.pair_score, x.num_calls);
  }

  timer.stage("motley::step::partition", &StepTiming::partition_s);
  partition_members(exec, table.shaping, x.quality, s.member);
  partition(exec, table.partition, x.pair_score, s.member, x.cluster, x.cluster_size,
            x.num_clusters);
  if (s.any_clustering)
    cluster_embeddings(exec, table.partition, step, s.cluster_workspace, s.member, x.cluster,
                       x.cluster_size, x.num_clusters);
  if (s.class_table.span() > 0)
    class_history(exec, table.partition, s.class_table, x.prompt_id, x.token, x.length, x.class_id,
                  x.cluster, x.history);

  timer.stage("motley::step::shape_reward", &StepTiming::partition_s);
  shape_reward<float>(exec,
                      {table.shaping, table.partition, step, x.quality, x.cluster, x.cluster_size,
                       x.pair_score, x.token, x.length, x.finish, x.old_log_prob},
                      s.reward_workspace, x.diversity, x.reward, x.used);
  if (s.any_signed_product)
    count_negative_products(exec, table.shaping, x.quality, s.negative_products);
  add_overlong_penalty<float>(exec, table.overlong, x.length, x.reward);
}

void advantage_stages(const Exec& exec, TrainingState& s, std::uint32_t step, StageTimer& timer) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;

  if (s.class_table.span() > 0) {
    timer.stage("motley::step::remember_classes", &StepTiming::partition_s);
    remember_classes(exec, table.partition, step, x.prompt_id, x.token, x.length, x.class_id,
                     x.cluster, s.class_table);
  }

  timer.stage("motley::step::reward_terms", &StepTiming::partition_s);
  mark_used(exec, s.filter.good, table.overlong, x.finish, x.used);
  if (s.any_reference)
    subtract_kl<float>(exec, table.loss, x.old_log_prob, x.ref_log_prob, x.length, x.reward);

  timer.stage("motley::step::group_advantage", &StepTiming::partition_s);
  group_advantage<float>(exec,
                         {table.advantage, table.shaping, x.quality, x.diversity, x.reward,
                          x.cluster, x.cluster_size, x.history, x.length, x.used},
                         s.reward_workspace, x.group_mean, x.group_std, x.advantage);
}

void reward_stages(const Exec& exec, TrainingState& s, std::uint32_t step, StageTimer& timer) {
  shaping_stages(exec, s, step, timer);
  advantage_stages(exec, s, step, timer);
}

}  // namespace motley
