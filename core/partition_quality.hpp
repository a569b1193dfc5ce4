#pragma once
/// How well one partition of a group agrees with another. Host functions on label lists.
///
/// Labels name clusters in any way; equal labels = same cluster. A negative label is a cluster of
/// its own (left out of the partition). Lists must be of one length, at least 1.

#include <span>

namespace motley {

/// What is said about all pairs i < j: same cluster in the truth, in the prediction, in both.
struct PairCounts {
  long long total = 0;  ///< n (n - 1) / 2
  long long truth = 0, predicted = 0, both = 0;

  PairCounts& operator+=(const PairCounts& other);
  double precision() const;    ///< both / predicted; 1 where nothing is predicted the same
  double recall() const;       ///< both / truth; 1 where nothing is the same
  double f1() const;           ///< 2 both / (predicted + truth); 1 where both are empty
  double false_merge() const;  ///< share of different pairs put together; 0 where all are the same
  double false_split() const;  ///< share of same pairs put apart; 0 where none is the same
};
PairCounts count_pairs(std::span<const int> truth, std::span<const int> predicted);

/// Adjusted Rand index (Hubert and Arabie 1985), symmetric, at most 1; 1 where chance leaves
/// nothing to adjust (both trivial).
double adjusted_rand_index(std::span<const int> a, std::span<const int> b);

/// V-measure (Rosenberg and Hirschberg 2007): homogeneity I / H(truth), completeness I /
/// H(predicted), and their harmonic mean, which equals the arithmetic normalised mutual
/// information. An entropy of 0 counts as explained: 1.
struct VMeasure {
  double homogeneity = 1, completeness = 1, v = 1;
};
VMeasure v_measure(std::span<const int> truth, std::span<const int> predicted);

/// Members of the largest cluster over all members, in (0, 1].
double largest_share(std::span<const int> labels);

/// Pairs i < j of one cluster, and those of them that the pair decisions held apart
/// (score_ij <= threshold): what transitivity alone has merged.
struct MergedPairs {
  long long together = 0, against_decision = 0;
};
/// \param score [n,n] row-major, symmetric
MergedPairs merged_pairs(std::span<const int> labels, std::span<const float> score,
                         double threshold);

}  // namespace motley
