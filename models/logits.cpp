#include "models/logits.hpp"

#include "models/pass.hpp"

namespace motley {

template <class Scalar>
TileWorkspace<Scalar> make_logits_workspace(const Net& net, int R, int N, int S) {
  TileShape shape;
  shape.max_rows = S;
  shape.max_streams = 1;
  shape.capacity = S;
  return make_tile_workspace<Scalar>("logits", net, shape, R * N);
}

/// One text per tile.
template <class Scalar>
struct LogitsKernel {
  Net net;
  Weights<Scalar> weights;
  TileWorkspace<Scalar> workspace;
  ConstView3<int> token;
  ConstView2<int> length;
  View4<Scalar> logits;
  int jobs, texts;

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const int V = net.vocab;
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    lay_out_tile(net, workspace.shape, &workspace.memory(slot, 0), &workspace.ints(slot, 0), tile,
                 ints);
    for (int job = take_job(team, workspace.next_job.data()); job < jobs;
         job = take_job(team, workspace.next_job.data())) {
      const int r = job / texts;
      const int n = job % texts;
      const int rows = length(r, n);
      team_for(team, rows, [&](int i) {
        tile.token[i] = token(r, n, i);
        tile.stream[i] = 0;
        tile.index[i] = i;
      });
      team_for(team, 1, [&](int) {
        tile.parent[0] = -1;
        tile.length[0] = rows;
      });
      tile.rows = rows;
      forward(team, net, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(), tile);
      for (int first = 0; first < rows; first += tile.shape.head_rows) {
        const int count = first + tile.shape.head_rows < rows ? tile.shape.head_rows : rows - first;
        head(team, net, &weights.packed(r, 0), tile.hidden, first, count, tile.logits);
        team_for(team, count, V, [&](int i, int v) {
          logits(r, n, first + i, v) = tile.logits[std::int64_t{i} * net.vocab_ld() + v];
        });
      }
      const int S = static_cast<int>(logits.extent(2));
      team_for(team, S - rows, V, [&](int i, int v) { logits(r, n, rows + i, v) = Scalar(0); });
    }
  }
};

template <class Scalar>
void token_logits(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                  const TileWorkspace<Scalar>& workspace, const ConstView3<int>& token,
                  const ConstView2<int>& length, const View4<Scalar>& logits) {
  const int N = static_cast<int>(token.extent(1));
  const int jobs = static_cast<int>(token.extent(0)) * N;
  Kokkos::deep_copy(exec, workspace.next_job, 0);
  const LogitsKernel<Scalar> kernel{net, weights, workspace, token, length, logits, jobs, N};
  Kokkos::parallel_for("motley::models::token_logits", tile_policy(exec, workspace.slots), kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                         \
  template TileWorkspace<Scalar> make_logits_workspace<Scalar>(const Net&, int, int, int); \
  template void token_logits<Scalar>(const Exec&, const Net&, const Weights<Scalar>&,      \
                                     const TileWorkspace<Scalar>&, const ConstView3<int>&, \
                                     const ConstView2<int>&, const View4<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
