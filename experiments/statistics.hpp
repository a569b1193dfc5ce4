#pragma once
/// Statistics over seeds: the seed is the unit of replication.

#include <cstdint>
#include <vector>

namespace motley {

struct Interval {
  double low = 0, high = 0;
};

double mean_of(const std::vector<double>& x);
/// Interquartile mean: mean of the middle half, scipy.stats.trim_mean(x, 0.25) (floor(n/4) cut at
/// each end), as rliable (2108.13264) has it.
double interquartile_mean(std::vector<double> x);

/// Percentile bootstrap of the mean, 95 %: `reps` resamples drawn with Philox at (seed,
/// Stream::bootstrap, rep, i), so the interval repeats. Fewer than two values: a point.
Interval bootstrap_mean(const std::vector<double>& x, int reps, std::uint64_t seed);

/// P(X > Y) = mean over pairs of 1[x > y] + .5 * 1[x = y].
double probability_of_improvement(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace motley
