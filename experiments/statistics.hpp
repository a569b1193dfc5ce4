#pragma once
/// Statistics over seeds: the seed is the unit of replication.
///
/// A sample is a list of strata (one per task, usually one), each a list of values, one per seed.
/// Means are means over the strata of the means over seeds, so every task weighs the same; a
/// bootstrap resamples seeds within each stratum (rliable, arXiv 2108.13264).

#include <cstdint>
#include <map>
#include <vector>

namespace motley {

struct Interval {
  double low = 0, high = 0;
};

using Strata = std::vector<std::vector<double>>;

/// NaN where there is nothing.
double mean_of(const std::vector<double>& x);
/// Mean over the strata of their means.
double mean_of(const Strata& x);
/// Interquartile mean: mean of the middle half, scipy.stats.trim_mean(x, 0.25) (floor(n/4) cut at
/// each end), as rliable has it: over the seeds of all strata together.
double interquartile_mean(std::vector<double> x);
double interquartile_mean(const Strata& x);
/// Standard deviation, ddof 1; NaN below two values. Of strata: pooled, from the deviations within.
double deviation_of(const std::vector<double>& x);
double deviation_of(const Strata& x);
std::size_t count_of(const Strata& x);

/// Percentile bootstrap, 95 %: `reps` resamples drawn with Philox at (seed, Stream::bootstrap, rep,
/// stratum, i), so an interval repeats, and all samples of one size are resampled alike.
class Bootstrap {
 public:
  Bootstrap(int reps, std::uint64_t seed) : reps_(reps), seed_(seed) {}
  /// Fewer than two values: a point.
  Interval mean(const Strata& x);
  Interval interquartile_mean(const Strata& x);

 private:
  /// Draws [reps, n] of one stratum.
  const std::vector<std::uint16_t>& draws(std::size_t stratum, std::size_t n);
  template <class Statistic>
  Interval interval(const Strata& x, const Statistic& statistic);

  int reps_;
  std::uint64_t seed_;
  std::map<std::pair<std::size_t, std::size_t>, std::vector<std::uint16_t>> draws_;
};

/// P(X > Y) = mean over pairs of 1[x > y] + .5 * 1[x = y], the Mann-Whitney U over n m; of strata:
/// the mean over them.
double probability_of_improvement(const std::vector<double>& x, const std::vector<double>& y);
double probability_of_improvement(const Strata& x, const Strata& y);

/// p of "the differences are symmetric about 0", two-sided, by flipping signs: all 2^n of them up
/// to n = 12, else `reps` drawn at (seed, Stream::bootstrap, rep, item 2^31) with (1 + hits) / (1 +
/// reps), which is valid for any number of draws. 1 without values.
inline constexpr std::size_t kExactFlips = 12;
double sign_flip_p(const Strata& difference, int reps, std::uint64_t seed);

/// Holm's step-down adjustment of p-values of one family, in the order given; NaN stays out.
std::vector<double> holm(const std::vector<double>& p);

/// Quantile of Student's t, 0 < q < 1, degrees > 0.
double student_t_quantile(double q, double degrees);
/// 95 % interval of the mean from Student's t; over strata with Welch-Satterthwaite degrees of
/// freedom. A stratum with one value has no variance: a point then.
Interval student_t_interval(const Strata& x);

/// Seeds per arm to see a difference `delta` in 8 of 10 studies at two-sided 5 %:
/// n = 2 (1.96 + .84)^2 sd^2 / delta^2 for independent arms of deviation sd; for paired arms 2 sd^2
/// is the variance of the differences. At least 2; infinite where delta = 0.
double seeds_needed(double sd, double delta);

}  // namespace motley
