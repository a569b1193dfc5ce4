#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "core/base/gemm_bf16.hpp"

#if defined(__AVX512BF16__) && defined(__AVX512F__) && defined(__AVX512BW__)
#define MOTLEY_BF16_PRODUCTS 1
#include <immintrin.h>
#endif

namespace motley {

namespace {

constexpr int kColumns = 64;  ///< of a panel of B: 4 vectors
constexpr int kPairs = 128;   ///< of k at a time: such a panel stays in the first-level cache
constexpr int kRows = 6;      ///< 6 x 4 sums of 32 registers

int pairs_of(int K) {
  return (K + 1) / 2;
}

/// Rows of a [M,K], k contiguous -> pairs [M,ld].
void pack_along(int M, int K, const float* a, int lda, std::uint32_t* pairs, int ld) {
  for (int m = 0; m < M; ++m) {
    const float* from = a + static_cast<std::ptrdiff_t>(m) * lda;
    std::uint32_t* to = pairs + static_cast<std::ptrdiff_t>(m) * ld;
    int k = 0;
#if MOTLEY_BF16_PRODUCTS
    for (; k + 32 <= K; k += 32)
      _mm512_storeu_si512(
          to + k / 2, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + k + 16),
                                                                    _mm512_loadu_ps(from + k))));
#endif
    for (; k < K; k += 2) to[k / 2] = bf16_pair(from[k], k + 1 < K ? from[k + 1] : 0.0f);
  }
}

/// Sums of Rows x (16 Vectors) outputs over `pairs` of k.
template <int Rows, int Vectors>
void block(int pairs, const std::uint32_t* a, std::ptrdiff_t a_row, std::ptrdiff_t a_col,
           const std::uint32_t* b, int ldb, float* c, int ldc, int columns, bool accumulate) {
#if MOTLEY_BF16_PRODUCTS
  // Of the last vector the columns that there are; the others are whole.
  const int left = columns - 16 * (Vectors - 1);
  const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
  const auto mask_of = [&](int j) {
    return j + 1 < Vectors ? static_cast<__mmask16>(0xffff) : mask;
  };
  __m512 sum[Rows][Vectors];
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Vectors; ++j)
      sum[i][j] = accumulate ? _mm512_maskz_loadu_ps(
                                   mask_of(j), c + static_cast<std::ptrdiff_t>(i) * ldc + 16 * j)
                             : _mm512_setzero_ps();
  for (int k = 0; k < pairs; ++k) {
    __m512bh row[Vectors];
    for (int j = 0; j < Vectors; ++j)
      row[j] = reinterpret_cast<__m512bh>(
          _mm512_loadu_si512(b + static_cast<std::ptrdiff_t>(k) * ldb + 16 * j));
    for (int i = 0; i < Rows; ++i) {
      const auto scale =
          reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[i * a_row + k * a_col])));
      for (int j = 0; j < Vectors; ++j) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], scale, row[j]);
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Vectors; ++j)
      _mm512_mask_storeu_ps(c + static_cast<std::ptrdiff_t>(i) * ldc + 16 * j, mask_of(j),
                            sum[i][j]);
#else
  const auto low = [](std::uint32_t pair) { return std::bit_cast<float>(pair << 16); };
  const auto high = [](std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); };
  for (int i = 0; i < Rows; ++i) {
    float* to = c + static_cast<std::ptrdiff_t>(i) * ldc;
    if (!accumulate) std::fill_n(to, columns, 0.0f);
    for (int k = 0; k < pairs; ++k) {
      const std::uint32_t scale = a[i * a_row + k * a_col];
      const std::uint32_t* row = b + static_cast<std::ptrdiff_t>(k) * ldb;
      for (int n = 0; n < columns; ++n)
        to[n] = std::fma(high(scale), high(row[n]), std::fma(low(scale), low(row[n]), to[n]));
    }
  }
#endif
}

template <int Vectors>
void panel(int M, int pairs, const std::uint32_t* a, std::ptrdiff_t a_row, std::ptrdiff_t a_col,
           const std::uint32_t* b, int ldb, float* c, int ldc, int columns, bool accumulate) {
  int m = 0;
  const auto rows = [&](auto count) {
    constexpr int n = decltype(count)::value;
    for (; m + n <= M; m += n)
      block<n, Vectors>(pairs, a + m * a_row, a_row, a_col, b, ldb,
                        c + static_cast<std::ptrdiff_t>(m) * ldc, ldc, columns, accumulate);
  };
  rows(std::integral_constant<int, kRows>());
  rows(std::integral_constant<int, 2>());
  rows(std::integral_constant<int, 1>());
}

