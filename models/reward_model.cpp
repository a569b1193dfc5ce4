#include "models/reward_model.hpp"

#include <algorithm>

#include "core/base/shape.hpp"
#include "core/rollout.hpp"
#include "models/chunks.hpp"
#include "models/pass.hpp"

namespace motley {

namespace {
constexpr int kTileRows = 192;
constexpr int kHeads = 4;
}  // namespace

RewardNetLayout make_reward_net_layout(const RewardModelConfig& c, int vocab, int S) {
  TransformerConfig e;
  e.layers = c.layers;
  e.width = c.width;
  e.heads = kHeads;
  e.kv_heads = kHeads;
  e.ff = 3 * c.width;
  e.causal = false;
  e.vocab = vocab;
  e.max_positions = S;
  const NetLayout encoder = make_net_layout(e, false, "reward.");
  RewardNetLayout out{{encoder.net, 0, 0}, encoder.tensors};
  out.net.readout = out.tensors.add("reward.readout.weight", 1, c.width);
  out.net.size = out.tensors.size();
  return out;
}

template <class Scalar>
Weights<Scalar> make_reward_weights(int R, const RewardNet& net) {
  Net with_readout = net.encoder;
  with_readout.size = net.size;  // one arena holds encoder and readout
  return make_weights<Scalar>("reward_model", R, with_readout, 10000.0);
}

template <class Scalar>
void init_reward_weights(const Exec& exec, const RewardNetLayout& layout,
                         const ConstView1<std::uint64_t>& seeds, const Weights<Scalar>& weights) {
  init_weights(exec, {layout.net.encoder, layout.tensors}, seeds,
               static_cast<std::uint32_t>(Stream::reward_init), weights.params);
  // A weak random readout in the place of a norm's gain of 1.
  const View2<Scalar> params = weights.params;
  const RewardNet net = layout.net;
  Kokkos::parallel_for(
      "motley::reward_model::init_readout",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(params.extent(0))),
      KOKKOS_LAMBDA(const int r) {
        const DrawKey key{seeds(r), Stream::reward_init, 1};
        for (int e = 0; e < net.encoder.width; ++e)
          params(r, net.readout + e) = static_cast<Scalar>(
              0.4f * (draw_uniform(key, 0, static_cast<std::uint32_t>(e)) - 0.5f));
      });
}

template <class Scalar>
RewardModelWorkspace<Scalar> make_reward_model_workspace(const RewardNet& net, int R, int texts,
                                                         int S, bool training) {
  RewardModelWorkspace<Scalar> w;
  w.texts_per_tile = std::clamp(kTileRows / S / 2 * 2, 2, std::max(2, texts));
  const int tiles = (texts + w.texts_per_tile - 1) / w.texts_per_tile;
  TileShape shape;
  shape.max_rows = w.texts_per_tile * S;
  shape.max_streams = w.texts_per_tile;
  shape.capacity = S;
  shape.head_rows = 0;
  shape.training = training;
  w.chunks = training ? gradient_chunks(tiles, net.size) : 0;
  w.tiles = make_tile_workspace<Scalar>(training ? "preference_gradient" : "reward_scores",
                                        net.encoder, shape, R * (training ? w.chunks : tiles));
  w.scratch = View2<Scalar>("motley::reward_model::scratch", w.tiles.slots,
                            w.texts_per_tile * (net.encoder.width + 1));
  if (training) {
    w.partial = View3<Scalar>("motley::reward_model::partial", R, w.chunks, net.size);
    w.sums = View2<double>("motley::reward_model::sums", R, w.chunks);
  }
  return w;
}

/// What scoring and training share: a tile of texts through the encoder, their mean states.
template <class Scalar>
struct RewardPass {
  RewardNet net;
  Weights<Scalar> weights;
  RewardTexts texts;

  KOKKOS_INLINE_FUNCTION int num_texts() const { return static_cast<int>(texts.token.extent(1)); }

  /// Loads texts first, .., first + count - 1 (round the end) and leaves their means [count,E].
  KOKKOS_INLINE_FUNCTION void embed(const Team& team, int r, int first, int count,
                                    Tile<Scalar>& tile, Scalar* mean) const {
    const int N = num_texts();
    const int E = net.encoder.width;
    int rows = 0;
    for (int i = 0; i < count; ++i) {
      const int text = (first + i) % N;
      const int length = texts.length(r, text);
      team_for(team, length, [&](int p) {
        tile.token[rows + p] = texts.token(r, text, p);
        tile.stream[rows + p] = i;
        tile.index[rows + p] = p;
      });
      rows += length;
    }
    team_for(team, count, [&](int i) {
      tile.parent[i] = -1;
      tile.length[i] = texts.length(r, (first + i) % N);
    });
    tile.rows = rows;
    forward(team, net.encoder, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(),
            tile);
    team_for(team, count, [&](int i) {
      int row = 0;
      for (int j = 0; j < i; ++j) row += tile.length[j];
      const Scalar share = Scalar(1) / Scalar(tile.length[i]);
      for (int e = 0; e < E; ++e) mean[i * E + e] = Scalar(0);
      for (int p = row; p < row + tile.length[i]; ++p)
        for (int e = 0; e < E; ++e) mean[i * E + e] += tile.hidden[std::int64_t{p} * E + e];
      for (int e = 0; e < E; ++e) mean[i * E + e] *= share;
    });
  }

