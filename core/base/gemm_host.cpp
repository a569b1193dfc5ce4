#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/base/gemm.hpp"
#include "core/base/math.hpp"

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace motley {

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRegisterRows = 6;  // 6 x 4 accumulators of 32 registers
constexpr int kRegisterVectors = 4;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
constexpr int kRegisterRows = 4;  // 4 x 3 accumulators of 16 registers
constexpr int kRegisterVectors = 3;
#else
constexpr int kVectorBytes = 16;
constexpr int kRegisterRows = 4;
constexpr int kRegisterVectors = 2;
#endif

// When a panel of B is copied: chosen, not tuned (docs/design/0007-speed.md, 11).
constexpr int kPackedRows = 48;
constexpr int kPackedDepth = 128;
constexpr std::int64_t kPackedNumbers = 32 * 1024;

/// Width numbers of a vector register.
template <class Scalar, int Width>
using Vector
    [[gnu::vector_size(Width * sizeof(Scalar)), gnu::may_alias, gnu::aligned(alignof(Scalar))]] =
        Scalar;

/// multiply_add of W numbers. Left to itself the compiler fuses some of the register blocks and not
/// others, and a row would get other bits from another block.
template <class Scalar, int W>
inline Vector<Scalar, W> multiply_add(const Vector<Scalar, W>& a, const Vector<Scalar, W>& b,
                                      const Vector<Scalar, W>& sum) {
#if defined(__FMA__)
  using V = Vector<Scalar, W>;
  constexpr bool kFloat = sizeof(Scalar) == 4;
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && kFloat)
    return V(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(sum)));
  else if constexpr (sizeof(V) == 64)
    return V(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(sum)));
  else
#endif
      if constexpr (sizeof(V) == 32 && kFloat)
    return V(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(sum)));
  else if constexpr (sizeof(V) == 32)
    return V(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(sum)));
  else if constexpr (kFloat)
    return V(_mm_fmadd_ps(__m128(a), __m128(b), __m128(sum)));
  else
    return V(_mm_fmadd_pd(__m128d(a), __m128d(b), __m128d(sum)));
#else
  return sum + a * b;
#endif
}

/// One register block: Rows x (Vectors * W) outputs, all of K.
template <class Scalar, int W, int Rows, int Vectors>
inline void block(int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb, Scalar* c,
                  int ldc, bool accumulate) {
  using V = Vector<Scalar, W>;
  V sum[Rows][Vectors];
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Vectors; ++j)
      sum[i][j] = accumulate ? *reinterpret_cast<const V*>(c + i * ldc + j * W) : V{};
  for (int k = 0; k < K; ++k) {
    V row[Vectors];
    for (int j = 0; j < Vectors; ++j)
      row[j] = *reinterpret_cast<const V*>(b + static_cast<std::ptrdiff_t>(k) * ldb + j * W);
    for (int i = 0; i < Rows; ++i) {
      const V scale = a[i * a_row + static_cast<std::ptrdiff_t>(k) * a_col] - V{};
      for (int j = 0; j < Vectors; ++j)
        sum[i][j] = multiply_add<Scalar, W>(scale, row[j], sum[i][j]);
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Vectors; ++j) *reinterpret_cast<V*>(c + i * ldc + j * W) = sum[i][j];
}

template <class Scalar, int W, int Vectors>
void rows_of_panel(int M, int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb,
                   Scalar* c, int ldc, bool accumulate) {
  int m = 0;
  const auto blocks = [&]<int Rows>() {
    for (; m + Rows <= M; m += Rows)
      block<Scalar, W, Rows, Vectors>(K, a + static_cast<std::ptrdiff_t>(m) * a_row, a_row, a_col,
                                      b, ldb, c + static_cast<std::ptrdiff_t>(m) * ldc, ldc,
                                      accumulate);
  };
  blocks.template operator()<kRegisterRows>();
  blocks.template operator()<2>();
  blocks.template operator()<1>();
}

/// Vectors * W columns of C. Where many rows meet a panel of B that the first-level cache does not
/// hold, because it is large or because its rows, ldb apart, fall on the same few cache sets, the
/// rows meet copies of kPackedDepth rows of it, one after another: the chains of sums go on in C.
template <class Scalar, int W, int Vectors>
void panel(int M, int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb, Scalar* c,
           int ldc, bool accumulate) {
  constexpr int kColumns = Vectors * W;
  if (Vectors < kRegisterVectors || M < kPackedRows || std::int64_t{K} * ldb < kPackedNumbers)
    return rows_of_panel<Scalar, W, Vectors>(M, K, a, a_row, a_col, b, ldb, c, ldc, accumulate);
  alignas(kVectorBytes) Scalar copy[kPackedDepth * kColumns];
  for (int k = 0; k < K; k += kPackedDepth) {
    const int depth = std::min(kPackedDepth, K - k);
    for (int i = 0; i < depth; ++i)
      std::memcpy(copy + i * kColumns, b + static_cast<std::ptrdiff_t>(k + i) * ldb,
                  kColumns * sizeof(Scalar));
    rows_of_panel<Scalar, W, Vectors>(M, depth, a + static_cast<std::ptrdiff_t>(k) * a_col, a_row,
                                      a_col, copy, kColumns, c, ldc, accumulate || k > 0);
  }
}

}  // namespace

template <class Scalar>
void host_gemm(int M, int N, int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb,
               Scalar* c, int ldc, bool accumulate) {
  constexpr int W = kVectorBytes / static_cast<int>(sizeof(Scalar));
  int n = 0;
  const auto panels = [&]<int Width, int Vectors>() {
    for (; n + Vectors * Width <= N; n += Vectors * Width)
      panel<Scalar, Width, Vectors>(M, K, a, a_row, a_col, b + n, ldb, c + n, ldc, accumulate);
  };
  panels.template operator()<W, kRegisterVectors>();
  panels.template operator()<W, 2>();
  panels.template operator()<W, 1>();
  // Narrower vectors for heads of 4, 8 or 12 numbers, then what odd configurations leave.
  if constexpr (W > 8) panels.template operator()<8, 1>();
  if constexpr (W > 4) panels.template operator()<4, 1>();
  for (; n < N; ++n) {
    for (int m = 0; m < M; ++m) {
      Scalar sum = accumulate ? c[static_cast<std::ptrdiff_t>(m) * ldc + n] : Scalar(0);
      for (int k = 0; k < K; ++k)
        sum = multiply_add(
            a[static_cast<std::ptrdiff_t>(m) * a_row + static_cast<std::ptrdiff_t>(k) * a_col],
            b[static_cast<std::ptrdiff_t>(k) * ldb + n], sum);
      c[static_cast<std::ptrdiff_t>(m) * ldc + n] = sum;
    }
  }
}

template void host_gemm<float>(int, int, int, const float*, int, int, const float*, int, float*,
                               int, bool);
template void host_gemm<double>(int, int, int, const double*, int, int, const double*, int, double*,
                                int, bool);

}  // namespace motley
