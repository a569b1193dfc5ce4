#pragma once
/// Completions as points: unit vectors whose cosine says how alike they are.

#include "core/partition.hpp"

namespace motley {

inline constexpr int kNgramBins = 64;  ///< width of the hashed n-gram embedding

/// Hashed bag of n-grams: counts of the n-grams of the counted tokens in kNgramBins bins, to length
/// 1; a text shorter than n is one gram of its own. Only replicas that cluster n-gram embeddings
/// are written; what is beyond the bins is 0. \param token [R,B,G,T]   \param length [R,B,G] \param
/// embedding [R,B,G,E] out, E >= kNgramBins
void ngram_embeddings(const Exec& exec, const ConstView1<PartitionParams>& params,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const View4<float>& embedding);

/// (1 - cosine) of two unit vectors: half their squared distance, so exactly 0 for equal ones.
KOKKOS_INLINE_FUNCTION double cosine_distance(const float* a, const float* b, int dims) {
  double sum = 0;
  for (int d = 0; d < dims; ++d) {
    const double gap = double(a[d]) - double(b[d]);
    sum += gap * gap;
  }
  return 0.5 * sum;
}

/// Pair scores of the replicas that cluster embeddings: max(0, cosine), for what reads similarities
/// beside the clusters. Symmetric, diagonal 1. Nobody is asked: num_calls = 0.
/// \param embedding [R,B,G,E]   \param pair_score [R,B,G,G] out   \param num_calls [R,B] out
void embedding_pair_scores(const Exec& exec, const ConstView1<PartitionParams>& params,
                           const ConstView4<float>& embedding, const View4<float>& pair_score,
                           const View2<int>& num_calls);

}  // namespace motley
