#pragma once
/// Terms added to the shaped reward: the length penalty, and the divergence from the reference.

#include "core/base/describe.hpp"
#include "core/objective.hpp"
#include "core/rollout.hpp"

namespace motley {

/// Overlong completions (DAPO, arXiv 2503.14476, section 3.4).
struct OverlongParams {
  int max_length = 0;  ///< 0 = no penalty
  int cache = 0;
  bool filter = false;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, OverlongParams> {
  v("overlong.max_length", c.max_length, between(0, 1e6), "token",
    "length from which a completion's reward is lowered by 1; 0 = no length penalty");
  v("overlong.cache", c.cache, between(0, 1e6), "token",
    "width of the ramp below overlong.max_length on which the penalty grows from 0 to 1");
  v("overlong.filter", c.filter, any_value, "1",
    "keep completions cut at rollout.max_tokens out of the loss; they still count in their group's baseline");
}

/// Lmax = max_length, Lc = cache: 0 for length <= Lmax - Lc; ((Lmax - Lc) - length) / Lc up to
/// Lmax; -1 beyond; 0 where Lmax = 0.
KOKKOS_INLINE_FUNCTION double overlong_penalty(const OverlongParams& p, int length) {
  if (p.max_length == 0 || length <= p.max_length - p.cache) return 0.0;
  if (length > p.max_length) return -1.0;
  return double(p.max_length - p.cache - length) / p.cache;
}

/// Adds the length penalty to the shaped reward. \param length [R,B,G]   \param reward [R,B,G] in,
/// out; bits of a replica without the penalty are left alone
template <class Scalar>
void add_overlong_penalty(const Exec& exec, const ConstView1<OverlongParams>& params,
                          const ConstView3<int>& length, const View3<Scalar>& reward);

/// Sampled estimate of KL(pi | ref) at one token, d = ln pi - ln ref: k1 d; k2 d^2 / 2; abs |d|;
/// k3 exp(-d) + d - 1 with d clamped to +-20 and the value to 10, as in `token_loss`.
KOKKOS_INLINE_FUNCTION double sampled_kl(KlEstimator estimator, double d) {
  switch (estimator) {
    case KlEstimator::k1: return d;
    case KlEstimator::k2: return 0.5 * d * d;
    case KlEstimator::abs: return d < 0.0 ? -d : d;
    default: {
      const double x = -d < -20.0 ? -20.0 : (-d > 20.0 ? 20.0 : -d);
      const double k3 = Kokkos::exp(x) - x - 1.0;
      return k3 > 10.0 ? 10.0 : k3;
    }
  }
}

/// kl.placement = reward: r_i -= kl.coef * sum over counted tokens of the estimator, old against
/// reference policy. With k1 the gradient of the expected reward is that of KL(pi | ref) (arXiv
/// 2512.21852); in the loss it would be 0. Sums in order over t in double.
/// \param old_log_prob, ref_log_prob [R,B,G,T] nats   \param reward [R,B,G] in, out
template <class Scalar>
void subtract_kl(const Exec& exec, const ConstView1<LossParams>& params,
                 const ConstView4<float>& old_log_prob, const ConstView4<float>& ref_log_prob,
                 const ConstView3<int>& length, const View3<Scalar>& reward);

}  // namespace motley
