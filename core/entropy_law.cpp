#include "core/entropy_law.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace motley {

EntropyLaw fit_entropy(const std::vector<double>& entropy, const std::vector<double>& reward,
                       double share) {
  MOTLEY_REQUIRE(entropy.size() == reward.size() && share > 0 && share <= 1, ErrorKind::internal,
                 "fit_entropy: ", entropy.size(), " entropies, ", reward.size(), " rewards, share ",
                 share);
  std::vector<double> x, y;
  for (std::size_t i = 0; i < entropy.size(); ++i) {
    if (!std::isfinite(entropy[i]) || !std::isfinite(reward[i])) continue;
    x.push_back(std::exp(entropy[i]));
    y.push_back(reward[i]);
  }
  EntropyLaw law;
  const auto n = static_cast<double>(x.size());
  const std::size_t first =
      std::min(x.size(), std::max<std::size_t>(2, static_cast<std::size_t>(std::ceil(share * n))));
  law.fitted = static_cast<int>(first);
  law.predicted = static_cast<int>(x.size() - first);
  if (first < 2) return law;
  double mean_x = 0, mean_y = 0;
  for (std::size_t i = 0; i < first; ++i) {
    mean_x += x[i] / static_cast<double>(first);
    mean_y += y[i] / static_cast<double>(first);
  }
  double xx = 0, xy = 0, yy = 0;
  for (std::size_t i = 0; i < first; ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  if (!(xx > 0)) return law;
  law.a = -xy / xx;
  law.b = mean_y + law.a * mean_x;
  law.ceiling = law.b - law.a;
  double inside = 0, outside = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double miss = y[i] - (law.b - law.a * x[i]);
    (i < first ? inside : outside) += miss * miss;
  }
  // Deviations of equal numbers from their rounded mean are no deviations.
  const bool flat = std::all_of(y.begin(), y.begin() + static_cast<std::ptrdiff_t>(first),
                                [&](double v) { return v == y[0]; });
  law.r2 = yy > 0 && !flat ? 1 - inside / yy : std::nan("");
  if (law.predicted > 0) law.rmse = std::sqrt(outside / law.predicted);
  return law;
}

}  // namespace motley
