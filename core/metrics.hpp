#pragma once
/// Per-step metrics of a replica. Estimators of evaluation: core/diversity_metrics.hpp,
/// core/text_metrics.hpp, core/eval_metrics.hpp.

#include "core/advantage.hpp"
#include "core/objective.hpp"
#include "core/rollout.hpp"

namespace motley {

/// Columns of /metrics, in file order. Name, unit and sentence in `metric_info`; formulas in
/// docs/metrics.md.
enum class Metric : int {
  quality,
  quality_true,
  reward,
  reward_std,
  diversity,
  advantage_std,
  frac_zero_std,
  frac_zero_std_quality,
  frac_all_correct,
  frac_all_wrong,
  num_effective_groups,
  entropy,
  entropy_correct,
  entropy_wrong,
  cluster_entropy,
  num_clusters,
  max_cluster_frac,
  num_pairs,
  num_classifier_calls,
  num_classes,
  num_distinct_correct,
  kl_ref,
  kl_old,
  kl_k1,
  kl_k2,
  kl_k3,
  kl_exact,
  ratio_mean,
  ratio_max,
  clip_frac_low,
  clip_frac_high,
  clip_frac_dual,
  dropped_frac,
  penalised_frac,
  entropy_coef,
  policy_loss,
  grad_norm,
  lr,
  length,
  truncated_frac,
  num_gen_batches,
  frac_used,
  temperature,
  mismatch_abs,
  mismatch_max,
  mismatch_kl,
  tokens_total,
  params_hash,
  count
};
inline constexpr int kMetrics = static_cast<int>(Metric::count);

struct MetricInfo {
  const char* name;
  const char* unit;
  const char* text;
};
const MetricInfo& metric_info(Metric metric);

/// Fills the columns that follow from the rollout buffer (not kl_*, ratio_*, clip_*, policy_loss,
/// grad_norm, lr, which `update_metrics` sets, nor entropy_coef of `entropy_control`, nor those of
/// `generation_metrics`). One thread per
/// replica and group, ordered sums in double.
/// \param scratch [R,B,kGroupMetricTerms]   \param values [R,kMetrics] out
inline constexpr int kGroupMetricTerms = 24;
void rollout_metrics(const Exec& exec, const RolloutBuffer& buffer, const View3<double>& scratch,
                     const View2<double>& values);

/// Columns that follow from the update's sums.
/// \param sums [R,kUpdateSums]  \param ratio_max [R]  \param grad_norm [R]  \param lr [R]
void update_metrics(const Exec& exec, const ConstView2<double>& sums,
                    const ConstView1<double>& ratio_max, const ConstView1<double>& grad_norm,
                    const ConstView1<double>& lr, const ConstView1<LossParams>& params,
                    const View2<double>& values);

/// params_hash: the first 53 bits of sum over i of mix(i, bits of parameter i), modulo 2^64; equal
/// parameters give equal numbers in any order of summation.
/// \param params [R,N]
void hash_params(const Exec& exec, const ConstView2<float>& params, const View2<double>& values);

/// Columns that the file holds as whole numbers.
constexpr bool is_whole(Metric metric) {
  return metric == Metric::tokens_total || metric == Metric::params_hash;
}

}  // namespace motley
