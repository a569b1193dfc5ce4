#pragma once
/// Long sums whose bits depend on the shape only.
///
/// A float parallel_reduce gives other bits at 1, 2, 3 and 4 threads. Here the number of chunks is
/// a function of the length, each chunk is summed in index order in double, and the chunks are
/// added in order in one pass.

#include "core/base/types.hpp"

namespace motley {

inline constexpr int kSumChunk = 4096;

KOKKOS_INLINE_FUNCTION std::int64_t sum_chunks(std::int64_t n) {
  return (n + kSumChunk - 1) / kSumChunk;
}

/// total(r) = sum over i in [0, n) of f(r, i), in double, for r in [0, R).
/// \param partial [R, sum_chunks(n)] scratch     \param total [R] out
template <class F>
void ordered_sum(const Exec& exec, const char* label, int R, std::int64_t n, const F& f,
                 const View2<double>& partial, const View1<double>& total) {
  const std::int64_t chunks = sum_chunks(n);
  Kokkos::parallel_for(
      label, Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(exec, 0, R * chunks),
      KOKKOS_LAMBDA(const std::int64_t job) {
        const int r = static_cast<int>(job / chunks);
        const std::int64_t first = (job % chunks) * kSumChunk;
        const std::int64_t last = first + kSumChunk < n ? first + kSumChunk : n;
        double sum = 0;
        for (std::int64_t i = first; i < last; ++i) sum += f(r, i);
        partial(r, job % chunks) = sum;
      });
  Kokkos::parallel_for(
      label, Kokkos::RangePolicy<Exec>(exec, 0, R), KOKKOS_LAMBDA(const int r) {
        double sum = 0;
        for (std::int64_t c = 0; c < chunks; ++c) sum += partial(r, c);
        total(r) = sum;
      });
}

}  // namespace motley
