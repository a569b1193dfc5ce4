#pragma once
/// Elementary functions and row reductions with one source for host and device.
///
/// exp is a degree-6 polynomial after Cody-Waite reduction (the Cephes scheme): the compiler
/// vectorises it, it costs about a tenth of std::exp, its relative error in float is below 1.2e-7,
/// and its bits do not depend on libm. For double the library function is used: double serves the
/// gradient checks, not the speed.
///
/// Row reductions use 16 partial results, element i going to partial i % 16, combined in a fixed
/// tree. The order is a function of the length alone.

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "core/base/types.hpp"

/// A function of one row, out of line on purpose: every caller runs the same instructions, so the
/// compiler's choice of fused operations cannot give the decoder and the trainer different bits.
#define MOTLEY_ROW_FUNCTION KOKKOS_FUNCTION inline __attribute__((noinline))

namespace motley {

KOKKOS_INLINE_FUNCTION float exp_value(float x) {
  // exp(x) = 2^n * exp(r), |r| <= ln2/2. Clamped where the result leaves the normal range.
  x = x < -87.33654f ? -87.33654f : x;
  x = x > 88.02969f ? 88.02969f : x;
  const float n = Kokkos::floor(x * 1.44269504088896341f + 0.5f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * Kokkos::bit_cast<float>(static_cast<std::int32_t>(static_cast<int>(n) + 127) << 23);
}

KOKKOS_INLINE_FUNCTION double exp_value(double x) {
  return Kokkos::exp(x);
}

/// exp(x), but exactly 0 for x = -infinity and below the smallest normal result.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar exp_or_zero(Scalar x) {
  return x < Scalar(-87) ? Scalar(0) : exp_value(x);
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar sigmoid(Scalar x) {
  return Scalar(1) / (Scalar(1) + exp_value(-x));
}

/// sum + a * b, fused where the machine can, whatever the compiler would choose.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar multiply_add(Scalar a, Scalar b, Scalar sum) {
#if defined(__FMA__) && !defined(__CUDA_ARCH__)
  if constexpr (sizeof(Scalar) == 4)
    return __builtin_fmaf(a, b, sum);
  else
    return __builtin_fma(a, b, sum);
#else
  return sum + a * b;
#endif
}

inline constexpr int kLanes = 16;

// The host's compilers get the sixteen partial results as one vector: left to themselves they put
// them through memory one by one, and a row of 16 to 64 numbers then costs as much to fold as to
// compute.
#if defined(__GNUC__) && !defined(__CUDACC__)
#define MOTLEY_LANE_VECTORS 1

template <class Scalar, int N>
using LaneVector [[gnu::vector_size(N * sizeof(Scalar))]] = Scalar;

/// N numbers from memory of any alignment.
template <int N, class Scalar>
inline LaneVector<Scalar, N> load_lanes(const Scalar* from) {
  LaneVector<Scalar, N> lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

/// All sixteen in the fixed tree: lane i with lane i + 8, then i + 4, i + 2, i + 1.
template <class Scalar, class Combine>
inline Scalar fold_lanes(const LaneVector<Scalar, kLanes>& lanes, const Combine& combine) {
  const auto a = combine(__builtin_shufflevector(lanes, lanes, 0, 1, 2, 3, 4, 5, 6, 7),
                         __builtin_shufflevector(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15));
  const auto b =
      combine(__builtin_shufflevector(a, a, 0, 1, 2, 3), __builtin_shufflevector(a, a, 4, 5, 6, 7));
  const auto c = combine(__builtin_shufflevector(b, b, 0, 1), __builtin_shufflevector(b, b, 2, 3));
  return combine(Scalar(c[0]), Scalar(c[1]));
}

/// Among equals, and where b is no number, the first.
struct Larger {
  template <class T>
  T operator()(const T& a, const T& b) const {
    return b > a ? b : a;
  }
};
#endif

template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar fold_sum(Scalar (&lane)[kLanes]) {
#if MOTLEY_LANE_VECTORS
  return fold_lanes<Scalar>(load_lanes<kLanes>(lane), std::plus<>());
#else
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
#endif
}

/// Sum of f(i) for i in [0, n) in the fixed 16-lane order.
template <class Scalar, class F>
KOKKOS_INLINE_FUNCTION Scalar lane_sum(int n, const F& f) {
  Scalar lane[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] += f(i + j);
  for (int j = 0; i + j < n; ++j) lane[j] += f(i + j);
  return fold_sum(lane);
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar row_max(const Scalar* row, int n) {
  Scalar lane[kLanes];
  int i = 0;
#if MOTLEY_LANE_VECTORS
  LaneVector<Scalar, kLanes> top = row[0] - LaneVector<Scalar, kLanes>{};
  for (; i + kLanes <= n; i += kLanes) top = Larger()(top, load_lanes<kLanes>(row + i));
  if (i == n) return fold_lanes<Scalar>(top, Larger());
  std::memcpy(lane, &top, sizeof lane);
#else
  for (int j = 0; j < kLanes; ++j) lane[j] = row[0];
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] = row[i + j] > lane[j] ? row[i + j] : lane[j];
#endif
  for (int j = 0; i + j < n; ++j) lane[j] = row[i + j] > lane[j] ? row[i + j] : lane[j];
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] = lane[j + width] > lane[j] ? lane[j + width] : lane[j];
  return lane[0];
}

/// ln sum exp(row[i] - top), with top = max of the row; -inf entries add nothing.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar log_sum_exp(const Scalar* row, int n, Scalar top) {
  return Kokkos::log(lane_sum<Scalar>(n, [&](int i) { return exp_or_zero(row[i] - top); }));
}

}  // namespace motley
