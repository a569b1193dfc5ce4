#include "experiments/step_stages.hpp"

#include <algorithm>

#include "core/finite.hpp"
#include "core/history.hpp"
#include "experiments/fault_injection.hpp"

namespace motley {

void begin_step(const Exec& exec, TrainingState& s, std::uint32_t step) {
  Kokkos::deep_copy(exec, s.status, kStatusClear);
  Kokkos::deep_copy(exec, s.first_fault, kStatusClear);
  inject(exec, FaultTarget::weights, step, s);
  if (s.any_schedule)
    set_temperature(exec, s.replicas.temperature, step, s.replicas.sampling, s.replicas.loss);
}

void stage_sample_prompts(const Exec& exec, TrainingState& s, const Generation& g) {
  RolloutBuffer& x = s.buffer;
  if (g.attempt == 0)
    sample_prompts(exec, s.task->prompts(), s.replicas.seed, g.step, x.prompt, x.prompt_length,
                   x.prompt_id);
  else
    resample_prompts(exec, s.task->prompts(), s.replicas.seed, g.step,
                     static_cast<std::uint32_t>(g.attempt), s.filter.slots, s.filter.num_slots,
                     x.prompt, x.prompt_length, x.prompt_id);
}

void stage_rollout(const Exec& exec, TrainingState& s, const Generation& g) {
  RolloutBuffer& x = s.buffer;
  RolloutKey key{s.replicas.sampling, s.replicas.seed, Stream::sample, g.step};
  if (g.attempt == 0) key.fault = logit_fault(g.step);
  if (g.attempt > 0) {
    key.stream = Stream::resample_token;
    key.attempt = static_cast<std::uint32_t>(g.attempt);
    key.slots = s.filter.slots;
    key.num_slots = s.filter.num_slots;
  }
  rollout(exec, s.policy.net, s.weights, s.rollout_workspace, key, x.prompt, x.prompt_length,
          ConstView2<int>(), rollout_output(x), s.status);
}

namespace {

bool scores_anew(const TrainingState& s, std::uint32_t step) {
#ifndef NDEBUG
  (void)s, (void)step;
  return true;
#else
  const auto every = static_cast<std::uint32_t>(s.agreement_every);
  return s.any_noise || s.any_policy_embedding || s.token_plan.top.span() > 0 ||
         step % kAgreementSteps == 0 || (every > 0 && (step + 1) % every == 0);
#endif
}

}  // namespace

void stage_score_tokens(const Exec& exec, TrainingState& s, const Generation& g) {
  if (!scores_anew(s, g.step)) {
    Kokkos::deep_copy(exec, s.buffer.old_log_prob, s.buffer.sampler_log_prob);
  } else {
    ScoreExtras extras{s.token_plan.top, s.replicas.partition, {}};
    if (s.any_policy_embedding) extras.embedding = s.cluster_workspace.embedding;
    score_tokens(exec, s.policy.net, s.weights, s.policy_workspace, s.replicas.loss, s.buffer,
                 g.attempt == 0 ? s.replicas.active : s.filter.pending, s.buffer.old_log_prob,
                 extras);
  }
  if (g.attempt > 0) return;
  inject(exec, FaultTarget::mismatch, g.step, s);
  inject(exec, FaultTarget::log_prob, g.step, s);
}

void stage_score(const Exec& exec, TrainingState& s, std::uint32_t step) {
  RolloutBuffer& x = s.buffer;
  s.task->score(exec, x.prompt_id, x.token, x.length, x.finish, x.quality_true, x.class_id);
  if (s.task->verifiable()) {
    Kokkos::deep_copy(exec, x.quality, x.quality_true);
    inject(exec, FaultTarget::quality, step, s);
    return;
  }
  reward_texts(exec, x.prompt, x.prompt_length, x.token, x.length, s.reward_texts);
  reward_scores(exec, s.reward_model.net, s.reward_model_weights, s.reward_model_workspace,
                s.reward_texts, s.reward_score);
  inject(exec, FaultTarget::reward_model, step, s);
  reward_quality(exec, s.replicas.reward_model, s.reward_score, x.finish, x.quality, s.status);
  inject(exec, FaultTarget::quality, step, s);
}

void stage_pair_scores(const Exec& exec, TrainingState& s, std::uint32_t step) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  rule_pair_scores(exec, table.partition, x.token, x.length, x.class_id, x.pair_score, x.num_calls);
  for (const auto& method : s.partitioners)
    method->pair_scores(exec, {table.partition, x.prompt_id, x.token, x.length, x.class_id},
                        x.pair_score, x.num_calls);
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
    inject(exec, FaultTarget::embedding, step, s);
    check_embeddings(exec, table.partition, w.embedding, s.status);
    embedding_pair_scores(exec, table.partition, w.embedding, x.pair_score, x.num_calls);
  }
  inject(exec, FaultTarget::classifier, step, s);
}

