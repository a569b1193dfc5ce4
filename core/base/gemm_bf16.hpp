#pragma once
/// Matrix products of bfloat16 numbers summed in float, on the host.
///
/// Both operands are rounded to bfloat16 (8 bits of precision, to nearest even); the products of
/// two neighbours along k are added to a float at a time, in the order of k: with AVX-512 BF16 by
/// one instruction, twice as many operations per second as in float, elsewhere by two additions. As
/// for host_gemm, the bits of a row do not depend on how many rows there are or where the row
/// stands. Measured in docs/design/0008-bf16.md.

#include <cstdint>

#include "core/base/types.hpp"

namespace motley {

/// The upper half of x rounded to nearest even: a bfloat16.
KOKKOS_INLINE_FUNCTION std::uint32_t bf16_bits(float x) {
  const auto bits = Kokkos::bit_cast<std::uint32_t>(x);
  if (x != x) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
/// Two neighbours along k as the products read them.
KOKKOS_INLINE_FUNCTION std::uint32_t bf16_pair(float even, float odd) {
  return bf16_bits(even) | bf16_bits(odd) << 16;
}

/// The image of B [K,N] that the products read: pairs[k / 2][n] = B[k][n] | B[k + 1][n] << 16, a
/// missing last row is 0. \param ld  of `pairs`, a multiple of 16; columns from N to ld become 0
void pack_bf16(int K, int N, const float* b, int ldb, std::uint32_t* pairs, int ld);

/// C[m][n] = (accumulate ? C[m][n] : 0) + sum over k of A(m,k) * B[k][n];
/// A(m,k) = a[m * a_row + k * a_col] with a_row or a_col 1. `pairs` is the image of B.
void host_gemm_bf16(int M, int N, int K, const float* a, int a_row, int a_col,
                    const std::uint32_t* pairs, int ld, float* c, int ldc, bool accumulate);
/// The same with B [K,N] itself, whose image is made on the way.
void host_gemm_bf16(int M, int N, int K, const float* a, int a_row, int a_col, const float* b,
                    int ldb, float* c, int ldc, bool accumulate);

}  // namespace motley
