#pragma once
/// Keys and values of a tile: where they stand, who sees them. Device code.

#include "models/layers.hpp"
#include "models/tile.hpp"

namespace motley {

/// One segment of keys and values; n = 0 where there is none.
template <class Scalar>
struct Segment {
  const Scalar* key_t;    ///< [hd,ld] positions contiguous
  const Scalar* value;    ///< [n,stride]
  const Scalar* key;      ///< [n,stride], training
  const Scalar* value_t;  ///< [hd,ld], training
  int n;
};

namespace detail {

/// Keys and values of a stream's layer, `n` positions of them, for kv head h.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Segment<Scalar> segment(const Net& net, const Tile<Scalar>& t, int layer,
                                               int stream, int h, int n) {
  const int hd = net.head_dim();
  const int kvw = net.kv_width();
  const std::int64_t kv = layer * t.kv_stride;
  const std::int64_t transposed = (std::int64_t{stream} * kvw + h * hd) * t.cap16();
  const std::int64_t natural = std::int64_t{stream} * t.shape.capacity * kvw + h * hd;
  Segment<Scalar> s;
  s.key_t = t.key_t + kv + transposed;
  s.value = t.value + kv + natural;
  s.key = t.shape.training ? t.key + kv + natural : nullptr;
  s.value_t = t.shape.training ? t.value_t + kv + transposed : nullptr;
  s.n = n;
  return s;
}

template <class Scalar>
KOKKOS_INLINE_FUNCTION int position(const Tile<Scalar>& t, int row) {
  const int parent = t.parent[t.stream[row]];
  return t.index[row] + (parent >= 0 ? t.length[parent] : 0);
}

/// Positions of its own stream that a row attends to.
template <class Scalar>
KOKKOS_INLINE_FUNCTION int own_span(const Net& net, const Tile<Scalar>& t, int row) {
  return net.causal ? t.index[row] + 1 : t.length[t.stream[row]];
}

/// Rotates queries and keys of all rows and writes keys and values to the store.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void store_keys(const Team& team, const Net& net, const Tile<Scalar>& t,
                                       int layer, const Scalar* rope) {
  const int hd = net.head_dim();
  const int kvw = net.kv_width();
  const int ld = net.qkv_ld();
  const std::int64_t kv = layer * t.kv_stride;
  Scalar* qkv = t.qkv + layer * t.layer_stride;
  team_for(team, t.rows, [&](int i) {
    const Scalar* table = rope + position(t, i) * hd;
    Scalar* row = qkv + std::int64_t{i} * ld;
    for (int h = 0; h < net.heads; ++h) rotate(row + h * hd, table, hd, Scalar(1));
    for (int h = 0; h < net.kv_heads; ++h) rotate(row + net.width + h * hd, table, hd, Scalar(1));
    const Scalar* k = row + net.width;
    const Scalar* v = k + kvw;
    const int stream = t.stream[i];
    const int at = t.index[i];
    const std::int64_t transposed = kv + std::int64_t{stream} * kvw * t.cap16() + at;
    const std::int64_t natural = kv + (std::int64_t{stream} * t.shape.capacity + at) * kvw;
    for (int d = 0; d < kvw; ++d) t.key_t[transposed + std::int64_t{d} * t.cap16()] = k[d];
    for (int d = 0; d < kvw; ++d) t.value[natural + d] = v[d];
    if (t.shape.training) {
      for (int d = 0; d < kvw; ++d) t.key[natural + d] = k[d];
      for (int d = 0; d < kvw; ++d) t.value_t[transposed + std::int64_t{d} * t.cap16()] = v[d];
    }
  });
}

}  // namespace detail

}  // namespace motley
