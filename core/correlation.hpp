#pragma once
/// Correlation clustering of one group (Bansal, Blum and Chawla 2004): the partition that disagrees
/// least with the pair scores. Device code.

#include "core/base/types.hpp"

namespace motley {

inline constexpr int kExactCorrelation = 8;  ///< members up to which the search is exhaustive
/// Costs closer than this are a tie: rounding must not decide between partitions.
inline constexpr double kCorrelationTie = 1e-9;

/// The scores of a group and what they weigh.
struct CorrelationGroup {
  const float* score;  ///< [G,G], the upper triangle is read
  int G;
  double origin;  ///< log-odds of the threshold: 0 at .5

  KOKKOS_INLINE_FUNCTION static double log_odds(double p) {
    p = p < 1e-6 ? 1e-6 : p > 1.0 - 1e-6 ? 1.0 - 1e-6 : p;
    return Kokkos::log(p / (1.0 - p));
  }
  /// Above 0 = the pair belongs together; what its being cut (or joined, below 0) costs.
  KOKKOS_INLINE_FUNCTION double weight(int i, int j) const {
    return log_odds(double(i < j ? score[i * G + j] : score[j * G + i])) - origin;
  }
};

/// All partitions of n <= 8 members as restricted growth strings in lexicographic order, depth
/// first, leaving a branch as soon as its cost reaches the best: the first string of least cost.
/// \param member [n] completions, ascending   \param label [G] out, members only
KOKKOS_INLINE_FUNCTION void correlation_exact(const CorrelationGroup& group, const int* member,
                                              int n, int* label) {
  double weight[kExactCorrelation][kExactCorrelation];
  double cost[kExactCorrelation + 1];
  int choice[kExactCorrelation], best_choice[kExactCorrelation];
  int used[kExactCorrelation + 1];  // labels in use before member i
  for (int i = 0; i < n; ++i) {
    best_choice[i] = i;
    for (int j = 0; j < i; ++j) weight[i][j] = group.weight(member[j], member[i]);
  }
  double best = 1e300;
  cost[0] = 0;
  used[0] = 0;
  choice[0] = -1;
  for (int i = 0; i >= 0;) {
    if (++choice[i] > used[i]) {
      --i;
      continue;
    }
    cost[i + 1] = cost[i];
    for (int j = 0; j < i; ++j) {
      const double w = weight[i][j];
      const bool together = choice[i] == choice[j];
      if (together != (w > 0)) cost[i + 1] += w > 0 ? w : -w;
    }
    if (cost[i + 1] >= best - kCorrelationTie) continue;
    if (i == n - 1) {
      best = cost[n];
      for (int k = 0; k < n; ++k) best_choice[k] = choice[k];
      continue;
    }
    used[i + 1] = choice[i] == used[i] ? used[i] + 1 : used[i];
    choice[++i] = -1;
  }
  for (int i = 0; i < n; ++i) label[member[i]] = best_choice[i];
}

/// Sum of the weights between i and the members of cluster c.
KOKKOS_INLINE_FUNCTION double attraction(const CorrelationGroup& group, const int* label, int i,
                                         int c) {
  double sum = 0;
  for (int j = 0; j < group.G; ++j)
    if (j != i && label[j] == c) sum += group.weight(i, j);
  return sum;
}

/// Pivots in the order of the group (Ailon, Charikar and Newman 2008), then single completions move
/// to the cluster that attracts them most, or to one of their own, until none gains. Every move
/// lowers the cost, so this ends; ties stay, then go to the smallest label.
/// \param label [G] in: -1 = left out, else anything >= 0; out
KOKKOS_INLINE_FUNCTION void correlation_local(const CorrelationGroup& group, int* label) {
  const int G = group.G;
  for (int i = 0; i < G; ++i)
    if (label[i] >= 0) label[i] = G;  // waits for a pivot
  for (int i = 0; i < G; ++i) {
    if (label[i] != G) continue;
    label[i] = i;
    for (int j = i + 1; j < G; ++j)
      if (label[j] == G && group.weight(i, j) > 0) label[j] = i;
  }
  for (bool moved = true; moved;) {
    moved = false;
    for (int i = 0; i < G; ++i) {
      if (label[i] < 0) continue;
      int best = label[i];
      double best_sum = attraction(group, label, i, best);
      int free = -1;
      for (int c = 0; c < G; ++c) {
        bool taken = false;
        for (int j = 0; j < G && !taken; ++j) taken = j != i && label[j] == c;
        if (!taken) {
          if (free < 0) free = c;
          continue;
        }
        if (c == label[i]) continue;
        const double sum = attraction(group, label, i, c);
        if (sum > best_sum + kCorrelationTie) {
          best = c;
          best_sum = sum;
        }
      }
      if (best_sum < -kCorrelationTie) best = free;
      moved = moved || best != label[i];
      label[i] = best;
    }
  }
}

}  // namespace motley
