#include <algorithm>

#include "core/base/gemm.hpp"

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

template <class Scalar>
using Vector [[gnu::vector_size(kVectorBytes), gnu::may_alias, gnu::aligned(alignof(Scalar))]] =
    Scalar;

template <class Scalar>
constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(Scalar));

/// sum + a * b as the register blocks compute it: fused where the machine can, so that no choice of
/// the compiler (a vectorised product with ordered sums, say) gives the leftover columns other
/// bits.
template <class Scalar>
inline Scalar multiply_add(Scalar a, Scalar b, Scalar sum) {
#if defined(__FMA__)
  if constexpr (sizeof(Scalar) == 4)
    return __builtin_fmaf(a, b, sum);
  else
    return __builtin_fma(a, b, sum);
#else
  return sum + a * b;
#endif
}

/// One register block: Rows x (Vectors * width) outputs, all of K.
template <class Scalar, int Rows, int Vectors>
inline void block(int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb, Scalar* c,
                  int ldc, bool accumulate) {
  using V = Vector<Scalar>;
  constexpr int W = kWidth<Scalar>;
  V sum[Rows][Vectors];
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Vectors; ++j)
      sum[i][j] = accumulate ? *reinterpret_cast<const V*>(c + i * ldc + j * W) : V{};
  for (int k = 0; k < K; ++k) {
    V row[Vectors];
    for (int j = 0; j < Vectors; ++j)
      row[j] = *reinterpret_cast<const V*>(b + static_cast<std::ptrdiff_t>(k) * ldb + j * W);
    for (int i = 0; i < Rows; ++i) {
      const Scalar scale = a[i * a_row + static_cast<std::ptrdiff_t>(k) * a_col];
      for (int j = 0; j < Vectors; ++j) sum[i][j] += scale * row[j];
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Vectors; ++j) *reinterpret_cast<V*>(c + i * ldc + j * W) = sum[i][j];
}

template <class Scalar, int Vectors>
void panel(int M, int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb, Scalar* c,
           int ldc, bool accumulate) {
  int m = 0;
  for (; m + kRegisterRows <= M; m += kRegisterRows)
    block<Scalar, kRegisterRows, Vectors>(K, a + static_cast<std::ptrdiff_t>(m) * a_row, a_row,
                                          a_col, b, ldb, c + static_cast<std::ptrdiff_t>(m) * ldc,
                                          ldc, accumulate);
  for (; m + 2 <= M; m += 2)
    block<Scalar, 2, Vectors>(K, a + static_cast<std::ptrdiff_t>(m) * a_row, a_row, a_col, b, ldb,
                              c + static_cast<std::ptrdiff_t>(m) * ldc, ldc, accumulate);
  for (; m < M; ++m)
    block<Scalar, 1, Vectors>(K, a + static_cast<std::ptrdiff_t>(m) * a_row, a_row, a_col, b, ldb,
                              c + static_cast<std::ptrdiff_t>(m) * ldc, ldc, accumulate);
}

}  // namespace

template <class Scalar>
void host_gemm(int M, int N, int K, const Scalar* a, int a_row, int a_col, const Scalar* b, int ldb,
               Scalar* c, int ldc, bool accumulate) {
  constexpr int W = kWidth<Scalar>;
  int n = 0;
  for (; n + kRegisterVectors * W <= N; n += kRegisterVectors * W)
    panel<Scalar, kRegisterVectors>(M, K, a, a_row, a_col, b + n, ldb, c + n, ldc, accumulate);
  for (; n + 2 * W <= N; n += 2 * W)
    panel<Scalar, 2>(M, K, a, a_row, a_col, b + n, ldb, c + n, ldc, accumulate);
  for (; n + W <= N; n += W)
    panel<Scalar, 1>(M, K, a, a_row, a_col, b + n, ldb, c + n, ldc, accumulate);
  // Columns left over: widths of motley's matrices are multiples of 16 except in odd
  // configurations.
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
