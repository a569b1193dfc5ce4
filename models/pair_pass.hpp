#pragma once
/// What scoring and training of pairs share: scratch, encoding of texts or pairs, the pair head.
/// Device code.

#include "models/classifier.hpp"
#include "models/pass.hpp"

namespace motley {

/// Scratch of one slot beside its tile.
template <class Scalar>
struct PairScratch {
  Scalar* pooled;    ///< [texts,E] or unused
  Scalar* dpooled;   ///< [texts,E]
  Scalar* feature;   ///< [pairs,F]
  Scalar* dfeature;  ///< [pairs,F]
  Scalar* pre;       ///< [pairs,E16] before the gate
  Scalar* act;       ///< [pairs,E16]
  Scalar* dpre;      ///< [pairs,E16]
  Scalar* logit;     ///< [pairs]
  int* first;        ///< [pairs] completion i
  int* second;       ///< [pairs] completion j
  int* stream_of;    ///< [G] stream of a completion, -1 where it equals an earlier one
  int* same_as;      ///< [G] earliest equal completion
};

template <class Scalar>
KOKKOS_INLINE_FUNCTION std::int64_t lay_out_scratch(const PairNet& net, int texts, int G, int pairs,
                                                    Scalar* base, int* ints, PairScratch<Scalar>& s,
                                                    std::int64_t& int_count) {
  std::int64_t at = 0;
  const auto take = [&](std::int64_t n) {
    Scalar* p = base + at;
    at += (n + 15) / 16 * 16;
    return p;
  };
  const int E = net.width();
  const int ld = net.encoder.width_ld();
  s.pooled = take(std::int64_t{texts} * E);
  s.dpooled = take(std::int64_t{texts} * E);
  s.feature = take(std::int64_t{pairs} * net.features);
  s.dfeature = take(std::int64_t{pairs} * net.features);
  s.pre = take(std::int64_t{pairs} * ld);
  s.act = take(std::int64_t{pairs} * ld);
  s.dpre = take(std::int64_t{pairs} * ld);
  s.logit = take(pairs);
  s.first = ints;
  s.second = ints + pairs;
  s.stream_of = ints + 2 * pairs;
  s.same_as = ints + 2 * pairs + G;
  int_count = 2 * std::int64_t{pairs} + 2 * G;
  return at;
}

/// What both kernels share: encoding texts or pairs, and the pair head.
template <class Scalar>
struct PairPass {
  PairNet net;
  PairWeights<Scalar> weights;
  ConstView4<int> token;   // [R,B,G,T]
  ConstView3<int> length;  // [R,B,G]

  KOKKOS_INLINE_FUNCTION void encode(const Team& team, int r, Tile<Scalar>& tile) const {
    forward(team, net.encoder, &weights.encoder.params(r, 0), &weights.encoder.packed(r, 0),
            weights.encoder.rope.data(), tile);
  }

  /// Appends the tokens of completion g to a stream; returns the new number of rows.
  KOKKOS_INLINE_FUNCTION int append(Tile<Scalar>& tile, int rows, int stream, int& index, int r,
                                    int b, int g) const {
    for (int t = 0; t < length(r, b, g); ++t, ++rows, ++index) {
      tile.token[rows] = token(r, b, g, t);
      tile.stream[rows] = stream;
      tile.index[rows] = index;
    }
    return rows;
  }

  KOKKOS_INLINE_FUNCTION int mark(Tile<Scalar>& tile, int rows, int stream, int& index,
                                  int id) const {
    tile.token[rows] = id;
    tile.stream[rows] = stream;
    tile.index[rows] = index++;
    return rows + 1;
  }

  /// bi_encoder: rows of completions texts[0, count).
  KOKKOS_INLINE_FUNCTION void load_texts(const Team& team, int r, int b, const int* texts,
                                         int count, Tile<Scalar>& tile) const {
    int rows = 0;
    for (int i = 0; i < count; ++i) rows += length(r, b, texts[i]);
    Kokkos::single(Kokkos::PerTeam(team), [&]() {
      int at = 0;
      for (int i = 0; i < count; ++i) {
        int index = 0;
        at = append(tile, at, i, index, r, b, texts[i]);
        tile.parent[i] = -1;
        tile.length[i] = index;
      }
    });
    team.team_barrier();
    tile.rows = rows;
  }