/// `panel` for the columns that are left, at most kColumns.
void panel_of(int M, int pairs, const std::uint32_t* a, std::ptrdiff_t a_row, std::ptrdiff_t a_col,
              const std::uint32_t* b, int ldb, float* c, int ldc, int columns, bool accumulate) {
  switch ((columns + 15) / 16) {
    case 1: return panel<1>(M, pairs, a, a_row, a_col, b, ldb, c, ldc, columns, accumulate);
    case 2: return panel<2>(M, pairs, a, a_row, a_col, b, ldb, c, ldc, columns, accumulate);
    case 3: return panel<3>(M, pairs, a, a_row, a_col, b, ldb, c, ldc, columns, accumulate);
    default: return panel<4>(M, pairs, a, a_row, a_col, b, ldb, c, ldc, columns, accumulate);
  }
}

std::uint32_t* scratch(std::vector<std::uint32_t>& memory, std::size_t n) {
  if (memory.size() < n) memory.resize(n);
  return memory.data();
}

/// A panel of B, [pairs of k][ld].
struct Panel {
  const std::uint32_t* pairs;
  int ld;
};

/// \param panel_at  (k, depth, n, columns) -> Panel
template <class PanelAt>
void product(int M, int N, int K, const float* a, int a_row, int a_col, float* c, int ldc,
             bool accumulate, const PanelAt& panel_at) {
  thread_local std::vector<std::uint32_t> memory;
  const bool along = a_col == 1;
  const int wide = (M + 15) / 16 * 16;
  for (int k = 0; k < K; k += 2 * kPairs) {
    const int depth = std::min(K - k, 2 * kPairs);
    const int pairs = pairs_of(depth);
    std::uint32_t* packed = scratch(
        memory, static_cast<std::size_t>(pairs) * static_cast<std::size_t>(along ? M : wide));
    if (along)
      pack_along(M, depth, a + k, a_row, packed, pairs);
    else
      pack_bf16(depth, M, a + static_cast<std::ptrdiff_t>(k) * a_col, a_col, packed, wide);
    for (int n = 0; n < N; n += kColumns) {
      const int columns = std::min(N - n, kColumns);
      const Panel b = panel_at(k, depth, n, columns);
      panel_of(M, pairs, packed, along ? pairs : 1, along ? 1 : wide, b.pairs, b.ld, c + n, ldc,
               columns, accumulate || k > 0);
    }
  }
}

}  // namespace

void pack_bf16(int K, int N, const float* b, int ldb, std::uint32_t* pairs, int ld) {
  for (int k = 0; k < K; k += 2) {
    const float* even = b + static_cast<std::ptrdiff_t>(k) * ldb;
    const float* odd = k + 1 < K ? even + ldb : nullptr;
    std::uint32_t* to = pairs + static_cast<std::ptrdiff_t>(k / 2) * ld;
    int n = 0;
#if MOTLEY_BF16_PRODUCTS
    const auto wide = [](const float* from) {
      return _mm512_cvtepu16_epi32(
          reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from))));
    };
    for (; n + 16 <= N; n += 16) {
      __m512i pair = wide(even + n);
      if (odd) pair = _mm512_or_si512(pair, _mm512_slli_epi32(wide(odd + n), 16));
      _mm512_storeu_si512(to + n, pair);
    }
#endif
    for (; n < N; ++n) to[n] = bf16_pair(even[n], odd ? odd[n] : 0.0f);
    for (; n < ld; ++n) to[n] = 0;
  }
}

void host_gemm_bf16(int M, int N, int K, const float* a, int a_row, int a_col,
                    const std::uint32_t* pairs, int ld, float* c, int ldc, bool accumulate) {
  product(M, N, K, a, a_row, a_col, c, ldc, accumulate, [&](int k, int, int n, int) {
    return Panel{pairs + static_cast<std::ptrdiff_t>(k / 2) * ld + n, ld};
  });
}

void host_gemm_bf16(int M, int N, int K, const float* a, int a_row, int a_col, const float* b,
                    int ldb, float* c, int ldc, bool accumulate) {
  thread_local std::vector<std::uint32_t> memory;
  product(M, N, K, a, a_row, a_col, c, ldc, accumulate, [&](int k, int depth, int n, int columns) {
    std::uint32_t* panel = scratch(memory, std::size_t{kPairs} * kColumns);
    pack_bf16(depth, columns, b + static_cast<std::ptrdiff_t>(k) * ldb + n, ldb, panel, kColumns);
    return Panel{panel, kColumns};
  });
}

}  // namespace motley
