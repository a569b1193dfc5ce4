#include "models/classifier.hpp"

#include <algorithm>

#include "models/chunks.hpp"
#include "models/pass.hpp"

namespace motley {

namespace {
constexpr int kTileRows = 192;
constexpr int kMaxPairs = 64;  // pairs whose features exist at one time
}  // namespace

PairNetLayout make_pair_net_layout(const ClassifierConfig& c, int vocab, int T) {
  PairNetLayout out;
  PairNet& n = out.net;
  n.form = c.form;
  n.text_length = T;
  n.task_vocab = vocab;
  TransformerConfig e;
  e.layers = c.layers;
  e.width = c.width;
  e.heads = c.heads;
  e.kv_heads = c.heads;
  e.ff = c.ff;
  e.causal = false;
  e.vocab = vocab + 2;
  e.max_positions = n.stream_length();
  NetLayout encoder = make_net_layout(e, false, "encoder.");
  n.encoder = encoder.net;
  n.features = c.form == ClassifierForm::bi_encoder ? 4 * c.width : c.width;
  out.tensors = encoder.tensors;
  n.hidden_weight = out.tensors.add("pair.hidden.weight", c.width, n.features);
  n.hidden_bias = out.tensors.add("pair.hidden.bias", 1, c.width);
  n.out_weight = out.tensors.add("pair.out.weight", 1, c.width);
  n.out_bias = out.tensors.add("pair.out.bias", 1, 1);
  n.size = out.tensors.size();
  return out;
}

template <class Scalar>
PairWeights<Scalar> make_pair_weights(int R, const PairNet& net) {
  PairWeights<Scalar> w;
  Net with_head = net.encoder;
  with_head.size = net.size;  // one arena holds encoder and head
  w.encoder = make_weights<Scalar>("classifier", R, with_head, 10000.0);
  w.hidden_t = View2<Scalar>("motley::classifier::hidden_t", R, net.features * net.encoder.width_ld());
  return w;
}

template <class Scalar>
void pack_pair_weights(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights) {
  pack_weights(exec, net.encoder, weights.encoder);
  const View2<Scalar> params = weights.encoder.params;
  const View2<Scalar> hidden_t = weights.hidden_t;
  const int E = net.width();
  const int ld = net.encoder.width_ld();
  const int F = net.features;
  const std::int64_t at = net.hidden_weight;
  Kokkos::parallel_for(
      "motley::classifier::pack", Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(params.extent(0)) * F),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / F;
        const int f = job % F;
        for (int e = 0; e < E; ++e) hidden_t(r, f * ld + e) = params(r, at + std::int64_t{e} * F + f);
      });
}

template <class Scalar>
void init_pair_weights(const Exec& exec, const PairNetLayout& layout, const ConstView1<std::uint64_t>& seeds,
                       const PairWeights<Scalar>& weights) {
  NetLayout as_net{layout.net.encoder, layout.tensors};
  init_weights(exec, as_net, seeds, static_cast<std::uint32_t>(Stream::classifier_init), weights.encoder.params);
  // The head starts as a weak random readout; its biases at 0, not at the 1 of a norm's gain.
  const View2<Scalar> params = weights.encoder.params;
  const PairNet net = layout.net;
  Kokkos::parallel_for(
      "motley::classifier::init_head", Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(params.extent(0))),
      KOKKOS_LAMBDA(const int r) {
        const DrawKey key{seeds(r), Stream::classifier_init, 1};
        for (int e = 0; e < net.width(); ++e) {
          params(r, net.hidden_bias + e) = Scalar(0);
          const float u = draw_uniform(key, 0, static_cast<std::uint32_t>(e));
          params(r, net.out_weight + e) = static_cast<Scalar>(0.4f * (u - 0.5f));
        }
        params(r, net.out_bias) = Scalar(0);
        const std::int64_t n = std::int64_t{net.width()} * net.features;
        for (std::int64_t i = 0; i < n; ++i) params(r, net.hidden_weight + i) *= Scalar(4);
      });
}

