#include "experiments/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/rng.hpp"

namespace motley {

namespace {

/// Linear interpolation between order statistics, numpy's default.
double quantile_of(const std::vector<double>& sorted, double q) {
  const double at = q * (static_cast<double>(sorted.size()) - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<double> pooled(const Strata& x) {
  std::vector<double> all;
  for (const auto& stratum : x) all.insert(all.end(), stratum.begin(), stratum.end());
  return all;
}

/// Sum of squares about the mean.
double squares_of(const std::vector<double>& x) {
  const double mean = mean_of(x);
  double sum = 0;
  for (const double value : x) sum += (value - mean) * (value - mean);
  return sum;
}

/// Continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz' method.
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double value = d;
  for (int m = 1; m < 500; ++m) {
    const auto step = [&](double numerator) {
      d = 1 + numerator * d;
      c = 1 + numerator / c;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      if (std::abs(c) < kTiny) c = kTiny;
      value *= d * c;
      return std::abs(d * c - 1) < 1e-15;
    };
    step(m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)));
    if (step(-(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)))) break;
  }
  return value;
}

/// P(|T| > t) of Student's t = I_{v/(v+t^2)}(v/2, 1/2).
double two_tails(double t, double degrees) {
  const double a = degrees / 2, b = 0.5, x = degrees / (degrees + t * t);
  if (x >= 1) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                   : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

}  // namespace

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value;
  return x.empty() ? std::nan("") : sum / static_cast<double>(x.size());
}

double mean_of(const Strata& x) {
  std::vector<double> means;
  for (const auto& stratum : x)
    if (!stratum.empty()) means.push_back(mean_of(stratum));
  return mean_of(means);
}

double interquartile_mean(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  const std::size_t cut = x.size() / 4;
  return mean_of(std::vector<double>(x.begin() + static_cast<std::ptrdiff_t>(cut),
                                     x.end() - static_cast<std::ptrdiff_t>(cut)));
}

double interquartile_mean(const Strata& x) {
  return interquartile_mean(pooled(x));
}

double deviation_of(const std::vector<double>& x) {
  return x.size() < 2 ? std::nan("") : std::sqrt(squares_of(x) / static_cast<double>(x.size() - 1));
}

double deviation_of(const Strata& x) {
  double sum = 0, degrees = 0;
  for (const auto& stratum : x) {
    if (stratum.size() < 2) continue;
    sum += squares_of(stratum);
    degrees += static_cast<double>(stratum.size() - 1);
  }
  return degrees == 0 ? std::nan("") : std::sqrt(sum / degrees);
}

std::size_t count_of(const Strata& x) {
  std::size_t n = 0;
  for (const auto& stratum : x) n += stratum.size();
  return n;
}

const std::vector<std::uint16_t>& Bootstrap::draws(std::size_t stratum, std::size_t n) {
  auto& found = draws_[{stratum, n}];
  if (!found.empty()) return found;
  MOTLEY_REQUIRE(n <= 65535, ErrorKind::config, "motley compare: more than 65535 seeds in an arm");
  found.resize(static_cast<std::size_t>(reps_) * n);
  for (int rep = 0; rep < reps_; ++rep) {
    const DrawKey key{seed_, Stream::bootstrap, static_cast<std::uint32_t>(rep)};
    for (std::size_t i = 0; i < n; ++i) {
      const Philox4 bits =
          draw_bits(key, static_cast<std::uint32_t>(stratum), static_cast<std::uint32_t>(i));
      found[static_cast<std::size_t>(rep) * n + i] =
          static_cast<std::uint16_t>(uniform_below(bits.x[0], static_cast<std::uint32_t>(n)));
    }
  }
  return found;
}

template <class Statistic>
Interval Bootstrap::interval(const Strata& x, const Statistic& statistic) {
  if (count_of(x) < 2) return {statistic(x), statistic(x)};
  Strata resampled = x;
  std::vector<const std::vector<std::uint16_t>*> index;
  for (std::size_t s = 0; s < x.size(); ++s) index.push_back(&draws(s, x[s].size()));
  std::vector<double> values(static_cast<std::size_t>(reps_));
  for (std::size_t rep = 0; rep < values.size(); ++rep) {
    for (std::size_t s = 0; s < x.size(); ++s) {
      const std::size_t n = x[s].size();
      for (std::size_t i = 0; i < n; ++i) resampled[s][i] = x[s][(*index[s])[rep * n + i]];
    }
    values[rep] = statistic(resampled);
  }
  std::sort(values.begin(), values.end());
  return {quantile_of(values, 0.025), quantile_of(values, 0.975)};
}

