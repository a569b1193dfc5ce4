/// Advantages, losses and entropy controls that leave the reward alone.

#include "experiments/presets.hpp"

namespace motley {

namespace {

/// Quality only, with one estimator of the advantage.
Preset estimator(const char* name, const char* title, const char* paper,
                 std::vector<Setting> settings, const char* differs = "") {
  return {name, title, paper, join_settings({quality_only(), std::move(settings)}), differs};
}

std::vector<Preset> advantage_family() {
  constexpr const char* kNsr = "arXiv 2506.01347; code TianHongZXY/RLVR-Decomposed";
  const std::vector<Setting> plain = {{"advantage.baseline", "none", "no baseline"},
                                      {"advantage.norm", "none", "no division"}};
  const auto with = [&](const char* value, const char* source, std::vector<Setting> more = {}) {
    return join_settings({{{"advantage.estimator", value, source}}, plain, std::move(more)});
  };
  return {
      estimator("psr", "only correct completions teach: A = +1 or 0", kNsr,
                with("psr", "positive sample reinforcement")),
      estimator("nsr", "only wrong completions teach: A = -1 or 0", kNsr,
                with("nsr", "negative sample reinforcement")),
      estimator("w_reinforce", "correct ones weigh a tenth of wrong ones", kNsr,
                with("w_reinforce", "weighted REINFORCE",
                     {{"advantage.positive_weight", "0.1", "lambda"}})),
      estimator(
          "passk", "analytical advantage of pass@k",
          "arXiv 2508.10751; code RUCAIBox/Passk_Training",
          with("passk", "passk_adv.py", {{"advantage.k", "4", "ours; the papers use 4 to 8"}})),
      estimator("pkpo", "unbiased gradient of max@k, leave-one-out minus one", "arXiv 2505.15201",
                with("pkpo", "s_loo-1", {{"advantage.k", "4", "ours; the papers use 4 to 8"}}),
                "summed over the group in the paper; a constant factor"),
      estimator("maxrl", "advantage divided by the mean reward: towards maximum likelihood",
                "arXiv 2602.02710", with("maxrl", "(r - mean)/(mean + eps)")),
      estimator("grpo_passk", "the best completion alone, by its lead over the second",
                "arXiv 2503.19595", with("grpo_passk", "best minus second best")),
      estimator("opo", "baseline weighted by length", "arXiv 2505.23585",
                with("opo", "sum(l r)/sum(l)")),
      {"gdpo", "quality and diversity normalised apart, then whitened over the batch",
       "arXiv 2601.05242",
       join_settings({{{"diversity.shaping", "none", "the rewards are combined in the advantage"},
                       {"advantage.estimator", "gdpo", "decoupled normalisation"}},
                      learned_partition(),
                      {{"advantage.baseline", "none", "the z-scores are centred"},
                       {"advantage.norm", "batch", "whitened over the batch"}}}),
       "two rewards here: quality and the diversity of the partition"},
      {"darling_loo", "DARLING with the baseline of the group without the completion itself",
       "ours",
       join_settings({{{"diversity.shaping", "multiplicative", "as darling"},
                       {"diversity.floor", "0", "a floor would break the exact expectation"},
                       {"advantage.estimator", "dr_grpo", "as darling"},
                       {"advantage.baseline", "loo_partition",
                        "removes the group-size bias of the mean baseline"},
                       {"advantage.norm", "none", "as darling"}},
                      learned_partition()}),
       ""},
  };
}

std::vector<Preset> loss_family() {
  constexpr const char* kCov = "arXiv 2505.22617";
  const auto grpo_with = [](const char* name, const char* title, const char* paper,
                            std::vector<Setting> more, const char* differs = "") {
    return Preset{name, title, paper, join_settings({quality_only(), group_std(), std::move(more)}),
                  differs};
  };
  return {
      grpo_with("clip_higher", "a wider upper clip", "arXiv 2503.14476",
                {{"loss.clip_ratio_high", "0.28", "section 3.1"}},
                "inert where a step makes one update: set loss.minibatches or loss.epochs"),
      grpo_with(
          "dapo", "clip-higher, dynamic sampling, token mean, overlong shaping off",
          "arXiv 2503.14476",
          {{"loss.clip_ratio_low", "0.2", "section 4.1"},
           {"loss.clip_ratio_high", "0.28", "section 3.1"},
           {"loss.agg", "token-mean", "section 3.3"},
           {"filter_groups.metric", "acc", "section 3.2"},
           {"filter_groups.max_batches", "10", "released configuration"},
           {"kl.coef", "0", "section 2.3"}},
          "overlong shaping (section 3.4) depends on the task's lengths: overlong.max_length, overlong.cache"),
      grpo_with("gspo", "one ratio per sequence", "arXiv 2507.18071",
                {{"loss.policy", "gspo", "eq. 5"},
                 {"loss.clip_ratio_low", "0.0003", "section 5.1"},
                 {"loss.clip_ratio_high", "0.0004", "section 5.1"},
                 {"loss.agg", "seq-mean-token-mean", "a mean over sequences"}}),
      grpo_with("cispo", "clipped importance weight, gradient through every token",
                "arXiv 2506.13585",
                {{"loss.policy", "cispo", "section 3.1"},
                 {"loss.clip_ratio_low", "1", "no lower bound"},
                 {"loss.clip_ratio_high", "5", "as ScaleRL has it"}}),
      grpo_with("gmpo", "geometric mean of the token ratios", "arXiv 2507.20673",
                {{"loss.policy", "gmpo", "clipped in the logarithm"},
                 {"loss.clip_ratio_low", "0.4", "the paper's"},
                 {"loss.clip_ratio_high", "0.4", "the paper's"},
                 {"loss.agg", "seq-mean-token-mean", "a mean over sequences"}}),
      grpo_with("sapo", "a smooth gate in place of the clip", "arXiv 2511.20347",
                {{"loss.policy", "sapo", "sigmoid gate"},
                 {"loss.agg", "seq-mean-token-mean", "a mean over sequences"}}),
      grpo_with("clip_cov", "tokens of high covariance leave the loss", kCov,
                {{"loss.policy", "clip_cov", "the paper's Clip-Cov"},
                 {"clip_cov.ratio", "2e-4", "the paper's Clip-Cov"},
                 {"clip_cov.lower", "1", "released scripts"},
                 {"clip_cov.upper", "5", "released scripts"}},
                "at least one token a step, as in the released code"),
      grpo_with(
          "kl_cov", "tokens of high covariance are held near the old policy", kCov,
          {{"loss.policy", "kl_cov", "the paper's KL-Cov"},
           {"kl_cov.fraction", "2e-4", "released scripts: .02 to .2 per cent"},
           {"kl_cov.coef", "1", "released scripts"}},
          "at least one token a step, as in the released code; the penalty has no slope at ratio 1: set loss.minibatches or loss.epochs"),
      grpo_with(
          "simko", "what a good token gains is shared with its likeliest rivals",
          "arXiv 2510.14807; code CLR-Lab/SimKO",
          {{"loss.policy", "simko", "asymmetric update at uncertain tokens"},
           {"simko.top_k", "3", "the paper's"},
           {"simko.alpha", "0.01", "released code, mix_topk_coef"},
           {"simko.quantile", "0.8", "released code, row_quantile_masked"},
           {"simko.wrong_weight", "1.1", "released code, compute_policy_loss_simko"}},
          "correct and wrong are the signs of the advantage; entropies and the likeliest tokens are the old policy's, in the release the entropies are the current one's"),
      grpo_with("high_entropy_tokens", "loss on the fifth of the tokens with the highest entropy",
                "arXiv 2506.01939", {{"loss.top_entropy_quantile", "0.2", "the 80/20 rule"}}),
      grpo_with("entropy_bonus", "a constant bonus on the token entropy", "classic",
                {{"entropy.coef", "0.01", "tune it before claiming a win"}}),
      grpo_with("entropy_adaptive", "a bonus that is switched on below a target entropy",
                "arXiv 2505.22312",
                {{"entropy.adaptive", "threshold", "Skywork-OR1"},
                 {"entropy.target", "0.2", "the paper's"},
                 {"entropy.delta", "1e-4", "the paper's"},
                 {"entropy.max", "0.005", "the paper's"}}),
      grpo_with("entropy_lagrangian", "a bonus whose weight follows the gap to a target entropy",
                "as in soft actor-critic, arXiv 1812.05905",
                {{"entropy.adaptive", "lagrangian", "dual ascent"},
                 {"entropy.target", "0.2", "as entropy_adaptive"},
                 {"entropy.delta", "0.005", "step of the dual ascent; ours"},
                 {"entropy.max", "0.05", "ours"}}),
      grpo_with("prorl", "divergence from a reference that is moved up now and then",
                "arXiv 2505.24864",
                {{"kl.coef", "0.001", "small penalty"},
                 {"kl.estimator", "k3", "as in GRPO"},
                 {"kl.reset_every", "100", "ours; the paper resets by hand"}}),
      grpo_with("kl_reference", "k3 divergence from the base policy in the loss",
                "arXiv 2402.03300",
                {{"kl.coef", "0.001", "verl's default"}, {"kl.estimator", "k3", "section 4.1"}},
                "as a loss k3 has the gradient of the forward divergence KL(ref, pi)"),
  };
}

}  // namespace

std::vector<Preset> update_presets() {
  std::vector<Preset> out = advantage_family();
  for (Preset& preset : loss_family()) out.push_back(std::move(preset));
  out.push_back(
      {"divpo", "preference of the most diverse good completion over the least diverse bad one",
       "arXiv 2501.18101",
       join_settings({quality_only(),
                      {{"loss.policy", "divpo", "the loss of DPO, arXiv 2305.18290"},
                       {"divpo.beta", "0.1", "the usual beta of DPO"},
                       {"divpo.band", "0.25", "ours; the paper tunes its threshold"},
                       {"kl.coef", "0", "the reference stands in the pairs"}},
                      learned_partition()}),
       "online, one pair a group; diversity is the partition's (diversity.shaping = unlikelihood or ngram: the paper's other two criteria); the paper also trains offline"});
  return out;
}

}  // namespace motley
