#pragma once
/// Row operations of the transformer, forward and backward side by side. Device code.
///
/// Each is a function of one row (or one row and head), kept out of line on the host so that every
/// caller runs the same instructions and gets the same bits.

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
  for (int i = 0; i < half; ++i) {
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
  for (int f = 0; f < F; ++f) act[f] = gate[f] * sigmoid(gate[f]) * up[f];
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

// --- Attention of one row and head over up to two segments: the prompt's keys, then its own ----

/// One segment of keys and values; n = 0 where there is none.
template <class Scalar>
struct Segment {
  const Scalar* key_t;    ///< [hd,ld] positions contiguous
  const Scalar* value;    ///< [n,stride]
  const Scalar* key;      ///< [n,stride], training
  const Scalar* value_t;  ///< [hd,ld], training
  int n;
};

/// score[j] = scale * q . k_j for a segment; reads whole blocks of 16, the tail is never used.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void project(const Scalar* q, const Scalar* k_t, int ld, int hd, int n,
                                    Scalar scale, Scalar* score) {
  for (int j = 0; j < n; j += kLanes) {
    Scalar sum[kLanes] = {};
    for (int d = 0; d < hd; ++d)
      for (int i = 0; i < kLanes; ++i) sum[i] += q[d] * k_t[d * ld + j + i];
    for (int i = 0; i < kLanes; ++i) score[j + i] = scale * sum[i];
  }
}

/// softmax(q k^T / sqrt(hd)) v. The two segments' scores stand one after the other in `score`
/// ([2*ld]); softmax sums run over positions in the fixed lane order of the concatenation.
/// \return log-sum-exp of the scores
template <class Scalar>
MOTLEY_ROW_FUNCTION Scalar attend(const Scalar* q, const Segment<Scalar>& prompt,
                                  const Segment<Scalar>& own, int ld, int stride, int hd,
                                  Scalar scale, Scalar* score, Scalar* out) {
  const int n = prompt.n + own.n;
  if (prompt.n > 0) project(q, prompt.key_t, ld, hd, prompt.n, scale, score);
  // The own segment starts right behind the prompt's: the 16-blocks overwrite the unused tail.
  project(q, own.key_t, ld, hd, own.n, scale, score + prompt.n);
  const Scalar top = row_max(score, n);
  for (int j = 0; j < n; ++j) score[j] = exp_value(score[j] - top);
  const Scalar total = lane_sum<Scalar>(n, [=](int j) { return score[j]; });
  for (int d = 0; d < hd; ++d) out[d] = Scalar(0);
  for (int j = 0; j < prompt.n; ++j)
    for (int d = 0; d < hd; ++d) out[d] += score[j] * prompt.value[j * stride + d];
  for (int j = 0; j < own.n; ++j)
    for (int d = 0; d < hd; ++d) out[d] += score[prompt.n + j] * own.value[j * stride + d];
  const Scalar inv = Scalar(1) / total;
  for (int d = 0; d < hd; ++d) out[d] *= inv;
  return top + Kokkos::log(total);
}

/// Backward of one segment, given delta = dout . out: with p_j = exp(s_j - lse),
/// ds_j = p_j (dout . v_j - delta); dq += scale ds_j k_j; dk_j += scale ds_j q; dv_j += p_j dout.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void attend_segment_backward(const Scalar* q, const Segment<Scalar>& s,
                                                    int ld, int stride, int hd, Scalar scale,
                                                    Scalar lse, Scalar delta, const Scalar* dout,
                                                    Scalar* p, Scalar* ds, Scalar* dq, Scalar* dkey,
                                                    Scalar* dvalue) {
  project(q, s.key_t, ld, hd, s.n, scale, p);
  project(dout, s.value_t, ld, hd, s.n, Scalar(1), ds);
  for (int j = 0; j < s.n; ++j) {
    p[j] = exp_value(p[j] - lse);
    ds[j] = scale * (p[j] * (ds[j] - delta));
  }
  for (int j = 0; j < s.n; ++j)
    for (int d = 0; d < hd; ++d) {
      dq[d] += ds[j] * s.key[j * stride + d];
      dkey[j * stride + d] += ds[j] * q[d];
      dvalue[j * stride + d] += p[j] * dout[d];
    }
}

}  // namespace motley
