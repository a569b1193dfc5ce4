#pragma once
/// A Llama-shaped transformer as offsets into flat arenas, passed to kernels by value.
///
/// Parameters of a replica are one row of an arena [R,N], tensors stored [out,in] and named as
/// Hugging Face's Llama names them. For forward products the matrices are needed as [in,out]:
/// `pack_weights` writes that image, [R,Np], after every update, with q|k|v and gate|up side by
/// side and rows padded to 16 columns, so that one product serves each group. The backward pass
/// multiplies with the arena itself. With `bf16` the image holds pairs of bfloat16 (gemm_bf16.hpp)
/// at the same places.

#include <vector>

#include "core/base/arena.hpp"
#include "core/base/types.hpp"
#include "models/transformer_config.hpp"

namespace motley {

inline constexpr int kMaxLayers = 128;

constexpr int round_up(int n, int multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Offsets of one layer; all layers are laid out alike, `layer * stride` apart.
struct NetLayer {
  std::int64_t norm1, q, k, v, o, norm2, gate, up, down;  ///< in the arena
  std::int64_t qkv_t, o_t, gate_up_t, down_t;             ///< in the packed image
};

/// Everything a kernel needs to know about the network; trivially copyable.
struct Net {
  int layers = 0, width = 0, heads = 0, kv_heads = 0, ff = 0, vocab = 0;
  int max_positions = 0;
  bool causal = true, has_head = true, tied = false;
  double norm_eps = 1e-5;
  bool bf16 = false;  ///< operands of the layers' products, where the Scalar is float (host only)
  NetLayer layer0{};
  std::int64_t layer_stride = 0, packed_layer_stride = 0;
  std::int64_t embed = 0, norm = 0, head = 0;  ///< head = embed where tied
  std::int64_t head_t = 0;                     ///< in the packed image
  std::int64_t size = 0, packed_size = 0;

  KOKKOS_INLINE_FUNCTION int head_dim() const { return width / heads; }
  KOKKOS_INLINE_FUNCTION int kv_width() const { return kv_heads * (width / heads); }
  KOKKOS_INLINE_FUNCTION int qkv_width() const { return width + 2 * kv_width(); }
  KOKKOS_INLINE_FUNCTION static int pad16(int n) { return (n + 15) / 16 * 16; }
  KOKKOS_INLINE_FUNCTION int qkv_ld() const { return pad16(qkv_width()); }
  KOKKOS_INLINE_FUNCTION int gate_up_ld() const { return pad16(2 * ff); }
  KOKKOS_INLINE_FUNCTION int width_ld() const { return pad16(width); }
  KOKKOS_INLINE_FUNCTION int vocab_ld() const { return pad16(vocab); }
};

/// Floating-point operations of one token's forward pass without attention: 2 per weight used.
double forward_flops_per_token(const Net& net);

/// Layout of the arena and the offsets derived from it.
struct NetLayout {
  Net net;
  ParameterLayout tensors;
};

/// \param with_head  false for the encoder of the pair classifier
/// \param prefix     of the tensor names, "model." for a policy
NetLayout make_net_layout(const TransformerConfig& config, bool with_head,
                          const std::string& prefix = "model.");

/// Parameters of all replicas with everything derived from them.
template <class Scalar>
struct Weights {
  View2<Scalar> params;  ///< [R,N]
  View2<Scalar> packed;  ///< [R,Np]
  View2<Scalar> rope;    ///< [max_positions, head_dim] cosines, then sines
};

template <class Scalar>
Weights<Scalar> make_weights(const char* label, int R, const Net& net, double rope_theta);

/// Refreshes `weights.packed` from `weights.params`.
template <class Scalar>
void pack_weights(const Exec& exec, const Net& net, const Weights<Scalar>& weights);

/// Normal(0, 0.02) matrices (o and down divided by sqrt(2 L), as GPT-2), norms 1, from
/// (seed, stream): element i of the arena is the draw at position i.
/// \param seeds [R]
template <class Scalar>
void init_weights(const Exec& exec, const NetLayout& layout, const ConstView1<std::uint64_t>& seeds,
                  std::uint32_t stream, const View2<Scalar>& params);

}  // namespace motley