void stage_partition(const Exec& exec, TrainingState& s, std::uint32_t step) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  partition_members(exec, table.shaping, x.quality, s.member);
  partition(exec, table.partition, x.pair_score, s.member, x.cluster, x.cluster_size,
            x.num_clusters);
  if (s.any_clustering)
    cluster_embeddings(exec, table.partition, step, s.cluster_workspace, s.member, x.cluster,
                       x.cluster_size, x.num_clusters);
  if (s.class_table.span() > 0)
    class_history(exec, table.partition, s.class_table, x.prompt_id, x.token, x.length, x.class_id,
                  x.cluster, x.history);
}

void stage_shape_reward(const Exec& exec, TrainingState& s, std::uint32_t step) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  shape_reward<float>(exec,
                      {table.shaping, table.partition, step, x.quality, x.cluster, x.cluster_size,
                       x.pair_score, x.token, x.length, x.finish, x.old_log_prob},
                      s.reward_workspace, x.diversity, x.reward, x.used, s.shapings);
  if (s.any_signed_product)
    count_negative_products(exec, table.shaping, x.quality, s.negative_products);
  add_overlong_penalty<float>(exec, table.overlong, x.length, x.reward);
  inject(exec, FaultTarget::reward, step, s);
}

void stage_check_rollout(const Exec& exec, TrainingState& s) {
  check_rollout(exec, s.replicas.mismatch, s.buffer, s.status);
  keep_first_fault(exec, s.status, s.first_fault);
}

bool draw_again(const Exec& exec, TrainingState& s, Generation& g) {
  if (!s.any_filter) return false;
  // Groups drawn again would take the place of the faulty one.
  if (any_fault(exec, s)) return false;
  if (g.attempt == 0) accept_groups(exec, s.filter);
  judge_groups(exec, s.replicas.filter, g.attempt, s.buffer.quality, s.buffer.reward,
               s.buffer.length, s.filter);
  Kokkos::deep_copy(exec, s.pending_on_host, s.filter.pending);
  exec.fence("motley::step::filter_groups");
  ++g.attempt;
  const int* first = s.pending_on_host.data();
  return std::any_of(first, first + s.pending_on_host.extent(0), [](int p) { return p != 0; });
}

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

void stage_score_reference(const Exec& exec, TrainingState& s, std::uint32_t step) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  if (s.any_reset && step > 0) {
    copy_due_rows(exec, table.loss, step, s.weights.params, s.reference.params);
    copy_due_rows(exec, table.loss, step, s.weights.packed, s.reference.packed);
  }
  if (s.any_reference)
    score_tokens(exec, s.policy.net, s.reference, s.policy_workspace, table.loss, x,
                 table.has_reference, x.ref_log_prob);
  if (s.any_correction)
    mismatch_weights(exec, table.mismatch, x.old_log_prob, x.sampler_log_prob, x.length,
                     s.token_scale);
}

void stage_group_advantage(const Exec& exec, TrainingState& s, std::uint32_t step) {
  RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  if (s.class_table.span() > 0)
    remember_classes(exec, table.partition, step, x.prompt_id, x.token, x.length, x.class_id,
                     x.cluster, s.class_table);
  mark_used(exec, s.filter.good, table.overlong, x.finish, x.used);
  if (s.any_reference)
    subtract_kl<float>(exec, table.loss, x.old_log_prob, x.ref_log_prob, x.length, x.reward);
  group_advantage<float>(exec,
                         {table.advantage, table.shaping, x.quality, x.diversity, x.reward,
                          x.cluster, x.cluster_size, x.history, x.length, x.used},
                         s.reward_workspace, x.group_mean, x.group_std, x.advantage,
                         x.answer_advantage);
  if (x.answer_start.span() > 0) s.task->answer_start(exec, x.token, x.length, x.answer_start);
  inject(exec, FaultTarget::advantage, step, s);
  check_advantage(exec, table.has_reference, x, s.status);
  keep_first_fault(exec, s.status, s.first_fault);
}

