#pragma once
/// What every partitioner does to its labels at the end. Device code.

#include "core/base/types.hpp"

namespace motley {

/// Any labelling of a group (equal numbers >= 0 = one cluster, negative = left out) becomes
/// canonical: the smallest member of the cluster, or -1.
KOKKOS_INLINE_FUNCTION void canonical_labels(int* label, int n) {
  // A finished label waits as -2 - first, so that it is not taken for an unfinished one.
  for (int i = 0; i < n; ++i) {
    if (label[i] < 0) {
      if (label[i] > -2) label[i] = kNone;
      continue;
    }
    const int old = label[i];
    for (int j = i; j < n; ++j)
      if (label[j] == old) label[j] = -2 - i;
  }
  for (int i = 0; i < n; ++i)
    if (label[i] < kNone) label[i] = -2 - label[i];
}

/// Sizes of the completions' own clusters from canonical labels. \return number of clusters
KOKKOS_INLINE_FUNCTION int count_clusters(const int* label, int n, int* size) {
  int clusters = 0;
  for (int i = 0; i < n; ++i) size[i] = 0;
  for (int i = 0; i < n; ++i)
    if (label[i] >= 0) size[label[i]] += 1;
  // Members take their first member's count, which is complete by now.
  for (int i = n - 1; i >= 0; --i) {
    if (label[i] == i) ++clusters;
    if (label[i] >= 0) size[i] = size[label[i]];
  }
  return clusters;
}

}  // namespace motley
