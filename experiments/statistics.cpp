#include "experiments/statistics.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/rng.hpp"

namespace motley {

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value;
  return x.empty() ? std::nan("") : sum / static_cast<double>(x.size());
}

double interquartile_mean(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  const std::size_t cut = x.size() / 4;
  return mean_of(
      {x.begin() + static_cast<std::ptrdiff_t>(cut), x.end() - static_cast<std::ptrdiff_t>(cut)});
}

Interval bootstrap_mean(const std::vector<double>& x, int reps, std::uint64_t seed) {
  const auto n = static_cast<std::uint32_t>(x.size());
  if (n < 2) return {mean_of(x), mean_of(x)};
  std::vector<double> means(static_cast<std::size_t>(reps));
  for (int rep = 0; rep < reps; ++rep) {
    const DrawKey key{seed, Stream::bootstrap, static_cast<std::uint32_t>(rep)};
    double sum = 0;
    for (std::uint32_t i = 0; i < n; ++i) sum += x[uniform_below(draw_bits(key, 0, i).x[0], n)];
    means[static_cast<std::size_t>(rep)] = sum / n;
  }
  std::sort(means.begin(), means.end());
  // Linear interpolation between order statistics, numpy's default.
  const auto quantile = [&](double q) {
    const double at = q * (static_cast<double>(means.size()) - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, means.size() - 1);
    return means[below] + (at - static_cast<double>(below)) * (means[above] - means[below]);
  };
  return {quantile(0.025), quantile(0.975)};
}

double probability_of_improvement(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (const double a : x)
    for (const double b : y) sum += a > b ? 1.0 : (a == b ? 0.5 : 0.0);
  return sum / (static_cast<double>(x.size()) * static_cast<double>(y.size()));
}

}  // namespace motley
