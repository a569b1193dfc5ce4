#pragma once
/// The rows of a rollout's tile: a prompt and some of its completions, as the trainer reads them.

#include "core/rollout.hpp"
#include "models/layers.hpp"
#include "models/policy.hpp"

namespace motley {

/// Completions [g0, g1) of group b: one tile.
struct TileSpan {
  int b, g0, g1;
};

KOKKOS_INLINE_FUNCTION TileSpan tile_span(const PolicyTiling& t, int b_first, int tile) {
  const int split = tile % t.splits;
  const int g0 = split * t.completions;
  const int g1 = g0 + t.completions < t.G ? g0 + t.completions : t.G;
  return {b_first + tile / t.splits, g0, g1};
}

/// Fills the rows of a tile: the prompt's tokens, then of each completion all tokens but the last,
/// whose state predicts nothing.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void load_group(const Team& team, const RolloutBuffer& buffer, int r,
                                       const TileSpan& span, Tile<Scalar>& tile) {
  const int prompt_length = buffer.prompt_length(r, span.b);
  team_for(team, prompt_length, [&](int p) {
    tile.token[p] = buffer.prompt(r, span.b, p);
    tile.stream[p] = 0;
    tile.index[p] = p;
  });
  team_for(team, 1, [&](int) {
    tile.parent[0] = -1;
    tile.length[0] = prompt_length;
  });
  int rows = prompt_length;
  for (int g = span.g0; g < span.g1; ++g) {
    const int stream = 1 + g - span.g0;
    const int length = buffer.length(r, span.b, g);
    team_for(team, 1, [&](int) {
      tile.parent[stream] = 0;
      tile.length[stream] = length;
    });
    const int inputs = length > 0 ? length - 1 : 0;
    team_for(team, inputs, [&](int t) {
      tile.token[rows + t] = buffer.token(r, span.b, g, t);
      tile.stream[rows + t] = stream;
      tile.index[rows + t] = t;
    });
    rows += inputs;
  }
  tile.rows = rows;
}

}  // namespace motley
