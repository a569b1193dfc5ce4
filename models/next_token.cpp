#include "models/next_token.hpp"

#include <algorithm>

#include "core/base/shape.hpp"
#include "models/pass.hpp"
#include "models/policy_tile.hpp"

namespace motley {

template <class Scalar>
NextTokenWorkspace<Scalar> make_next_token_workspace(const Net& net, int R, int B, int G, int P,
                                                     int T) {
  NextTokenWorkspace<Scalar> w;
  w.tiling = make_policy_tiling(net, B, G, P, T);
  TileShape shape;
  shape.max_rows = P + w.tiling.completions * std::max(1, T - 1);
  shape.max_streams = 1 + w.tiling.completions;
  shape.capacity = std::max(P, T);
  w.tiles = make_tile_workspace<Scalar>("next_token", net, shape, R * w.tiling.tiles(B));
  return w;
}

template <class Scalar>
struct NextTokenKernel {
  Net net;
  Weights<Scalar> weights;
  TileWorkspace<Scalar> workspace;
  PolicyTiling tiling;
  ConstView1<double> inv_temperature;
  RolloutBuffer buffer;
  View4<double> logits;
  int jobs, tiles;

  /// The row that predicts token t of a completion is kept where t follows its prefix.
  KOKKOS_INLINE_FUNCTION void write(int r, int b, int g, int t, const Scalar* row,
                                    const RowSoftmax<Scalar>& s) const {
    if (t + 1 != buffer.length(r, b, g)) return;
    for (int v = 0; v < net.vocab; ++v) logits(r, b, g, v) = double(row[v]) - double(s.top);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    lay_out_tile(net, workspace.shape, &workspace.memory(slot, 0), &workspace.ints(slot, 0), tile,
                 ints);
    for (int job = take_job(team, workspace.next_job.data()); job < jobs;
         job = take_job(team, workspace.next_job.data())) {
      const int r = job / tiles;
      const TileSpan span = tile_span(tiling, 0, job % tiles);
      if (buffer.prompt_length(r, span.b) == 0) continue;
      load_group(team, buffer, r, span, tile);
      forward(team, net, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(), tile);
      const int last_prompt = buffer.prompt_length(r, span.b) - 1;
      const Scalar scale = static_cast<Scalar>(inv_temperature(r));
      for (int first = last_prompt; first < tile.rows; first += tile.shape.head_rows) {
        const int count =
            first + tile.shape.head_rows < tile.rows ? tile.shape.head_rows : tile.rows - first;
        head(team, net, &weights.packed(r, 0), tile.hidden, first, count, tile.logits);
        team_for(team, count, [&](int i) {
          Scalar* row = tile.logits + std::int64_t{i} * net.vocab_ld();
          const auto softmax = scale_and_normalise(row, net.vocab, scale);
          const int stream = tile.stream[first + i];
          if (stream == 0) {
            for (int g = span.g0; g < span.g1; ++g) write(r, span.b, g, 0, row, softmax);
          } else {
            write(r, span.b, span.g0 + stream - 1, tile.index[first + i] + 1, row, softmax);
          }
        });
      }
    }
  }
};

template <class Scalar>
void next_token_logits(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                       const NextTokenWorkspace<Scalar>& workspace,
                       const ConstView1<double>& inv_temperature, const RolloutBuffer& buffer,
                       const View4<double>& logits) {
  const Shape& s = buffer.shape;
  require_extents(logits, "next_token_logits", "logits", "[R,B,G,V]", s.R, s.B, s.G, net.vocab);
  require_extents(inv_temperature, "next_token_logits", "inv_temperature", "[R]", s.R);
  const int tiles = workspace.tiling.tiles(s.B);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const NextTokenKernel<Scalar> kernel{
      net,         weights, workspace.tiles, workspace.tiling, inv_temperature, buffer, logits,
      s.R * tiles, tiles};
  Kokkos::parallel_for("motley::models::next_token", tile_policy(exec, workspace.tiles.slots),
                       kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                                 \
  template NextTokenWorkspace<Scalar> make_next_token_workspace<Scalar>(const Net&, int, int, int, \
                                                                        int, int);                 \
  template void next_token_logits<Scalar>(                                                         \
      const Exec&, const Net&, const Weights<Scalar>&, const NextTokenWorkspace<Scalar>&,          \
      const ConstView1<double>&, const RolloutBuffer&, const View4<double>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
