#pragma once
/// Reward shaping: quality (x) diversity.

#include "core/base/describe.hpp"
#include "core/partition.hpp"
#include "core/rollout.hpp"

namespace motley {

enum class Shaping : int {
  none,
  multiplicative,
  multiplicative_correct,
  multiplicative_sigmoid,
  additive,
  additive_norm,
  ngram,
  unlikelihood,
  difficulty,
  permuted,
};
template <>
struct EnumNames<Shaping> {
  static constexpr std::array<std::string_view, 10> names = {"none",
                                                             "multiplicative",
                                                             "multiplicative_correct",
                                                             "multiplicative_sigmoid",
                                                             "additive",
                                                             "additive_norm",
                                                             "ngram",
                                                             "unlikelihood",
                                                             "difficulty",
                                                             "permuted"};
};

enum class RewardBias : int { none, group_min, sigmoid };
template <>
struct EnumNames<RewardBias> {
  static constexpr std::array<std::string_view, 3> names = {"none", "group_min", "sigmoid"};
};

struct ShapingParams {
  Shaping shaping = Shaping::multiplicative;
  double floor = 0.1;
  RewardBias reward_bias = RewardBias::none;
  double quality_weight = 1.0;
  double diversity_weight = 1.0;
  int ngram_n = 4;
  std::uint64_t seed = 0;  ///< the replica's own run seed (draws of `permuted`); not an option
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, ShapingParams> {
  v("diversity.shaping", c.shaping, any_value, "1", "how diversity enters the reward");
  v("diversity.floor", c.floor, between(0, 1), "1",
    "smallest diversity factor; the released code has 0.1, the paper 0");
  v("diversity.reward_bias", c.reward_bias, any_value, "1",
    "what is done to quality before the product, for scores that can be negative");
  v("diversity.quality_weight", c.quality_weight, between(-1e6, 1e6), "1",
    "weight of quality (additive, additive_norm)");
  v("diversity.diversity_weight", c.diversity_weight, between(-1e6, 1e6), "1",
    "weight of diversity (additive, additive_norm)");
  v("diversity.ngram_n", c.ngram_n, between(1, 64), "token",
    "n of the lexical diversity (shaping = ngram)");
}

/// Who takes part in the partition: everybody, or the correct completions (quality > 0) where the
/// shaping is multiplicative_correct. \param member [R,B,G] out, 0 or 1, the argument of
/// `partition`
void partition_members(const Exec& exec, const ConstView1<ShapingParams>& params,
                       const ConstView3<float>& quality, const View3<int>& member);

/// Diversity and shaped reward of every completion. n = G:
///   Div_i (partition)  = (n - |C(i)|) / (n - 1), soft linkage: 1 - mean_{j != i} P_ij
///   none               r = q
///   multiplicative     r = bias(q) * max(Div, floor)                     DARLING (A2)
///   multiplicative_correct  correct (q > 0) only are partitioned: c correct, Div = (c-|C|)/(c-1);
///                      incorrect or c <= 1: 0; then floor and product
///   multiplicative_sigmoid  r = bias(q) * sigmoid(max(Div, floor))
///   additive           r = w_q q + w_d max(Div, floor)   (released code: Div already floored)
///   additive_norm      r = w_q z(q) + w_d z(max(Div, floor)), z = (x-mean)/(std + 1e-6), ddof 0, 0
///   where std = 0 ngram              Div_i = |n-grams of y_i in no other y_j| / max(1, |y_i| - n +
///   1); r = bias(q) * Div unlikelihood       Div_i = 1 - (l_i - min)/(max - min), l_i = mean
///   log-prob; .5 if all equal;  r = bias(q) * Div difficulty         Div_i = (n - c)/(n - 1) for
///   all, c = correct: control without semantics; r = bias(q)*max(Div, floor) permuted
///   multiplicative with the group's Div values shuffled (Fisher-Yates, Stream::permute)
/// reward_bias: group_min q - min_group q; sigmoid 1/(1+exp(-q)); applied in the products only.
/// A group of one: Div = 0 (no other completion), factor = floor.
/// `diversity` receives Div before the floor. `used` receives 1.
/// \param step  address of the permuted draws
template <class Scalar>
void shape_reward(const Exec& exec, const ConstView1<ShapingParams>& params,
                  const ConstView1<PartitionParams>& partition_params, std::uint32_t step,
                  const ConstView3<Scalar>& quality, const ConstView3<int>& cluster_size,
                  const ConstView4<float>& pair_score, const ConstView4<int>& token,
                  const ConstView3<int>& length, const ConstView4<float>& log_prob,
                  const View3<Scalar>& diversity, const View3<Scalar>& reward,
                  const View3<int>& used);

}  // namespace motley
