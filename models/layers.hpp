#pragma once
/// Row operations of the transformer, forward and backward side by side. Device code.
///
/// Each is a function of one row (or one row and head), kept out of line on the host so that every
/// caller runs the same instructions and gets the same bits.

#include <cstring>
#include <type_traits>

#include "core/base/math.hpp"
#include "core/base/types.hpp"

namespace motley {

// --- RMSNorm: y = x * inv * w, inv = 1 / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019) ---------

template <class Scalar>
MOTLEY_ROW_FUNCTION Scalar rms_norm(const Scalar* x, const Scalar* w, int D, Scalar eps,
                                    Scalar* y) {
  const Scalar mean_square = lane_sum<Scalar>(D, [=](int d) { return x[d] * x[d]; }) / Scalar(D);
  const Scalar inv = Scalar(1) / Kokkos::sqrt(mean_square + eps);
  for (int d = 0; d < D; ++d) y[d] = x[d] * inv * w[d];
  return inv;
}

/// dx += inv * (dy * w) - x * inv^3 / D * sum(dy * w * x)
template <class Scalar>
MOTLEY_ROW_FUNCTION void rms_norm_backward(const Scalar* x, const Scalar* w, Scalar inv,
                                           const Scalar* dy, int D, Scalar* dx) {
  const Scalar dot = lane_sum<Scalar>(D, [=](int d) { return dy[d] * w[d] * x[d]; });
  const Scalar pull = inv * inv * inv * dot / Scalar(D);
  for (int d = 0; d < D; ++d) dx[d] += inv * (dy[d] * w[d]) - x[d] * pull;
}

// --- RoPE, rotate-half: pairs (i, i + hd/2) ----------------------------------------------------

/// Rotates one head in place; `sign` = -1 applies the transpose (backward).
template <class Scalar>
MOTLEY_ROW_FUNCTION void rotate(Scalar* head, const Scalar* table, int head_dim, Scalar sign) {
  const int half = head_dim / 2;
  int i = 0;
#if MOTLEY_LANE_VECTORS
  const auto rotate_lanes = [&]<int N>() {
    for (; i + N <= half; i += N) {
      const auto c = load_lanes<N>(table + i);
      const auto s = sign * load_lanes<N>(table + half + i);
      const auto a = load_lanes<N>(head + i);
      const auto b = load_lanes<N>(head + half + i);
      const auto first = a * c - b * s;
      const auto second = b * c + a * s;
      std::memcpy(head + i, &first, sizeof first);
      std::memcpy(head + half + i, &second, sizeof second);
    }
  };
  rotate_lanes.template operator()<8>();
  rotate_lanes.template operator()<4>();
#endif
  for (; i < half; ++i) {
    const Scalar c = table[i];
    const Scalar s = sign * table[half + i];
    const Scalar a = head[i];
    const Scalar b = head[half + i];
    head[i] = a * c - b * s;
    head[half + i] = b * c + a * s;
  }
}

// --- SwiGLU: silu(gate) * up -------------------------------------------------------------------

template <class Scalar>
MOTLEY_ROW_FUNCTION void swiglu(const Scalar* gate, const Scalar* up, int F, Scalar* act) {
  int f = 0;
#if MOTLEY_LANE_VECTORS
  if constexpr (std::is_same_v<Scalar, float>)
    for (; f + kLanes <= F; f += kLanes) {
      const auto g = load_lanes<kLanes>(gate + f);
      const auto product = g * sigmoid_lanes(g) * load_lanes<kLanes>(up + f);
      std::memcpy(act + f, &product, sizeof product);
    }
#endif
  for (; f < F; ++f) act[f] = gate[f] * sigmoid(gate[f]) * up[f];
}

template <class Scalar>
MOTLEY_ROW_FUNCTION void swiglu_backward(const Scalar* gate, const Scalar* up, const Scalar* dact,
                                         int F, Scalar* dgate, Scalar* dup) {
  for (int f = 0; f < F; ++f) {
    const Scalar s = sigmoid(gate[f]);
    dup[f] = dact[f] * gate[f] * s;
    dgate[f] = dact[f] * up[f] * s * (Scalar(1) + gate[f] * (Scalar(1) - s));
  }
}

}  // namespace motley
