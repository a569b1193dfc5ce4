#pragma once
/// Columns of /diagnostics: what costs extra passes and is measured every N steps
/// (log.diagnostics). Formulas in docs/metrics.md.

#include "core/metrics.hpp"

namespace motley {

enum class Diagnostic : int {
  entropy_change,
  entropy_change_predicted,
  mode_log_odds,
  grad_norm_positive,
  grad_norm_negative,
  grad_cosine_sign,
  grad_norm_dominant,
  grad_norm_rare,
  grad_cosine_mode,
  gradient_noise_ratio,
  count
};
inline constexpr int kDiagnostics = static_cast<int>(Diagnostic::count);

const MetricInfo& diagnostic_info(Diagnostic diagnostic);

}  // namespace motley
