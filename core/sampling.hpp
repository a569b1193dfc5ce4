#pragma once
/// From a row of logits to a token: temperature, top-k, top-p, min-p, greedy, inverse CDF.

#include "core/base/describe.hpp"
#include "core/base/math.hpp"
#include "core/base/rng.hpp"
#include "core/base/types.hpp"

namespace motley {

struct SamplingParams {
  double temperature = 1.0;  ///< 0 = greedy
  int top_k = 0;             ///< 0 = off
  double top_p = 1.0;
  double min_p = 0.0;
  double noise_std = 0.0;   ///< derived from mismatch.noise_std; not an option of this struct
  bool ignore_eos = false;  ///< completions run to the last token; of motley bench, not an option
};

template <class C, class Visitor>
void describe_sampling(C& c, Visitor&& v) {
  v("rollout.temperature", c.temperature, between(0, 100), "1",
    "softmax temperature of the sampler and of the trainer's log-probabilities; 0 = greedy");
  v("rollout.top_k", c.top_k, between(0, 1e6), "token", "keep the k likeliest tokens; 0 = off");
  v("rollout.top_p", c.top_p, Range{.low = 0, .high = 1, .low_open = true}, "1",
    "keep the smallest set of likeliest tokens whose mass reaches p; 1 = off");
  v("rollout.min_p", c.min_p, between(0, 1), "1", "keep tokens with p >= min_p * max p; 0 = off");
}

/// 1 / temperature; 1 for greedy sampling, whose log-probabilities are those at temperature 1.
KOKKOS_INLINE_FUNCTION double inverse_temperature(const SamplingParams& p) {
  return p.temperature > 0 ? 1.0 / p.temperature : 1.0;
}

/// Normaliser of a row of scaled logits z = logits / temperature.
template <class Scalar>
struct RowSoftmax {
  Scalar top;      ///< max z
  Scalar log_sum;  ///< ln sum exp(z - top)
  /// nats
  KOKKOS_INLINE_FUNCTION Scalar log_prob(Scalar scaled_logit) const {
    return (scaled_logit - top) - log_sum;
  }
};

/// Scales the row in place by `inv_temperature` and returns its normaliser. -inf logits are
/// allowed (probability 0); a NaN or +inf logit gives a non-finite normaliser.
template <class Scalar>
MOTLEY_ROW_FUNCTION RowSoftmax<Scalar> scale_and_normalise(Scalar* row, int V,
                                                           Scalar inv_temperature) {
  if (inv_temperature != Scalar(1))
    for (int v = 0; v < V; ++v) row[v] *= inv_temperature;
  const Scalar top = row_max(row, V);
  return {top, log_sum_exp(row, V, top)};
}

/// Entropy of the row's distribution, H = -sum p ln p >= 0, nats.
template <class Scalar>
MOTLEY_ROW_FUNCTION Scalar row_entropy(const Scalar* scaled, int V, const RowSoftmax<Scalar>& s) {
  return lane_sum<Scalar>(V, [&](int v) {
    const Scalar lp = s.log_prob(scaled[v]);
    const Scalar p = exp_or_zero(lp);
    return p > Scalar(0) ? -p * lp : Scalar(0);
  });
}

struct TokenDraw {
  int token;
  float kept_mass;  ///< probability of the kept set under the full softmax
};

/// Draws a token from a row of scaled logits.
///
/// Order of the cuts, as in vLLM and TRL: top_k, then top_p, then min_p, each applied to the
/// distribution left by the one before for the purpose of choosing the set. Among equal
/// probabilities the smaller token id is kept first. Then inverse CDF in token order on
/// probabilities summed in that order: the first kept token with u * sum < cumulative; never a
/// token of probability 0; the last positive kept token catches rounding. Greedy takes the
/// largest logit, the smallest id among equals, and ignores u and the cuts.
/// \param u in [0,1)
template <class Scalar>
KOKKOS_INLINE_FUNCTION TokenDraw draw_token(const Scalar* scaled, int V,
                                            const RowSoftmax<Scalar>& s, const SamplingParams& p,
                                            float u);

/// Kernel form of the above, for tests and tools: one draw per row.
/// \param logits [N,V] not scaled   \param u [N]   \param token, log_prob, entropy, kept_mass [N]
/// out
template <class Scalar>
void sample_rows(const Exec& exec, const SamplingParams& params, const View2<Scalar>& logits,
                 const ConstView1<float>& u, const View1<int>& token, const View1<Scalar>& log_prob,
                 const View1<Scalar>& entropy, const View1<float>& kept_mass);

}  // namespace motley

#include "core/sampling_impl.hpp"
