#pragma once
/// Device bodies of core/objective.hpp.

#include "core/objective.hpp"

namespace motley {

namespace detail {

template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar clamp_log(Scalar x) {
  return x < Scalar(-20) ? Scalar(-20) : (x > Scalar(20) ? Scalar(20) : x);
}

/// ppo, gspo (of the completion's ratio) and clip_cov: the pessimistic of plain and clipped.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void clipped_surrogate(const LossParams& p, Scalar advantage,
                                              bool ratio_moves, TokenLoss<Scalar>& out) {
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
  if (p.policy == PolicyLoss::ppo && advantage < Scalar(0)) {
    const Scalar bound = -advantage * static_cast<Scalar>(p.clip_ratio_c);
    if (bound < out.policy) {
      out.policy = bound;
      slope = Scalar(0);
      out.clipped_dual = true;
    }
  }
  out.d_log_prob = ratio_moves ? slope : Scalar(0);
}

/// The policy term: value, slope, ratio, bounds.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void policy_term(const LossParams& p, Scalar new_log_prob,
                                        Scalar old_log_prob, Scalar advantage,
                                        const TokenNote<Scalar>& note, TokenLoss<Scalar>& out) {
  const Scalar token_log = new_log_prob - old_log_prob;
  const Scalar raw = p.sequence_ratio() ? note.sequence_log_ratio : token_log;
  const Scalar log_ratio = clamp_log(raw);
  const bool ratio_moves = log_ratio == raw;
  out.ratio = exp_value(log_ratio);
  switch (p.policy) {
    case PolicyLoss::reinforce:
      out.policy = -advantage * new_log_prob;
      out.d_log_prob = -advantage;
      break;
    case PolicyLoss::cispo: {
      const Scalar low = static_cast<Scalar>(1.0 - p.clip_ratio_low);
      const Scalar high = static_cast<Scalar>(1.0 + p.clip_ratio_high);
      out.clipped_low = out.ratio < low;
      out.clipped_high = out.ratio > high;
      const Scalar frozen = out.clipped_low ? low : (out.clipped_high ? high : out.ratio);
      out.policy = -frozen * advantage * new_log_prob;
      out.d_log_prob = -frozen * advantage;
      break;
    }
    case PolicyLoss::kl_cov: {
      out.policy = -advantage * out.ratio;
      out.d_log_prob = ratio_moves ? out.policy : Scalar(0);
      if ((note.role & kTokenPenalised) != 0) {
        const Scalar coef = static_cast<Scalar>(p.kl_cov_coef);
        out.policy += coef * (token_log < Scalar(0) ? -token_log : token_log);
        out.d_log_prob +=
            token_log < Scalar(0) ? -coef : (token_log > Scalar(0) ? coef : Scalar(0));
      }
      break;
    }
    case PolicyLoss::gmpo: {
      out.policy = -advantage * out.ratio;
      out.clipped_low = advantage < Scalar(0) && token_log < static_cast<Scalar>(-p.clip_ratio_low);
      out.clipped_high =
          advantage > Scalar(0) && token_log > static_cast<Scalar>(p.clip_ratio_high);
      const bool cut = out.clipped_low || out.clipped_high;
      out.d_log_prob = ratio_moves && !cut ? out.policy : Scalar(0);
      break;
    }
    case PolicyLoss::sapo: {
      const Scalar tau =
          static_cast<Scalar>(advantage > Scalar(0) ? p.sapo_tau_positive : p.sapo_tau_negative);
      const Scalar gate = sigmoid(tau * (out.ratio - Scalar(1)));
      out.policy = -(Scalar(4) / tau) * gate * advantage;
      const Scalar slope = Scalar(-4) * gate * (Scalar(1) - gate) * out.ratio * advantage;
      out.d_log_prob = ratio_moves ? slope : Scalar(0);
      break;
    }
    case PolicyLoss::simko: {
      const bool uncertain = (note.role & kTokenUncertain) != 0;
      const bool likeliest = (note.role & kTokenLikeliest) != 0;
      const bool heavier = uncertain && likeliest && advantage < Scalar(0);
      clipped_surrogate(p,
                        heavier ? advantage * static_cast<Scalar>(p.simko_wrong_weight) : advantage,
                        ratio_moves, out);
      if (uncertain && advantage > Scalar(0)) {
        const Scalar alpha = static_cast<Scalar>(p.simko_alpha);
        out.d_top = out.d_log_prob * alpha / static_cast<Scalar>(p.simko_top_k);
        out.d_log_prob *= Scalar(1) - alpha;
      }
      break;
    }
    case PolicyLoss::divpo:
      out.policy = note.pair_share;
      out.d_log_prob = note.pair_slope;
      break;
    default: clipped_surrogate(p, advantage, ratio_moves, out);
  }
  if ((note.role & kTokenDropped) != 0) {
    out.policy = Scalar(0);
    out.d_log_prob = out.d_top = Scalar(0);
    out.clipped_low = out.clipped_high = out.clipped_dual = false;
  }
}

}  // namespace detail

