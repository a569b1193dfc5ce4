#pragma once
/// Clusters of one group from its distances alone: agglomerative, dbscan, hdbscan. Device code.
///
/// `distance` [n,n] is symmetric with diagonal 0; labels are any numbers, -1 nowhere.

#include "core/partition.hpp"

namespace motley {

/// Merges the closest two clusters (ties: the first pair of smallest members) while their distance
/// is at most the threshold. Distances between clusters by Lance and Williams 1967, in `distance`.
/// \param size [n] scratch
KOKKOS_INLINE_FUNCTION void agglomerate(double* distance, int n, Merge merge, double threshold,
                                        int* size, int* label) {
  for (int i = 0; i < n; ++i) {
    label[i] = i;
    size[i] = 1;
  }
  for (;;) {
    int a = -1, c = -1;
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j < n && size[i] > 0; ++j)
        if (size[j] > 0 && (a < 0 || distance[i * n + j] < distance[a * n + c])) {
          a = i;
          c = j;
        }
    if (a < 0 || distance[a * n + c] > threshold) return;
    for (int k = 0; k < n; ++k) {
      if (k == a || k == c || size[k] == 0) continue;
      const double to_a = distance[a * n + k], to_c = distance[c * n + k];
      double next = (size[a] * to_a + size[c] * to_c) / (size[a] + size[c]);
      if (merge == Merge::single) next = to_a < to_c ? to_a : to_c;
      if (merge == Merge::complete) next = to_a > to_c ? to_a : to_c;
      distance[a * n + k] = next;
      distance[k * n + a] = next;
    }
    size[a] += size[c];
    size[c] = 0;
    for (int i = 0; i < n; ++i)
      if (label[i] == c) label[i] = a;
  }
}

KOKKOS_INLINE_FUNCTION int tree_root(int* parent, int i) {
  while (parent[i] != i) {
    parent[i] = parent[parent[i]];
    i = parent[i];
  }
  return i;
}

KOKKOS_INLINE_FUNCTION void join(int* parent, int i, int j) {
  const int a = tree_root(parent, i), c = tree_root(parent, j);
  if (a < c) parent[c] = a;
  if (c < a) parent[a] = c;
}

/// DBSCAN (Ester et al. 1996): a core has at least min_points within the threshold, itself counted;
/// cores within reach of each other are one cluster; a completion in reach of cores joins the
/// cluster whose first core comes first; the others stay alone. \param core [n] scratch
KOKKOS_INLINE_FUNCTION void dbscan(const double* distance, int n, int min_points, double threshold,
                                   int* core, int* label) {
  for (int i = 0; i < n; ++i) {
    int within = 0;
    for (int j = 0; j < n; ++j) within += distance[i * n + j] <= threshold ? 1 : 0;
    core[i] = within >= min_points ? 1 : 0;
    label[i] = i;
  }
  for (int i = 0; i < n; ++i)
    for (int j = i + 1; j < n; ++j)
      if (core[i] && core[j] && distance[i * n + j] <= threshold) join(label, i, j);
  for (int i = 0; i < n; ++i)
    if (core[i]) label[i] = tree_root(label, i);
  for (int i = 0; i < n; ++i) {
    if (core[i]) continue;
    int first = -1;
    for (int j = 0; j < n; ++j)
      if (core[j] && distance[i * n + j] <= threshold && (first < 0 || label[j] < first))
        first = label[j];
    // An outsider's own index may be the root of nobody else: roots are cores.
    label[i] = first < 0 ? i : first;
  }
}

/// Memory of hdbscan for n completions.
struct HdbscanScratch {
  double* edge;       ///< [n] weights of the spanning tree, then sorted, longest first
  double* birth;      ///< [n] of a cluster: density at which it split off
  double* stability;  ///< [n]
  double* below;      ///< [n] best total stability of a cluster's descendants
  int* end_a;         ///< [n] ends of an edge
  int* end_c;         ///< [n]
  int* home;          ///< [n] last cluster a completion was in
  int* inside;        ///< [n] 1 while it is in it
  int* part;          ///< [n] component after a cut
  int* part_size;     ///< [n]
  int* above;         ///< [n] of a cluster: the one it split off from
  int* chosen;        ///< [n]
};

/// Distances below this count as this, so that equal completions have a finite density.
inline constexpr double kSmallestDistance = 1e-6;

/// Turns distances into mutual reachability max(core_i, core_j, d_ij); core = distance to the
/// min_points-th nearest, itself counted. \param core [n], row [n] scratch
KOKKOS_INLINE_FUNCTION void mutual_reachability(double* distance, int n, int min_points,
                                                double* core, double* row) {
  const int k = min_points < n ? min_points : n;
  for (int i = 0; i < n; ++i) {
    // The k smallest in order, by insertion.
    int kept = 0;
    for (int j = 0; j < n; ++j) {
      const double d = distance[i * n + j];
      int at = kept < k ? kept : k - 1;
      if (kept == k && d >= row[at]) continue;
      for (; at > 0 && row[at - 1] > d; --at) row[at] = row[at - 1];
      row[at] = d;
      kept = kept < k ? kept + 1 : k;
    }
    core[i] = row[k - 1];
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      const double wider = core[i] > core[j] ? core[i] : core[j];
      if (i != j && distance[i * n + j] < wider) distance[i * n + j] = wider;
    }
}

