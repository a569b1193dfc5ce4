#pragma once
/// A tile: some sequences that one team carries through all layers, in one workspace slot.
///
/// A *stream* is a run of tokens with its own key-value store; a completion's stream has the
/// prompt's as parent, so a prompt is computed once for its G completions. A *row* is one token of
/// one stream. The same forward function serves decoding (one row per active stream), scoring and
/// training (all rows at once) and the classifier's encoder (no mask); this is why the sampler's
/// log-probabilities equal the trainer's bit for bit.
///
/// Everything lives in flat memory of the slot; offsets are computed here, once per launch shape.

#include "core/base/gemm.hpp"
#include "core/base/math.hpp"
#include "models/net.hpp"

namespace motley {

/// Sizes of a tile; determines the slot.
struct TileShape {
  int max_rows = 0;        ///< rows of one forward call
  int max_streams = 0;     ///< prompts + completions
  int capacity = 0;        ///< tokens of the longest stream
  int head_rows = 32;      ///< rows whose logits exist at one time
  bool training = false;   ///< keep activations of every layer
  bool reference = false;  ///< a second hidden state and logits block (exact KL)
};

template <class Scalar>
struct Tile {
  TileShape shape;
  int rows = 0;  ///< rows of the current call

  // per row
  int* token;
  int* stream;
  int* index;  ///< place inside the stream
  // per stream
  int* parent;  ///< stream of the prompt, or -1
  int* length;  ///< tokens of the stream (attended by its children, and by all without a mask)

  // per layer (stride 0 unless training)
  Scalar* x;         ///< [rows,D] input of the layer
  Scalar* h1;        ///< [rows,D] normalised input of attention
  Scalar* inv1;      ///< [rows]
  Scalar* qkv;       ///< [rows,qkv_ld] rotated queries | keys | values
  Scalar* attended;  ///< [rows,D]
  Scalar* row_lse;   ///< [rows,H] log-sum-exp of the scores
  Scalar* x_mid;     ///< [rows,D] between attention and the feed-forward block
  Scalar* h2;        ///< [rows,D]
  Scalar* inv2;      ///< [rows]
  Scalar* gate_up;   ///< [rows,gate_up_ld]
  Scalar* act;       ///< [rows,F]
  std::int64_t layer_stride;
  // after the last layer
  Scalar* x_out;    ///< [rows,D]
  Scalar* inv_out;  ///< [rows]
  Scalar* hidden;   ///< [rows,D] final normalised state
  // key-value store per layer
  Scalar* key_t;    ///< [streams,KVH,hd,cap16] keys, positions contiguous
  Scalar* value;    ///< [streams,cap,KVW]
  Scalar* key;      ///< [streams,cap,KVW], training only
  Scalar* value_t;  ///< [streams,KVH,hd,cap16], training only
  std::int64_t kv_stride;
  // scratch
  Scalar* score;       ///< [rows,H,2*cap16] attention weights; the host holds one head at a time
  Scalar* inv_weight;  ///< [rows] 1 / sum of a row's weights
  Scalar* logits;      ///< [head_rows + 2,vocab_ld]; the last two rows are scratch
  Scalar* ref_logits;  ///< [head_rows,vocab_ld], reference
  Scalar* ref_hidden;  ///< [rows,D], reference
  // backward scratch
  Scalar* dx;           ///< [rows,D]
  Scalar* dh;           ///< [rows,D]
  Scalar* dgate_up;     ///< [rows,gate_up_ld]
  Scalar* dact;         ///< [rows,F]
  Scalar* dqkv;         ///< [rows,qkv_ld]
  Scalar* dkey;         ///< [streams,cap,KVW]
  Scalar* dvalue;       ///< [streams,cap,KVW]
  Scalar* score_slope;  ///< [rows,2*cap16] slopes of a head's scores (host)