template <class Scalar>
KOKKOS_INLINE_FUNCTION TokenLoss<Scalar> token_loss(const LossParams& p, Scalar new_log_prob,
                                                    Scalar old_log_prob, Scalar ref_log_prob,
                                                    Scalar advantage,
                                                    const TokenNote<Scalar>& note) {
  TokenLoss<Scalar> out{};
  detail::policy_term(p, new_log_prob, old_log_prob, advantage, note, out);

  if (p.kl_in_loss() != 0.0 && p.kl_estimator != KlEstimator::exact) {
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
        const Scalar x = detail::clamp_log(-d);
        const Scalar e = exp_value(x);
        const Scalar k3 = e - x - Scalar(1);
        const bool clamped = k3 > Scalar(10);
        out.kl = clamped ? Scalar(10) : k3;
        slope = clamped || x != -d ? Scalar(0) : Scalar(1) - e;
        if (p.kl_estimator == KlEstimator::k3_unbiased) {
          const Scalar raw = new_log_prob - old_log_prob;
          const Scalar ratio = exp_value(detail::clamp_log(raw));
          slope = ratio * slope + (detail::clamp_log(raw) == raw ? ratio * out.kl : Scalar(0));
          out.kl *= ratio;
        }
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

namespace detail {

/// ln((pi + ref) / 2) from the two log-probabilities.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar log_mixture(Scalar lp, Scalar lq) {
  const Scalar top = lp > lq ? lp : lq;
  const Scalar gap = lp > lq ? lq - lp : lp - lq;
  return top + Kokkos::log(Scalar(0.5) * (Scalar(1) + exp_or_zero(gap)));
}

}  // namespace detail

template <class Scalar>
KOKKOS_INLINE_FUNCTION RowDivergence<Scalar> row_divergence(KlDirection direction,
                                                            const Scalar* scaled,
                                                            const RowSoftmax<Scalar>& s,
                                                            const Scalar* ref_scaled,
                                                            const RowSoftmax<Scalar>& ref, int V) {
  if (direction == KlDirection::forward) return {row_kl(ref_scaled, ref, scaled, s, V), Scalar(0)};
  if (direction == KlDirection::reverse) {
    const Scalar kl = row_kl(scaled, s, ref_scaled, ref, V);
    return {kl, kl};
  }
  const auto half = [&](const Scalar* from, const RowSoftmax<Scalar>& own) {
    return lane_sum<Scalar>(V, [&](int v) {
      const Scalar lp = own.log_prob(from[v]);
      const Scalar p = exp_or_zero(lp);
      const Scalar mixture =
          detail::log_mixture(s.log_prob(scaled[v]), ref.log_prob(ref_scaled[v]));
      return p > Scalar(0) ? Scalar(0.5) * p * (lp - mixture) : Scalar(0);
    });
  };
  const Scalar of_policy = half(scaled, s);
  return {of_policy + half(ref_scaled, ref), of_policy};
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION void row_loss_gradient(
    const LossParams& p, Scalar* scaled, int V, const RowSoftmax<Scalar>& s, int token,
    Scalar d_log_prob, Scalar entropy, const Scalar* ref_scaled, const RowSoftmax<Scalar>& ref,
    Scalar mean_slope, Scalar weight, const int* top, int num_top, Scalar d_top) {
  const Scalar scale = weight * static_cast<Scalar>(p.inv_temperature);
  const Scalar entropy_coef = static_cast<Scalar>(p.entropy_coef);
  const Scalar kl_coef = ref_scaled != nullptr ? static_cast<Scalar>(p.kl_in_loss()) : Scalar(0);
  for (int v = 0; v < V; ++v) {
    const Scalar lp = s.log_prob(scaled[v]);
    const Scalar prob = exp_or_zero(lp);
    Scalar slope = d_log_prob * ((v == token ? Scalar(1) : Scalar(0)) - prob);
    if (entropy_coef != Scalar(0) && prob > Scalar(0))
      slope += entropy_coef * prob * (lp + entropy);
    if (kl_coef != Scalar(0)) {
      const Scalar lq = ref.log_prob(ref_scaled[v]);
      if (p.kl_direction == KlDirection::forward)
        slope += kl_coef * (prob - exp_or_zero(lq));
      else if (prob > Scalar(0) && p.kl_direction == KlDirection::js)
        slope += kl_coef * prob * (Scalar(0.5) * (lp - detail::log_mixture(lp, lq)) - mean_slope);
      else if (prob > Scalar(0))
        slope += kl_coef * prob * (lp - lq - mean_slope);
    }
    if (d_top != Scalar(0)) {
      slope -= static_cast<Scalar>(num_top) * d_top * prob;
      for (int k = 0; k < num_top; ++k)
        if (top[k] == v) slope += d_top;
    }
    scaled[v] = scale * slope;
  }
}

KOKKOS_INLINE_FUNCTION void add_kl_estimates(double new_log_prob, double ref_log_prob,
                                             double* sums) {
  const double d = new_log_prob - ref_log_prob;
  const double x = detail::clamp_log(-d);
  const double k3 = Kokkos::exp(x) - x - 1.0;
  sums[static_cast<int>(UpdateSum::kl_k1)] += d;
  sums[static_cast<int>(UpdateSum::kl_k2)] += 0.5 * d * d;
  sums[static_cast<int>(UpdateSum::kl_k3)] += k3 > 10.0 ? 10.0 : k3;
  sums[static_cast<int>(UpdateSum::kl_abs)] += d < 0.0 ? -d : d;
}

}  // namespace motley
