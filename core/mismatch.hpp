#pragma once
/// Sampler and trainer that disagree: an injected fault, its measure and its corrections.

#include "core/base/describe.hpp"
#include "core/rollout.hpp"

namespace motley {

enum class MismatchCorrection : int { none, tis, mis };
template <>
struct EnumNames<MismatchCorrection> {
  static constexpr std::array<std::string_view, 3> names = {"none", "tis", "mis"};
};
enum class MismatchLevel : int { token, sequence, geometric };
template <>
struct EnumNames<MismatchLevel> {
  static constexpr std::array<std::string_view, 3> names = {"token", "sequence", "geometric"};
};

struct MismatchParams {
  double noise_std = 0.0;
  MismatchCorrection correction = MismatchCorrection::none;
  MismatchLevel level = MismatchLevel::token;
  double cap = 2.0;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, MismatchParams> {
  v("mismatch.noise_std", c.noise_std, between(0, 100), "1",
    "deviation of the Gaussian noise on the sampler's logits, which the trainer does not see; 0 = sampler and trainer agree bit for bit");
  v("mismatch.correction", c.correction, any_value, "1",
    "importance weight of a token's loss: none, truncated at the cap (tis), or 0 outside [1/cap, cap] (mis)");
  v("mismatch.level", c.level, any_value, "1",
    "ratio behind that weight: of the token, of the completion, or the completion's geometric mean");
  v("mismatch.cap", c.cap, Range{.low = 1, .high = 1e6}, "1", "the cap of tis and mis");
}

/// Weight of a token from the log-ratio x = ln pi_old - ln mu (of the token, summed over the
/// completion, or averaged over it), clamped to +-20: w = exp(x);
/// tis min(w, cap); mis w where 1/cap <= w <= cap, else 0.
KOKKOS_INLINE_FUNCTION double mismatch_weight(const MismatchParams& p, double x) {
  if (p.correction == MismatchCorrection::none) return 1.0;
  const double w = Kokkos::exp(x < -20.0 ? -20.0 : (x > 20.0 ? 20.0 : x));
  if (p.correction == MismatchCorrection::tis) return w < p.cap ? w : p.cap;
  return w <= p.cap && w * p.cap >= 1.0 ? w : 0.0;
}

/// Importance weights between sampler mu and trainer pi_old, both under the full softmax, constant
/// in the gradient (verl docs/algo/rollout_corr_math.md). `policy_gradient`
/// multiplies a token's share of the loss, divergence and entropy bonus included; the denominators
/// of the aggregation stay. Exactly 1 where both agree. Sums in order over t in double.
/// \param old_log_prob, sampler_log_prob [R,B,G,T] nats   \param length [R,B,G]
/// \param scale [R,B,G,T] out; 1 where masked
void mismatch_weights(const Exec& exec, const ConstView1<MismatchParams>& params,
                      const ConstView4<float>& old_log_prob,
                      const ConstView4<float>& sampler_log_prob, const ConstView3<int>& length,
                      const View4<float>& scale);

}  // namespace motley
