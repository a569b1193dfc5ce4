#include "core/embedding.hpp"

#include "core/base/hash.hpp"

namespace motley {

void ngram_embeddings(const Exec& exec, const ConstView1<PartitionParams>& params,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const View4<float>& embedding) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  const int E = static_cast<int>(embedding.extent(3));
  Kokkos::parallel_for(
      "motley::partition::ngram_embeddings", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const PartitionParams& p = params(r);
        if (!clusters_embeddings(p.method) || p.embedding != EmbeddingKind::ngram) return;
        const int* text = &token(r, b, g, 0);
        const int count = length(r, b, g);
        const int n = count < p.ngram_n ? count : p.ngram_n;
        for (int e = 0; e < E; ++e) embedding(r, b, g, e) = 0.0f;
        for (int i = 0; i + n <= count && (n > 0 || i == 0); ++i)
          embedding(r, b, g, static_cast<int>(hash_tokens(text + i, n) % kNgramBins)) += 1.0f;
        double square = 0;
        for (int e = 0; e < kNgramBins; ++e)
          square += double(embedding(r, b, g, e)) * double(embedding(r, b, g, e));
        for (int e = 0; e < kNgramBins; ++e)
          embedding(r, b, g, e) =
              static_cast<float>(double(embedding(r, b, g, e)) / Kokkos::sqrt(square));
      });
}

void embedding_pair_scores(const Exec& exec, const ConstView1<PartitionParams>& params,
                           const ConstView4<float>& embedding, const View4<float>& pair_score,
                           const View2<int>& num_calls) {
  const int R = static_cast<int>(embedding.extent(0));
  const int B = static_cast<int>(embedding.extent(1));
  const int G = static_cast<int>(embedding.extent(2));
  const int E = static_cast<int>(embedding.extent(3));
  require_extents(pair_score, "embedding_pair_scores", "pair_score", "[R,B,G,G]", R, B, G, G);
  Kokkos::parallel_for(
      "motley::partition::embedding_pair_scores", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        if (!clusters_embeddings(params(r).method)) return;
        if (g == 0) num_calls(r, b) = 0;
        pair_score(r, b, g, g) = 1.0f;
        for (int other = g + 1; other < G; ++other) {
          const double cosine =
              1.0 - cosine_distance(&embedding(r, b, g, 0), &embedding(r, b, other, 0), E);
          const float score = cosine > 0 ? static_cast<float>(cosine) : 0.0f;
          pair_score(r, b, g, other) = score;
          pair_score(r, b, other, g) = score;
        }
      });
}

}  // namespace motley
