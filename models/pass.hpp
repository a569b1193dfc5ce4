#pragma once
/// Forward and backward pass of a tile. Device code: one team, all layers.

#include <cstring>

#include "models/attention.hpp"
#include "models/layer_product.hpp"

namespace motley {

namespace detail {

/// to = from [rows,D], unless they are one.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void copy_rows(const Team& team, int rows, int D, const Scalar* from,
                                      Scalar* to) {
  if (from == to) return;
  KOKKOS_IF_ON_HOST((std::memcpy(to, from, sizeof(Scalar) * rows * D); team.team_barrier();))
  KOKKOS_IF_ON_DEVICE((team_for(team, rows * D, [&](int i) { to[i] = from[i]; });))
}

}  // namespace detail

/// Rows -> final normalised states `t.hidden` [rows,D]; keys and values of the rows join the store.
/// Rows of a stream must come in order of index, after their prompt's rows or in a later call.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void forward(const Team& team, const Net& net, const Scalar* params,
                                    const Scalar* packed, const Scalar* rope,
                                    const Tile<Scalar>& t) {
  const int D = net.width;
  const int M = t.rows;
  const Scalar eps = static_cast<Scalar>(net.norm_eps);
  team_for(team, M, D, [&](int i, int d) {
    t.x[std::int64_t{i} * D + d] = params[net.embed + std::int64_t{t.token[i]} * D + d];
  });
  for (int l = 0; l < net.layers; ++l) {
    const std::int64_t at = l * t.layer_stride;
    const std::int64_t w = l * net.layer_stride;
    const std::int64_t p = l * net.packed_layer_stride;
    Scalar* x = t.x + at;
    Scalar* x_mid = t.x_mid + at;
    Scalar* gate_up = t.gate_up + at;
    Scalar* act = t.act + at;
    Scalar* next = l + 1 < net.layers && t.shape.training ? t.x + at + t.layer_stride : t.x_out;

    team_for(team, M, [&](int i) {
      t.inv1[at + i] = rms_norm(x + std::int64_t{i} * D, params + net.layer0.norm1 + w, D, eps,
                                t.h1 + at + std::int64_t{i} * D);
    });
    image_product(team, net, M, net.qkv_ld(), D, t.h1 + at, D, packed + net.layer0.qkv_t + p,
                  net.qkv_ld(), t.qkv + at, net.qkv_ld(), false);
    detail::store_keys(team, net, t, l, rope);
    detail::attention(team, net, t, l);
    detail::copy_rows(team, M, D, x, x_mid);
    image_product(team, net, M, D, D, t.attended + at, D, packed + net.layer0.o_t + p,
                  net.width_ld(), x_mid, D, true);
    team_for(team, M, [&](int i) {
      t.inv2[at + i] = rms_norm(x_mid + std::int64_t{i} * D, params + net.layer0.norm2 + w, D, eps,
                                t.h2 + at + std::int64_t{i} * D);
    });
    image_product(team, net, M, net.gate_up_ld(), D, t.h2 + at, D,
                  packed + net.layer0.gate_up_t + p, net.gate_up_ld(), gate_up, net.gate_up_ld(),
                  false);
    team_for(team, M, [&](int i) {
      const Scalar* row = gate_up + std::int64_t{i} * net.gate_up_ld();
      swiglu(row, row + net.ff, net.ff, act + std::int64_t{i} * net.ff);
    });
    detail::copy_rows(team, M, D, x_mid, next);
    image_product(team, net, M, D, net.ff, act, net.ff, packed + net.layer0.down_t + p,
                  net.width_ld(), next, D, true);
  }
  team_for(team, M, [&](int i) {
    t.inv_out[i] = rms_norm(t.x_out + std::int64_t{i} * D, params + net.norm, D, eps,
                            t.hidden + std::int64_t{i} * D);
  });
}

/// Logits of rows [first, first + count), count <= head_rows, from `hidden`, into `logits`.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void head(const Team& team, const Net& net, const Scalar* packed,
                                 const Scalar* hidden, int first, int count, Scalar* logits) {
  image_product(team, net, count, net.vocab_ld(), net.width,
                hidden + std::int64_t{first} * net.width, net.width, packed + net.head_t,
                net.vocab_ld(), logits, net.vocab_ld(), false);
}

/// Gradient of the head for rows [first, first + count): dhidden = dlogits W, dW += dlogits^T
/// hidden.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void head_backward(const Team& team, const Net& net, const Scalar* params,
                                          const Tile<Scalar>& t, int first, int count,
                                          const Scalar* dlogits, Scalar* grad) {
  const int D = net.width;
  layer_product(team, net, count, D, net.vocab, dlogits, net.vocab_ld(), 1, params + net.head, D,
                t.dh + std::int64_t{first} * D, D, false);
  layer_product(team, net, net.vocab, D, count, dlogits, 1, net.vocab_ld(),
                t.hidden + std::int64_t{first} * D, D, grad + net.head, D, true);
}

namespace detail {

/// grad[d] += sum over rows, in order, of dy * x * inv: the gain of an RMSNorm.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void gain_gradient(const Team& team, int rows, int D, const Scalar* x,
                                          const Scalar* inv, const Scalar* dy, Scalar* grad) {
  KOKKOS_IF_ON_HOST((for (int i = 0; i < rows; ++i) {
    const Scalar* xi = x + std::int64_t{i} * D;
    const Scalar* dyi = dy + std::int64_t{i} * D;
    for (int d = 0; d < D; ++d) grad[d] += dyi[d] * xi[d] * inv[i];
  }))
  KOKKOS_IF_ON_DEVICE((team_for(team, D, [&](int d) {
                         for (int i = 0; i < rows; ++i)
                           grad[d] +=
                               dy[std::int64_t{i} * D + d] * x[std::int64_t{i} * D + d] * inv[i];
                       });))
  team.team_barrier();
}

}  // namespace detail

