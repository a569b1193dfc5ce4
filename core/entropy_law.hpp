#pragma once
/// The entropy law of reinforcement learning on language policies: R = -a exp(H) + b (arXiv
/// 2505.22617): quality is traded for entropy along one curve.

#include <cmath>
#include <vector>

namespace motley {

struct EntropyLaw {
  double a = std::nan(""), b = std::nan("");
  double ceiling = std::nan("");  ///< b - a: the predicted R at H = 0
  double r2 = std::nan("");       ///< 1 - residual / total sum of squares, over the fitted points
  double rmse = std::nan("");     ///< over the points after the fitted ones; NaN where none
  int fitted = 0, predicted = 0;  ///< points of either kind
};

/// Least squares in x = exp(H): a = -Cov(x, R) / Var(x), b = mean R + a mean x, on the first
/// ceil(share * n) points, at least 2; the rest measures the prediction. Points where either number
/// is not finite are left out first. Equal x, or fewer than two points: NaN; equal R: no r2.
/// \param entropy nats, in the order of the steps   \param reward of the same steps
EntropyLaw fit_entropy(const std::vector<double>& entropy, const std::vector<double>& reward,
                       double share = 1.0);

}  // namespace motley
