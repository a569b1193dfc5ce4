#pragma once
/// Attention of a tile, forward and backward. Device code.
///
/// Two forms of the same arithmetic stand side by side. The plain one takes one row and head at a
/// time; it runs on a device, and is the oracle of the other (tests/models/attention_test.cpp). The
/// host's takes the rows of a stream, or of all streams of a prompt, as one small product each:
/// scores = Q K^T, out = P V and their transposes. Every score, weight and output is in both the
/// same chain of operations, so which rows stand side by side, hence decoding or training, cannot
/// change a bit.

#include "models/attention_host.hpp"
#include "models/key_store.hpp"

namespace motley {

// --- One row and head over up to two segments: the prompt's keys, then its own -----------------

/// score[j] = scale * q . k_j for a segment; reads whole blocks of 16, the tail is never used.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void project(const Scalar* q, const Scalar* k_t, int ld, int hd, int n,
                                    Scalar scale, Scalar* score) {
  for (int j = 0; j < n; j += kLanes) {
    Scalar sum[kLanes] = {};
    for (int d = 0; d < hd; ++d)
      for (int i = 0; i < kLanes; ++i) sum[i] = multiply_add(q[d], k_t[d * ld + j + i], sum[i]);
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
    for (int d = 0; d < hd; ++d)
      out[d] = multiply_add(score[j], prompt.value[j * stride + d], out[d]);
  for (int j = 0; j < own.n; ++j)
    for (int d = 0; d < hd; ++d)
      out[d] = multiply_add(score[prompt.n + j], own.value[j * stride + d], out[d]);
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
      dq[d] = multiply_add(ds[j], s.key[j * stride + d], dq[d]);
      dkey[j * stride + d] = multiply_add(ds[j], q[d], dkey[j * stride + d]);
      dvalue[j * stride + d] = multiply_add(p[j], dout[d], dvalue[j * stride + d]);
    }
}

namespace detail {

template <class Scalar>
KOKKOS_INLINE_FUNCTION void attention_by_row(const Team& team, const Net& net,
                                             const Tile<Scalar>& t, int layer) {
  const int hd = net.head_dim();
  const int share = net.heads / net.kv_heads;
  const Scalar scale = Scalar(1) / Kokkos::sqrt(Scalar(hd));
  const std::int64_t at = layer * t.layer_stride;
  team_for(team, t.rows * net.heads, [&](int job) {
    const int i = job / net.heads;
    const int h = job % net.heads;
    const int stream = t.stream[i];
    const int parent = t.parent[stream];
    const auto prompt = segment(net, t, layer, parent >= 0 ? parent : 0, h / share,
                                parent >= 0 ? t.length[parent] : 0);
    const auto own = segment(net, t, layer, stream, h / share, own_span(net, t, i));
    t.row_lse[at + job] =
        attend(t.qkv + at + std::int64_t{i} * net.qkv_ld() + h * hd, prompt, own, t.cap16(),
               net.kv_width(), hd, scale, t.score + std::int64_t{job} * 2 * t.cap16(),
               t.attended + at + std::int64_t{i} * net.width + h * hd);
  });
}

/// t.dh = d attended -> d queries in t.dqkv; adds to t.dkey and t.dvalue.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void attention_backward_by_row(const Team& team, const Net& net,
                                                      const Tile<Scalar>& t, int layer) {
  const int hd = net.head_dim();
  const int kvw = net.kv_width();
  const int ld = net.qkv_ld();
  const int share = net.heads / net.kv_heads;
  const Scalar scale = Scalar(1) / Kokkos::sqrt(Scalar(hd));
  const std::int64_t at = layer * t.layer_stride;
  // One thread per key-value head walks all rows in order: rows of a stream add to the same keys,
  // and the order of these sums must not depend on the team.
  team_for(team, net.kv_heads, [&](int kvh) {
    Scalar* p = t.score + std::int64_t{kvh} * 2 * t.cap16();
    Scalar* ds = p + t.cap16();
    for (int i = 0; i < t.rows; ++i) {
      const int stream = t.stream[i];
      const int parent = t.parent[stream];
      const auto own = segment(net, t, layer, stream, kvh, own_span(net, t, i));
      const std::int64_t own_at = std::int64_t{stream} * t.shape.capacity * kvw + kvh * hd;
      for (int h = kvh * share; h < (kvh + 1) * share; ++h) {
        const Scalar* q = t.qkv + at + std::int64_t{i} * ld + h * hd;
        const Scalar* out = t.attended + at + std::int64_t{i} * net.width + h * hd;
        const Scalar* dout = t.dh + std::int64_t{i} * net.width + h * hd;
        Scalar* dq = t.dqkv + std::int64_t{i} * ld + h * hd;
        const Scalar lse = t.row_lse[at + i * net.heads + h];
        Scalar delta = 0;
        for (int d = 0; d < hd; ++d) {
          delta += dout[d] * out[d];
          dq[d] = Scalar(0);
        }
        if (parent >= 0) {
          const auto prompt = segment(net, t, layer, parent, kvh, t.length[parent]);
          const std::int64_t prompt_at = std::int64_t{parent} * t.shape.capacity * kvw + kvh * hd;
          attend_segment_backward(q, prompt, t.cap16(), kvw, hd, scale, lse, delta, dout, p, ds, dq,
                                  t.dkey + prompt_at, t.dvalue + prompt_at);
        }
        attend_segment_backward(q, own, t.cap16(), kvw, hd, scale, lse, delta, dout, p, ds, dq,
                                t.dkey + own_at, t.dvalue + own_at);
      }
    }
  });
}

