#include "models/entropy_shift.hpp"

#include <algorithm>

#include "models/pass.hpp"
#include "models/policy_tile.hpp"

namespace motley {

template <class Scalar>
EntropyShiftWorkspace<Scalar> make_entropy_shift_workspace(const Net& net, int R, int B, int G,
                                                           int P, int T) {
  EntropyShiftWorkspace<Scalar> w;
  w.tiling = make_policy_tiling(net, B, G, P, T);
  TileShape shape;
  shape.max_rows = P + w.tiling.completions * std::max(1, T - 1);
  shape.max_streams = 1 + w.tiling.completions;
  shape.capacity = std::max(P, T);
  shape.reference = true;
  w.tiles = make_tile_workspace<Scalar>("entropy_shift", net, shape, R * w.tiling.tiles(B));
  w.before = View4<double>("motley::entropy_shift::before", R, B, G, T);
  w.after = View4<double>("motley::entropy_shift::after", R, B, G, T);
  w.predicted = View4<double>("motley::entropy_shift::predicted", R, B, G, T);
  return w;
}

template <class Scalar>
struct EntropyShiftKernel {
  Net net;
  Weights<Scalar> before, after;
  EntropyShiftWorkspace<Scalar> workspace;
  ConstView1<LossParams> params;
  RolloutBuffer buffer;
  int jobs, tiles;

  KOKKOS_INLINE_FUNCTION static double entropy(const Scalar* row, int V,
                                               const RowSoftmax<Scalar>& softmax) {
    double sum = 0.0;
    for (int v = 0; v < V; ++v) {
      const double log_prob = double(softmax.log_prob(row[v]));
      const double p = Kokkos::exp(log_prob);
      sum -= p > 0.0 ? p * log_prob : 0.0;
    }
    return sum;
  }

  /// One state: rows of logits before and after; writes the same numbers for every completion that
  /// passes it.
  KOKKOS_INLINE_FUNCTION void state(int r, const TileSpan& span, const Tile<Scalar>& tile,
                                    int first, int i) const {
    const int V = net.vocab;
    const Scalar inv_temperature = static_cast<Scalar>(params(r).inv_temperature);
    Scalar* new_row = tile.logits + std::int64_t{i} * net.vocab_ld();
    Scalar* old_row = tile.ref_logits + std::int64_t{i} * net.vocab_ld();
    const auto new_softmax = scale_and_normalise(new_row, V, inv_temperature);
    const auto old_softmax = scale_and_normalise(old_row, V, inv_temperature);
    const double h = entropy(old_row, V, old_softmax);
    const double changed = entropy(new_row, V, new_softmax);
    double predicted = 0.0;
    for (int v = 0; v < V; ++v) {
      const double log_prob = double(old_softmax.log_prob(old_row[v]));
      const double p = Kokkos::exp(log_prob);
      if (p > 0.0) predicted -= p * (log_prob + h) * (double(new_row[v]) - double(old_row[v]));
    }
    const int stream = tile.stream[first + i];
    const int g0 = stream == 0 ? span.g0 : span.g0 + stream - 1;
    const int g1 = stream == 0 ? span.g1 : g0 + 1;
    const int t = stream == 0 ? 0 : tile.index[first + i] + 1;
    for (int g = g0; g < g1; ++g) {
      if (t >= buffer.length(r, span.b, g)) continue;
      workspace.before(r, span.b, g, t) = h;
      workspace.after(r, span.b, g, t) = changed;
      workspace.predicted(r, span.b, g, t) = predicted;
    }
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    const auto& slots = workspace.tiles;
    lay_out_tile(net, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
      const int r = job / tiles;
      const TileSpan span = tile_span(workspace.tiling, 0, job % tiles);
      load_group(team, buffer, r, span, tile);
      forward(team, net, &before.params(r, 0), &before.packed(r, 0), before.rope.data(), tile);
      team_for(team, tile.rows, net.width, [&](int i, int d) {
        tile.ref_hidden[std::int64_t{i} * net.width + d] =
            tile.hidden[std::int64_t{i} * net.width + d];
      });
      forward(team, net, &after.params(r, 0), &after.packed(r, 0), after.rope.data(), tile);
      for (int first = buffer.prompt_length(r, span.b) - 1; first < tile.rows;
           first += tile.shape.head_rows) {
        const int count =
            first + tile.shape.head_rows < tile.rows ? tile.shape.head_rows : tile.rows - first;
        head(team, net, &after.packed(r, 0), tile.hidden, first, count, tile.logits);
        head(team, net, &before.packed(r, 0), tile.ref_hidden, first, count, tile.ref_logits);
        team_for(team, count, [&](int i) { state(r, span, tile, first, i); });
      }
    }
  }
};

namespace {

template <class Scalar>
void sum_shifts(const Exec& exec, const EntropyShiftWorkspace<Scalar>& w, const View3<int>& length,
                const View2<double>& sums) {
  const int B = static_cast<int>(length.extent(1)), G = static_cast<int>(length.extent(2));
  const View4<double> before = w.before, after = w.after, predicted = w.predicted;
  Kokkos::parallel_for(
      "motley::models::sum_entropy_shifts", Kokkos::RangePolicy<Exec>(exec, 0, length.extent(0)),
      KOKKOS_LAMBDA(const int r) {
        double tokens = 0.0, old_sum = 0.0, new_sum = 0.0, first_order = 0.0;
        for (int b = 0; b < B; ++b)
          for (int g = 0; g < G; ++g)
            for (int t = 0; t < length(r, b, g); ++t) {
              tokens += 1.0;
              old_sum += before(r, b, g, t);
              new_sum += after(r, b, g, t);
              first_order += predicted(r, b, g, t);
            }
        sums(r, static_cast<int>(EntropySum::tokens)) = tokens;
        sums(r, static_cast<int>(EntropySum::before)) = old_sum;
        sums(r, static_cast<int>(EntropySum::after)) = new_sum;
        sums(r, static_cast<int>(EntropySum::predicted)) = first_order;
      });
}

}  // namespace

template <class Scalar>
void entropy_shift(const Exec& exec, const Net& net, const Weights<Scalar>& before,
                   const Weights<Scalar>& after, const EntropyShiftWorkspace<Scalar>& workspace,
                   const ConstView1<LossParams>& params, const RolloutBuffer& buffer,
                   const View2<double>& sums) {
  const int R = buffer.shape.R;
  require_extents(sums, "entropy_shift", "sums", "[R,kEntropySums]", R, kEntropySums);
  const int tiles = workspace.tiling.tiles(buffer.shape.B);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const EntropyShiftKernel<Scalar> kernel{net,    before, after,     workspace,
                                          params, buffer, R * tiles, tiles};
  Kokkos::parallel_for("motley::models::entropy_shift", tile_policy(exec, workspace.tiles.slots),
                       kernel);
  sum_shifts(exec, workspace, buffer.length, sums);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                                 \
  template EntropyShiftWorkspace<Scalar> make_entropy_shift_workspace<Scalar>(const Net&, int,     \
                                                                              int, int, int, int); \
  template void entropy_shift<Scalar>(                                                             \
      const Exec&, const Net&, const Weights<Scalar>&, const Weights<Scalar>&,                     \
      const EntropyShiftWorkspace<Scalar>&, const ConstView1<LossParams>&, const RolloutBuffer&,   \
      const View2<double>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
