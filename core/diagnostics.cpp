#include "core/diagnostics.hpp"

#include <array>

namespace motley {

const MetricInfo& diagnostic_info(Diagnostic diagnostic) {
  static const std::array<MetricInfo, kDiagnostics> table = {{
      {"entropy_change", "nat",
       "mean token entropy of the step's states after the update minus before"},
      {"entropy_change_predicted", "nat",
       "its first order: minus the mean covariance of log-probability and logit change"},
      {"mode_log_odds", "1",
       "mean over groups of the log odds of the most frequent ground-truth class; NaN where the "
       "task knows none"},
      {"grad_norm_positive", "1", "norm of the policy gradient of completions with advantage > 0"},
      {"grad_norm_negative", "1", "norm of the policy gradient of completions with advantage < 0"},
      {"grad_cosine_sign", "1", "cosine of these two; NaN where one is 0"},
      {"grad_norm_dominant", "1",
       "norm of the policy gradient of the largest cluster of every group"},
      {"grad_norm_rare", "1", "norm of the policy gradient of all other clusters"},
      {"grad_cosine_mode", "1", "cosine of these two; NaN where one is 0"},
      {"gradient_noise_ratio", "1",
       "norm of the difference over norm of the sum of two half batches' policy gradients"},
  }};
  return table.at(static_cast<std::size_t>(diagnostic));
}

}  // namespace motley
