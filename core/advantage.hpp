#pragma once
/// Group-relative advantages.

#include "core/base/describe.hpp"
#include "core/rollout.hpp"
#include "core/set_estimators.hpp"
#include "core/shaping.hpp"

namespace motley {

enum class Estimator : int {
  grpo,
  dr_grpo,
  rloo,
  reinforce,
  psr,
  nsr,
  w_reinforce,
  passk,
  pkpo,
  maxrl,
  grpo_passk,
  opo,
  gdpo,
};
template <>
struct EnumNames<Estimator> {
  static constexpr std::array<std::string_view, 13> names = {
      "grpo",  "dr_grpo", "rloo",  "reinforce",  "psr", "nsr", "w_reinforce",
      "passk", "pkpo",    "maxrl", "grpo_passk", "opo", "gdpo"};
};
enum class Baseline : int { mean, loo, none, loo_partition };
template <>
struct EnumNames<Baseline> {
  static constexpr std::array<std::string_view, 4> names = {"mean", "loo", "none", "loo_partition"};
};
enum class AdvantageNorm : int { none, group, batch, loo };
template <>
struct EnumNames<AdvantageNorm> {
  static constexpr std::array<std::string_view, 4> names = {"none", "group", "batch", "loo"};
};

struct AdvantageParams {
  Estimator estimator = Estimator::dr_grpo;
  Baseline baseline = Baseline::mean;
  AdvantageNorm norm = AdvantageNorm::none;
  double eps = 1e-6;
  int k = 4;
  PkpoForm pkpo = PkpoForm::sloo_minus_one;
  double positive_weight = 0.1;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, AdvantageParams> {
  v("advantage.estimator", c.estimator, any_value, "1",
    "family of the advantage; it sets baseline and norm where they are not given");
  v("advantage.baseline", c.baseline, any_value, "1",
    "what is subtracted: the group's mean, the mean of the others, nothing, the mean of the others as shaped without this one");
  v("advantage.norm", c.norm, any_value, "1",
    "what the advantage is divided by: nothing, the group's deviation, the batch's, that of the others");
  v("advantage.eps", c.eps, Range{.low = 0, .high = 1}, "1", "added to the deviation");
  v("advantage.k", c.k, between(1, 4096), "1", "k of passk and pkpo");
  v("advantage.pkpo", c.pkpo, any_value, "1", "baseline of pkpo");
  v("advantage.positive_weight", c.positive_weight, between(0, 1e6), "1",
    "weight of correct completions (w_reinforce)");
}

/// Makes of the rewards something else than themselves: a baseline per reward has no meaning there.
KOKKOS_INLINE_FUNCTION bool keeps_rewards(Estimator e) {
  return e == Estimator::grpo || e == Estimator::dr_grpo || e == Estimator::rloo ||
         e == Estimator::reinforce;
}
/// Reads correctness (quality > 0) alone.
KOKKOS_INLINE_FUNCTION bool needs_correctness(Estimator e) {
  return e == Estimator::psr || e == Estimator::nsr || e == Estimator::w_reinforce ||
         e == Estimator::passk;
}

/// What `group_advantage` reads.
template <class Scalar>
struct AdvantageInputs {
  ConstView1<AdvantageParams> params;  // [R]
  ConstView1<ShapingParams> shaping;   // [R]
  ConstView3<Scalar> quality;          // [R,B,G]
  ConstView3<Scalar> diversity;        // [R,B,G]
  ConstView3<Scalar> reward;           // [R,B,G] shaped, finite
  ConstView3<int> cluster;             // [R,B,G]
  ConstView3<int> cluster_size;        // [R,B,G]
  ConstView3<int> history;             // [R,B,G] earlier completions of the same class
  ConstView3<int> length;              // [R,B,G]
  ConstView3<int> used;                // [R,B,G] groups with used = 0 get 0
};

/// A_g = bonus(weight (u_g - baseline) / s), n = G, q > 0 correct, c of n correct.
///
/// u by `estimator`:
///   grpo, dr_grpo, rloo, reinforce   the shaped reward r; the names differ in the baseline and
///                                    norm that they set (2402.03300, 2503.20783, 2402.14740)
///   psr, nsr, w_reinforce            correct 1 | 0 | positive_weight, wrong 0 | -1 | -1
///                                    (B6, 2506.01347)
///   passk, pkpo                      `pass_at_k_advantage`, `pkpo_values` (B7, B8)
///   maxrl                            (r - mean)/(mean + eps), 0 where the mean is not positive
///   (B9) grpo_passk                       the best, lowest index first: r minus the next best;
///   others 0
///                                    (B10, 2503.19595)
///   opo                              r - sum l r / sum l, l = length (B11, 2505.23585)
///   gdpo                             w_q z(q) + w_d z(Div), z in the group (ddof 1, eps), 0 where
///                                    all are equal (A13, 2601.05242)
/// All but the first four set baseline and norm to none (gdpo: batch).
/// baseline: mean of u; loo: mean of the others = n/(n-1) times the centred u; none: 0;
/// loo_partition: mean over j != i of r_j as shaped in the group without i, where the reward is a
/// function of quality and cluster sizes (`is_count_reward`; O9: removes the group-size bias).
/// s: none 1; group: sample deviation (ddof 1) of the group's r + eps; batch: of all used u of the
/// replica in this step + eps; loo: of the others' r + eps, 1 where those are equal (B15).
/// weight and bonus by `diversity.shaping` (A7, 2601.08763; A8, 2509.06941):
///   uniqueness  A / |C|^alpha
///   ucb         A + coef b, b = min(1, 1/sqrt(N)), N = history (+ |C| where count = including)
///   ucb_mean    A + coef (b - mean of the others' b)      ucb_con  A + coef (b - b0)
///   batch       A - coef (|C| - 1)/n
///   no bonus where every completion of the group is correct; with outcome_bonus.on_answer = off it
///   stays out of `answer_advantage`, what the tokens of a stated answer receive.
/// Where all u of a group are equal the advantage (baseline mean or loo) is exactly 0 (the official
/// float32 code gives up to 0.6 there, darling-spec a6). A group of one: mean 0, s = 1. Sums in
/// order over G in double: same bits on every run of a backend.
/// \param group_mean, group_std [R,B] out, of r   \param advantage [R,B,G] out
/// \param answer_advantage [R,B,G] out; may be empty
template <class Scalar>
void group_advantage(const Exec& exec, const AdvantageInputs<Scalar>& in,
                     const RewardWorkspace& workspace, const View2<Scalar>& group_mean,
                     const View2<Scalar>& group_std, const View3<Scalar>& advantage,
                     const View3<Scalar>& answer_advantage = View3<Scalar>());

}  // namespace motley