namespace {

/// Scratch of one slot beside its tile.
template <class Scalar>
struct PairScratch {
  Scalar* pooled;     ///< [texts,E] or unused
  Scalar* dpooled;    ///< [texts,E]
  Scalar* feature;    ///< [pairs,F]
  Scalar* dfeature;   ///< [pairs,F]
  Scalar* pre;        ///< [pairs,E16] before the gate
  Scalar* act;        ///< [pairs,E16]
  Scalar* dpre;       ///< [pairs,E16]
  Scalar* logit;      ///< [pairs]
  int* first;         ///< [pairs] completion i
  int* second;        ///< [pairs] completion j
  int* stream_of;     ///< [G] stream of a completion, -1 where it equals an earlier one
  int* same_as;       ///< [G] earliest equal completion
};

template <class Scalar>
KOKKOS_INLINE_FUNCTION std::int64_t lay_out_scratch(const PairNet& net, int texts, int G, int pairs, Scalar* base,
                                                    int* ints, PairScratch<Scalar>& s, std::int64_t& int_count) {
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

}  // namespace

template <class Scalar>
PairWorkspace<Scalar> make_pair_workspace(const PairNet& net, int R, int groups, int G, bool training) {
  PairWorkspace<Scalar> w;
  const bool bi = net.form == ClassifierForm::bi_encoder;
  const int S = net.stream_length();
  w.G = G;
  // Training needs all embeddings of a group at once; scoring may embed a few at a time.
  w.texts_per_tile = training ? G : std::clamp(kTileRows / S, 1, G);
  const int all_pairs = std::max(1, G * (G - 1) / 2);
  w.pairs_per_tile = std::min(all_pairs, bi ? kMaxPairs : std::max(1, kTileRows / S));
  if (training && bi) w.pairs_per_tile = all_pairs;
  TileShape shape;
  shape.max_streams = bi ? w.texts_per_tile : w.pairs_per_tile;
  shape.max_rows = shape.max_streams * S;
  shape.capacity = S;
  shape.head_rows = 0;
  shape.training = training;
  w.chunks = training ? gradient_chunks(groups, net.size) : 0;
  w.tiles = make_tile_workspace<Scalar>(training ? "pair_gradient" : "pair_scores", net.encoder, shape,
                                        R * (training ? w.chunks : groups));
  PairScratch<Scalar> s{};
  std::int64_t ints = 0;
  const std::int64_t size =
      lay_out_scratch<Scalar>(net, G, G, w.pairs_per_tile, nullptr, nullptr, s, ints);
  w.scratch = View2<Scalar>("motley::classifier::scratch", w.tiles.slots, size);
  w.ints = View2<int>("motley::classifier::ints", w.tiles.slots, ints);
  if (training) {
    w.partial = View3<Scalar>("motley::classifier::partial", R, w.chunks, net.size);
    w.sums = View3<double>("motley::classifier::sums", R, w.chunks, 1);
  }
  return w;
}

namespace {

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
  KOKKOS_INLINE_FUNCTION int append(Tile<Scalar>& tile, int rows, int stream, int& index, int r, int b, int g) const {
    for (int t = 0; t < length(r, b, g); ++t, ++rows, ++index) {
      tile.token[rows] = token(r, b, g, t);
      tile.stream[rows] = stream;
      tile.index[rows] = index;
    }
    return rows;
  }

  KOKKOS_INLINE_FUNCTION int mark(Tile<Scalar>& tile, int rows, int stream, int& index, int id) const {
    tile.token[rows] = id;
    tile.stream[rows] = stream;
    tile.index[rows] = index++;
    return rows + 1;
  }

