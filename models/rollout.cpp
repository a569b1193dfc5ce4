#include "models/rollout.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "models/pass.hpp"
#include "models/tasks/task.hpp"

namespace motley {

namespace {

/// Completions decoded side by side: enough rows for the products, few enough for the cache. Where
/// the weights come from beyond the second-level cache, each of their ways is shared by more rows.
constexpr int kDecodeRows = 48;
constexpr int kDecodeRowsLarge = 96;
constexpr std::int64_t kLargeNet = 1 << 20;  ///< weights

/// Tiles of the B groups of a replica: as many as the rows ask for, then up to a multiple of what
/// runs at once, so that all finish together. The groups are spread evenly over them.
int tiles_per_replica(const Net& net, int R, int B, int G) {
  const int rows = net.packed_size > kLargeNet ? kDecodeRowsLarge : kDecodeRows;
  const int groups = std::clamp(rows / std::max(1, G), 1, B);
  const int tiles = (B + groups - 1) / groups;
  const int at_once = concurrent_teams();
  if (R * tiles >= 8 * at_once) return tiles;
  return std::min(B, (round_up(R * tiles, at_once) + R - 1) / R);
}

}  // namespace

RolloutOutput rollout_output(const RolloutBuffer& b) {
  return {b.token, b.length, b.finish, b.sampler_log_prob, b.entropy, b.kept_mass};
}

template <class Scalar>
TileWorkspace<Scalar> make_rollout_workspace(const Net& net, int R, int B, int G, int P, int T) {
  const int tiles = tiles_per_replica(net, R, B, G);
  const int groups = (B + tiles - 1) / tiles;
  TileShape shape;
  shape.max_rows = groups * std::max(P, G);
  shape.max_streams = groups * (1 + G);
  shape.capacity = std::max(P, T);
  return make_tile_workspace<Scalar>("rollout", net, shape, R * tiles);
}

/// Body of the kernel; a named functor because it is long.
template <class Scalar>
struct RolloutKernel {
  Net net;
  Weights<Scalar> weights;
  TileWorkspace<Scalar> workspace;
  RolloutKey key;
  ConstView3<int> prompt;
  ConstView2<int> prompt_length;
  ConstView2<int> forced;
  RolloutOutput out;
  View1<StatusWord> status;
  int jobs, jobs_per_replica;

  /// Prompt of place i in the list of those to sample.
  KOKKOS_INLINE_FUNCTION int prompt_at(int r, int i) const {
    return key.slots.extent(0) == 0 ? i : key.slots(r, i);
  }

  KOKKOS_INLINE_FUNCTION std::uint32_t item(int b, int g) const {
    const auto B = static_cast<std::uint32_t>(out.token.extent(1));
    const auto G = static_cast<std::uint32_t>(out.token.extent(2));
    return (key.attempt * B + static_cast<std::uint32_t>(b)) * G + static_cast<std::uint32_t>(g);
  }

  /// What the sampler's logits of token t have that the trainer's have not.
  KOKKOS_INLINE_FUNCTION void disturb(int r, int b, int g, int t, Scalar* row) const {
    const LogitFault& f = key.fault;
    if (f.r == r && f.b == b && f.g == g && f.t == t) row[0] = static_cast<Scalar>(f.value);
    const double deviation = key.sampling(r).noise_std;
    if (deviation == 0.0) return;
    const DrawKey draw{key.seed(r), Stream::mismatch, key.step};
    const auto first = static_cast<std::uint32_t>(t) * static_cast<std::uint32_t>(net.vocab);
    for (int v = 0; v < net.vocab; ++v)
      row[v] += static_cast<Scalar>(
          deviation * draw_normal(draw, item(b, g), first + static_cast<std::uint32_t>(v)));
  }

  /// Draws token t of completion (b, g) from a row of scaled logits and records it.
  KOKKOS_INLINE_FUNCTION void record(int r, int b, int g, int t, const Scalar* row,
                                     const RowSoftmax<Scalar>& softmax, Scalar entropy) const {
    const int T = static_cast<int>(out.token.extent(3));
    const DrawKey draw{key.seed(r), key.stream, key.step};
    const float u = draw_uniform(draw, item(b, g), static_cast<std::uint32_t>(t));
    TokenDraw drawn = draw_token(row, net.vocab, softmax, key.sampling(r), u);
    if (t < static_cast<int>(forced.extent(1)) && forced(b, t) >= 0) drawn = {forced(b, t), 1.0f};
    const Scalar log_prob = softmax.log_prob(row[drawn.token]);
    if (!Kokkos::isfinite(softmax.top) || !Kokkos::isfinite(softmax.log_sum))
      report(status, r, Stage::rollout, b, g, t);
    out.token(r, b, g, t) = drawn.token;
    out.log_prob(r, b, g, t) = static_cast<float>(log_prob);
    out.entropy(r, b, g, t) = static_cast<float>(entropy);
    out.kept_mass(r, b, g, t) = drawn.kept_mass;
    const bool ended = drawn.token == kEos && !key.sampling(r).ignore_eos;
    if (ended || t == T - 1) {
      out.length(r, b, g) = t + 1;
      out.finish(r, b, g) = static_cast<int>(ended ? Finish::eos : Finish::length);
    }
  }

