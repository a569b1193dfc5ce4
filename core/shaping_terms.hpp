#pragma once
/// Terms of shaped rewards as functions of one group's rows. Rows are pointers to G numbers;
/// everything runs inside one thread.

#include "core/base/math.hpp"
#include "core/rows.hpp"
#include "core/shaping_params.hpp"

namespace motley {

/// C(a, m) / C(b, m) for 0 <= m <= b, as a product of m quotients.
KOKKOS_INLINE_FUNCTION double choose_ratio(int a, int b, int m) {
  if (m > a) return 0.0;
  double out = 1;
  for (int j = 0; j < m; ++j) out *= double(a - j) / double(b - j);
  return out;
}

/// Mean and population deviation of f(g) over [0, n), in double.
template <class F>
KOKKOS_INLINE_FUNCTION void moments(int n, const F& f, double& mean, double& deviation) {
  mean = 0;
  for (int g = 0; g < n; ++g) mean += f(g);
  mean /= n;
  double square = 0;
  for (int g = 0; g < n; ++g) square += (f(g) - mean) * (f(g) - mean);
  deviation = Kokkos::sqrt(square / n);
}

/// (n - size) / (n - 1); a group of one has no diversity.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar count_diversity(int size, int n) {
  return n < 2 ? Scalar(0) : Scalar(n - size) / Scalar(n - 1);
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar floored(const ShapingParams& p, Scalar diversity) {
  const Scalar floor = static_cast<Scalar>(p.floor);
  return diversity > floor ? diversity : floor;
}

/// What `reward_bias` makes of q; `lowest` = the group's smallest quality.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar biased(const ShapingParams& p, Scalar q, Scalar lowest) {
  if (!is_product(p.shaping)) return q;
  if (p.reward_bias == RewardBias::group_min) return q - lowest;
  return p.reward_bias == RewardBias::sigmoid ? sigmoid(q) : q;
}

/// Weight of coverage (A12): 1 - lambda + lambda P(no other of my cluster in a k-set with me).
KOKKOS_INLINE_FUNCTION double coverage_weight(const ShapingParams& p, int size, int n) {
  const int m = (p.coverage_k < n ? p.coverage_k : n) - 1;
  return (1 - p.coverage_lambda) + p.coverage_lambda * choose_ratio(n - size, n - 1, m);
}

/// Reward of the shapings that know of the group only the size of the own cluster.
/// \param q biased quality   \param diversity Div, `count_diversity` or that of a soft linkage
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar count_reward(const ShapingParams& p, Scalar q, Scalar diversity,
                                           int size, int n) {
  switch (p.shaping) {
    case Shaping::multiplicative: return q * floored(p, diversity);
    case Shaping::multiplicative_sigmoid: return q * sigmoid(floored(p, diversity));
    case Shaping::additive:
      return static_cast<Scalar>(p.quality_weight * double(q) +
                                 p.diversity_weight * double(floored(p, diversity)));
    case Shaping::ips: {
      const double share = Kokkos::pow(double(size) / n, p.ips_alpha);
      return static_cast<Scalar>(double(q) / (share > p.ips_eps ? share : p.ips_eps));
    }
    case Shaping::coverage: return q * static_cast<Scalar>(coverage_weight(p, size, n));
    case Shaping::outcome_entropy:
      return static_cast<Scalar>(double(q) - p.entropy_alpha * Kokkos::log(double(size) / n));
    default: return q;
  }
}

/// Place of g in the order of `key`, ascending, ties by index.
KOKKOS_INLINE_FUNCTION int rank_of(const double* key, int n, int g) {
  int rank = 0;
  for (int j = 0; j < n; ++j) rank += key[j] < key[g] || (key[j] == key[g] && j < g) ? 1 : 0;
  return rank;
}

/// Greedy maximal marginal relevance (A10). \param similarity [n,n]
/// \param score [n] out   \param best [n] scratch: similarity to the nearest chosen one
template <class Scalar>
KOKKOS_INLINE_FUNCTION void marginal_relevance(const ShapingParams& p, const Scalar* quality,
                                               const float* similarity, int n, double* score,
                                               double* best) {
  double mean, deviation, lambda = p.mmr_lambda;
  moments(
      n, [&](int g) { return double(quality[g]); }, mean, deviation);
  const bool adaptive = p.mmr_adaptive == MmrAdaptive::std;
  if (adaptive) {
    const double u = deviation / ((mean < 0 ? -mean : mean) + 1e-8);
    lambda = u / (1 + u);
  }
  // best < 0 before anything is chosen; 2 = chosen, out of the race.
  for (int g = 0; g < n; ++g) best[g] = -1;
  for (int round = 0; round < n; ++round) {
    int winner = -1;
    double highest = 0;
    for (int g = 0; g < n; ++g) {
      if (best[g] == 2) continue;
      const double q = double(quality[g]);
      const double value = round == 0 ? q : lambda * q - (1 - lambda) * best[g];
      if (winner < 0 || value > highest) {
        winner = g;
        highest = value;
      }
    }
    score[winner] = highest;
    best[winner] = 2;
    const float* row = similarity + std::size_t(winner) * std::size_t(n);
    for (int g = 0; g < n; ++g)
      if (best[g] != 2 && row[g] > best[g]) best[g] = row[g];
  }
  if (!adaptive) return;
  double score_mean, score_deviation;
  moments(
      n, [&](int g) { return score[g]; }, score_mean, score_deviation);
  const double scale = score_deviation > 1e-12 ? deviation / score_deviation : 0.0;
  for (int g = 0; g < n; ++g) score[g] = mean + (score[g] - score_mean) * scale;
}

/// Cholesky of (1-shrink) S + shrink I + I in place of `m`'s lower triangle, only S's upper
/// triangle is read. \returns false at a pivot that is not positive
KOKKOS_INLINE_FUNCTION bool factor_similarity(const float* s, double shrink, int n, double* m) {
  const auto at = [n](int i, int j) { return std::size_t(i) * std::size_t(n) + std::size_t(j); };
  for (int i = 0; i < n; ++i)
    for (int j = 0; j <= i; ++j) {
      double sum = i == j ? 2.0 : (1 - shrink) * double(s[at(j, i)]);
      for (int k = 0; k < j; ++k) sum -= m[at(i, k)] * m[at(j, k)];
      if (i != j) {
        m[at(i, j)] = sum / m[at(j, j)];
      } else {
        if (!(sum > 1e-9)) return false;
        m[at(i, i)] = Kokkos::sqrt(sum);
      }
    }
  return true;
}

/// logdet(M) - logdet(M without row and column i) = -ln (M^-1)_ii, M = S + I, through Cholesky.
/// \param m [n,n] scratch   \param column [n] scratch   \param credit [n] out, at most ln 2
KOKKOS_INLINE_FUNCTION void logdet_credit(const float* s, int n, double* m, double* column,
                                          double* credit) {
  for (int eighth = 0; eighth <= 8; ++eighth)
    if (factor_similarity(s, eighth / 8.0, n, m)) break;
  // Column i of L^-1 by forward substitution; (M^-1)_ii is its squared length.
  for (int i = 0; i < n; ++i) {
    double square = 0;
    for (int j = i; j < n; ++j) {
      const double* row = m + std::size_t(j) * std::size_t(n);
      double sum = j == i ? 1.0 : 0.0;
      for (int k = i; k < j; ++k) sum -= row[k] * column[k];
      column[j] = sum / row[j];
      square += column[j] * column[j];
    }
    credit[i] = -Kokkos::log(square);
  }
}

}  // namespace motley
