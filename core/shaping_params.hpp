#pragma once
/// Settings of reward shaping: which method, and the knobs of each.

#include "core/base/describe.hpp"
#include "core/base/registry.hpp"
#include "core/base/types.hpp"

namespace motley {

enum class Shaping : int {
  none,
  multiplicative,
  multiplicative_correct,
  multiplicative_sigmoid,
  additive,
  additive_norm,
  ngram,
  unlikeliness,
  unlikelihood,
  ips,
  uniqueness,
  ucb,
  ucb_mean,
  ucb_con,
  batch,
  dra,
  mmr,
  gapo,
  coverage,
  set_rl,
  logdet,
  outcome_entropy,
  difficulty,
  permuted,
};
template <>
struct EnumNames<Shaping> {
  static constexpr std::array<std::string_view, 24> names = {"none",
                                                             "multiplicative",
                                                             "multiplicative_correct",
                                                             "multiplicative_sigmoid",
                                                             "additive",
                                                             "additive_norm",
                                                             "ngram",
                                                             "unlikeliness",
                                                             "unlikelihood",
                                                             "ips",
                                                             "uniqueness",
                                                             "ucb",
                                                             "ucb_mean",
                                                             "ucb_con",
                                                             "batch",
                                                             "dra",
                                                             "mmr",
                                                             "gapo",
                                                             "coverage",
                                                             "set_rl",
                                                             "logdet",
                                                             "outcome_entropy",
                                                             "difficulty",
                                                             "permuted"};
};

/// What `is_product`, `needs_clusters` and `needs_log_prob` answer for a registered shaping.
enum ShapingTraits : unsigned {
  kPlainShaping = 0,
  kShapesProduct = 1,   ///< multiplies or divides quality
  kShapesClusters = 2,  ///< reads labels or sizes of clusters
  kShapesLogProbs = 4,  ///< reads log-probabilities
};
/// Is the shaping a registered one (core/shaping_method.hpp), no enumerator?
KOKKOS_INLINE_FUNCTION bool is_registered(Shaping s) {
  return static_cast<int>(s) >= kFirstRegistered;
}
KOKKOS_INLINE_FUNCTION bool has_trait(Shaping s, ShapingTraits trait) {
  return is_registered(s) && (static_cast<unsigned>(s) & static_cast<unsigned>(trait)) != 0;
}
template <>
struct RegisteredNames<Shaping> {
  static std::vector<std::string> names();
  static Shaping value(std::size_t i);
  static std::string_view name(Shaping s);
};

enum class RewardBias : int { none, group_min, sigmoid };
template <>
struct EnumNames<RewardBias> {
  static constexpr std::array<std::string_view, 3> names = {"none", "group_min", "sigmoid"};
};

/// Does the historical count hold this step's group?
enum class BonusCount : int { before, including };
template <>
struct EnumNames<BonusCount> {
  static constexpr std::array<std::string_view, 2> names = {"before", "including"};
};

enum class MmrAdaptive : int { off, std };
template <>
struct EnumNames<MmrAdaptive> {
  static constexpr std::array<std::string_view, 2> names = {"off", "std"};
};

enum class GapoValid : int { finished, correct };
template <>
struct EnumNames<GapoValid> {
  static constexpr std::array<std::string_view, 2> names = {"finished", "correct"};
};

/// Largest set of set_rl, and the most sets it looks at.
inline constexpr int kMaxSet = 32;
inline constexpr int kMaxSets = 4096;
/// Largest group of logdet, whose cost grows with the cube.
inline constexpr int kMaxMatrix = 256;

struct ShapingParams {
  Shaping shaping = Shaping::multiplicative;
  double floor = 0.1;
  RewardBias reward_bias = RewardBias::none;
  double quality_weight = 1.0;
  double diversity_weight = 1.0;
  int ngram_n = 4;
  double rank_penalty = 0.25;
  double ips_alpha = 1.0;
  double ips_eps = 1e-6;
  double uniqueness_alpha = 0.5;
  double bonus_coef = 0.1;
  double bonus_b0 = 0.5;
  BonusCount bonus_count = BonusCount::before;
  bool bonus_on_answer = true;
  double mmr_lambda = 0.7;
  MmrAdaptive mmr_adaptive = MmrAdaptive::off;
  int gapo_modes = 5;
  GapoValid gapo_valid = GapoValid::finished;
  int coverage_k = 4;
  double coverage_lambda = 0.5;
  int set_k = 4;
  double logdet_alpha = 0.1;
  double entropy_alpha = 0.1;
  std::uint64_t seed = 0;  ///< the replica's own run seed (permuted, set_rl); not an option
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, ShapingParams> {
  v("diversity.shaping", c.shaping, any_value, "1", "how diversity enters the reward");
  v("diversity.floor", c.floor, between(0, 1), "1",
    "smallest diversity factor; the released code has 0.1, the paper 0");
  v("diversity.reward_bias", c.reward_bias, any_value, "1",
    "what is done to quality before the product, for scores that can be negative");
  v("diversity.quality_weight", c.quality_weight, between(-1e6, 1e6), "1",
    "weight of quality (additive, additive_norm; advantage.estimator = gdpo)");
  v("diversity.diversity_weight", c.diversity_weight, between(-1e6, 1e6), "1",
    "weight of diversity (additive, additive_norm; advantage.estimator = gdpo)");
  v("diversity.ngram_n", c.ngram_n, between(1, 64), "token",
    "n of the lexical diversity (shaping = ngram)");
  v("unlikeliness.rank_penalty", c.rank_penalty, between(0, 1), "1",
    "what the likeliest completion of a group loses, as a share of its quality; less with its rank");
  v("ips.alpha", c.ips_alpha, between(0, 10), "1", "power of a cluster's share in the divisor");
  v("ips.eps", c.ips_eps, Range{.low = 0, .high = 1, .low_open = true}, "1", "smallest divisor");
  v("uniqueness.alpha", c.uniqueness_alpha, between(0, 10), "1",
    "power of the cluster size that divides the advantage");
  v("outcome_bonus.coef", c.bonus_coef, between(0, 1e6), "1",
    "weight of the bonus on the advantage (ucb, ucb_mean, ucb_con, batch)");
  v("outcome_bonus.b0", c.bonus_b0, between(0, 1), "1",
    "what ucb_con takes off: 0.5 makes the bonus positive where a class was seen fewer than 4 times");
  v("outcome_bonus.count", c.bonus_count, any_value, "1",
    "historical count of ucb, ucb_mean, ucb_con: before this step, or including its group");
  v("outcome_bonus.on_answer", c.bonus_on_answer, any_value, "1",
    "the tokens of the stated answer receive the bonus too; the paper leaves them out");
  v("mmr.lambda", c.mmr_lambda, between(0, 1), "1",
    "weight of quality against similarity to what is already chosen");
  v("mmr.adaptive", c.mmr_adaptive, any_value, "1",
    "std = lambda from the group's own deviation of quality, rewards brought back to its mean and deviation");
  v("gapo.num_modes", c.gapo_modes, between(1, 1e6), "1", "classes of the uniform target");
  v("gapo.valid", c.gapo_valid, any_value, "1",
    "who takes part in the frequencies: what is well-formed, or what is correct; the others get -1");
  v("coverage.k", c.coverage_k, between(1, 4096), "1",
    "size of the sets that should hold different classes; 2 with lambda 1 is multiplicative");
  v("coverage.lambda", c.coverage_lambda, between(0, 1), "1",
    "weight of coverage; the rest is plain quality");
  v("set_rl.k", c.set_k, between(1, kMaxSet), "1", "size of the rewarded sets");
  v("logdet.alpha", c.logdet_alpha, between(0, 1e6), "1",
    "weight of the log-determinant credit of the group's similarities");
  v("outcome_entropy.alpha", c.entropy_alpha, between(0, 1e6), "nat^-1",
    "weight of the entropy of the clusters");
}

/// Acts on the advantage: the reward is the quality.
KOKKOS_INLINE_FUNCTION bool shapes_advantage(Shaping s) {
  return s == Shaping::uniqueness || s == Shaping::ucb || s == Shaping::ucb_mean ||
         s == Shaping::ucb_con || s == Shaping::batch;
}

/// Adds a bonus to the advantage (A8).
KOKKOS_INLINE_FUNCTION bool adds_bonus(Shaping s) {
  return shapes_advantage(s) && s != Shaping::uniqueness;
}

/// Multiplies or divides quality, so that a negative one would be punished for being rare.
KOKKOS_INLINE_FUNCTION bool is_product(Shaping s) {
  switch (s) {
    case Shaping::multiplicative:
    case Shaping::multiplicative_correct:
    case Shaping::multiplicative_sigmoid:
    case Shaping::ngram:
    case Shaping::unlikeliness:
    case Shaping::unlikelihood:
    case Shaping::ips:
    case Shaping::dra:
    case Shaping::coverage:
    case Shaping::set_rl:
    case Shaping::difficulty:
    case Shaping::permuted: return true;
    default: return has_trait(s, kShapesProduct);
  }
}

/// The reward follows from quality and the size of the own cluster alone (`count_reward`).
KOKKOS_INLINE_FUNCTION bool is_count_reward(Shaping s) {
  return s == Shaping::none || s == Shaping::multiplicative ||
         s == Shaping::multiplicative_sigmoid || s == Shaping::additive || s == Shaping::ips ||
         s == Shaping::coverage || s == Shaping::outcome_entropy || shapes_advantage(s);
}

/// Reads labels or sizes of clusters, which a soft linkage does not make.
KOKKOS_INLINE_FUNCTION bool needs_clusters(Shaping s) {
  return s == Shaping::multiplicative_correct || s == Shaping::ips || s == Shaping::gapo ||
         s == Shaping::coverage || s == Shaping::set_rl || s == Shaping::outcome_entropy ||
         shapes_advantage(s) || has_trait(s, kShapesClusters);
}

/// Reads the log-probabilities of the completions.
KOKKOS_INLINE_FUNCTION bool needs_log_prob(Shaping s) {
  return s == Shaping::unlikelihood || s == Shaping::unlikeliness || has_trait(s, kShapesLogProbs);
}

}  // namespace motley
