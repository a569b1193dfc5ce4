#pragma once
/// Partial gradients: how many, and their ordered sum.

#include <algorithm>

#include "core/base/types.hpp"

namespace motley {

/// Partial gradients per replica: enough to keep a machine busy with one replica, fewer where the
/// network is so large that they would fill the memory. A function of the shape alone, so the sum
/// is the same on any number of threads.
inline int gradient_chunks(int tiles, std::int64_t parameters) {
  const std::int64_t affordable = (std::int64_t{1} << 26) / std::max<std::int64_t>(1, parameters);
  return static_cast<int>(
      std::clamp<std::int64_t>(affordable, 2, std::min(16, std::max(2, tiles))));
}

/// gradient[r][n] = sum over chunks, in order, of partial[r][c][n].
template <class Scalar>
void sum_chunks_of_gradient(const Exec& exec, const View3<Scalar>& partial,
                            const View2<Scalar>& gradient) {
  const int chunks = static_cast<int>(partial.extent(1));
  const std::int64_t N = static_cast<std::int64_t>(partial.extent(2));
  const std::int64_t R = static_cast<std::int64_t>(partial.extent(0));
  Kokkos::parallel_for(
      "motley::models::sum_chunks",
      Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(exec, 0, R * N),
      KOKKOS_LAMBDA(const std::int64_t i) {
        const std::int64_t r = i / N;
        const std::int64_t n = i % N;
        Scalar sum = partial(r, 0, n);
        for (int c = 1; c < chunks; ++c) sum += partial(r, c, n);
        gradient(r, n) = sum;
      });
}

}  // namespace motley
