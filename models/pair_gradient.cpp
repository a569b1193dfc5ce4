#include "models/chunks.hpp"
#include "models/pair_pass.hpp"

namespace motley {

template <class Scalar>
struct PairGradientKernel {
  PairPass<Scalar> pass;
  PairWorkspace<Scalar> workspace;
  ConstView4<float> label;
  int jobs, B;

  /// Loss and d logit of n pairs, then the head's backward into `grad` and s.dfeature.
  KOKKOS_INLINE_FUNCTION void head_gradient(const Team& team, int r, int b,
                                            const PairScratch<Scalar>& s, int n, Scalar* grad,
                                            double* sums) const {
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
          s.dpre[p * ld + e] =
              dz * params[net.out_weight + e] * gate * (Scalar(1) + pre * (Scalar(1) - gate));
          grad[net.hidden_bias + e] += s.dpre[p * ld + e];
        }
      }
    });
    tile_gemm(team, E, F, n, s.dpre, 1, ld, s.feature, F, grad + net.hidden_weight, F, true);
    tile_gemm(team, n, F, E, s.dpre, ld, 1, params + net.hidden_weight, F, s.dfeature, F, false);
  }

  KOKKOS_INLINE_FUNCTION void bi_group(const Team& team, int r, int b, Tile<Scalar>& tile,
                                       const PairScratch<Scalar>& s, Scalar* grad,
                                       double* sums) const {
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
      pass.bi_feature(s.pooled + s.first[p] * E, s.pooled + s.second[p] * E,
                      s.feature + std::int64_t{p} * F);
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
    backward(team, net.encoder, &pass.weights.encoder.params(r, 0),
             pass.weights.encoder.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION void cross_pairs(const Team& team, int r, int b, Tile<Scalar>& tile,
                                          const PairScratch<Scalar>& s, int n, Scalar* grad,
                                          double* sums) const {
    const PairNet& net = pass.net;
    const int E = net.width();
    pass.load_pairs(team, r, b, s.first, s.second, n, tile);
    pass.encode(team, r, tile);
    team_for(team, tile.rows, E, [&](int i, int e) {
      if (tile.index[i] == 0)
        s.feature[tile.stream[i] * E + e] = tile.hidden[std::int64_t{i} * E + e];
    });
    head_gradient(team, r, b, s, n, grad, sums);
    team_for(team, tile.rows, E, [&](int i, int e) {
      tile.dh[std::int64_t{i} * E + e] =
          tile.index[i] == 0 ? s.dfeature[tile.stream[i] * E + e] : Scalar(0);
    });
    backward(team, net.encoder, &pass.weights.encoder.params(r, 0),
             pass.weights.encoder.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION void cross_group(const Team& team, int r, int b, Tile<Scalar>& tile,
                                          const PairScratch<Scalar>& s, Scalar* grad,
                                          double* sums) const {
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
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile,
                 ints);
    lay_out_scratch(pass.net, workspace.G, workspace.G, workspace.pairs_per_tile,
                    &workspace.scratch(slot, 0), &workspace.ints(slot, 0), s, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
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
                   const ConstView3<int>& length, const ConstView4<float>& label,
                   const View2<Scalar>& gradient, const View1<double>& loss) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = workspace.G;
  require_extents(label, "pair_gradient", "label", "[R,B,G,G]", R, B, G, G);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const PairGradientKernel<Scalar> kernel{
      {net, weights, token, length}, workspace, label, R * workspace.chunks, B};
  Kokkos::parallel_for("motley::models::pair_gradient", tile_policy(exec, workspace.tiles.slots),
                       kernel);
  sum_chunks_of_gradient(exec, workspace.partial, gradient);
  const View3<double> sums = workspace.sums;
  const int chunks = workspace.chunks;
  const double pairs = double(B) * G * (G - 1) / 2;
  Kokkos::parallel_for(
      "motley::models::pair_loss", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        double sum = 0.0;
        for (int c = 0; c < chunks; ++c) sum += sums(r, c, 0);
        loss(r) = sum / pairs;
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                             \
  template void pair_gradient<Scalar>(const Exec&, const PairNet&, const PairWeights<Scalar>&, \
                                      const PairWorkspace<Scalar>&, const ConstView4<int>&,    \
                                      const ConstView3<int>&, const ConstView4<float>&,        \
                                      const View2<Scalar>&, const View1<double>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