  /// bi_encoder: rows of completions texts[0, count).
  KOKKOS_INLINE_FUNCTION void load_texts(const Team& team, int r, int b, const int* texts, int count,
                                         Tile<Scalar>& tile) const {
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
  KOKKOS_INLINE_FUNCTION void load_pairs(const Team& team, int r, int b, const int* first, const int* second,
                                         int count, Tile<Scalar>& tile) const {
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
  KOKKOS_INLINE_FUNCTION void pool(const Team& team, const Tile<Scalar>& tile, int streams, Scalar* pooled,
                                   const Slot& slot_of) const {
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
  KOKKOS_INLINE_FUNCTION void pair_head(const Team& team, int r, const PairScratch<Scalar>& s, int n) const {
    const int E = net.width();
    const int ld = net.encoder.width_ld();
    const Scalar* params = &weights.encoder.params(r, 0);
    tile_gemm(team, n, ld, net.features, s.feature, net.features, 1, &weights.hidden_t(r, 0), ld, s.pre, ld, false);
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

}  // namespace

template <class Scalar>
struct PairScoreKernel {
  PairPass<Scalar> pass;
  PairWorkspace<Scalar> workspace;
  Symmetrize symmetrize;
  ConstView1<PartitionParams> params;
  View4<float> pair_score;
  View2<int> num_calls;
  View1<StatusWord> status;
  int jobs, B;

  KOKKOS_INLINE_FUNCTION float combine(float ab, float ba) const {
    switch (symmetrize) {
      case Symmetrize::mean: return 0.5f * (ab + ba);
      case Symmetrize::both: return ab < ba ? ab : ba;
      case Symmetrize::either: return ab > ba ? ab : ba;
      default: return ab;
    }
  }

  /// Equal completions share a representative; returns the number of representatives, listed in
  /// s.first before pairs are.
  KOKKOS_INLINE_FUNCTION int find_unique(const Team& team, int r, int b, const PairScratch<Scalar>& s) const {
    const int G = workspace.G;
    team_for(team, G, [&](int g) {
      s.same_as[g] = g;
      for (int j = 0; j < g; ++j) {
        bool same = pass.length(r, b, j) == pass.length(r, b, g);
        for (int t = 0; same && t < pass.length(r, b, g); ++t) same = pass.token(r, b, j, t) == pass.token(r, b, g, t);
        if (same) {
          s.same_as[g] = j;
          break;
        }
      }
    });
    int unique = 0;
    for (int g = 0; g < G; ++g) unique += s.same_as[g] == g ? 1 : 0;
    return unique;
  }

  KOKKOS_INLINE_FUNCTION void embed_unique(const Team& team, int r, int b, Tile<Scalar>& tile,
                                           const PairScratch<Scalar>& s) const {
    const int G = workspace.G;
    for (int g = 0; g < G;) {
      // The next representatives, as many as the tile holds; their ids wait in stream_of.
      int count = 0;
      while (g < G && count < workspace.texts_per_tile) {
        if (s.same_as[g] == g) {
          Kokkos::single(Kokkos::PerTeam(team), [&]() { s.stream_of[count] = g; });
          ++count;
        }
        ++g;
      }
      team.team_barrier();
      if (count == 0) break;
      pass.load_texts(team, r, b, s.stream_of, count, tile);
      pass.encode(team, r, tile);
      pass.pool(team, tile, count, s.pooled, [&](int stream) { return s.stream_of[stream]; });
    }
  }

  /// Scores pairs (first[p], second[p]) of representatives.
  KOKKOS_INLINE_FUNCTION void score_pairs(const Team& team, int r, int b, Tile<Scalar>& tile,
                                          const PairScratch<Scalar>& s, int n, bool reversed) const {
    const int E = pass.net.width();
    const int* first = reversed ? s.second : s.first;
    const int* second = reversed ? s.first : s.second;
    if (pass.net.form == ClassifierForm::bi_encoder) {
      team_for(team, n, [&](int p) {
        pass.bi_feature(s.pooled + std::int64_t{first[p]} * E, s.pooled + std::int64_t{second[p]} * E,
                        s.feature + std::int64_t{p} * pass.net.features);
      });
    } else {
      pass.load_pairs(team, r, b, first, second, n, tile);
      pass.encode(team, r, tile);
      team_for(team, n, [&](int p) {
        int row = 0;
        for (int i = 0; i < p; ++i) row += tile.length[i];
        for (int e = 0; e < E; ++e) s.feature[std::int64_t{p} * E + e] = tile.hidden[std::int64_t{row} * E + e];
      });
    }
    pass.pair_head(team, r, s, n);
    team_for(team, n, [&](int p) {
      const int i = s.first[p];
      const int j = s.second[p];
      if (!Kokkos::isfinite(s.logit[p])) report(status, r, Stage::pair_scores, b, i, 0);
      const float score = static_cast<float>(sigmoid(s.logit[p]));
      pair_score(r, b, i, j) = reversed ? combine(pair_score(r, b, i, j), score) : score;
    });
  }

  KOKKOS_INLINE_FUNCTION void group(const Team& team, int r, int b, Tile<Scalar>& tile,
                                    const PairScratch<Scalar>& s) const {
    const int G = workspace.G;
    const int words = params(r).short_answer_words;
    find_unique(team, r, b, s);
    if (pass.net.form == ClassifierForm::bi_encoder) embed_unique(team, r, b, tile, s);
    int calls = 0;
    int n = 0;
    for (int i = 0; i < G; ++i) {
      if (s.same_as[i] != i) continue;
      for (int j = i + 1; j < G; ++j) {
        if (s.same_as[j] != j) continue;
        const int verdict = short_answer_verdict(&pass.token(r, b, i, 0), pass.length(r, b, i), &pass.token(r, b, j, 0),
                                                 pass.length(r, b, j), words);
        Kokkos::single(Kokkos::PerTeam(team), [&]() {
          if (verdict >= 0) {
            pair_score(r, b, i, j) = static_cast<float>(verdict);
          } else {
            s.first[n] = i;
            s.second[n] = j;
          }
        });
        if (verdict >= 0) continue;
        ++n;
        ++calls;
        if (n < workspace.pairs_per_tile) continue;
        team.team_barrier();
        flush(team, r, b, tile, s, n);
        n = 0;
      }
    }
    team.team_barrier();
    if (n > 0) flush(team, r, b, tile, s, n);
    // Copies inherit their representative's scores; the matrix is symmetric with diagonal 1.
    team_for(team, G, [&](int i) {
      for (int j = 0; j < G; ++j) {
        const int a = s.same_as[i] < s.same_as[j] ? s.same_as[i] : s.same_as[j];
        const int c = s.same_as[i] < s.same_as[j] ? s.same_as[j] : s.same_as[i];
        const bool asked = i < j && a == i && c == j;
        if (!asked) pair_score(r, b, i, j) = a == c ? 1.0f : pair_score(r, b, a, c);
      }
    });
    team_for(team, 1, [&](int) {
      num_calls(r, b) = calls * (symmetrize == Symmetrize::none ? 1 : 2);
    });
  }

  KOKKOS_INLINE_FUNCTION void flush(const Team& team, int r, int b, Tile<Scalar>& tile, const PairScratch<Scalar>& s,
                                    int n) const {
    score_pairs(team, r, b, tile, s, n, false);
    if (symmetrize != Symmetrize::none) score_pairs(team, r, b, tile, s, n, true);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    Tile<Scalar> tile{};
    PairScratch<Scalar> s{};
    std::int64_t ints = 0;
    const auto& slots = workspace.tiles;
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile, ints);
    lay_out_scratch(pass.net, workspace.G, workspace.G, workspace.pairs_per_tile, &workspace.scratch(slot, 0),
                    &workspace.ints(slot, 0), s, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs; job = take_job(team, slots.next_job.data()))
      if (params(job / B).method == PartitionMethod::classifier) group(team, job / B, job % B, tile, s);
  }
};

template <class Scalar>
void pair_scores(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                 const PairWorkspace<Scalar>& workspace, Symmetrize symmetrize,
                 const ConstView1<PartitionParams>& params, const ConstView4<int>& token,
                 const ConstView3<int>& length, const View4<float>& pair_score, const View2<int>& num_calls,
                 const View1<StatusWord>& status) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  require_extents(pair_score, "pair_scores", "pair_score", "[R,B,G,G]", R, B, workspace.G, workspace.G);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const PairScoreKernel<Scalar> kernel{{net, weights, token, length}, workspace, symmetrize, params, pair_score,
                                       num_calls,                     status,    R * B,      B};
  Kokkos::parallel_for("motley::models::pair_scores", tile_policy(exec, workspace.tiles.slots), kernel);
}

template <class Scalar>
struct PairGradientKernel {
  PairPass<Scalar> pass;
  PairWorkspace<Scalar> workspace;
  ConstView4<float> label;
  int jobs, B;

  /// Loss and d logit of n pairs, then the head's backward into `grad` and s.dfeature.
  KOKKOS_INLINE_FUNCTION void head_gradient(const Team& team, int r, int b, const PairScratch<Scalar>& s, int n,
                                            Scalar* grad, double* sums) const {
    const PairNet& net = pass.net;
    const int E = net.width();
    const int F = net.features;
    const int ld = net.encoder.width_ld();
    const Scalar* params = &pass.weights.encoder.params(r, 0);
    const int G = workspace.G;
    const Scalar share = static_cast<Scalar>(1.0 / (double(B) * G * (G - 1) / 2));
    pass.pair_head(team, r, s, n);
    team_for(team, 1, [&](int) {
      for (int p = 0; p < n; ++p) {
        const Scalar y = static_cast<Scalar>(label(r, b, s.first[p], s.second[p]));
        const Scalar z = s.logit[p];
        // ln(1 + exp(z)) - y z, written so that it cannot overflow.
        const double bce = double(z > 0 ? z : Scalar(0)) - double(y * z) +
                           Kokkos::log1p(Kokkos::exp(-Kokkos::abs(double(z))));
        sums[0] += bce;
        s.logit[p] = share * (sigmoid(z) - y);
        const Scalar dz = s.logit[p];
        grad[net.out_bias] += dz;
        for (int e = 0; e < E; ++e) {
          const Scalar pre = s.pre[p * ld + e];
          const Scalar gate = sigmoid(pre);
          grad[net.out_weight + e] += dz * s.act[p * ld + e];
          s.dpre[p * ld + e] = dz * params[net.out_weight + e] * gate * (Scalar(1) + pre * (Scalar(1) - gate));
          grad[net.hidden_bias + e] += s.dpre[p * ld + e];
        }
      }
    });
    tile_gemm(team, E, F, n, s.dpre, 1, ld, s.feature, F, grad + net.hidden_weight, F, true);
    tile_gemm(team, n, F, E, s.dpre, ld, 1, params + net.hidden_weight, F, s.dfeature, F, false);
  }

  KOKKOS_INLINE_FUNCTION void bi_group(const Team& team, int r, int b, Tile<Scalar>& tile,
                                       const PairScratch<Scalar>& s, Scalar* grad, double* sums) const {
    const PairNet& net = pass.net;
    const int G = workspace.G;
    const int E = net.width();
    const int F = net.features;
    const int pairs = G * (G - 1) / 2;
    team_for(team, G, [&](int g) { s.stream_of[g] = g; });
    pass.load_texts(team, r, b, s.stream_of, G, tile);
    pass.encode(team, r, tile);
    pass.pool(team, tile, G, s.pooled, [](int stream) { return stream; });
    team_for(team, 1, [&](int) {
      for (int i = 0, p = 0; i < G; ++i)
        for (int j = i + 1; j < G; ++j, ++p) {
          s.first[p] = i;
          s.second[p] = j;
        }
    });
    team_for(team, pairs, [&](int p) {
      pass.bi_feature(s.pooled + s.first[p] * E, s.pooled + s.second[p] * E, s.feature + std::int64_t{p} * F);
    });
    head_gradient(team, r, b, s, pairs, grad, sums);
    team_for(team, E, [&](int e) {
      for (int g = 0; g < G; ++g) s.dpooled[g * E + e] = Scalar(0);
      for (int p = 0; p < pairs; ++p) {
        const Scalar u = s.pooled[s.first[p] * E + e];
        const Scalar v = s.pooled[s.second[p] * E + e];
        const Scalar* df = s.dfeature + std::int64_t{p} * F;
        const Scalar sign = u > v ? Scalar(1) : (u < v ? Scalar(-1) : Scalar(0));
        s.dpooled[s.first[p] * E + e] += df[e] + sign * df[2 * E + e] + v * df[3 * E + e];
        s.dpooled[s.second[p] * E + e] += df[E + e] - sign * df[2 * E + e] + u * df[3 * E + e];
      }
    });
    team_for(team, tile.rows, E, [&](int i, int e) {
      const int stream = tile.stream[i];
      tile.dh[std::int64_t{i} * E + e] = s.dpooled[stream * E + e] / Scalar(tile.length[stream]);
    });
    backward(team, net.encoder, &pass.weights.encoder.params(r, 0), pass.weights.encoder.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION void cross_pairs(const Team& team, int r, int b, Tile<Scalar>& tile,
                                          const PairScratch<Scalar>& s, int n, Scalar* grad, double* sums) const {
    const PairNet& net = pass.net;
    const int E = net.width();
    pass.load_pairs(team, r, b, s.first, s.second, n, tile);
    pass.encode(team, r, tile);
    team_for(team, tile.rows, E, [&](int i, int e) {
      if (tile.index[i] == 0) s.feature[tile.stream[i] * E + e] = tile.hidden[std::int64_t{i} * E + e];
    });
    head_gradient(team, r, b, s, n, grad, sums);
    team_for(team, tile.rows, E, [&](int i, int e) {
      tile.dh[std::int64_t{i} * E + e] = tile.index[i] == 0 ? s.dfeature[tile.stream[i] * E + e] : Scalar(0);
    });
    backward(team, net.encoder, &pass.weights.encoder.params(r, 0), pass.weights.encoder.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION void cross_group(const Team& team, int r, int b, Tile<Scalar>& tile,
                                          const PairScratch<Scalar>& s, Scalar* grad, double* sums) const {
    int n = 0;
    for (int i = 0; i < workspace.G; ++i)
      for (int j = i + 1; j < workspace.G; ++j) {
        Kokkos::single(Kokkos::PerTeam(team), [&]() {
          s.first[n] = i;
          s.second[n] = j;
        });
        if (++n < workspace.pairs_per_tile) continue;
        team.team_barrier();
        cross_pairs(team, r, b, tile, s, n, grad, sums);
        n = 0;
      }
    team.team_barrier();
    if (n > 0) cross_pairs(team, r, b, tile, s, n, grad, sums);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const int chunks = workspace.chunks;
    Tile<Scalar> tile{};
    PairScratch<Scalar> s{};
    std::int64_t ints = 0;
    const auto& slots = workspace.tiles;
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile, ints);
    lay_out_scratch(pass.net, workspace.G, workspace.G, workspace.pairs_per_tile, &workspace.scratch(slot, 0),
                    &workspace.ints(slot, 0), s, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs; job = take_job(team, slots.next_job.data())) {
      const int r = job / chunks;
      const int c = job % chunks;
      Scalar* grad = &workspace.partial(r, c, 0);
      double* sums = &workspace.sums(r, c, 0);
      team_for(team, static_cast<int>(pass.net.size), [&](int n) { grad[n] = Scalar(0); });
      team_for(team, 1, [&](int) { sums[0] = 0.0; });
      for (int b = c; b < B; b += chunks) {
        if (pass.net.form == ClassifierForm::bi_encoder)
          bi_group(team, r, b, tile, s, grad, sums);
        else
          cross_group(team, r, b, tile, s, grad, sums);
      }
    }
  }
};

template <class Scalar>
void pair_gradient(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                   const PairWorkspace<Scalar>& workspace, const ConstView4<int>& token,
                   const ConstView3<int>& length, const ConstView4<float>& label, const View2<Scalar>& gradient,
                   const View1<double>& loss) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = workspace.G;
  require_extents(label, "pair_gradient", "label", "[R,B,G,G]", R, B, G, G);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const PairGradientKernel<Scalar> kernel{{net, weights, token, length}, workspace, label, R * workspace.chunks, B};
  Kokkos::parallel_for("motley::models::pair_gradient", tile_policy(exec, workspace.tiles.slots), kernel);
  sum_chunks_of_gradient(exec, workspace.partial, gradient);
  const View3<double> sums = workspace.sums;
  const int chunks = workspace.chunks;
  const double pairs = double(B) * G * (G - 1) / 2;
  Kokkos::parallel_for(
      "motley::models::pair_loss", Kokkos::RangePolicy<Exec>(exec, 0, R), KOKKOS_LAMBDA(const int r) {
        double sum = 0.0;
        for (int c = 0; c < chunks; ++c) sum += sums(r, c, 0);
        loss(r) = sum / pairs;
      });
}

PairQuality pair_quality(const std::vector<float>& score, const std::vector<int>& label, double threshold) {
  PairQuality q;
  q.pairs = static_cast<int>(score.size());
  double tp = 0, fp = 0, tn = 0, fn = 0;
  double bin_count[10] = {}, bin_score[10] = {}, bin_label[10] = {};
  for (std::size_t i = 0; i < score.size(); ++i) {
    const bool says = double(score[i]) > threshold;
    const bool truth = label[i] != 0;
    (says ? (truth ? tp : fp) : (truth ? fn : tn)) += 1;
    const int bin = std::clamp(static_cast<int>(score[i] * 10.0f), 0, 9);
    bin_count[bin] += 1;
    bin_score[bin] += double(score[i]);
    bin_label[bin] += truth ? 1 : 0;
  }
  const auto ratio = [](double a, double b) { return b > 0 ? a / b : 0.0; };
  const double n = static_cast<double>(score.size());
  q.accuracy = ratio(tp + tn, n);
  q.precision = ratio(tp, tp + fp);
  q.recall = ratio(tp, tp + fn);
  q.f1 = ratio(2 * tp, 2 * tp + fp + fn);
  q.false_merge = ratio(fp, fp + tn);
  q.false_split = ratio(fn, fn + tp);
  for (int i = 0; i < 10; ++i) q.ece += ratio(std::abs(bin_score[i] - bin_label[i]), n);
  // Area under the ROC curve = P(score of a same pair > score of a different one), ties 1/2.
  std::vector<std::size_t> order(score.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double rank_sum = 0;
  for (std::size_t i = 0; i < order.size();) {
    std::size_t j = i;
    while (j < order.size() && score[order[j]] == score[order[i]]) ++j;
    const double mean_rank = 0.5 * static_cast<double>(i + 1 + j);
    for (std::size_t k = i; k < j; ++k)
      if (label[order[k]] != 0) rank_sum += mean_rank;
    i = j;
  }
  const double positives = tp + fn, negatives = tn + fp;
  q.auroc = ratio(rank_sum - positives * (positives + 1) / 2, positives * negatives);
  return q;
}

#define MOTLEY_INSTANTIATE(Scalar)                                                                             \
  template PairWeights<Scalar> make_pair_weights<Scalar>(int, const PairNet&);                                 \
  template void pack_pair_weights<Scalar>(const Exec&, const PairNet&, const PairWeights<Scalar>&);            \
  template void init_pair_weights<Scalar>(const Exec&, const PairNetLayout&, const ConstView1<std::uint64_t>&, \
                                          const PairWeights<Scalar>&);                                         \
  template PairWorkspace<Scalar> make_pair_workspace<Scalar>(const PairNet&, int, int, int, bool);             \
  template void pair_scores<Scalar>(const Exec&, const PairNet&, const PairWeights<Scalar>&,                   \
                                    const PairWorkspace<Scalar>&, Symmetrize, const ConstView1<PartitionParams>&, \
                                    const ConstView4<int>&, const ConstView3<int>&, const View4<float>&,       \
                                    const View2<int>&, const View1<StatusWord>&);                              \
  template void pair_gradient<Scalar>(const Exec&, const PairNet&, const PairWeights<Scalar>&,                 \
                                      const PairWorkspace<Scalar>&, const ConstView4<int>&,                    \
                                      const ConstView3<int>&, const ConstView4<float>&, const View2<Scalar>&,  \
                                      const View1<double>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
