#pragma once
/// Small matrix products inside a tile, and team loops.
///
/// The unit of work of motley is a tile of sequences that one team carries through all layers. Its
/// products have 8 to 500 rows. Two things are asked of them that libraries do not promise:
///   * the bits of a row do not depend on how many rows there are or where the row stands, so that
///     decoding with a cache equals the trainer's full pass and replicas may be packed at will;
///   * no packing, no allocation, no dispatch: a call costs tens of nanoseconds.
/// On the host this is the micro-kernel of gemm_host.cpp (measured against Eigen in
/// docs/design/0002-gemm.md); on a device the threads of the team share the outputs. In both every
/// output element is one chain of fused multiply-adds in the order of k.

#include "core/base/types.hpp"

namespace motley {

/// C[m][n] = (accumulate ? C[m][n] : 0) + sum over k, in order, of A(m,k) * B[k][n].
/// A(m,k) = a[m * a_row + k * a_col]: row-major or transposed. B and C are row-major.
template <class Scalar>
void host_gemm(int M, int N, int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb,
               Scalar* c, int ldc, bool accumulate);

template <class Scalar>
KOKKOS_INLINE_FUNCTION void tile_gemm(const Team& team, int M, int N, int K, const Scalar* a,
                                      int a_row, int a_col, const Scalar* b, int ldb, Scalar* c,
                                      int ldc, bool accumulate) {
  KOKKOS_IF_ON_HOST(
      (if (team.team_rank() == 0) host_gemm(M, N, K, a, a_row, a_col, b, ldb, c, ldc, accumulate);))
  KOKKOS_IF_ON_DEVICE((Kokkos::parallel_for(Kokkos::TeamVectorRange(team, M * N), [&](int i) {
                         const int m = i / N;
                         const int n = i - m * N;
                         Scalar sum = accumulate ? c[m * ldc + n] : Scalar(0);
                         for (int k = 0; k < K; ++k)
                           sum += a[m * a_row + k * a_col] * b[k * ldb + n];
                         c[m * ldc + n] = sum;
                       });))
  team.team_barrier();
}

/// f(i, j) for i in [0, rows), j in [0, cols); j is contiguous. Ends with a barrier.
template <class F>
KOKKOS_INLINE_FUNCTION void team_for(const Team& team, int rows, int cols, const F& f) {
  KOKKOS_IF_ON_HOST((for (int i = team.team_rank(); i < rows;
                          i += team.team_size()) for (int j = 0; j < cols; ++j) f(i, j);))
  KOKKOS_IF_ON_DEVICE((Kokkos::parallel_for(Kokkos::TeamVectorRange(team, rows * cols),
                                            [&](int k) { f(k / cols, k % cols); });))
  team.team_barrier();
}

/// f(i) for i in [0, n), one thread each. Ends with a barrier.
template <class F>
KOKKOS_INLINE_FUNCTION void team_for(const Team& team, int n, const F& f) {
  Kokkos::parallel_for(Kokkos::TeamVectorRange(team, n), f);
  team.team_barrier();
}

}  // namespace motley
