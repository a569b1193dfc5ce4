#pragma once
/// Partial gradients: how many, and their ordered sum.

#include <algorithm>

#include "core/base/gemm.hpp"

namespace motley {

/// Partial gradients per replica: enough to keep a machine busy with one replica, fewer where the
/// network is so large that they would fill the memory. A function of the shape alone, so the sum
/// is the same on any number of threads.
inline int gradient_chunks(int tiles, std::int64_t parameters) {
  const std::int64_t affordable = (std::int64_t{1} << 26) / std::max<std::int64_t>(1, parameters);
  return static_cast<int>(
      std::clamp<std::int64_t>(affordable, 2, std::min(16, std::max(2, tiles))));
}

/// Parameters that one team sums or updates: a stretch of the first-level cache.
inline constexpr int kParameterBlock = 2048;

/// Calls f(team, r, first, count) for every stretch [first, first + count) of the N parameters of
/// every replica; f divides it among the threads of the team.
template <class F>
void for_each_parameter_block(const char* label, const Exec& exec, int R, std::int64_t N,
                              const F& f) {
  const auto blocks = static_cast<int>((N + kParameterBlock - 1) / kParameterBlock);
  Kokkos::parallel_for(
      label, TeamPolicy(exec, R * blocks, kExecOnHost ? 1 : 128), KOKKOS_LAMBDA(const Team& team) {
        const int r = team.league_rank() / blocks;
        const std::int64_t first = std::int64_t{team.league_rank() % blocks} * kParameterBlock;
        const std::int64_t left = N - first;
        f(team, r, first, left < kParameterBlock ? static_cast<int>(left) : kParameterBlock);
      });
}

/// gradient[r][n] = sum over chunks, in order, of partial[r][c][n].
template <class Scalar>
void sum_chunks_of_gradient(const Exec& exec, const View3<Scalar>& partial,
                            const View2<Scalar>& gradient) {
  const int chunks = static_cast<int>(partial.extent(1));
  for_each_parameter_block(
      "motley::models::sum_chunks", exec, static_cast<int>(partial.extent(0)),
      static_cast<std::int64_t>(partial.extent(2)),
      KOKKOS_LAMBDA(const Team& team, int r, std::int64_t first, int count) {
        Scalar* const sum = &gradient(r, first);
        const Scalar* const zeroth = &partial(r, 0, first);
        team_for(team, count, [&](int n) { sum[n] = zeroth[n]; });
        for (int c = 1; c < chunks; ++c) {
          const Scalar* const next = &partial(r, c, first);
          team_for(team, count, [&](int n) { sum[n] += next[n]; });
        }
      });
}

}  // namespace motley
