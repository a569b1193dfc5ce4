/// Contradictions between keys: what no single range check can see.

#include "core/cluster.hpp"
#include "experiments/options.hpp"

namespace motley {

namespace {

std::string at_place(const std::map<std::string, std::string>& origin, const std::string& key) {
  const auto found = origin.find(key);
  return found == origin.end() || found->second == "default"
             ? key
             : concat(key, " (", found->second, ")");
}

/// Groups that a method needs: sets no larger than a group, clusters, rewards that follow from
/// them.
template <class Fault>
void check_reward(const RunConfig& x, const Fault& fault) {
  const int G = x.rollout.group_size;
  const Shaping shaping = x.diversity.shaping;
  const AdvantageParams& a = x.advantage;
  const auto at_most = [&](const char* key, int k, int most, const auto&... why) {
    if (k > most)
      fault(key, "a set cannot be larger than the group", why..., ", got ", k,
            " with rollout.group_size = ", G, "; allowed: 1 to ", most);
  };
  if (shaping == Shaping::coverage) at_most("coverage.k", x.diversity.coverage_k, G);
  if (shaping == Shaping::set_rl) at_most("set_rl.k", x.diversity.set_k, G);
  if (a.estimator == Estimator::passk ||
      (a.estimator == Estimator::pkpo && a.pkpo != PkpoForm::sloo))
    at_most("advantage.k", a.k, G);
  if (a.estimator == Estimator::pkpo && a.pkpo == PkpoForm::sloo)
    at_most("advantage.k", a.k, G - 1, " without one (advantage.pkpo = sloo)");
  if (shaping == Shaping::logdet && G > kMaxMatrix)
    fault("rollout.group_size", "logdet factors a matrix of the group, got ", G,
          "; allowed: at most ", kMaxMatrix);
  if (needs_clusters(shaping) && x.partition.linkage == Linkage::soft)
    fault("partition.linkage", name_of(shaping),
          " needs clusters, got soft; allowed: union_find, greedy_first, greedy_last, correlation");
  const bool historical =
      shaping == Shaping::ucb || shaping == Shaping::ucb_mean || shaping == Shaping::ucb_con;
  if (historical && !x.partition.across_steps)
    fault("partition.across_steps", name_of(shaping),
          " counts classes of earlier steps, got off; allowed: on");
  if (a.baseline == Baseline::loo_partition) {
    if (G < 3)
      fault("rollout.group_size", "a group without one must hold two, got ", G,
            " with advantage.baseline = loo_partition; allowed: at least 3");
    if (!is_count_reward(shaping))
      fault(
          "advantage.baseline",
          "loo_partition cannot shape a group anew under diversity.shaping = ", name_of(shaping),
          ", got loo_partition; allowed: none, multiplicative, multiplicative_sigmoid, additive, ips, coverage, outcome_entropy or a shaping of the advantage");
    if (x.partition.linkage == Linkage::soft)
      fault(
          "partition.linkage",
          "advantage.baseline = loo_partition needs clusters, got soft; allowed: union_find, greedy_first, greedy_last, correlation");
    if (!keeps_rewards(a.estimator))
      fault("advantage.baseline",
            "loo_partition is a baseline of rewards, which advantage.estimator = ",
            name_of(a.estimator), " replaces, got loo_partition; allowed: none, mean, loo");
  }
  if (needs_correctness(a.estimator) && shaping != Shaping::none && !shapes_advantage(shaping))
    fault("diversity.shaping", "advantage.estimator = ", name_of(a.estimator),
          " reads correctness alone, the shaped reward would be ignored, got ", name_of(shaping),
          "; allowed: none, uniqueness, ucb, ucb_mean, ucb_con, batch");
  if (a.estimator == Estimator::gdpo && shaping != Shaping::none)
    fault("diversity.shaping", "advantage.estimator = gdpo adds quality and diversity itself, got ",
          name_of(shaping), "; allowed: none");
}

/// What a loss of pairs cannot be joined with.
template <class Fault>
void check_pairs(const RunConfig& x, const Fault& fault) {
  if (x.rollout.group_size < 2)
    fault("rollout.group_size", "loss.policy = divpo pairs two completions of a group, got ",
          x.rollout.group_size, "; allowed: at least 2");
  if (x.loss.kl_coef != 0.0)
    fault("kl.coef", "loss.policy = divpo holds the reference in its pairs, got ", x.loss.kl_coef,
          "; allowed: 0");
  if (x.loss.entropy_coef != 0.0)
    fault("entropy.coef", "loss.policy = divpo has no loss but that of its pairs, got ",
          x.loss.entropy_coef, "; allowed: 0");
  if (x.entropy.adaptive != EntropyAdaptive::off)
    fault("entropy.adaptive", "loss.policy = divpo has no loss but that of its pairs, got ",
          name_of(x.entropy.adaptive), "; allowed: off");
  if (x.loss.top_entropy_quantile < 1.0)
    fault("loss.top_entropy_quantile", "loss.policy = divpo weighs whole completions, got ",
          x.loss.top_entropy_quantile, "; allowed: 1");
  if (x.mismatch.correction != MismatchCorrection::none)
    fault("mismatch.correction", "loss.policy = divpo has no importance ratio to correct, got ",
          name_of(x.mismatch.correction), "; allowed: none");
}

}  // namespace

void check_contradictions(const Configured& c, Faults& faults) {
  const RunConfig& x = c.config;
  const auto fault = [&](const std::string& key, auto... parts) {
    faults.add(concat(at_place(c.origin, key), ": ", parts...));
  };
  if (x.rollout.group_size == 1) {
    if (x.advantage.norm == AdvantageNorm::group)
      fault(
          "rollout.group_size",
          "a group of 1 has no deviation to divide by, got 1 with advantage.norm = group; allowed: at least 2, or advantage.norm = none");
    if (x.advantage.baseline == Baseline::loo)
      fault(
          "rollout.group_size",
          "a group of 1 has no other completion, got 1 with advantage.baseline = loo; allowed: at least 2");
    if (x.diversity.shaping != Shaping::none)
      fault("rollout.group_size", "a group of 1 has no diversity, got 1 with diversity.shaping = ",
            name_of(x.diversity.shaping), "; allowed: at least 2, or diversity.shaping = none");
  }
  if (const int shortest = shortest_answer(x.task); x.rollout.max_tokens < shortest)
    fault("rollout.max_tokens", "no answer of the task ", x.task.name, " fits, got ",
          x.rollout.max_tokens, "; allowed: at least ", shortest);
  if (x.reward_model.width % 8 != 0)
    fault("reward_model.width", "must be a multiple of 8 (four even heads), got ",
          x.reward_model.width);
  if (x.model.width % x.model.heads != 0)
    fault("model.heads", "must divide model.width = ", x.model.width, ", got ", x.model.heads);
  else if (x.model.head_dim() % 2 != 0)
    fault("model.heads", "the width of a head must be even, got ", x.model.width, " / ",
          x.model.heads, " = ", x.model.head_dim());
  if (x.model.precision == Precision::bf16 && !kExecOnHost)
    fault("model.precision", "a GPU computes in fp32 only, got bf16; allowed: fp32");
  if (x.model.heads % x.model.kv_heads != 0)
    fault("model.kv_heads", "must divide model.heads = ", x.model.heads, ", got ",
          x.model.kv_heads);
  if (x.classifier.width % x.classifier.heads != 0 ||
      (x.classifier.width / x.classifier.heads) % 2 != 0)
    fault("classifier.heads", "must divide classifier.width = ", x.classifier.width,
          " into even heads, got ", x.classifier.heads);
  for (const int k : x.eval.k)
    if (k > x.eval.samples)
      fault("eval.k", "pass@k needs at least k samples, got k = ", k,
            " with eval.samples = ", x.eval.samples);
  if (x.eval.partition == EvalPartition::classifier && x.eval.samples > 4096)
    fault("eval.samples", "the pair classifier partitions at most 4096 samples of a prompt, got ",
          x.eval.samples, " with eval.partition = classifier; allowed: at most 4096");
  if (x.update.minibatches > x.rollout.prompts)
    fault("loss.minibatches", "a minibatch needs a prompt, got ", x.update.minibatches,
          " minibatches of rollout.prompts = ", x.rollout.prompts);
  if (x.rollout.temperature_schedule != "constant" && x.rollout.sampling.temperature == 0)
    fault(
        "rollout.temperature_schedule",
        "a schedule starts at rollout.temperature, which must be above 0, got 0; allowed: constant with greedy sampling");
  if (x.overlong.cache > x.overlong.max_length)
    fault("overlong.cache", "the ramp cannot be wider than overlong.max_length, got ",
          x.overlong.cache, " with overlong.max_length = ", x.overlong.max_length,
          "; allowed: at most overlong.max_length");
  // The address of a draw has 32 bits for (batch, prompt, completion).
  if (x.filter_groups.metric != FilterMetric::none &&
      double(x.filter_groups.max_batches) * x.rollout.prompts * x.rollout.group_size >= 0x1p32)
    fault("filter_groups.max_batches",
          "max_batches * rollout.prompts * rollout.group_size must be below 2^32, got ",
          x.filter_groups.max_batches, " * ", x.rollout.prompts, " * ", x.rollout.group_size);
  if (x.filter_groups.metric != FilterMetric::none && x.rollout.group_size == 1)
    fault("filter_groups.metric", "a group of 1 never tells its completions apart, got ",
          name_of(x.filter_groups.metric), " with rollout.group_size = 1; allowed: none");
  if (x.loss.kl_placement == KlPlacement::reward && x.loss.kl_estimator == KlEstimator::k3_unbiased)
    fault(
        "kl.estimator",
        "k3_unbiased corrects a term of the loss, got it with kl.placement = reward; allowed: k1, k2, k3, abs");
  if (x.loss.kl_placement == KlPlacement::reward && x.loss.kl_estimator == KlEstimator::exact)
    fault(
        "kl.placement",
        "the exact divergence is a function of the whole distribution, got reward with kl.estimator = exact; allowed: loss, or kl.estimator = k1, k2, k3, abs");
  check_reward(x, fault);
  if (clusters_embeddings(x.partition.method)) {
    const std::string_view method = name_of(x.partition.method);
    if (x.partition.linkage != Linkage::union_find)
      fault("partition.linkage", method, " makes clusters without a linkage, got ",
            name_of(x.partition.linkage), "; allowed: union_find, the default");
    if (x.partition.embedding == EmbeddingKind::classifier &&
        x.classifier.form != ClassifierForm::bi_encoder)
      fault("partition.embedding", method,
            " needs an embedding of each completion, got classifier with classifier.form = ",
            name_of(x.classifier.form),
            "; allowed: ngram, policy, or classifier.form = bi_encoder");
    if (x.rollout.group_size > kMaxClusteredGroup)
      fault("rollout.group_size", "too large for partition.method = ", method, ", got ",
            x.rollout.group_size, "; allowed: 1 to ", kMaxClusteredGroup);
  }
  if (x.loss.kl_direction != KlDirection::reverse && x.loss.kl_estimator != KlEstimator::exact)
    fault("kl.direction", "only the exact divergence has a direction, got ",
          name_of(x.loss.kl_direction), " with kl.estimator = ", name_of(x.loss.kl_estimator),
          "; allowed: reverse, or kl.estimator = exact");
  if (x.entropy.min > x.entropy.max)
    fault("entropy.min", "must not exceed entropy.max = ", x.entropy.max, ", got ", x.entropy.min);
  if (x.loss.sequence_ratio() && x.loss.top_entropy_quantile < 1.0)
    fault("loss.top_entropy_quantile", "the ratio of loss.policy = ", name_of(x.loss.policy),
          " belongs to a whole completion, got ", x.loss.top_entropy_quantile, "; allowed: 1");
  if (x.loss.policy == PolicyLoss::divpo) check_pairs(x, fault);
  if (x.loss.policy == PolicyLoss::clip_cov && x.loss.clip_cov_lower >= x.loss.clip_cov_upper)
    fault("clip_cov.lower", "must be below clip_cov.upper = ", x.loss.clip_cov_upper, ", got ",
          x.loss.clip_cov_lower);
  if (x.checkpoint.every_steps == 0 && x.checkpoint.every_minutes == 0)
    fault(
        "checkpoint.every_steps",
        "both checkpoint.every_steps and checkpoint.every_minutes are 0; allowed: one of them at most");
}

}  // namespace motley
