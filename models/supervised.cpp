#include "models/supervised.hpp"

#include <algorithm>

#include "core/sampling.hpp"
#include "models/chunks.hpp"
#include "models/pass.hpp"

namespace motley {

namespace {
constexpr int kTileRows = 192;
}

template <class Scalar>
SupervisedWorkspace<Scalar> make_supervised_workspace(const Net& net, int R, int N, int S) {
  SupervisedWorkspace<Scalar> w;
  w.texts_per_tile = std::clamp(kTileRows / S, 1, N);
  const int tiles = (N + w.texts_per_tile - 1) / w.texts_per_tile;
  w.chunks = gradient_chunks(tiles, net.size);
  TileShape shape;
  shape.max_rows = w.texts_per_tile * S;
  shape.max_streams = w.texts_per_tile;
  shape.capacity = S;
  shape.training = true;
  w.tiles = make_tile_workspace<Scalar>("supervised", net, shape, R * w.chunks);
  w.partial = View3<Scalar>("motley::supervised::partial", R, w.chunks, net.size);
  w.sums = View3<double>("motley::supervised::sums", R, w.chunks, 2);
  w.token_count = View1<double>("motley::supervised::token_count", R);
  return w;
}

template <class Scalar>
struct SupervisedKernel {
  Net net;
  Weights<Scalar> weights;
  SupervisedWorkspace<Scalar> workspace;
  CorpusBatch batch;
  ConstView1<int> active;
  int jobs, texts, tiles;

  KOKKOS_INLINE_FUNCTION void load(const Team& team, int r, int first, int count,
                                   Tile<Scalar>& tile) const {
    int rows = 0;
    for (int i = 0; i < count; ++i) {
      const int inputs = batch.length(r, first + i) - 1;
      team_for(team, inputs, [&](int p) {
        tile.token[rows + p] = batch.token(r, first + i, p);
        tile.stream[rows + p] = i;
        tile.index[rows + p] = p;
      });
      rows += inputs;
    }
    team_for(team, count, [&](int i) {
      tile.parent[i] = -1;
      tile.length[i] = batch.length(r, first + i) - 1;
    });
    tile.rows = rows;
  }

  KOKKOS_INLINE_FUNCTION void tile_gradient(const Team& team, int r, int first, int count,
                                            Tile<Scalar>& tile, Scalar* grad, double* sums) const {
    const int V = net.vocab;
    load(team, r, first, count, tile);
    forward(team, net, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(), tile);
    const Scalar share = static_cast<Scalar>(1.0 / workspace.token_count(r));
    for (int block = 0; block < tile.rows; block += tile.shape.head_rows) {
      const int n =
          block + tile.shape.head_rows < tile.rows ? tile.shape.head_rows : tile.rows - block;
      head(team, net, &weights.packed(r, 0), tile.hidden, block, n, tile.logits);
      // Row sums go through the row's unused score memory, to be added in order.
      team_for(team, n, [&](int i) {
        Scalar* row = tile.logits + std::int64_t{i} * net.vocab_ld();
        const int text = first + tile.stream[block + i];
        const int next = tile.index[block + i] + 1;
        tile.score[i] = Scalar(0);
        if (next < batch.prompt_length(r, text)) {
          for (int v = 0; v < V; ++v) row[v] = Scalar(0);
          return;
        }
        const int target = batch.token(r, text, next);
        const auto softmax = scale_and_normalise(row, V, Scalar(1));
        tile.score[i] = -softmax.log_prob(row[target]);
        for (int v = 0; v < V; ++v)
          row[v] = share *
                   (exp_or_zero(softmax.log_prob(row[v])) - (v == target ? Scalar(1) : Scalar(0)));
      });
      team_for(team, 1, [&](int) {
        for (int i = 0; i < n; ++i) sums[0] += double(tile.score[i]);
      });
      head_backward(team, net, &weights.params(r, 0), tile, block, n, tile.logits, grad);
    }
    backward(team, net, &weights.params(r, 0), weights.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const auto& slots = workspace.tiles;
    const int chunks = workspace.chunks;
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    lay_out_tile(net, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
      const int r = job / chunks;
      const int c = job % chunks;
      Scalar* grad = &workspace.partial(r, c, 0);
      double* sums = &workspace.sums(r, c, 0);
      team_for(team, static_cast<int>(net.size), [&](int n) { grad[n] = Scalar(0); });
      team_for(team, 1, [&](int) { sums[0] = 0.0; });
      if (active(r) == 0) continue;
      for (int i = c; i < tiles; i += chunks) {
        const int first = i * workspace.texts_per_tile;
        const int count =
            first + workspace.texts_per_tile < texts ? workspace.texts_per_tile : texts - first;
        tile_gradient(team, r, first, count, tile, grad, sums);
      }
    }
  }
};

template <class Scalar>
void supervised_gradient(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                         const SupervisedWorkspace<Scalar>& workspace, const CorpusBatch& batch,
                         const ConstView1<int>& active, const View2<Scalar>& gradient,
                         const View1<double>& loss) {
  const int R = static_cast<int>(batch.token.extent(0));
  const int texts = static_cast<int>(batch.token.extent(1));
  const View1<double> count = workspace.token_count;
  const View2<int> length = batch.length;
  const View2<int> prompt_length = batch.prompt_length;
  Kokkos::parallel_for(
      "motley::models::count_tokens", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        std::int64_t tokens = 0;
        for (int n = 0; n < texts; ++n) tokens += length(r, n) - prompt_length(r, n);
        count(r) = tokens > 0 ? double(tokens) : 1.0;
      });
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const int tiles = (texts + workspace.texts_per_tile - 1) / workspace.texts_per_tile;
  const SupervisedKernel<Scalar> kernel{
      net, weights, workspace, batch, active, R * workspace.chunks, texts, tiles};
  Kokkos::parallel_for("motley::models::supervised", tile_policy(exec, workspace.tiles.slots),
                       kernel);
  sum_chunks_of_gradient(exec, workspace.partial, gradient);
  const View3<double> sums = workspace.sums;
  const int chunks = workspace.chunks;
  Kokkos::parallel_for(
      "motley::models::supervised_loss", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        double sum = 0.0;
        for (int c = 0; c < chunks; ++c) sum += sums(r, c, 0);
        loss(r) = sum / count(r);
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                             \
  template SupervisedWorkspace<Scalar> make_supervised_workspace<Scalar>(const Net&, int, int, \
                                                                         int);                 \
  template void supervised_gradient<Scalar>(                                                   \
      const Exec&, const Net&, const Weights<Scalar>&, const SupervisedWorkspace<Scalar>&,     \
      const CorpusBatch&, const ConstView1<int>&, const View2<Scalar>&, const View1<double>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
