#pragma once
/// Attention on the host: rows that share keys as one small product.
///
/// A *band* is the rows of all streams with one prompt (or, without a prompt, of one stream) that
/// follow each other. It meets the prompt's keys in one product. Its streams meet their own keys in
/// *blocks* of a few rows, whose products reach as far as the block's last row sees: what a row
/// must not see has the weight 0, and adding 0 times a finite number leaves a chain of sums alone.

#include <algorithm>
#include <limits>

#include "core/base/gemm.hpp"
#include "models/key_store.hpp"

namespace motley::detail {

/// Rows of a block: few, so that little of what lies above the diagonal is computed; a multiple of
/// the product's register block.
constexpr int kBlockRows = 12;

/// Calls f(first, last, parent) for every band [first, last) of the tile.
template <class Scalar, class F>
void for_each_band(const Tile<Scalar>& t, const F& f) {
  for (int first = 0, last = 0; first < t.rows; first = last) {
    const int stream = t.stream[first];
    const int parent = t.parent[stream];
    const auto belongs = [&](int i) {
      return parent >= 0 ? t.parent[t.stream[i]] == parent : t.stream[i] == stream;
    };
    while (last < t.rows && belongs(last)) ++last;
    f(first, last, parent);
  }
}

/// Calls f(first, last, reach) for every block [first, last) of the band [begin, end): rows of one
/// stream that see none but its first `reach` positions.
template <class Scalar, class F>
void for_each_block(const Net& net, const Tile<Scalar>& t, int begin, int end, const F& f) {
  for (int first = begin, last = begin; first < end; first = last) {
    int reach = 0;
    for (; last < end && last - first < kBlockRows && t.stream[last] == t.stream[first]; ++last)
      reach = std::max(reach, own_span(net, t, last));
    f(first, last, reach);
  }
}

/// Scales the n scores that a row sees and sets those behind them, up to `padded`, to -infinity.
/// \return the largest
template <class Scalar>
inline Scalar scale_seen(Scalar* score, int n, int padded, Scalar scale) {
#if MOTLEY_LANE_VECTORS
  using Lanes = LaneVector<Scalar, kLanes>;
  using Place = std::conditional_t<sizeof(Scalar) == 4, std::int32_t, std::int64_t>;
  constexpr LaneVector<Place, kLanes> kPlaces = {0, 1, 2,  3,  4,  5,  6,  7,
                                                 8, 9, 10, 11, 12, 13, 14, 15};
  const Lanes hidden = Lanes{} - std::numeric_limits<Scalar>::infinity();
  Lanes top = scale * score[0] - Lanes{};
  for (int j = 0; j < padded; j += kLanes) {
    const Lanes next =
        kPlaces < static_cast<Place>(n - j) ? scale * load_lanes<kLanes>(score + j) : hidden;
    std::memcpy(score + j, &next, sizeof next);
    top = Larger()(top, next);
  }
  return fold_lanes<Scalar>(top, Larger());
#else
  for (int j = 0; j < padded; ++j)
    score[j] = j < n ? scale * score[j] : -std::numeric_limits<Scalar>::infinity();
  return row_max(score, padded);
#endif
}

/// exp(scale * score - max) of the n numbers a row sees, 0 up to `reach` and the next 16.
/// \return 1 / sum of the weights; `lse` receives the log-sum-exp unless it is null
template <class Scalar>
MOTLEY_ROW_FUNCTION Scalar attention_weights(Scalar* score, int n, int reach, Scalar scale,
                                             Scalar* lse) {
  const int padded = Net::pad16(reach);
  const Scalar top = scale_seen(score, n, padded, scale);
  Scalar lane[kLanes] = {};
  for (int j = 0; j < padded; j += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const Scalar weight = exp_value(score[j + i] - top);
      score[j + i] = j + i < n ? weight : Scalar(0);
      lane[i] += score[j + i];
    }
  const Scalar total = fold_sum(lane);
  if (lse != nullptr) *lse = top + Kokkos::log(total);
  return Scalar(1) / total;
}

/// Scores and d weights of a row -> its weights p and the slopes ds = scale p (dp - delta) of its
/// scores; both 0 from n up to `reach` and the next 16.
template <class Scalar>
MOTLEY_ROW_FUNCTION void attention_slopes(Scalar* p, Scalar* ds, int n, int reach, Scalar scale,
                                          Scalar lse, Scalar delta) {
  const int padded = Net::pad16(reach);
  for (int j = 0; j < padded; ++j) p[j] = scale * p[j];
  for (int j = 0; j < padded; ++j) {
    const Scalar weight = exp_value(p[j] - lse);
    const Scalar slope = scale * (weight * (ds[j] - delta));
    p[j] = j < n ? weight : Scalar(0);
    ds[j] = j < n ? slope : Scalar(0);
  }
}

/// A matrix inside a tile: row i starts at base + i * stride.
template <class Scalar>
struct Rows {
  Scalar* base;
  int stride;
  Scalar* operator[](int i) const { return base + std::int64_t{i} * stride; }
};

/// Queries, keys and values of a layer -> t.attended.
template <class Scalar>
void attend_rows(const Net& net, const Tile<Scalar>& t, int layer) {
  const int hd = net.head_dim();
  const int kvw = net.kv_width();
  const int cap16 = t.cap16();
  const Scalar scale = Scalar(1) / Kokkos::sqrt(Scalar(hd));
  const std::int64_t at = layer * t.layer_stride;
  for_each_band(t, [&](int begin, int end, int parent) {
    const int prompt_length = parent >= 0 ? t.length[parent] : 0;
    for (int h = 0; h < net.heads; ++h) {
      const int kvh = h / (net.heads / net.kv_heads);
      const Rows<const Scalar> q{t.qkv + at + h * hd, net.qkv_ld()};
      const Rows<Scalar> score{t.score, 2 * cap16};  // one head at a time
      const Rows<Scalar> out{t.attended + at + h * hd, net.width};
      const auto prompt = segment(net, t, layer, std::max(parent, 0), kvh, prompt_length);
      const auto own_of = [&](int row) { return segment(net, t, layer, t.stream[row], kvh, 0); };
      // The own scores stand right behind the prompt's and overwrite their unused tail.
      if (parent >= 0)
        host_gemm(end - begin, Net::pad16(prompt_length), hd, q[begin], q.stride, 1, prompt.key_t,
                  cap16, score[begin], score.stride, false);
      for_each_block(net, t, begin, end, [&](int first, int last, int reach) {
        host_gemm(last - first, Net::pad16(reach), hd, q[first], q.stride, 1, own_of(first).key_t,
                  cap16, score[first] + prompt_length, score.stride, false);
        for (int i = first; i < last; ++i)
          t.inv_weight[i] = attention_weights(
              score[i], prompt_length + own_span(net, t, i), prompt_length + reach, scale,
              t.shape.training ? &t.row_lse[at + std::int64_t{i} * net.heads + h] : nullptr);
      });
      if (parent >= 0)
        host_gemm(end - begin, hd, prompt_length, score[begin], score.stride, 1, prompt.value, kvw,
                  out[begin], out.stride, false);
      for_each_block(net, t, begin, end, [&](int first, int last, int reach) {
        host_gemm(last - first, hd, reach, score[first] + prompt_length, score.stride, 1,
                  own_of(first).value, kvw, out[first], out.stride, parent >= 0);
        for (int i = first; i < last; ++i)
          for (int d = 0; d < hd; ++d) out[i][d] *= t.inv_weight[i];
      });
    }
  });
}

/// t.dh = d attended -> d queries in t.dqkv; adds to t.dkey and t.dvalue.
template <class Scalar>
void attend_rows_backward(const Net& net, const Tile<Scalar>& t, int layer) {
  const int hd = net.head_dim();
  const int kvw = net.kv_width();
  const int cap16 = t.cap16();
  const Scalar scale = Scalar(1) / Kokkos::sqrt(Scalar(hd));
  const std::int64_t at = layer * t.layer_stride;
  for_each_band(t, [&](int begin, int end, int parent) {
    const int n = parent >= 0 ? t.length[parent] : 0;
    for (int h = 0; h < net.heads; ++h) {
      const int kvh = h / (net.heads / net.kv_heads);
      const Rows<const Scalar> q{t.qkv + at + h * hd, net.qkv_ld()};
      const Rows<const Scalar> out{t.attended + at + h * hd, net.width};
      const Rows<const Scalar> dout{t.dh + h * hd, net.width};
      const Rows<Scalar> dq{t.dqkv + h * hd, net.qkv_ld()};
      const Rows<Scalar> p{t.score, 2 * cap16};
      const Rows<Scalar> ds{t.score_slope, 2 * cap16};
      const auto prompt = segment(net, t, layer, std::max(parent, 0), kvh, n);
      const auto own_of = [&](int row) { return segment(net, t, layer, t.stream[row], kvh, 0); };
      const auto slopes_at = [&](Scalar* slopes, int stream) {
        return slopes + std::int64_t{stream} * t.shape.capacity * kvw + kvh * hd;
      };
      if (parent >= 0) {
        host_gemm(end - begin, Net::pad16(n), hd, q[begin], q.stride, 1, prompt.key_t, cap16,
                  p[begin], p.stride, false);
        host_gemm(end - begin, Net::pad16(n), hd, dout[begin], dout.stride, 1, prompt.value_t,
                  cap16, ds[begin], ds.stride, false);
      }
      for_each_block(net, t, begin, end, [&](int first, int last, int reach) {
        const auto own = own_of(first);
        host_gemm(last - first, Net::pad16(reach), hd, q[first], q.stride, 1, own.key_t, cap16,
                  p[first] + n, p.stride, false);
        host_gemm(last - first, Net::pad16(reach), hd, dout[first], dout.stride, 1, own.value_t,
                  cap16, ds[first] + n, ds.stride, false);
        for (int i = first; i < last; ++i) {
          Scalar delta = 0;
          for (int d = 0; d < hd; ++d) delta += dout[i][d] * out[i][d];
          attention_slopes(p[i], ds[i], n + own_span(net, t, i), n + reach, scale,
                           t.row_lse[at + std::int64_t{i} * net.heads + h], delta);
        }
      });
      if (parent >= 0) {
        host_gemm(end - begin, hd, n, ds[begin], ds.stride, 1, prompt.key, kvw, dq[begin],
                  dq.stride, false);
        host_gemm(n, hd, end - begin, ds[begin], 1, ds.stride, q[begin], q.stride,
                  slopes_at(t.dkey, parent), kvw, true);
        host_gemm(n, hd, end - begin, p[begin], 1, p.stride, dout[begin], dout.stride,
                  slopes_at(t.dvalue, parent), kvw, true);
      }
      for_each_block(net, t, begin, end, [&](int first, int last, int reach) {
        const int stream = t.stream[first];
        host_gemm(last - first, hd, reach, ds[first] + n, ds.stride, 1, own_of(first).key, kvw,
                  dq[first], dq.stride, parent >= 0);
        host_gemm(reach, hd, last - first, ds[first] + n, 1, ds.stride, q[first], q.stride,
                  slopes_at(t.dkey, stream), kvw, true);
        host_gemm(reach, hd, last - first, p[first] + n, 1, p.stride, dout[first], dout.stride,
                  slopes_at(t.dvalue, stream), kvw, true);
      });
    }
  });
}

}  // namespace motley::detail
