/// Contradictions between keys: what no single range check can see.

#include "experiments/options.hpp"

namespace motley {

namespace {

std::string at_place(const std::map<std::string, std::string>& origin, const std::string& key) {
  const auto found = origin.find(key);
  return found == origin.end() || found->second == "default"
             ? key
             : concat(key, " (", found->second, ")");
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
  if (x.update.minibatches > x.rollout.prompts)
    fault("loss.minibatches", "a minibatch needs a prompt, got ", x.update.minibatches,
          " minibatches of rollout.prompts = ", x.rollout.prompts);
  if (x.diversity.shaping == Shaping::multiplicative_correct &&
      x.partition.linkage == Linkage::soft)
    fault(
        "partition.linkage",
        "multiplicative_correct needs clusters, got soft; allowed: union_find, greedy_first, greedy_last");
  if (x.checkpoint.every_steps == 0 && x.checkpoint.every_minutes == 0)
    fault(
        "checkpoint.every_steps",
        "both checkpoint.every_steps and checkpoint.every_minutes are 0; allowed: one of them at most");
}

}  // namespace motley
