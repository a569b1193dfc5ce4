#include "models/pass.hpp"
#include "models/policy_tile.hpp"

namespace motley {

/// The K largest of `row`, largest first, among equal ones the lower index; -1 where V < K.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void top_tokens(const Scalar* row, int V, int K, int* top) {
  for (int k = 0; k < K; ++k) {
    top[k] = -1;
    for (int v = 0; v < V; ++v) {
      bool taken = false;
      for (int i = 0; i < k; ++i) taken = taken || top[i] == v;
      if (!taken && (top[k] < 0 || row[v] > row[top[k]])) top[k] = v;
    }
  }
}

template <class Scalar, class Out>
struct ScoreKernel {
  Net net;
  Weights<Scalar> weights;
  TileWorkspace<Scalar> workspace;
  PolicyTiling tiling;
  ConstView1<LossParams> params;
  RolloutBuffer buffer;
  ConstView1<int> active;
  View4<Out> log_prob;
  ScoreExtras extras;
  int jobs, tiles;

  KOKKOS_INLINE_FUNCTION void write(int r, int b, int g, int t, const Scalar* row,
                                    const RowSoftmax<Scalar>& s) const {
    if (t >= buffer.length(r, b, g)) return;
    log_prob(r, b, g, t) = static_cast<Out>(s.log_prob(row[buffer.token(r, b, g, t)]));
    if (extras.top.data() == nullptr || params(r).policy != PolicyLoss::simko) return;
    const int K = static_cast<int>(extras.top.extent(3)) / tiling.T;
    top_tokens(row, net.vocab, K, &extras.top(r, b, g, t * K));
  }

  KOKKOS_INLINE_FUNCTION bool embeds(int r) const {
    return extras.embedding.data() != nullptr && clusters_embeddings(extras.partition(r).method) &&
           extras.partition(r).embedding == EmbeddingKind::policy;
  }

  /// The completion's rows start at `first`.
  KOKKOS_INLINE_FUNCTION void embed(int r, int b, int g, const Scalar* hidden, int first,
                                    int prompt_length) const {
    const int E = static_cast<int>(extras.embedding.extent(3));
    const int length = buffer.length(r, b, g);
    const int from = length > 1 ? first : prompt_length - 1;
    const int rows = length > 1 ? length - 1 : 1;
    const auto mean = [&](int e) {
      double sum = 0.0;
      for (int i = 0; i < rows; ++i) sum += double(hidden[std::int64_t{from + i} * net.width + e]);
      return sum / rows;
    };
    double square = 0.0;
    for (int e = 0; e < net.width; ++e) square += mean(e) * mean(e);
    const bool none = !(square > 0.0);
    const double scale = none ? 0.0 : 1.0 / Kokkos::sqrt(square);
    for (int e = 0; e < E; ++e)
      extras.embedding(r, b, g, e) = e < net.width ? static_cast<float>(mean(e) * scale) : 0.0f;
    if (none) extras.embedding(r, b, g, 0) = 1.0f;
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
      if (active(r) == 0) continue;
      const TileSpan span = tile_span(tiling, 0, job % tiles);
      team_for(team, span.g1 - span.g0, tiling.T,
               [&](int i, int t) { log_prob(r, span.b, span.g0 + i, t) = Out(0); });
      load_group(team, buffer, r, span, tile);
      forward(team, net, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(), tile);
      const int last_prompt = buffer.prompt_length(r, span.b) - 1;
      const Scalar inv_temperature = static_cast<Scalar>(params(r).inv_temperature);
      if (embeds(r))
        team_for(team, span.g1 - span.g0, [&](int i) {
          int start = last_prompt + 1;
          for (int g = span.g0; g < span.g0 + i; ++g)
            start += buffer.length(r, span.b, g) > 0 ? buffer.length(r, span.b, g) - 1 : 0;
          embed(r, span.b, span.g0 + i, tile.hidden, start, last_prompt + 1);
        });
      for (int first = last_prompt; first < tile.rows; first += tile.shape.head_rows) {
        const int count =
            first + tile.shape.head_rows < tile.rows ? tile.shape.head_rows : tile.rows - first;
        head(team, net, &weights.packed(r, 0), tile.hidden, first, count, tile.logits);
        team_for(team, count, [&](int i) {
          Scalar* row = tile.logits + std::int64_t{i} * net.vocab_ld();
          const auto softmax = scale_and_normalise(row, net.vocab, inv_temperature);
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

template <class Scalar, class Out>
void score_tokens(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                  const PolicyWorkspace<Scalar>& workspace, const ConstView1<LossParams>& params,
                  const RolloutBuffer& buffer, const ConstView1<int>& active,
                  const View4<Out>& log_prob, const ScoreExtras& extras) {
  const int R = buffer.shape.R;
  const int tiles = workspace.tiling.tiles(buffer.shape.B);
  Kokkos::deep_copy(exec, workspace.score.next_job, 0);
  const ScoreKernel<Scalar, Out> kernel{
      net,    weights,  workspace.score, workspace.tiling, params, buffer,
      active, log_prob, extras,          R * tiles,        tiles};
  Kokkos::parallel_for("motley::models::score_tokens", tile_policy(exec, workspace.score.slots),
                       kernel);
}

#define MOTLEY_INSTANTIATE(Scalar, Out)                                                \
  template void score_tokens<Scalar, Out>(                                             \
      const Exec&, const Net&, const Weights<Scalar>&, const PolicyWorkspace<Scalar>&, \
      const ConstView1<LossParams>&, const RolloutBuffer&, const ConstView1<int>&,     \
      const View4<Out>&, const ScoreExtras&);
MOTLEY_INSTANTIATE(float, float)
MOTLEY_INSTANTIATE(double, float)
MOTLEY_INSTANTIATE(double, double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