/// Queries, keys and values of a layer -> t.attended.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void attention(const Team& team, const Net& net, const Tile<Scalar>& t,
                                      int layer) {
  KOKKOS_IF_ON_HOST((if (team.team_rank() == 0) attend_rows(net, t, layer); team.team_barrier();))
  KOKKOS_IF_ON_DEVICE((attention_by_row(team, net, t, layer);))
}

/// Slopes of keys and values join those of the queries in t.dqkv; the rotation is undone.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void collect_slopes(const Team& team, const Net& net, const Tile<Scalar>& t,
                                           const Scalar* rope) {
  const int hd = net.head_dim();
  const int kvw = net.kv_width();
  const int ld = net.qkv_ld();
  team_for(team, t.rows, [&](int i) {
    const Scalar* table = rope + position(t, i) * hd;
    Scalar* row = t.dqkv + std::int64_t{i} * ld;
    const std::int64_t from = (std::int64_t{t.stream[i]} * t.shape.capacity + t.index[i]) * kvw;
    for (int d = 0; d < kvw; ++d) row[net.width + d] = t.dkey[from + d];
    for (int d = 0; d < kvw; ++d) row[net.width + kvw + d] = t.dvalue[from + d];
    for (int h = 0; h < net.heads; ++h) rotate(row + h * hd, table, hd, Scalar(-1));
    for (int h = 0; h < net.kv_heads; ++h) rotate(row + net.width + h * hd, table, hd, Scalar(-1));
  });
}

/// Attention backward of a layer: t.dh holds d attended; writes t.dqkv (rotated frame undone).
template <class Scalar>
KOKKOS_INLINE_FUNCTION void attention_backward(const Team& team, const Net& net,
                                               const Tile<Scalar>& t, int layer,
                                               const Scalar* rope) {
  const int kvw = net.kv_width();
  const int used = t.shape.max_streams * t.shape.capacity;
  team_for(team, used, kvw, [&](int i, int d) {
    t.dkey[std::int64_t{i} * kvw + d] = Scalar(0);
    t.dvalue[std::int64_t{i} * kvw + d] = Scalar(0);
  });
  KOKKOS_IF_ON_HOST(
      (if (team.team_rank() == 0) attend_rows_backward(net, t, layer); team.team_barrier();))
  KOKKOS_IF_ON_DEVICE((attention_backward_by_row(team, net, t, layer);))
  collect_slopes(team, net, t, rope);
}

}  // namespace detail

}  // namespace motley
