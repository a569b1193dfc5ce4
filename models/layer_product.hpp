#pragma once
/// The matrix products of a layer, in the precision that the net asks for.

#include "core/base/gemm.hpp"
#include "core/base/gemm_bf16.hpp"
#include "models/net.hpp"

namespace motley {

/// C = (accumulate ? C : 0) + A B, as tile_gemm; with `net.bf16` and on the host as host_gemm_bf16.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void layer_product(const Team& team, const Net& net, int M, int N, int K,
                                          const Scalar* a, int a_row, int a_col, const Scalar* b,
                                          int ldb, Scalar* c, int ldc, bool accumulate) {
  if constexpr (std::is_same_v<Scalar, float>) {
    KOKKOS_IF_ON_HOST((if (net.bf16) {
      if (team.team_rank() == 0)
        host_gemm_bf16(M, N, K, a, a_row, a_col, b, ldb, c, ldc, accumulate);
      team.team_barrier();
      return;
    }))
  }
  tile_gemm(team, M, N, K, a, a_row, a_col, b, ldb, c, ldc, accumulate);
}

/// C = (accumulate ? C : 0) + A B with A [M,K], rows `lda` apart, and B the image of pack_weights.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void image_product(const Team& team, const Net& net, int M, int N, int K,
                                          const Scalar* a, int lda, const Scalar* image, int ldb,
                                          Scalar* c, int ldc, bool accumulate) {
  if constexpr (std::is_same_v<Scalar, float>) {
    KOKKOS_IF_ON_HOST((if (net.bf16) {
      if (team.team_rank() == 0)
        host_gemm_bf16(M, N, K, a, lda, 1, reinterpret_cast<const std::uint32_t*>(image), ldb, c,
                       ldc, accumulate);
      team.team_barrier();
      return;
    }))
  }
  tile_gemm(team, M, N, K, a, lda, 1, image, ldb, c, ldc, accumulate);
}

}  // namespace motley