void stage_entropy_control(const Exec& exec, TrainingState& s) {
  rollout_metrics(exec, s.buffer, s.group_metrics, s.metrics);
  entropy_control(exec, s.replicas.entropy, s.entropy_coef, s.replicas.loss, s.metrics);
}

Minibatch minibatch_of(const TrainingState& s, int pass) {
  const int part = pass % s.update.minibatches;
  return {s.shape.B * part / s.update.minibatches, s.shape.B * (part + 1) / s.update.minibatches,
          s.update.micro_batches};
}

void stage_token_plan(const Exec& exec, TrainingState& s, std::uint32_t step, int pass,
                      const Minibatch& minibatch) {
  if (!s.any_plan) return;
  const RolloutBuffer& x = s.buffer;
  const ReplicaTable& table = s.replicas;
  // The first update is made with the policy that sampled: new = old bit for bit.
  const bool anew = s.any_new_log_prob && pass > 0;
  if (anew)
    score_tokens(exec, s.policy.net, s.weights, s.policy_workspace, table.loss, x,
                 table.needs_new_log_prob, s.new_log_prob);
  token_plan<float>(exec, table.loss, {table.seed, step, pass},
                    anew ? s.new_log_prob : x.old_log_prob, x, minibatch.b_first, minibatch.b_last,
                    s.token_plan);
}

void stage_policy_gradient(const Exec& exec, TrainingState& s, std::uint32_t step, int pass,
                           const Minibatch& minibatch) {
  const RolloutBuffer& x = s.buffer;
  token_weights(exec, s.replicas.loss, x.length, x.used, s.shape.T, minibatch.b_first,
                minibatch.b_last, s.token_weight, s.token_plan);
  policy_gradient<float>(exec, s.policy.net, s.weights, s.reference, s.policy_workspace,
                         s.replicas.loss, x, s.token_weight, minibatch, s.gradient, s.update_sums,
                         s.ratio_max, s.status, s.token_scale, s.token_plan);
  if (pass + 1 < s.update.epochs * s.update.minibatches) return;
  inject(exec, FaultTarget::gradient, step, s);
  inject(exec, FaultTarget::moment, step, s);
}

void stage_adamw_step(const Exec& exec, TrainingState& s) {
  adamw_step(exec, s.replicas.optim, s.replicas.lr, s.replicas.active, s.gradient, s.adam,
             s.weights.params, s.grad_norm, s.status);
  pack_weights(exec, s.policy.net, s.weights);
  keep_first_fault(exec, s.status, s.first_fault);
}

void stage_collect(const Exec& exec, TrainingState& s, std::uint32_t step, StepRecord& record) {
  update_metrics(exec, s.update_sums, s.ratio_max, s.grad_norm, s.replicas.lr, s.replicas.loss,
                 s.metrics);
  generation_metrics(exec, s.buffer, s.filter, s.replicas.sampling, s.generation_terms, s.metrics);
  hash_params(exec, s.weights.params, s.metrics);
  collect(exec, s.buffer, s.metrics, record);
  record.step = step;
}

namespace {

bool diagnosed(const TrainingState& s, std::uint32_t step) {
  return s.diagnostics && s.diagnostics->due(step);
}

}  // namespace

void stage_gradient_diagnostics(const Exec& exec, TrainingState& s, std::uint32_t step) {
  if (diagnosed(s, step)) gradient_diagnostics(exec, s, step, *s.diagnostics);
}

void stage_entropy_diagnostics(const Exec& exec, TrainingState& s, std::uint32_t step,
                               StepRecord& record) {
  if (diagnosed(s, step)) entropy_diagnostics(exec, s, *s.diagnostics, record);
}

}  // namespace motley
