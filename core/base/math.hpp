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
#endif

namespace detail {

/// The largest whole number up to x; of lanes, |x| < 2^31.
KOKKOS_INLINE_FUNCTION float whole(float x) {
  return Kokkos::floor(x);
}

/// 2^n
KOKKOS_INLINE_FUNCTION float power_of_two(float n) {
  return Kokkos::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

#if MOTLEY_LANE_VECTORS
/// Whole numbers as many as `Value` has lanes.
template <class Value>
using WholeLanes = LaneVector<std::int32_t, sizeof(Value) / sizeof(float)>;

template <class Value>
inline Value whole(const Value& x) {
  using Whole = WholeLanes<Value>;
  const Value towards_zero = __builtin_convertvector(__builtin_convertvector(x, Whole), Value);
  return towards_zero > x ? towards_zero - 1.0f : towards_zero;
}

template <class Value>
inline Value power_of_two(const Value& n) {
  using Whole = WholeLanes<Value>;
  const Whole bits = (__builtin_convertvector(n, Whole) + 127) << 23;
  return reinterpret_cast<Value>(bits);
}
#endif

/// \tparam Value  float, or lanes of them
template <class Value>
KOKKOS_INLINE_FUNCTION Value exp_polynomial(Value x) {
  // exp(x) = 2^n * exp(r), |r| <= ln2/2. Clamped where the result leaves the normal range.
  x = x < -87.33654f ? -87.33654f - Value{} : x;
  x = x > 88.02969f ? 88.02969f - Value{} : x;
  const Value n = whole(x * 1.44269504088896341f + 0.5f);
  const Value r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Value p = 1.9875691500e-4f - Value{};
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * power_of_two(n);
}

}  // namespace detail

KOKKOS_INLINE_FUNCTION float exp_value(float x) {
  return detail::exp_polynomial(x);
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

#if MOTLEY_LANE_VECTORS
/// The logistic function of lanes. As vectors, so that the compiler cannot fold it for the clamped
/// numbers: it is subnormal there, and the compiler's product with it is slow on some processors
/// even where no lane is clamped.
template <class Value>
inline Value sigmoid_lanes(const Value& x) {
  return 1.0f / (1.0f + detail::exp_polynomial<Value>(-x));
}
#endif

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

#if MOTLEY_LANE_VECTORS
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
