#pragma once
/// Group-relative advantages.

#include "core/base/describe.hpp"
#include "core/rollout.hpp"

namespace motley {

enum class Estimator : int { grpo, dr_grpo, rloo, reinforce };
template <>
struct EnumNames<Estimator> {
  static constexpr std::array<std::string_view, 4> names = {"grpo", "dr_grpo", "rloo", "reinforce"};
};
enum class Baseline : int { mean, loo, none };
template <>
struct EnumNames<Baseline> {
  static constexpr std::array<std::string_view, 3> names = {"mean", "loo", "none"};
};
enum class AdvantageNorm : int { none, group, batch };
template <>
struct EnumNames<AdvantageNorm> {
  static constexpr std::array<std::string_view, 3> names = {"none", "group", "batch"};
};

struct AdvantageParams {
  Estimator estimator = Estimator::dr_grpo;
  Baseline baseline = Baseline::mean;
  AdvantageNorm norm = AdvantageNorm::none;
  double eps = 1e-6;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, AdvantageParams> {
  v("advantage.estimator", c.estimator, any_value, "1",
    "family of the advantage; it sets baseline and norm where they are not given");
  v("advantage.baseline", c.baseline, any_value, "1",
    "what is subtracted: the group's mean, the mean of the others, nothing");
  v("advantage.norm", c.norm, any_value, "1",
    "what the advantage is divided by: nothing, the group's deviation, the batch's");
  v("advantage.eps", c.eps, Range{.low = 0, .high = 1}, "1", "added to the deviation");
}

/// A_g = (r_g - baseline) / s.
///
/// baseline mean: group mean (GRPO, arXiv 2402.03300); loo: mean of the others = n/(n-1) times the
/// centred reward (RLOO, 2402.14740); none: 0. norm none: s = 1 (Dr. GRPO, 2503.20783); group:
/// s = sample deviation (ddof 1) + eps; batch: s = sample deviation over all rewards of the replica
/// in this step + eps. Baseline and norm decide; `estimator` only names the family. Where all
/// rewards of a group are equal the advantage (baseline mean or loo) is exactly 0 (the official
/// float32 code gives up to 0.6 there, darling-spec a6). A group of one: mean 0, s = 1. Sums in
/// order over G in double: same bits on every run of a backend. \param params [R]   \param reward
/// [R,B,G] finite   \param used [R,B,G] groups with used = 0 get 0 \param group_mean, group_std
/// [R,B] out   \param advantage [R,B,G] out
template <class Scalar>
void group_advantage(const Exec& exec, const ConstView1<AdvantageParams>& params,
                     const ConstView3<Scalar>& reward, const ConstView3<int>& used,
                     const View2<Scalar>& group_mean, const View2<Scalar>& group_std,
                     const View3<Scalar>& advantage);

}  // namespace motley
