#pragma once
/// Columns of /metrics that tell how a step's completions were made.

#include "core/filter_groups.hpp"
#include "core/metrics.hpp"

namespace motley {

/// Terms a group adds: used completions, counted tokens, sum and maximum of |ln pi_old - ln mu|,
/// sum of k3.
inline constexpr int kGenerationTerms = 5;

/// Fills num_gen_batches, frac_used, temperature, mismatch_*, and in tokens_total the tokens
/// sampled in this step, redrawn completions included. mismatch_kl is k3 of KL(mu | pi_old) with d
/// = ln mu - ln pi_old: exp(-d) + d - 1, clamped as in `sampled_kl`. Ordered sums in double. \param
/// sampling [R]   \param scratch [R,B,kGenerationTerms]   \param values [R,kMetrics]
void generation_metrics(const Exec& exec, const RolloutBuffer& buffer, const FilterState& filter,
                        const ConstView1<SamplingParams>& sampling, const View3<double>& scratch,
                        const View2<double>& values);

}  // namespace motley
