#include "core/partition.hpp"

#include "core/correlation.hpp"
#include "core/labels.hpp"
#include "core/ngram.hpp"

namespace motley {

void rule_pair_scores(const Exec& exec, const ConstView1<PartitionParams>& params,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const ConstView3<int>& class_id, const View4<float>& pair_score,
                      const View2<int>& num_calls) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  require_extents(pair_score, "rule_pair_scores", "pair_score", "[R,B,G,G]", R, B, G, G);
  Kokkos::parallel_for(
      "motley::partition::rule_pair_scores", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const PartitionParams& p = params(r);
        if (p.method != PartitionMethod::oracle && p.method != PartitionMethod::exact &&
            p.method != PartitionMethod::ngram)
          return;
        if (g == 0) num_calls(r, b) = 0;
        // Each completion fills its row's upper part and mirrors it.
        pair_score(r, b, g, g) = 1.0f;
        const int* mine = &token(r, b, g, 0);
        for (int other = g + 1; other < G; ++other) {
          const int* theirs = &token(r, b, other, 0);
          float score = 0.0f;
          switch (p.method) {
            case PartitionMethod::oracle:
              score = class_id(r, b, g) == class_id(r, b, other) && class_id(r, b, g) >= 0 ? 1.0f
                                                                                           : 0.0f;
              break;
            case PartitionMethod::exact:
              score = length(r, b, g) == length(r, b, other) &&
                              same_tokens(mine, theirs, length(r, b, g))
                          ? 1.0f
                          : 0.0f;
              break;
            default:
              score = static_cast<float>(
                  ngram_jaccard(mine, length(r, b, g), theirs, length(r, b, other), p.ngram_n));
          }
          pair_score(r, b, g, other) = score;
          pair_score(r, b, other, g) = score;
        }
      });
}

namespace {

/// Root of i, halving the path on the way. Roots are the smallest member, so labels are canonical.
KOKKOS_INLINE_FUNCTION int find_root(const View3<int>& parent, int r, int b, int i) {
  while (parent(r, b, i) != i) {
    parent(r, b, i) = parent(r, b, parent(r, b, i));
    i = parent(r, b, i);
  }
  return i;
}

template <class Same>
KOKKOS_INLINE_FUNCTION void union_find(const View3<int>& cluster, int r, int b, int G,
                                       const Same& same) {
  for (int i = 0; i < G; ++i)
    for (int j = i + 1; j < G; ++j) {
      if (!same(i, j)) continue;
      const int a = find_root(cluster, r, b, i);
      const int c = find_root(cluster, r, b, j);
      if (a < c) cluster(r, b, c) = a;
      if (c < a) cluster(r, b, a) = c;
    }
  // Roots precede their members, so one pass in order leaves every label at its root.
  for (int i = 0; i < G; ++i)
    if (cluster(r, b, i) >= 0) cluster(r, b, i) = find_root(cluster, r, b, i);
}

/// Labels are first members by construction of the order.
template <class Same>
KOKKOS_INLINE_FUNCTION void greedy_first(const View3<int>& cluster, int r, int b, int G,
                                         const Same& same) {
  for (int i = 0; i < G; ++i) {
    if (cluster(r, b, i) < 0) continue;
    for (int j = 0; j < i; ++j)
      if (cluster(r, b, j) == j && same(j, i)) {
        cluster(r, b, i) = j;
        break;
      }
  }
}

/// get_semantic_ids of Kuhn et al.: the class opened by i takes every later match, assigned or not.
template <class Same>
KOKKOS_INLINE_FUNCTION void greedy_last(const View3<int>& cluster, int r, int b, int G,
                                        const Same& same) {
  for (int i = 0; i < G; ++i) {
    if (cluster(r, b, i) != i) continue;
    for (int j = i + 1; j < G; ++j)
      if (same(i, j)) cluster(r, b, j) = i;
  }
}

/// The members are few enough to try all their partitions, or are moved about until none gains.
KOKKOS_INLINE_FUNCTION void correlation(const CorrelationGroup& group, int* label) {
  int member[kExactCorrelation];
  int n = 0;
  for (int g = 0; g < group.G; ++g)
    if (label[g] >= 0) {
      if (n < kExactCorrelation) member[n] = g;
      ++n;
    }
  if (n <= kExactCorrelation)
    correlation_exact(group, member, n, label);
  else
    correlation_local(group, label);
  canonical_labels(label, group.G);
}

}  // namespace

void partition(const Exec& exec, const ConstView1<PartitionParams>& params,
               const ConstView4<float>& pair_score, const ConstView3<int>& member,
               const View3<int>& cluster, const View3<int>& cluster_size,
               const View2<int>& num_clusters) {
  const int R = static_cast<int>(cluster.extent(0));
  const int B = static_cast<int>(cluster.extent(1));
  const int G = static_cast<int>(cluster.extent(2));
  require_extents(pair_score, "partition", "pair_score", "[R,B,G,G]", R, B, G, G);
  const bool everybody = member.extent(0) == 0;
  Kokkos::parallel_for(
      "motley::partition::partition", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
      KOKKOS_LAMBDA(const int job) {
        const int b = job % B;
        const int r = job / B;
        const PartitionParams& p = params(r);
        if (clusters_embeddings(p.method)) return;
        num_clusters(r, b) = 0;
        for (int g = 0; g < G; ++g) {
          const bool in = p.linkage != Linkage::soft && (everybody || member(r, b, g) != 0);
          cluster(r, b, g) = in ? g : kNone;
          cluster_size(r, b, g) = 0;
        }
        if (p.linkage == Linkage::soft) return;
        const float threshold = static_cast<float>(p.threshold);
        const auto same = [&](int i, int j) {
          return cluster(r, b, i) >= 0 && cluster(r, b, j) >= 0 &&
                 pair_score(r, b, i, j) > threshold;
        };
        switch (p.linkage) {
          case Linkage::greedy_first: greedy_first(cluster, r, b, G, same); break;
          case Linkage::greedy_last: greedy_last(cluster, r, b, G, same); break;
          case Linkage::correlation:
            correlation({&pair_score(r, b, 0, 0), G, CorrelationGroup::log_odds(p.threshold)},
                        &cluster(r, b, 0));
            break;
          default: union_find(cluster, r, b, G, same);
        }
        num_clusters(r, b) = count_clusters(&cluster(r, b, 0), G, &cluster_size(r, b, 0));
      });
}

}  // namespace motley
