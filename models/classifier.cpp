#include "models/classifier.hpp"

#include <algorithm>

#include "models/chunks.hpp"
#include "models/pair_pass.hpp"

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
  w.hidden_t =
      View2<Scalar>("motley::classifier::hidden_t", R, net.features * net.encoder.width_ld());
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
      "motley::classifier::pack",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(params.extent(0)) * F),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / F;
        const int f = job % F;
        for (int e = 0; e < E; ++e)
          hidden_t(r, f * ld + e) = params(r, at + std::int64_t{e} * F + f);
      });
}

template <class Scalar>
void init_pair_weights(const Exec& exec, const PairNetLayout& layout,
                       const ConstView1<std::uint64_t>& seeds, const PairWeights<Scalar>& weights) {
  NetLayout as_net{layout.net.encoder, layout.tensors};
  init_weights(exec, as_net, seeds, static_cast<std::uint32_t>(Stream::classifier_init),
               weights.encoder.params);
  // The head starts as a weak random readout; its biases at 0, not at the 1 of a norm's gain.
  const View2<Scalar> params = weights.encoder.params;
  const PairNet net = layout.net;
  Kokkos::parallel_for(
      "motley::classifier::init_head",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(params.extent(0))),
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

template <class Scalar>
PairWorkspace<Scalar> make_pair_workspace(const PairNet& net, int R, int groups, int G,
                                          bool training) {
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
  w.tiles = make_tile_workspace<Scalar>(training ? "pair_gradient" : "pair_scores", net.encoder,
                                        shape, R * (training ? w.chunks : groups));
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

#define MOTLEY_INSTANTIATE(Scalar)                                             \
  template PairWeights<Scalar> make_pair_weights<Scalar>(int, const PairNet&); \
  template void pack_pair_weights<Scalar>(const Exec&, const PairNet&,         \
                                          const PairWeights<Scalar>&);         \
  template void init_pair_weights<Scalar>(const Exec&, const PairNetLayout&,   \
                                          const ConstView1<std::uint64_t>&,    \
                                          const PairWeights<Scalar>&);         \
  template PairWorkspace<Scalar> make_pair_workspace<Scalar>(const PairNet&, int, int, int, bool);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