  KOKKOS_INLINE_FUNCTION int cap16() const { return Net::pad16(shape.capacity); }
};

/// Assigns pointers of `tile` into a slot; with base = nullptr computes the slot's size.
/// \return number of Scalars; `ints` receives the number of ints
template <class Scalar>
KOKKOS_INLINE_FUNCTION std::int64_t lay_out_tile(const Net& net, const TileShape& shape,
                                                 Scalar* base, int* int_base, Tile<Scalar>& tile,
                                                 std::int64_t& ints) {
  std::int64_t at = 0;
  const auto take = [&](std::int64_t n) {
    Scalar* p = base + at;
    at += (n + 15) / 16 * 16;
    return p;
  };
  std::int64_t int_at = 0;
  const auto take_ints = [&](std::int64_t n) {
    int* p = int_base + int_at;
    int_at += n;
    return p;
  };
  tile.shape = shape;
  const std::int64_t M = shape.max_rows;
  const std::int64_t S = shape.max_streams;
  const std::int64_t D = net.width;
  const std::int64_t cap16 = Net::pad16(shape.capacity);
  const std::int64_t kvw = net.kv_width();

  tile.token = take_ints(M);
  tile.stream = take_ints(M);
  tile.index = take_ints(M);
  tile.parent = take_ints(S);
  tile.length = take_ints(S);
  ints = int_at;

  const std::int64_t layer_begin = at;
  tile.x = take(M * D);
  tile.h1 = take(M * D);
  tile.inv1 = take(M);
  tile.qkv = take(M * net.qkv_ld());
  tile.attended = take(M * D);
  tile.row_lse = take(M * net.heads);
  if (shape.training) tile.x_mid = take(M * D);
  tile.h2 = take(M * D);
  tile.inv2 = take(M);
  tile.gate_up = take(M * net.gate_up_ld());
  tile.act = take(M * net.ff);
  tile.layer_stride = at - layer_begin;
  if (shape.training) at = layer_begin + tile.layer_stride * net.layers;
  // In inference every layer reuses one set, and each block's output is written over its input.
  if (shape.training) {
    tile.x_out = take(M * D);
  } else {
    tile.x_out = tile.x_mid = tile.x;
    tile.layer_stride = 0;
  }
  tile.inv_out = take(M);
  tile.hidden = take(M * D);

  const std::int64_t kv_begin = at;
  tile.key_t = take(S * kvw * cap16);
  tile.value = take(S * shape.capacity * kvw);
  if (shape.training) {
    tile.key = take(S * shape.capacity * kvw);
    tile.value_t = take(S * kvw * cap16);
  } else {
    tile.key = nullptr;
    tile.value_t = nullptr;
  }
  tile.kv_stride = at - kv_begin;
  at = kv_begin + tile.kv_stride * net.layers;

  tile.score = take(M * net.heads * 2 * cap16);
  tile.inv_weight = take(M);
  tile.logits = take(std::int64_t{shape.head_rows + 2} * net.vocab_ld());
  tile.ref_logits =
      shape.reference ? take(std::int64_t{shape.head_rows} * net.vocab_ld()) : nullptr;
  tile.ref_hidden = shape.reference ? take(M * D) : nullptr;
  if (shape.training) {
    tile.dx = take(M * D);
    tile.dh = take(M * D);
    tile.dgate_up = take(M * net.gate_up_ld());
    tile.dact = take(M * net.ff);
    tile.dqkv = take(M * net.qkv_ld());
    tile.dkey = take(S * shape.capacity * kvw);
    tile.dvalue = take(S * shape.capacity * kvw);
    tile.score_slope = take(M * 2 * cap16);
  }
  return at;
}

/// Workspace of one kernel: slots of equal size, each used by one team at a time. The number of
/// slots is what runs at once (threads on the host), never what there is to do.
template <class Scalar>
struct TileWorkspace {
  TileShape shape;
  View2<Scalar> memory;  ///< [slots, size]
  View2<int> ints;       ///< [slots, ints]
  View1<int> next_job;   ///< [1] counter from which teams take jobs
  int slots = 0;

  std::size_t bytes() const { return memory.span() * sizeof(Scalar) + ints.span() * sizeof(int); }
};

/// Teams that can run at once: every host thread, or a few teams per multiprocessor.
int concurrent_teams();

template <class Scalar>
TileWorkspace<Scalar> make_tile_workspace(const char* label, const Net& net, const TileShape& shape,
                                          int jobs);

/// Teams that run at once and threads per team, for a kernel over tiles.
TeamPolicy tile_policy(const Exec& exec, int slots);

/// Takes the next job; all threads of the team get the same number. Jobs are independent, so the
/// order in which teams take them cannot change a bit.
KOKKOS_INLINE_FUNCTION int take_job(const Team& team, int* counter) {
  int job = 0;
  Kokkos::single(
      Kokkos::PerTeam(team), [&](int& value) { value = Kokkos::atomic_fetch_add(counter, 1); },
      job);
  return job;
}

}  // namespace motley