  KOKKOS_INLINE_FUNCTION void clear(const Team& team, int r, int b0, int nb) const {
    const int G = static_cast<int>(out.token.extent(2));
    const int T = static_cast<int>(out.token.extent(3));
    team_for(team, nb * G, T, [&](int i, int t) {
      const int b = prompt_at(r, b0 + i / G);
      out.token(r, b, i % G, t) = kPad;
      out.log_prob(r, b, i % G, t) = 0.0f;
      out.entropy(r, b, i % G, t) = 0.0f;
      out.kept_mass(r, b, i % G, t) = 1.0f;
    });
    team_for(team, nb * G, [&](int i) { out.length(r, prompt_at(r, b0 + i / G), i % G) = 0; });
  }

  /// Token 0 of all completions where each has noise of its own: one prompt's logits at a time, a
  /// copy of them for each completion.
  KOKKOS_INLINE_FUNCTION void noisy_first_tokens(const Team& team, const Tile<Scalar>& t, int r,
                                                 int b0, int nb) const {
    const int G = static_cast<int>(out.token.extent(2));
    const std::int64_t ld = net.vocab_ld();
    const Scalar inv_temperature = static_cast<Scalar>(inverse_temperature(key.sampling(r)));
    for (int i = 0; i < nb; ++i) {
      const int b = prompt_at(r, b0 + i);
      head(team, net, &weights.packed(r, 0), t.hidden, i, 1, t.logits);
      for (int g0 = 0; g0 < G; g0 += t.shape.head_rows) {
        const int count = g0 + t.shape.head_rows < G ? t.shape.head_rows : G - g0;
        team_for(team, count, [&](int j) {
          Scalar* row = t.logits + (1 + j) * ld;
          for (int v = 0; v < net.vocab; ++v) row[v] = t.logits[v];
          disturb(r, b, g0 + j, 0, row);
          const auto softmax = scale_and_normalise(row, net.vocab, inv_temperature);
          record(r, b, g0 + j, 0, row, softmax, row_entropy(row, net.vocab, softmax));
        });
      }
    }
  }

  /// Prompt rows: every prompt of the tile at once, then token 0 of all completions.
  KOKKOS_INLINE_FUNCTION void prefill(const Team& team, Tile<Scalar>& t, int r, int b0,
                                      int nb) const {
    const int G = static_cast<int>(out.token.extent(2));
    const Scalar* packed = &weights.packed(r, 0);
    int rows = 0;
    for (int i = 0; i < nb; ++i) {
      const int b = prompt_at(r, b0 + i);
      const int length = prompt_length(r, b);
      team_for(team, length, [&](int p) {
        t.token[rows + p] = prompt(r, b, p);
        t.stream[rows + p] = i;
        t.index[rows + p] = p;
      });
      rows += length;
    }
    team_for(team, nb, [&](int i) {
      t.parent[i] = -1;
      t.length[i] = prompt_length(r, prompt_at(r, b0 + i));
      for (int g = 0; g < G; ++g) t.parent[nb + i * G + g] = i;
    });
    t.rows = rows;
    forward(team, net, &weights.params(r, 0), packed, weights.rope.data(), t);

    // Only the last row of each prompt has a successor: move those states to the front. The target
    // is never behind its source, so increasing order is safe.
    for (int i = 0, last = -1; i < nb; ++i) {
      last += prompt_length(r, prompt_at(r, b0 + i));
      team_for(team, net.width, [&](int d) {
        t.hidden[std::int64_t{i} * net.width + d] = t.hidden[std::int64_t{last} * net.width + d];
      });
    }
    if (key.sampling(r).noise_std != 0.0 || (key.fault.r == r && key.fault.t == 0)) {
      noisy_first_tokens(team, t, r, b0, nb);
      return;
    }
    const Scalar inv_temperature = static_cast<Scalar>(inverse_temperature(key.sampling(r)));
    for (int first = 0; first < nb; first += t.shape.head_rows) {
      const int count = first + t.shape.head_rows < nb ? t.shape.head_rows : nb - first;
      head(team, net, packed, t.hidden, first, count, t.logits);
      team_for(team, count, [&](int i) {
        Scalar* row = t.logits + std::int64_t{i} * net.vocab_ld();
        const auto softmax = scale_and_normalise(row, net.vocab, inv_temperature);
        const Scalar entropy = row_entropy(row, net.vocab, softmax);
        const int b = prompt_at(r, b0 + first + i);
        for (int g = 0; g < G; ++g) record(r, b, g, 0, row, softmax, entropy);
      });
    }
  }