  /// cross_encoder: rows of [CLS] a [SEP] b [SEP] for `count` pairs.
  KOKKOS_INLINE_FUNCTION void load_pairs(const Team& team, int r, int b, const int* first,
                                         const int* second, int count, Tile<Scalar>& tile) const {
    int rows = 0;
    for (int p = 0; p < count; ++p) rows += length(r, b, first[p]) + length(r, b, second[p]) + 3;
    Kokkos::single(Kokkos::PerTeam(team), [&]() {
      int at = 0;
      for (int p = 0; p < count; ++p) {
        int index = 0;
        at = mark(tile, at, p, index, net.task_vocab);
        at = append(tile, at, p, index, r, b, first[p]);
        at = mark(tile, at, p, index, net.task_vocab + 1);
        at = append(tile, at, p, index, r, b, second[p]);
        at = mark(tile, at, p, index, net.task_vocab + 1);
        tile.parent[p] = -1;
        tile.length[p] = index;
      }
    });
    team.team_barrier();
    tile.rows = rows;
  }

  /// Mean state of every stream into pooled[slot_of(stream)].
  template <class Slot>
  KOKKOS_INLINE_FUNCTION void pool(const Team& team, const Tile<Scalar>& tile, int streams,
                                   Scalar* pooled, const Slot& slot_of) const {
    const int E = net.width();
    team_for(team, streams, [&](int s) {
      int row = 0;
      for (int i = 0; i < s; ++i) row += tile.length[i];
      Scalar* out = pooled + std::int64_t{slot_of(s)} * E;
      const Scalar share = Scalar(1) / Scalar(tile.length[s] > 0 ? tile.length[s] : 1);
      for (int e = 0; e < E; ++e) out[e] = Scalar(0);
      for (int i = 0; i < tile.length[s]; ++i)
        for (int e = 0; e < E; ++e) out[e] += tile.hidden[std::int64_t{row + i} * E + e];
      for (int e = 0; e < E; ++e) out[e] *= share;
    });
  }

  /// Equal completions share a representative: same_as[g] = the first of them.
  KOKKOS_INLINE_FUNCTION void find_unique(const Team& team, int r, int b, int G,
                                          const PairScratch<Scalar>& s) const {
    team_for(team, G, [&](int g) {
      s.same_as[g] = g;
      for (int j = 0; j < g; ++j) {
        bool same = length(r, b, j) == length(r, b, g);
        for (int t = 0; same && t < length(r, b, g); ++t)
          same = token(r, b, j, t) == token(r, b, g, t);
        if (same) {
          s.same_as[g] = j;
          break;
        }
      }
    });
  }

  /// Embeds the representatives, as many at a time as the tile holds, into pooled[g].
  KOKKOS_INLINE_FUNCTION void embed_unique(const Team& team, int r, int b, int G, int per_tile,
                                           Tile<Scalar>& tile, const PairScratch<Scalar>& s) const {
    for (int g = 0; g < G;) {
      // The next representatives; their ids wait in stream_of.
      int count = 0;
      while (g < G && count < per_tile) {
        if (s.same_as[g] == g) {
          Kokkos::single(Kokkos::PerTeam(team), [&]() { s.stream_of[count] = g; });
          ++count;
        }
        ++g;
      }
      team.team_barrier();
      if (count == 0) break;
      load_texts(team, r, b, s.stream_of, count, tile);
      encode(team, r, tile);
      pool(team, tile, count, s.pooled, [&](int stream) { return s.stream_of[stream]; });
    }
  }

  KOKKOS_INLINE_FUNCTION void bi_feature(const Scalar* u, const Scalar* v, Scalar* f) const {
    const int E = net.width();
    for (int e = 0; e < E; ++e) {
      f[e] = u[e];
      f[E + e] = v[e];
      f[2 * E + e] = u[e] > v[e] ? u[e] - v[e] : v[e] - u[e];
      f[3 * E + e] = u[e] * v[e];
    }
  }

  /// Features -> logits for n pairs.
  KOKKOS_INLINE_FUNCTION void pair_head(const Team& team, int r, const PairScratch<Scalar>& s,
                                        int n) const {
    const int E = net.width();
    const int ld = net.encoder.width_ld();
    const Scalar* params = &weights.encoder.params(r, 0);
    tile_gemm(team, n, ld, net.features, s.feature, net.features, 1, &weights.hidden_t(r, 0), ld,
              s.pre, ld, false);
    team_for(team, n, [&](int p) {
      Scalar* pre = s.pre + p * ld;
      Scalar* act = s.act + p * ld;
      for (int e = 0; e < E; ++e) {
        pre[e] += params[net.hidden_bias + e];
        act[e] = pre[e] * sigmoid(pre[e]);
      }
      s.logit[p] = params[net.out_bias] +
                   lane_sum<Scalar>(E, [&](int e) { return act[e] * params[net.out_weight + e]; });
    });
  }
};

}  // namespace motley