Interval Bootstrap::mean(const Strata& x) {
  return interval(x, [](const Strata& sample) { return mean_of(sample); });
}

Interval Bootstrap::interquartile_mean(const Strata& x) {
  return interval(x, [](const Strata& sample) { return motley::interquartile_mean(sample); });
}

double probability_of_improvement(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (const double a : x)
    for (const double b : y) sum += a > b ? 1.0 : (a == b ? 0.5 : 0.0);
  return sum / (static_cast<double>(x.size()) * static_cast<double>(y.size()));
}

double probability_of_improvement(const Strata& x, const Strata& y) {
  std::vector<double> each;
  for (std::size_t s = 0; s < x.size() && s < y.size(); ++s)
    if (!x[s].empty() && !y[s].empty()) each.push_back(probability_of_improvement(x[s], y[s]));
  return mean_of(each);
}

double sign_flip_p(const Strata& difference, int reps, std::uint64_t seed) {
  // Every value with its weight in the mean over strata.
  std::vector<double> terms;
  std::size_t strata = 0;
  for (const auto& stratum : difference) strata += stratum.empty() ? 0 : 1;
  for (const auto& stratum : difference)
    for (const double d : stratum)
      terms.push_back(d / (static_cast<double>(stratum.size()) * static_cast<double>(strata)));
  const std::size_t n = terms.size();
  if (n == 0) return 1;
  double size = 0;
  for (const double t : terms) size += std::abs(t);
  // Sums that are equal on paper differ in their last bits.
  const double observed = std::abs(std::accumulate(terms.begin(), terms.end(), 0.0)) - 1e-12 * size;
  std::uint64_t hits = 0;
  if (n <= kExactFlips) {
    const std::uint64_t all = std::uint64_t{1} << n;
    for (std::uint64_t flips = 0; flips < all; ++flips) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += (flips >> i & 1) != 0 ? -terms[i] : terms[i];
      hits += std::abs(sum) >= observed ? 1 : 0;
    }
    return static_cast<double>(hits) / static_cast<double>(all);
  }
  for (int rep = 0; rep < reps; ++rep) {
    const DrawKey key{seed, Stream::bootstrap, static_cast<std::uint32_t>(rep)};
    double sum = 0;
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i % 32 == 0) word = draw_bits(key, 0x80000000u, static_cast<std::uint32_t>(i / 32)).x[0];
      sum += (word >> (i % 32) & 1u) != 0 ? -terms[i] : terms[i];
    }
    hits += std::abs(sum) >= observed ? 1 : 0;
  }
  return (1.0 + static_cast<double>(hits)) / (1.0 + reps);
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (!std::isnan(p[i])) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> out(p.size(), std::nan(""));
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double scaled = p[order[rank]] * static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, scaled));
    out[order[rank]] = largest;
  }
  return out;
}

double student_t_quantile(double q, double degrees) {
  if (q < 0.5) return -student_t_quantile(1 - q, degrees);
  const double tails = 2 * (1 - q);
  double low = 0, high = 1;
  while (two_tails(high, degrees) > tails && high < 1e12) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-14 * high; ++i) {
    const double middle = 0.5 * (low + high);
    (two_tails(middle, degrees) > tails ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

Interval student_t_interval(const Strata& x) {
  const double mean = mean_of(x);
  double strata = 0, variance = 0, denominator = 0;
  for (const auto& stratum : x) {
    if (stratum.empty()) continue;
    if (stratum.size() < 2) return {mean, mean};
    const auto n = static_cast<double>(stratum.size());
    const double share = squares_of(stratum) / (n - 1) / n;
    strata += 1;
    variance += share;
    denominator += share * share / (n - 1);
  }
  if (variance <= 0) return {mean, mean};
  const double half =
      student_t_quantile(0.975, variance * variance / denominator) * std::sqrt(variance) / strata;
  return {mean - half, mean + half};
}

double seeds_needed(double sd, double delta) {
  if (delta == 0 || std::isnan(delta) || std::isnan(sd))
    return std::numeric_limits<double>::infinity();
  const double z = 1.96 + 0.84;
  return std::max(2.0, std::ceil(2 * z * z * sd * sd / (delta * delta)));
}

}  // namespace motley
