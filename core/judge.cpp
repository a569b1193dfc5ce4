#include "core/base/hash.hpp"
#include "core/base/rng.hpp"
#include "core/partition.hpp"

namespace motley {

namespace {

/// Does the judge call two unequal texts the same? Symmetric in the pair.
KOKKOS_INLINE_FUNCTION bool judge_says_same(const PartitionParams& p, int prompt,
                                            std::uint64_t text_a, std::uint64_t text_b, int class_a,
                                            int class_b) {
  const bool same = class_a == class_b && class_a >= 0;
  const DrawKey key{p.seed, Stream::judge, static_cast<std::uint32_t>(prompt)};
  const std::uint64_t texts = hash_pair(text_a, text_b);
  const Philox4 own =
      draw_bits(key, static_cast<std::uint32_t>(texts >> 32), static_cast<std::uint32_t>(texts));
  float flip = unit_float(own.x[0]);
  if (double(unit_float(own.x[1])) < p.noise_correlation) {
    const std::uint64_t classes =
        hash_pair(static_cast<std::uint32_t>(class_a), static_cast<std::uint32_t>(class_b));
    flip = unit_float(draw_bits(key, static_cast<std::uint32_t>(classes >> 32),
                                static_cast<std::uint32_t>(classes))
                          .x[2]);
  }
  return same != (double(flip) < (same ? p.false_split : p.false_merge));
}

}  // namespace

void judge_pair_scores(const Exec& exec, const ConstView1<PartitionParams>& params,
                       const ConstView2<int>& prompt_id, const ConstView4<int>& token,
                       const ConstView3<int>& length, const ConstView3<int>& class_id,
                       const View4<float>& pair_score, const View2<int>& num_calls) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  require_extents(pair_score, "judge_pair_scores", "pair_score", "[R,B,G,G]", R, B, G, G);
  Kokkos::parallel_for(
      "motley::partition::judge_pair_scores", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const PartitionParams& p = params(r);
        if (p.method != PartitionMethod::noisy_oracle) return;
        const auto equal = [&](int i, int j) {
          return length(r, b, i) == length(r, b, j) &&
                 same_tokens(&token(r, b, i, 0), &token(r, b, j, 0), length(r, b, i));
        };
        if (g == 0) {
          int texts = 0;
          for (int i = 0; i < G; ++i) {
            bool first = true;
            for (int j = 0; j < i && first; ++j) first = !equal(j, i);
            texts += first ? 1 : 0;
          }
          num_calls(r, b) = texts * (texts - 1) / 2;
        }
        // Each completion fills its row's upper part and mirrors it.
        pair_score(r, b, g, g) = 1.0f;
        const std::uint64_t mine = hash_tokens(&token(r, b, g, 0), length(r, b, g));
        for (int other = g + 1; other < G; ++other) {
          const std::uint64_t theirs = hash_tokens(&token(r, b, other, 0), length(r, b, other));
          const bool same =
              equal(g, other) || judge_says_same(p, prompt_id(r, b), mine, theirs,
                                                 class_id(r, b, g), class_id(r, b, other));
          pair_score(r, b, g, other) = same ? 1.0f : 0.0f;
          pair_score(r, b, other, g) = same ? 1.0f : 0.0f;
        }
      });
}

}  // namespace motley
