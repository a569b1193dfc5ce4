#pragma once
/// Device bodies of core/objective.hpp.

#include "core/objective.hpp"

namespace motley {

template <class Scalar>
KOKKOS_INLINE_FUNCTION TokenLoss<Scalar> token_loss(const LossParams& p, Scalar new_log_prob,
                                                    Scalar old_log_prob, Scalar ref_log_prob,
                                                    Scalar advantage) {
  TokenLoss<Scalar> out{};
  const Scalar raw = new_log_prob - old_log_prob;
  const Scalar log_ratio = raw < Scalar(-20) ? Scalar(-20) : (raw > Scalar(20) ? Scalar(20) : raw);
  const bool ratio_moves = log_ratio == raw;
  out.ratio = exp_value(log_ratio);

  if (p.policy == PolicyLoss::reinforce) {
    out.policy = -advantage * new_log_prob;
    out.d_log_prob = -advantage;
  } else {
    const Scalar low = static_cast<Scalar>(1.0 - p.clip_ratio_low);
    const Scalar high = static_cast<Scalar>(1.0 + p.clip_ratio_high);
    const Scalar clipped = out.ratio < low ? low : (out.ratio > high ? high : out.ratio);
    const Scalar plain = -advantage * out.ratio;
    const Scalar bounded = -advantage * clipped;
    // Equal values: the gradient of the unclipped branch, as in autograd's max(l1, l2).
    const bool clip_active = bounded > plain;
    out.policy = clip_active ? bounded : plain;
    Scalar slope = clip_active ? Scalar(0) : plain;
    out.clipped_low = clip_active && advantage < Scalar(0);
    out.clipped_high = clip_active && advantage > Scalar(0);
    if (advantage < Scalar(0)) {
      const Scalar bound = -advantage * static_cast<Scalar>(p.clip_ratio_c);
      if (bound < out.policy) {
        out.policy = bound;
        slope = Scalar(0);
        out.clipped_dual = true;
      }
    }
    out.d_log_prob = ratio_moves ? slope : Scalar(0);
  }

  if (p.kl_coef != 0.0 && p.kl_placement == KlPlacement::loss &&
      p.kl_estimator != KlEstimator::exact) {
    const Scalar d = new_log_prob - ref_log_prob;
    Scalar slope = 0;
    switch (p.kl_estimator) {
      case KlEstimator::k1:
        out.kl = d;
        slope = Scalar(1);
        break;
      case KlEstimator::k2:
        out.kl = d * d / Scalar(2);
        slope = d;
        break;
      case KlEstimator::abs:
        out.kl = d < Scalar(0) ? -d : d;
        slope = d < Scalar(0) ? Scalar(-1) : (d > Scalar(0) ? Scalar(1) : Scalar(0));
        break;
      default: {
        const Scalar x = -d < Scalar(-20) ? Scalar(-20) : (-d > Scalar(20) ? Scalar(20) : -d);
        const Scalar e = exp_value(x);
        const Scalar k3 = e - x - Scalar(1);
        const bool clamped = k3 > Scalar(10);
        out.kl = clamped ? Scalar(10) : k3;
        slope = clamped || x != -d ? Scalar(0) : Scalar(1) - e;
      }
    }
    out.d_log_prob += static_cast<Scalar>(p.kl_coef) * slope;
  }
  return out;
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar row_kl(const Scalar* scaled, const RowSoftmax<Scalar>& s,
                                     const Scalar* ref_scaled, const RowSoftmax<Scalar>& ref,
                                     int V) {
  return lane_sum<Scalar>(V, [&](int v) {
    const Scalar lp = s.log_prob(scaled[v]);
    const Scalar p = exp_or_zero(lp);
    return p > Scalar(0) ? p * (lp - ref.log_prob(ref_scaled[v])) : Scalar(0);
  });
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION void row_loss_gradient(const LossParams& p, Scalar* scaled, int V,
                                              const RowSoftmax<Scalar>& s, int token,
                                              Scalar d_log_prob, Scalar entropy,
                                              const Scalar* ref_scaled,
                                              const RowSoftmax<Scalar>& ref, Scalar exact_kl,
                                              Scalar weight) {
  const Scalar scale = weight * static_cast<Scalar>(p.inv_temperature);
  const Scalar entropy_coef = static_cast<Scalar>(p.entropy_coef);
  const Scalar kl_coef = ref_scaled != nullptr ? static_cast<Scalar>(p.kl_coef) : Scalar(0);
  for (int v = 0; v < V; ++v) {
    const Scalar lp = s.log_prob(scaled[v]);
    const Scalar prob = exp_or_zero(lp);
    Scalar slope = d_log_prob * ((v == token ? Scalar(1) : Scalar(0)) - prob);
    if (entropy_coef != Scalar(0) && prob > Scalar(0))
      slope += entropy_coef * prob * (lp + entropy);
    if (kl_coef != Scalar(0) && prob > Scalar(0))
      slope += kl_coef * prob * (lp - ref.log_prob(ref_scaled[v]) - exact_kl);
    scaled[v] = scale * slope;
  }
}

}  // namespace motley