  /// Rows of the completions that have not ended after t tokens; returns how many.
  KOKKOS_INLINE_FUNCTION int gather_active(const Team& team, Tile<Scalar>& tile, int r, int b0,
                                           int nb, int t) const {
    const int G = static_cast<int>(out.token.extent(2));
    int active = 0;
    Kokkos::single(
        Kokkos::PerTeam(team),
        [&](int& count) {
          count = 0;
          for (int i = 0; i < nb * G; ++i) {
            const int b = prompt_at(r, b0 + i / G);
            if (out.length(r, b, i % G) > 0) continue;
            tile.token[count] = out.token(r, b, i % G, t - 1);
            tile.stream[count] = nb + i;
            tile.index[count] = t - 1;
            ++count;
          }
        },
        active);
    team.team_barrier();
    return active;
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const int B = static_cast<int>(out.token.extent(1));
    const int G = static_cast<int>(out.token.extent(2));
    const int T = static_cast<int>(out.token.extent(3));
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    lay_out_tile(net, workspace.shape, &workspace.memory(slot, 0), &workspace.ints(slot, 0), tile,
                 ints);
    for (int job = take_job(team, workspace.next_job.data()); job < jobs;
         job = take_job(team, workspace.next_job.data())) {
      const int r = job / jobs_per_replica;
      const int listed = key.slots.extent(0) == 0 ? B : key.num_slots(r);
      const int tile_of_replica = job % jobs_per_replica;
      const int b0 = listed * tile_of_replica / jobs_per_replica;
      const int nb = listed * (tile_of_replica + 1) / jobs_per_replica - b0;
      if (nb <= 0) continue;
      const Scalar inv_temperature = static_cast<Scalar>(inverse_temperature(key.sampling(r)));
      clear(team, r, b0, nb);
      prefill(team, tile, r, b0, nb);
      for (int t = 1; t < T; ++t) {
        tile.rows = gather_active(team, tile, r, b0, nb, t);
        if (tile.rows == 0) break;
        forward(team, net, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(), tile);
        for (int first = 0; first < tile.rows; first += tile.shape.head_rows) {
          const int count =
              first + tile.shape.head_rows < tile.rows ? tile.shape.head_rows : tile.rows - first;
          head(team, net, &weights.packed(r, 0), tile.hidden, first, count, tile.logits);
          team_for(team, count, [&](int i) {
            Scalar* row = tile.logits + std::int64_t{i} * net.vocab_ld();
            const int completion = tile.stream[first + i] - nb;
            const int b = prompt_at(r, b0 + completion / G);
            disturb(r, b, completion % G, t, row);
            const auto softmax = scale_and_normalise(row, net.vocab, inv_temperature);
            const Scalar entropy = row_entropy(row, net.vocab, softmax);
            record(r, b, completion % G, t, row, softmax, entropy);
          });
        }
      }
    }
  }
};

template <class Scalar>
void rollout(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
             const TileWorkspace<Scalar>& workspace, const RolloutKey& key,
             const ConstView3<int>& prompt, const ConstView2<int>& prompt_length,
             const ConstView2<int>& forced, const RolloutOutput& out,
             const View1<StatusWord>& status) {
  const int R = static_cast<int>(out.token.extent(0));
  const int B = static_cast<int>(out.token.extent(1));
  const int G = static_cast<int>(out.token.extent(2));
  require_extents(prompt_length, "rollout", "prompt_length", "[R,B]", R, B);
  if (key.slots.extent(0) > 0) require_extents(key.slots, "rollout", "slots", "[R,B]", R, B);
  const int per_replica = tiles_per_replica(net, R, B, G);
  MOTLEY_REQUIRE(workspace.shape.max_streams >= (B + per_replica - 1) / per_replica * (1 + G),
                 ErrorKind::internal, "rollout: the workspace is of another shape, got ",
                 workspace.shape.max_streams, " streams");
  Kokkos::deep_copy(exec, workspace.next_job, 0);
  const RolloutKernel<Scalar> kernel{net,    weights,         workspace,  key,
                                     prompt, prompt_length,   forced,     out,
                                     status, R * per_replica, per_replica};
  Kokkos::parallel_for("motley::models::rollout", tile_policy(exec, workspace.slots), kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                               \
  template TileWorkspace<Scalar> make_rollout_workspace<Scalar>(const Net&, int, int, int, int,  \
                                                                int);                            \
  template void rollout<Scalar>(                                                                 \
      const Exec&, const Net&, const Weights<Scalar>&, const TileWorkspace<Scalar>&,             \
      const RolloutKey&, const ConstView3<int>&, const ConstView2<int>&, const ConstView2<int>&, \
      const RolloutOutput&, const View1<StatusWord>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
