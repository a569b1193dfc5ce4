#pragma once
/// Partition of a group's completions into meaning classes.
///
/// A partition is an equivalence relation stored canonically: the label of a cluster is the
/// smallest completion index in it, so two partitions are equal iff their labels are equal bit for
/// bit. DARLING (arXiv 2509.02534) section 3: pair decisions P(same) > tau, union-find components.

#include <cstdint>

#include "core/base/describe.hpp"
#include "core/base/registry.hpp"
#include "core/ngram.hpp"
#include "core/rollout.hpp"

namespace motley {

/// The first five decide pairs, which a linkage then joins; the others place every completion in a
/// space and cluster it there (core/cluster.hpp). Registered ones score pairs too.
enum class PartitionMethod : int {
  oracle,
  noisy_oracle,
  exact,
  ngram,
  classifier,
  kmeans,
  agglomerative,
  dbscan,
  spectral,
  hdbscan,
};
template <>
struct EnumNames<PartitionMethod> {
  static constexpr std::array<std::string_view, 10> names = {
      "oracle", "noisy_oracle",  "exact",  "ngram",    "classifier",
      "kmeans", "agglomerative", "dbscan", "spectral", "hdbscan"};
};
/// Is the method a registered one (core/partition_method.hpp), no enumerator?
KOKKOS_INLINE_FUNCTION bool is_registered(PartitionMethod method) {
  return static_cast<int>(method) >= kFirstRegistered;
}
template <>
struct RegisteredNames<PartitionMethod> {
  static std::vector<std::string> names();
  static PartitionMethod value(std::size_t i);
  static std::string_view name(PartitionMethod method);
};
KOKKOS_INLINE_FUNCTION bool clusters_embeddings(PartitionMethod method) {
  return static_cast<int>(method) >= static_cast<int>(PartitionMethod::kmeans) &&
         !is_registered(method);
}

enum class Linkage : int { union_find, greedy_first, greedy_last, soft, correlation };
template <>
struct EnumNames<Linkage> {
  static constexpr std::array<std::string_view, 5> names = {"union_find", "greedy_first",
                                                            "greedy_last", "soft", "correlation"};
};

enum class Merge : int { single, complete, average };
template <>
struct EnumNames<Merge> {
  static constexpr std::array<std::string_view, 3> names = {"single", "complete", "average"};
};

enum class EmbeddingKind : int { classifier, ngram, policy };
template <>
struct EnumNames<EmbeddingKind> {
  static constexpr std::array<std::string_view, 3> names = {"classifier", "ngram", "policy"};
};

struct PartitionParams {
  PartitionMethod method = PartitionMethod::classifier;
  Linkage linkage = Linkage::union_find;
  double threshold = 0.5;
  int short_answer_words = 0;
  int ngram_n = 4;
  Merge merge = Merge::average;
  int num_clusters = 0;
  int min_points = 2;
  bool across_steps = false;
  EmbeddingKind embedding = EmbeddingKind::classifier;
  double false_merge = 0.0;
  double false_split = 0.0;
  double noise_correlation = 0.0;
  std::uint64_t seed = 0;  ///< the replica's own run seed (verdicts, k-means); not an option
};

/// Defaults of the options that registered partitioners bring along.
OwnSettings partitioner_settings();

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, PartitionParams> {
  v("partition.method", c.method, any_value, "1",
    "what decides whether two completions mean the same");
  v("partition.linkage", c.linkage, any_value, "1",
    "how pair decisions become clusters; soft = none, pair scores are used as they are");
  v("partition.threshold", c.threshold, between(0, 1), "1",
    "a pair is the same when its score is strictly above this; of agglomerative, dbscan, kmeans and hdbscan the cosine distance up to which completions belong together");
  v("partition.short_answer_words", c.short_answer_words, between(0, 1000), "token",
    "pairs of at most so many tokens are decided by overlap, without the classifier; the official code has 5");
  v("partition.ngram_n", c.ngram_n, between(1, 64), "token",
    "n of the Jaccard similarity (method ngram) and of the n-gram embedding");
  v("partition.merge", c.merge, any_value, "1",
    "distance between clusters (agglomerative): mean, smallest or largest over their pairs");
  v("partition.num_clusters", c.num_clusters, between(0, 4096), "1",
    "clusters of a group (kmeans, spectral); 0 = chosen by silhouette or eigengap");
  v("partition.min_points", c.min_points, between(1, 4096), "1",
    "completions that make a dense place, itself counted (dbscan, hdbscan)");
  v("partition.across_steps", c.across_steps, any_value, "1",
    "keep a prompt's classes across steps and count earlier completions of each");
  v("partition.embedding", c.embedding, any_value, "1",
    "where completions are placed by kmeans, agglomerative, dbscan, spectral and hdbscan: the pair classifier's state, hashed n-grams, or the mean state of the policy that samples");
  v("partition.false_merge", c.false_merge, between(0, 1), "1",
    "probability that the noisy oracle calls a different pair the same");
  v("partition.false_split", c.false_split, between(0, 1), "1",
    "probability that the noisy oracle calls a same pair different");
  v("partition.noise_correlation", c.noise_correlation, between(0, 1), "1",
    "probability that a verdict of the noisy oracle is shared by all pairs of the two classes");
}

/// Pair scores of the methods that need no classifier: oracle (1 iff equal class_id; a negative
/// class_id equals nothing but itself), exact (1 iff equal token strings), ngram (Jaccard of the
/// sets of n-grams of the counted tokens; two strings shorter than n: 1 iff equal). Replicas of
/// other methods are left untouched. Symmetric, diagonal 1.
/// \param params [R]   \param token [R,B,G,T]   \param length [R,B,G]   \param class_id [R,B,G]
/// \param pair_score [R,B,G,G] out   \param num_calls [R,B] out (0)
void rule_pair_scores(const Exec& exec, const ConstView1<PartitionParams>& params,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const ConstView3<int>& class_id, const View4<float>& pair_score,
                      const View2<int>& num_calls);

/// Pair scores of noisy_oracle: the oracle's verdict, flipped at known rates (an LLM judge with
/// known errors). The flip is drawn at (seed, judge, prompt, both texts), in either order: a pair
/// of texts gets the same verdict in every group and step. With probability noise_correlation the
/// draw is that of the pair of classes instead, shared by all pairs of texts of the two; the rates
/// stay what they are. Equal texts are the same and not asked. Replicas of other methods are left
/// untouched. \param prompt_id [R,B]   \param token [R,B,G,T]   \param length, class_id [R,B,G]
/// \param pair_score [R,B,G,G] out, 0 or 1   \param num_calls [R,B] out, pairs of unequal texts
void judge_pair_scores(const Exec& exec, const ConstView1<PartitionParams>& params,
                       const ConstView2<int>& prompt_id, const ConstView4<int>& token,
                       const ConstView3<int>& length, const ConstView3<int>& class_id,
                       const View4<float>& pair_score, const View2<int>& num_calls);

/// Pair scores -> clusters.
///
/// union_find: connected components of {P_ij > threshold, i < j} (darling-spec a2).
/// greedy_first: for i in order join the first class whose first member matches, else open one.
/// greedy_last: for i in order: if unassigned open a class; every later j matching i takes i's
/// class, the last one wins (Kuhn et al.'s get_semantic_ids). soft: cluster = -1, cluster_size = 0,
/// num_clusters = 0. correlation: least sum of w over cut pairs with w > 0 and of -w over joined
/// pairs with w < 0, w = log-odds of P (clipped to [1e-6, 1 - 1e-6]) less that of the threshold;
/// exact up to 8 members, above that pivots and local moves (core/correlation.hpp).
/// Only the upper triangle i < j of pair_score is read. Replicas whose method clusters embeddings
/// are left untouched. Cost O(G^2) per group; no allocation; G <= 4096.
/// \param member [R,B,G] 0 = leave this completion out (cluster -1, size 0); pass an empty view for
/// "all"
void partition(const Exec& exec, const ConstView1<PartitionParams>& params,
               const ConstView4<float>& pair_score, const ConstView3<int>& member,
               const View3<int>& cluster, const View3<int>& cluster_size,
               const View2<int>& num_clusters);

/// maybe_test_equality of the official code (darling-spec a1), on token ids: for two completions of
/// at most `words` counted tokens, 1 iff 2 * |set(a) & set(b)| >= max(|a|, |b|), else 0; -1 =
/// longer, ask the classifier. Lengths count repeats, the overlap does not.
KOKKOS_INLINE_FUNCTION int short_answer_verdict(const int* a, int length_a, const int* b,
                                                int length_b, int words) {
  const int longer = length_a > length_b ? length_a : length_b;
  if (longer > words) return -1;
  int overlap = 0;
  for (int i = 0; i < length_a; ++i)
    if (first_occurrence(a, i, 1) && contains_ngram(b, length_b, a + i, 1)) ++overlap;
  return 2 * overlap >= longer ? 1 : 0;
}

}  // namespace motley