  KOKKOS_INLINE_FUNCTION Scalar read_out(int r, const Scalar* mean) const {
    const Scalar* w = &weights.params(r, net.readout);
    return lane_sum<Scalar>(net.encoder.width, [&](int e) { return w[e] * mean[e]; });
  }
};

template <class Scalar>
struct RewardScoreKernel {
  RewardPass<Scalar> pass;
  RewardModelWorkspace<Scalar> workspace;
  View2<Scalar> score;
  int jobs, tiles;

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const auto& slots = workspace.tiles;
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile,
                 ints);
    Scalar* mean = &workspace.scratch(slot, 0);
    const int N = pass.num_texts();
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
      const int r = job / tiles;
      const int first = job % tiles * workspace.texts_per_tile;
      const int count = first + workspace.texts_per_tile < N ? workspace.texts_per_tile : N - first;
      pass.embed(team, r, first, count, tile, mean);
      team_for(team, count, [&](int i) {
        score(r, first + i) = pass.read_out(r, mean + i * pass.net.encoder.width);
      });
    }
  }
};

template <class Scalar>
void reward_scores(const Exec& exec, const RewardNet& net, const Weights<Scalar>& weights,
                   const RewardModelWorkspace<Scalar>& workspace, const RewardTexts& texts,
                   const View2<Scalar>& score) {
  const int R = static_cast<int>(texts.token.extent(0));
  const int N = static_cast<int>(texts.token.extent(1));
  require_extents(score, "reward_scores", "score", "[R,N]", R, N);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const int tiles = (N + workspace.texts_per_tile - 1) / workspace.texts_per_tile;
  const RewardScoreKernel<Scalar> kernel{{net, weights, texts}, workspace, score, R * tiles, tiles};
  Kokkos::parallel_for("motley::models::reward_scores", tile_policy(exec, workspace.tiles.slots),
                       kernel);
}

template <class Scalar>
struct PreferenceKernel {
  RewardPass<Scalar> pass;
  RewardModelWorkspace<Scalar> workspace;
  ConstView2<float> label;
  int jobs, tiles, first_pair, pairs;

  KOKKOS_INLINE_FUNCTION void tile_gradient(const Team& team, int r, int first, int count,
                                            Tile<Scalar>& tile, Scalar* mean, Scalar* grad,
                                            double* sums) const {
    const RewardNet& net = pass.net;
    const int E = net.encoder.width;
    Scalar* dscore = mean + workspace.texts_per_tile * E;
    pass.embed(team, r, 2 * first_pair + first, count, tile, mean);
    team_for(team, 1, [&](int) {
      for (int i = 0; i < count; i += 2) {
        const int pair = (2 * first_pair + first + i) % pass.num_texts() / 2;
        const Scalar y = static_cast<Scalar>(label(r, pair));
        const Scalar d = pass.read_out(r, mean + i * E) - pass.read_out(r, mean + (i + 1) * E);
        // ln(1 + exp(d)) - y d, written so that it cannot overflow.
        sums[0] += double(d > 0 ? d : Scalar(0)) - double(y * d) +
                   Kokkos::log1p(Kokkos::exp(-Kokkos::abs(double(d))));
        dscore[i] = (sigmoid(d) - y) / Scalar(pairs);
        dscore[i + 1] = -dscore[i];
      }
      for (int i = 0; i < count; ++i)
        for (int e = 0; e < E; ++e) grad[net.readout + e] += dscore[i] * mean[i * E + e];
    });
    const Scalar* w = &pass.weights.params(r, net.readout);
    team_for(team, tile.rows, E, [&](int p, int e) {
      const int i = tile.stream[p];
      tile.dh[std::int64_t{p} * E + e] = dscore[i] * w[e] / Scalar(tile.length[i]);
    });
    backward(team, net.encoder, &pass.weights.params(r, 0), pass.weights.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const int chunks = workspace.chunks;
    const auto& slots = workspace.tiles;
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile,
                 ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
      const int r = job / chunks;
      const int c = job % chunks;
      Scalar* grad = &workspace.partial(r, c, 0);
      double* sums = &workspace.sums(r, c);
      team_for(team, static_cast<int>(pass.net.size), [&](int n) { grad[n] = Scalar(0); });
      team_for(team, 1, [&](int) { sums[0] = 0.0; });
      for (int i = c; i < tiles; i += chunks) {
        const int first = i * workspace.texts_per_tile;
        const int count = first + workspace.texts_per_tile < 2 * pairs ? workspace.texts_per_tile
                                                                       : 2 * pairs - first;
        tile_gradient(team, r, first, count, tile, &workspace.scratch(slot, 0), grad, sums);
      }
    }
  }
};