/// Backward pass of the rows of the last forward call (training tile). Takes d hidden in t.dh and
/// adds to `grad`, one row of a gradient arena.
template <class Scalar>
KOKKOS_INLINE_FUNCTION void backward(const Team& team, const Net& net, const Scalar* params,
                                     const Scalar* rope, const Tile<Scalar>& t, Scalar* grad) {
  const int D = net.width;
  const int F = net.ff;
  const int M = t.rows;
  const int gu = net.gate_up_ld();
  const int ld = net.qkv_ld();
  const int kvw = net.kv_width();
  detail::gain_gradient(team, M, D, t.x_out, t.inv_out, t.dh, grad + net.norm);
  team_for(team, M, [&](int i) {
    Scalar* dx = t.dx + std::int64_t{i} * D;
    for (int d = 0; d < D; ++d) dx[d] = Scalar(0);
    rms_norm_backward(t.x_out + std::int64_t{i} * D, params + net.norm, t.inv_out[i],
                      t.dh + std::int64_t{i} * D, D, dx);
  });
  for (int l = net.layers - 1; l >= 0; --l) {
    const std::int64_t at = l * t.layer_stride;
    const std::int64_t w = l * net.layer_stride;
    const NetLayer& n = net.layer0;
    // SwiGLU block
    layer_product(team, net, M, F, D, t.dx, D, 1, params + n.down + w, F, t.dact, F, false);
    layer_product(team, net, D, F, M, t.dx, 1, D, t.act + at, F, grad + n.down + w, F, true);
    team_for(team, M, [&](int i) {
      const Scalar* row = t.gate_up + at + std::int64_t{i} * gu;
      Scalar* out = t.dgate_up + std::int64_t{i} * gu;
      swiglu_backward(row, row + F, t.dact + std::int64_t{i} * F, F, out, out + F);
    });
    layer_product(team, net, F, D, M, t.dgate_up, 1, gu, t.h2 + at, D, grad + n.gate + w, D, true);
    layer_product(team, net, F, D, M, t.dgate_up + F, 1, gu, t.h2 + at, D, grad + n.up + w, D,
                  true);
    layer_product(team, net, M, D, F, t.dgate_up, gu, 1, params + n.gate + w, D, t.dh, D, false);
    layer_product(team, net, M, D, F, t.dgate_up + F, gu, 1, params + n.up + w, D, t.dh, D, true);
    detail::gain_gradient(team, M, D, t.x_mid + at, t.inv2 + at, t.dh, grad + n.norm2 + w);
    team_for(team, M, [&](int i) {
      rms_norm_backward(t.x_mid + at + std::int64_t{i} * D, params + n.norm2 + w, t.inv2[at + i],
                        t.dh + std::int64_t{i} * D, D, t.dx + std::int64_t{i} * D);
    });
    // attention block
    layer_product(team, net, D, D, M, t.dx, 1, D, t.attended + at, D, grad + n.o + w, D, true);
    layer_product(team, net, M, D, D, t.dx, D, 1, params + n.o + w, D, t.dh, D, false);
    detail::attention_backward(team, net, t, l, rope);
    layer_product(team, net, D, D, M, t.dqkv, 1, ld, t.h1 + at, D, grad + n.q + w, D, true);
    layer_product(team, net, kvw, D, M, t.dqkv + D, 1, ld, t.h1 + at, D, grad + n.k + w, D, true);
    layer_product(team, net, kvw, D, M, t.dqkv + D + kvw, 1, ld, t.h1 + at, D, grad + n.v + w, D,
                  true);
    layer_product(team, net, M, D, D, t.dqkv, ld, 1, params + n.q + w, D, t.dh, D, false);
    layer_product(team, net, M, D, kvw, t.dqkv + D, ld, 1, params + n.k + w, D, t.dh, D, true);
    layer_product(team, net, M, D, kvw, t.dqkv + D + kvw, ld, 1, params + n.v + w, D, t.dh, D,
                  true);
    detail::gain_gradient(team, M, D, t.x + at, t.inv1 + at, t.dh, grad + n.norm1 + w);
    team_for(team, M, [&](int i) {
      rms_norm_backward(t.x + at + std::int64_t{i} * D, params + n.norm1 + w, t.inv1[at + i],
                        t.dh + std::int64_t{i} * D, D, t.dx + std::int64_t{i} * D);
    });
  }
  // Embedding: rows with the same token add up in row order, so rows are the outer loop.
  KOKKOS_IF_ON_HOST((for (int i = 0; i < M; ++i) {
    Scalar* row = grad + net.embed + std::int64_t{t.token[i]} * D;
    for (int d = 0; d < D; ++d) row[d] += t.dx[std::int64_t{i} * D + d];
  }))
  KOKKOS_IF_ON_DEVICE((team_for(team, D, [&](int d) {
                         for (int i = 0; i < M; ++i)
                           grad[net.embed + std::int64_t{t.token[i]} * D + d] +=
                               t.dx[std::int64_t{i} * D + d];
                       });))
  team.team_barrier();
}

}  // namespace motley
