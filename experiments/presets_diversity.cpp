/// Diversity in the reward: DARLING, its ablations and its rivals.

#include "experiments/presets.hpp"

namespace motley {

namespace {

constexpr const char* kDarling = "arXiv 2509.02534; code facebookresearch/darling";

std::vector<Preset> darling_family() {
  return {
      {"darling", "quality x semantic diversity of the learned partition", kDarling,
       join_settings({{{"diversity.shaping", "multiplicative", "section 3"},
                       {"diversity.floor", "0.1", "released code; the paper has none"}},
                      learned_partition(),
                      centred()}),
       "the paper's text calls a pair's distance `classify` (1 = equivalent); its Figure 2 and its code take 1 - classify, and so does this program"},
      {"darling_paper", "DARLING as the paper's text states it: no floor", kDarling,
       join_settings({{{"diversity.shaping", "multiplicative", "section 3"},
                       {"diversity.floor", "0", "the paper names no floor"}},
                      learned_partition(),
                      centred()}),
       "without the floor a group of one cluster has reward 0 everywhere and no gradient"},
      {"darling_code",
       "DARLING as the released mathematics script runs it: short answers decided by overlap, four updates a step",
       kDarling,
       join_settings(
           {{{"diversity.shaping", "multiplicative", "partition_reward_vllm_serve.py, partition"},
             {"diversity.floor", "0.1", "partition_reward_vllm_serve.py, partition"},
             {"partition.short_answer_words", "5", "maybe_test_equality; not in the paper"},
             {"loss.minibatches", "4", "math_scripts: batch 256, mini-batch 64"},
             {"loss.clip_ratio_low", "0.2", "Table 7"},
             {"loss.clip_ratio_high", "0.2", "Table 7"},
             {"loss.clip_ratio_c", "3", "verl's default; not in the paper"},
             {"loss.agg", "token-mean", "eq. 6"},
             {"kl.coef", "0", "mathematics: no reference model"},
             {"optim.weight_decay", "0.01", "verl's default"}},
            learned_partition(),
            centred()}),
       "the token mean is global here and per micro-batch in the release; where whole answers are short, the overlap rule calls different answers the same"},
      {"darling_correct", "diversity among the correct completions only", kDarling,
       join_settings(
           {{{"diversity.shaping", "multiplicative_correct", "released code, partition_correct"},
             {"diversity.floor", "0.1", "released code"}},
            learned_partition(),
            centred()}),
       "shipped but unused by the released scripts, whose trainer never sets the correctness it needs"},
      {"darling_sigmoid", "the logistic of the diversity as the factor", kDarling,
       join_settings(
           {{{"diversity.shaping", "multiplicative_sigmoid", "released code, partition_sigmoid"},
             {"diversity.floor", "0.1", "released code"}},
            learned_partition(),
            centred()}),
       "factors between .525 and .731: nearly no contrast"},
      {"darling_soft", "one minus the mean pair score, no clusters: the paper's eq. 4 as written",
       kDarling,
       join_settings({{{"diversity.shaping", "multiplicative", "section 3, eq. 4"},
                       {"diversity.floor", "0.1", "as darling"},
                       {"partition.method", "classifier", "section 3"},
                       {"partition.linkage", "soft", "eq. 4 averages over pairs, without closure"}},
                      centred()}),
       "the released code closes the pair decisions transitively"},
      {"additive", "z(quality) + z(diversity): the additive ablation", kDarling,
       join_settings({{{"diversity.shaping", "additive_norm", "section 6.1, Table 2"}},
                      learned_partition(),
                      centred()}),
       "in the released code this branch is overwritten by the plain sum, which is `additive_raw`"},
      {"additive_raw", "quality + diversity, as the released additive branch really computes it",
       kDarling,
       join_settings(
           {{{"diversity.shaping", "additive", "ray_trainer.py, the else of `multiplicative`"},
             {"diversity.floor", "0.1", "released code: the diversity is floored before"},
             {"diversity.quality_weight", "1", "lambda_rm_rescale"},
             {"diversity.diversity_weight", "1", "lambda_rule_rescale"}},
            learned_partition(),
            centred()}),
       "the paper describes the normalised sum"},
      {"ngram", "quality x share of 4-grams found in no other completion: the lexical ablation",
       kDarling,
       join_settings({{{"diversity.shaping", "ngram", "section 6.2, Tables 3 and 4"},
                       {"diversity.ngram_n", "4", "section 6.2"}},
                      centred()}),
       "no floor, nor in the released code"},
      {"darling_dynamic", "DARLING with groups drawn again until their shaped rewards differ",
       "ours",
       join_settings(
           {{{"diversity.shaping", "multiplicative", "as darling"},
             {"diversity.floor", "0.1", "as darling"},
             {"filter_groups.metric", "shaped", "all-correct groups carry a signal under shaping"},
             {"filter_groups.max_batches", "10", "DAPO's"}},
            learned_partition(),
            centred()}),
       ""},
      {"unlikelihood", "quality x rank-free unlikeliness, the signal in the DARLING repository",
       kDarling,
       join_settings({{{"diversity.shaping", "unlikelihood", "diversity_rewards.py, unlikelihood"}},
                      centred()}),
       "mean log-probability of a token; the release divides by prompt length and words once more"},
  };
}

/// Rivals that weigh the reward by how rare the completion's class is.
std::vector<Preset> rarity_family() {
  return {
      {"unlikeliness", "correct answers that the policy held unlikely earn more",
       "arXiv 2506.02355; code AndreHe02/rewarding-unlikely-release",
       join_settings({{{"diversity.shaping", "unlikeliness", "section 4"},
                       {"unlikeliness.rank_penalty", "0.25", "beta_rank of the paper"}},
                      group_std()}),
       "secondary sources count ranks from 0 or from 1; the order is the same"},
      {"ips", "reward divided by the share of the completion's class in the group",
       "arXiv 2601.21669",
       join_settings({{{"diversity.shaping", "ips", "inverse-propensity weights"},
                       {"ips.alpha", "1", "the unbiased form"}},
                      learned_partition(),
                      centred()}),
       "the paper's classes are known; here they are the configured partition's"},
      {"alpha_ips", "the same with the share to the power one half", "arXiv 2601.21669",
       join_settings({{{"diversity.shaping", "ips", "alpha-IPS"},
                       {"ips.alpha", "0.5", "between 0 (off) and 1"}},
                      learned_partition(),
                      centred()}),
       ""},
      {"uniqueness", "advantage divided by a power of the cluster's size", "arXiv 2601.08763",
       join_settings({{{"diversity.shaping", "uniqueness", "weights the advantage"},
                       {"uniqueness.alpha", "0.5", "within the paper's [0, 1]"}},
                      learned_partition(),
                      group_std()}),
       "the paper's clusters are a language model's judgement of strategies"},
      {"dra", "reward divided by the sum of similarities to the group",
       "arXiv 2505.09655; code xiwenc1/DRA-GRPO",
       join_settings({{{"diversity.shaping", "dra", "soft counts, own similarity 1 included"}},
                      learned_partition(),
                      centred()}),
       "similarities are the partition's pair scores; the paper takes cosines of sentence embeddings"},
      {"mmr", "maximal marginal relevance: a completion near an earlier pick earns less",
       "code WeiKangda/MMR-GRPO",
       join_settings(
           {{{"diversity.shaping", "mmr", "greedy picks"}, {"mmr.lambda", "0.7", "fixed form"}},
            learned_partition(),
            centred()}),
       "ties are broken by index; similarities are the partition's pair scores"},
      {"gapo", "valid answers pulled towards a uniform spread over the modes", "arXiv 2511.12596",
       join_settings({{{"diversity.shaping", "gapo", "1 - (frequency - 1/L)"}},
                      learned_partition(),
                      group_std()}),
       "valid means finished (gapo.valid); the paper checks a format"},
      {"coverage",
       "chance that no other of K - 1 draws shares the class: DARLING's diversity with K = 4",
       "ours",
       join_settings({{{"diversity.shaping", "coverage", "K = 2, lambda = 1 is DARLING"},
                       {"coverage.k", "4", "ours"},
                       {"coverage.lambda", "0.5", "ours"}},
                      learned_partition(),
                      centred()}),
       ""},
      {"darling_k", "the same without the mixture: DARLING's diversity of a set of four", "ours",
       join_settings({{{"diversity.shaping", "coverage", "K = 2 is DARLING without floor"},
                       {"coverage.k", "4", "ours"},
                       {"coverage.lambda", "1", "K = 2, lambda = 1 is DARLING"}},
                      learned_partition(),
                      centred()}),
       ""},
      {"set_rl", "every completion earns the mean quality x distinct share of the sets it is in",
       "arXiv 2509.25424, 2604.17654",
       join_settings(
           {{{"diversity.shaping", "set_rl", "mean over sets with it minus mean over sets"},
             {"set_rl.k", "4", "sets of four of the group"}},
            learned_partition(),
            centred()}),
       "the papers sample vines and train with PPO; here the sets are subsets of one group"},
      {"dqo", "quality + leave-one-out credit of a log-determinant of similarities",
       "arXiv 2509.04784",
       join_settings({{{"diversity.shaping", "logdet", "log det(L + I)"},
                       {"logdet.alpha", "0.1", "ours; the paper tunes it"}},
                      learned_partition(),
                      centred()}),
       "L is the matrix of pair scores"},
      {"outcome_entropy",
       "quality - alpha ln(share of the class): entropy of meanings, not of tokens", "ours",
       join_settings({{{"diversity.shaping", "outcome_entropy", "fixed point p ~ exp(r/alpha)"},
                       {"outcome_entropy.alpha", "0.1", "ours"}},
                      learned_partition(),
                      centred()}),
       ""},
  };
}

/// Outcome-based exploration: bonuses on the advantage.
std::vector<Preset> outcome_family() {
  constexpr const char* kPaper = "arXiv 2509.06941";
  const auto preset = [&](const char* name, const char* title, bool history) {
    return Preset{name, title, kPaper,
                  join_settings({{{"diversity.shaping", name, "outcome-based exploration"},
                                  {"outcome_bonus.on_answer", "off",
                                   "answer tokens stay out of the exploration gradient"}},
                                 history ? std::vector<Setting>{{"partition.across_steps", "on",
                                                                 "historical counts"}}
                                         : std::vector<Setting>{},
                                 learned_partition(),
                                 group_std()}),
                  "classes are the configured partition's; the paper counts final answers"};
  };
  return {preset("ucb", "bonus 1/sqrt(count) of the class over the run", true),
          preset("ucb_mean", "the same less the mean of the others", true),
          preset("ucb_con", "the same less a constant: rare classes gain, worn ones lose", true),
          preset("batch", "penalty by how many of the group share the class", false)};
}

}  // namespace

std::vector<Preset> diversity_presets() {
  std::vector<Preset> out;
  for (const auto& family : {darling_family(), rarity_family(), outcome_family()})
    out.insert(out.end(), family.begin(), family.end());
  return out;
}

}  // namespace motley