template <class Scalar>
void preference_gradient(const Exec& exec, const RewardNet& net, const Weights<Scalar>& weights,
                         const RewardModelWorkspace<Scalar>& workspace, const RewardTexts& texts,
                         const ConstView2<float>& label, int first_pair, int pairs,
                         const View2<Scalar>& gradient, const View1<double>& loss) {
  const int R = static_cast<int>(texts.token.extent(0));
  require_extents(label, "preference_gradient", "label", "[R,N/2]", R, texts.token.extent(1) / 2);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const int chunks = workspace.chunks;
  const int tiles = (2 * pairs + workspace.texts_per_tile - 1) / workspace.texts_per_tile;
  const PreferenceKernel<Scalar> kernel{
      {net, weights, texts}, workspace, label, R * chunks, tiles, first_pair, pairs};
  Kokkos::parallel_for("motley::models::preference_gradient",
                       tile_policy(exec, workspace.tiles.slots), kernel);
  sum_chunks_of_gradient(exec, workspace.partial, gradient);
  const View2<double> sums = workspace.sums;
  Kokkos::parallel_for(
      "motley::models::preference_loss", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        double sum = 0.0;
        for (int c = 0; c < chunks; ++c) sum += sums(r, c);
        loss(r) = sum / pairs;
      });
}

void reward_texts(const Exec& exec, const ConstView3<int>& prompt,
                  const ConstView2<int>& prompt_length, const ConstView4<int>& token,
                  const ConstView3<int>& length, const RewardTexts& texts) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  const int S = static_cast<int>(texts.token.extent(2));
  require_extents(texts.length, "reward_texts", "length", "[R,B*G]", R, B * G);
  Kokkos::parallel_for(
      "motley::models::reward_texts", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const int start = prompt_length(r, b);
        const int end = start + length(r, b, g);
        for (int s = 0; s < S; ++s)
          texts.token(r, b * G + g, s) =
              s < start ? prompt(r, b, s) : (s < end ? token(r, b, g, s - start) : kPad);
        texts.length(r, b * G + g) = end;
      });
}

void reward_quality(const Exec& exec, const ConstView1<RewardParams>& params,
                    const ConstView2<float>& score, const ConstView3<int>& finish,
                    const View3<float>& quality, const View1<StatusWord>& status) {
  const int R = static_cast<int>(quality.extent(0));
  const int B = static_cast<int>(quality.extent(1));
  const int G = static_cast<int>(quality.extent(2));
  require_extents(score, "reward_quality", "score", "[R,B*G]", R, B * G);
  Kokkos::parallel_for(
      "motley::models::reward_quality", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const RewardParams& p = params(r);
        const bool malformed =
            p.format == RewardFormat::checked && finish(r, b, g) != static_cast<int>(Finish::eos);
        const double standard = (double(score(r, b * G + g)) - p.mean) / p.deviation;
        const double z = malformed ? kMalformedScore : standard;
        if (!Kokkos::isfinite(z)) report(status, r, Stage::score, b, g, 0);
        quality(r, b, g) = static_cast<float>(p.squash == RewardSquash::sigmoid ? sigmoid(z) : z);
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                                 \
  template Weights<Scalar> make_reward_weights<Scalar>(int, const RewardNet&);                     \
  template void init_reward_weights<Scalar>(const Exec&, const RewardNetLayout&,                   \
                                            const ConstView1<std::uint64_t>&,                      \
                                            const Weights<Scalar>&);                               \
  template RewardModelWorkspace<Scalar> make_reward_model_workspace<Scalar>(const RewardNet&, int, \
                                                                            int, int, bool);       \
  template void reward_scores<Scalar>(const Exec&, const RewardNet&, const Weights<Scalar>&,       \
                                      const RewardModelWorkspace<Scalar>&, const RewardTexts&,     \
                                      const View2<Scalar>&);                                       \
  template void preference_gradient<Scalar>(const Exec&, const RewardNet&, const Weights<Scalar>&, \
                                            const RewardModelWorkspace<Scalar>&,                   \
                                            const RewardTexts&, const ConstView2<float>&, int,     \
                                            int, const View2<Scalar>&, const View1<double>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
