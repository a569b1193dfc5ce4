#pragma once
/// k-means of one group and the choice of k. Device code.

#include "core/base/rng.hpp"

namespace motley {

KOKKOS_INLINE_FUNCTION double squared_distance(const double* a, const double* b, int dims) {
  double sum = 0;
  for (int d = 0; d < dims; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

/// Points of a group and the memory of its k-means.
struct KMeans {
  const double* point;  ///< [n,dims]
  int n, dims;
  DrawKey key;         ///< stream cluster
  std::uint32_t item;  ///< the prompt
  double* centre;      ///< [n,dims]
  double* nearest;     ///< [n] squared distance to the closest centre
  int* count;          ///< [n]
};

inline constexpr int kLloydRounds = 100;

/// k-means++ (Arthur and Vassilvitskii 2007): the first centre uniform, each other with probability
/// proportional to its squared distance from those before. Fewer than k where the points coincide.
/// Draws stand at position first_position + index of the centre. \return centres found
KOKKOS_INLINE_FUNCTION int seed_centres(const KMeans& m, int k, std::uint32_t first_position) {
  int chosen = static_cast<int>(uniform_below(draw_bits(m.key, m.item, first_position).x[0],
                                              static_cast<std::uint32_t>(m.n)));
  for (int c = 0;; ++c) {
    double total = 0;
    for (int d = 0; d < m.dims; ++d) m.centre[c * m.dims + d] = m.point[chosen * m.dims + d];
    for (int i = 0; i < m.n; ++i) {
      const double gap = squared_distance(m.point + i * m.dims, m.centre + c * m.dims, m.dims);
      if (c == 0 || gap < m.nearest[i]) m.nearest[i] = gap;
      total += m.nearest[i];
    }
    if (c + 1 == k || !(total > 1e-12)) return c + 1;
    const std::uint32_t position = first_position + static_cast<std::uint32_t>(c + 1);
    const double target = double(unit_float(draw_bits(m.key, m.item, position).x[0])) * total;
    double sum = 0;
    for (int i = 0; i < m.n && !(sum > target); ++i) {
      sum += m.nearest[i];
      if (m.nearest[i] > 0) chosen = i;
    }
  }
}

/// Lloyd's rounds until no point changes its centre; ties go to the first centre, a centre that
/// loses its points stays where it is. \param label [n] out, index of the centre \return centres
KOKKOS_INLINE_FUNCTION int kmeans(const KMeans& m, int k, std::uint32_t first_position,
                                  int* label) {
  const int found = seed_centres(m, k, first_position);
  for (int i = 0; i < m.n; ++i) label[i] = -1;
  for (int round = 0; round < kLloydRounds; ++round) {
    bool changed = false;
    for (int i = 0; i < m.n; ++i) {
      int best = 0;
      double least = squared_distance(m.point + i * m.dims, m.centre, m.dims);
      for (int c = 1; c < found; ++c) {
        const double gap = squared_distance(m.point + i * m.dims, m.centre + c * m.dims, m.dims);
        if (gap < least) {
          least = gap;
          best = c;
        }
      }
      changed = changed || best != label[i];
      label[i] = best;
    }
    if (!changed) break;
    for (int c = 0; c < found; ++c) m.count[c] = 0;
    for (int i = 0; i < m.n; ++i) m.count[label[i]] += 1;
    for (int c = 0; c < found; ++c)
      for (int d = 0; d < m.dims && m.count[c] > 0; ++d) m.centre[c * m.dims + d] = 0;
    for (int i = 0; i < m.n; ++i)
      for (int d = 0; d < m.dims; ++d)
        m.centre[label[i] * m.dims + d] += m.point[i * m.dims + d] / m.count[label[i]];
  }
  return found;
}

/// Mean silhouette (Rousseeuw 1987) under the given distances; a cluster of one counts 0.
/// \param sum [k] scratch   \param count [k] scratch
KOKKOS_INLINE_FUNCTION double mean_silhouette(const double* distance, int n, const int* label,
                                              int k, double* sum, int* count) {
  for (int c = 0; c < k; ++c) count[c] = 0;
  for (int i = 0; i < n; ++i) count[label[i]] += 1;
  double total = 0;
  for (int i = 0; i < n; ++i) {
    if (count[label[i]] < 2) continue;
    for (int c = 0; c < k; ++c) sum[c] = 0;
    for (int j = 0; j < n; ++j) sum[label[j]] += distance[i * n + j];
    const double own = sum[label[i]] / (count[label[i]] - 1);
    double other = -1;
    for (int c = 0; c < k; ++c) {
      if (c == label[i] || count[c] == 0) continue;
      if (other < 0 || sum[c] / count[c] < other) other = sum[c] / count[c];
    }
    const double larger = own > other ? own : other;
    if (other >= 0 && larger > 0) total += (other - own) / larger;
  }
  return total / n;
}

}  // namespace motley