/// Prim's spanning tree, edges sorted by falling weight (ties as found). \param best [n] scratch
KOKKOS_INLINE_FUNCTION void spanning_tree(const double* distance, int n, double* best,
                                          const HdbscanScratch& s) {
  for (int i = 0; i < n; ++i) {
    best[i] = distance[i];
    s.home[i] = 0;         // nearest inside the tree
    s.inside[i] = i == 0;  // in the tree
  }
  for (int e = 0; e < n - 1; ++e) {
    int next = -1;
    for (int i = 0; i < n; ++i)
      if (!s.inside[i] && (next < 0 || best[i] < best[next])) next = i;
    s.inside[next] = 1;
    int at = e;
    for (; at > 0 && s.edge[at - 1] < best[next]; --at) {
      s.edge[at] = s.edge[at - 1];
      s.end_a[at] = s.end_a[at - 1];
      s.end_c[at] = s.end_c[at - 1];
    }
    s.edge[at] = best[next];
    s.end_a[at] = s.home[next];
    s.end_c[at] = next;
    for (int i = 0; i < n; ++i)
      if (!s.inside[i] && distance[next * n + i] < best[i]) {
        best[i] = distance[next * n + i];
        s.home[i] = next;
      }
  }
}

/// Components of the edges [first, n - 1) and their sizes.
KOKKOS_INLINE_FUNCTION void cut_tree(int first, int n, const HdbscanScratch& s) {
  for (int i = 0; i < n; ++i) {
    s.part[i] = i;
    s.part_size[i] = 0;
  }
  for (int e = first; e < n - 1; ++e) join(s.part, s.end_a[e], s.end_c[e]);
  for (int i = 0; i < n; ++i) s.part[i] = tree_root(s.part, i);
  for (int i = 0; i < n; ++i) s.part_size[s.part[i]] += 1;
}

/// HDBSCAN (Campello, Moulavi and Sander 2013) with min_points as smallest cluster (at least 2).
/// The spanning tree loses its edges from the longest on, edges of one length together. A cluster
/// that falls into two or more parts of at least the smallest size ends there; smaller parts drop
/// out. Of the resulting tree those clusters are taken whose stability, sum over their completions
/// of 1/d(leaving) - 1/d(birth), is at least that of the best choice below them. The whole group
/// may be a cluster only where no edge is longer than the threshold. What is in no cluster stays
/// alone. \param distance [n,n] in, then overwritten
KOKKOS_INLINE_FUNCTION void hdbscan(double* distance, int n, int min_points, double threshold,
                                    const HdbscanScratch& s, int* label) {
  const int least = min_points > 2 ? min_points : 2;
  for (int i = 0; i < n; ++i) label[i] = i;
  if (n < least) return;
  mutual_reachability(distance, n, min_points, s.birth, s.stability);
  spanning_tree(distance, n, s.birth, s);
  const bool root_allowed = s.edge[0] <= threshold;
  int clusters = 1;
  s.birth[0] = s.stability[0] = 0;
  s.above[0] = -1;
  for (int i = 0; i < n; ++i) {
    s.home[i] = 0;
    s.inside[i] = 1;
  }
  for (int e = 0; e < n - 1;) {
    const double length = s.edge[e];
    while (e < n - 1 && s.edge[e] == length) ++e;
    const double density = 1.0 / (length > kSmallestDistance ? length : kSmallestDistance);
    cut_tree(e, n, s);
    const int old = clusters;
    for (int c = 0; c < old; ++c) {
      int members = 0, large = 0, whole = 0;
      for (int i = 0; i < n; ++i) {
        if (s.home[i] != c || !s.inside[i]) continue;
        ++members;
        if (s.part[i] != i) continue;
        large += s.part_size[i] >= least ? 1 : 0;
        whole = s.part_size[i];
      }
      if (members == 0 || (large == 1 && whole == members)) continue;
      for (int i = 0; i < n; ++i) {
        if (s.home[i] != c || !s.inside[i]) continue;
        if (s.part_size[s.part[i]] < least) {
          s.inside[i] = 0;
          s.stability[c] += density - s.birth[c];
        } else if (large > 1) {
          s.stability[c] += density - s.birth[c];
          // A part's first completion opens its cluster; the others follow it.
          if (s.part[i] == i) {
            s.birth[clusters] = density;
            s.stability[clusters] = 0;
            s.above[clusters] = c;
            s.home[i] = clusters++;
          } else {
            s.home[i] = s.home[s.part[i]];
          }
        }
      }
    }
  }
  for (int c = 0; c < clusters; ++c) s.below[c] = 0;
  for (int c = clusters - 1; c >= 0; --c) {
    const bool allowed = c > 0 || root_allowed;
    s.chosen[c] = allowed && s.stability[c] >= s.below[c] ? 1 : 0;
    if (c > 0) s.below[s.above[c]] += s.chosen[c] ? s.stability[c] : s.below[c];
  }
  // Of nested choices the outermost stands.
  for (int i = 0; i < n; ++i) {
    int outermost = -1;
    for (int c = s.home[i]; c >= 0; c = s.above[c])
      if (s.chosen[c]) outermost = c;
    label[i] = outermost < 0 ? i : n + outermost;
  }
}

}  // namespace motley
