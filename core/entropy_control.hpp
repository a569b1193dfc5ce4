#pragma once
/// The coefficient of the entropy bonus, moved so that the policy's entropy meets a target.

#include "core/base/describe.hpp"
#include "core/metrics.hpp"
#include "core/objective.hpp"

namespace motley {

enum class EntropyAdaptive : int { off, threshold, lagrangian };
template <>
struct EnumNames<EntropyAdaptive> {
  static constexpr std::array<std::string_view, 3> names = {"off", "threshold", "lagrangian"};
};

struct EntropyParams {
  EntropyAdaptive adaptive = EntropyAdaptive::off;
  double target = 0.2;
  double delta = 1e-4;
  double min = 0.0;
  double max = 0.005;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, EntropyParams> {
  v("entropy.adaptive", c.adaptive, any_value, "1",
    "how entropy.coef follows the measured entropy: off, threshold or lagrangian");
  v("entropy.target", c.target, between(0, 1e3), "nat", "mean token entropy that is aimed at");
  v("entropy.delta", c.delta, between(0, 1e3), "1",
    "threshold: change of the coefficient per step; lagrangian: its learning rate");
  v("entropy.min", c.min, between(-1e6, 1e6), "1", "threshold: smallest coefficient");
  v("entropy.max", c.max, between(-1e6, 1e6), "1", "threshold: largest coefficient");
}

/// Where the coefficient starts: entropy.coef, inside [min, max] (threshold) or at least 0
/// (lagrangian).
double initial_entropy_coef(const EntropyParams& params, double coef);

/// One step of the control with H = Metric::entropy of this step's rollouts, before the update:
/// threshold (2505.22312): c <- c + delta where H <= target, else c - delta, inside [min, max]; the
///   bonus is on only where H <= target;
/// lagrangian: c <- max(0, c + delta (target - H)); always on;
/// off: the coefficient of the options.
/// \param coef [R,1] in and out: what the next step starts from
/// \param loss [R] out: entropy_coef of the replicas that adapt, as the update applies it
/// \param metrics [R,kMetrics] in: entropy; out: entropy_coef (c, also where the bonus is off)
void entropy_control(const Exec& exec, const ConstView1<EntropyParams>& params,
                     const View2<double>& coef, const View1<LossParams>& loss,
                     const View2<double>& metrics);

}  // namespace motley
