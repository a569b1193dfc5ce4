#include "models/net.hpp"

#include <cmath>

#include "core/base/error.hpp"
#include "core/base/gemm_bf16.hpp"
#include "core/base/rng.hpp"

namespace motley {

namespace {

std::int64_t align(std::int64_t n) {
  return (n + ParameterLayout::kAlign - 1) / ParameterLayout::kAlign * ParameterLayout::kAlign;
}

}  // namespace

double forward_flops_per_token(const Net& n) {
  const double layer =
      double(n.width) * n.qkv_width() + double(n.width) * n.width + 3.0 * n.width * n.ff;
  return 2.0 * (n.layers * layer + (n.has_head ? double(n.width) * n.vocab : 0.0));
}

NetLayout make_net_layout(const TransformerConfig& c, bool with_head, const std::string& prefix) {
  MOTLEY_REQUIRE(c.vocab > 1 && c.max_positions > 0, ErrorKind::internal,
                 "network without a vocabulary");
  NetLayout out;
  Net& n = out.net;
  n.layers = c.layers;
  n.width = c.width;
  n.heads = c.heads;
  n.kv_heads = c.kv_heads;
  n.ff = c.ff;
  n.vocab = c.vocab;
  n.max_positions = c.max_positions;
  n.causal = c.causal;
  n.has_head = with_head;
  n.tied = c.tied;
  n.norm_eps = c.norm_eps;
  n.bf16 = c.precision == Precision::bf16;

  ParameterLayout& t = out.tensors;
  n.embed = t.add(prefix + "embed_tokens.weight", n.vocab, n.width);
  for (int l = 0; l < n.layers; ++l) {
    const std::string at = prefix + "layers." + std::to_string(l) + ".";
    NetLayer layer{};
    layer.norm1 = t.add(at + "input_layernorm.weight", 1, n.width);
    layer.q = t.add(at + "self_attn.q_proj.weight", n.width, n.width);
    layer.k = t.add(at + "self_attn.k_proj.weight", n.kv_width(), n.width);
    layer.v = t.add(at + "self_attn.v_proj.weight", n.kv_width(), n.width);
    layer.o = t.add(at + "self_attn.o_proj.weight", n.width, n.width);
    layer.norm2 = t.add(at + "post_attention_layernorm.weight", 1, n.width);
    layer.gate = t.add(at + "mlp.gate_proj.weight", n.ff, n.width);
    layer.up = t.add(at + "mlp.up_proj.weight", n.ff, n.width);
    layer.down = t.add(at + "mlp.down_proj.weight", n.width, n.ff);
    if (l == 0) n.layer0 = layer;
    if (l == 1) n.layer_stride = layer.norm1 - n.layer0.norm1;
  }
  n.norm = t.add(prefix + "norm.weight", 1, n.width);
  n.head = n.embed;
  if (with_head && !n.tied) n.head = t.add("lm_head.weight", n.vocab, n.width);
  n.size = t.size();

  std::int64_t at = 0;
  const auto take = [&](int rows, int ld) {
    const std::int64_t offset = at;
    at += align(std::int64_t{rows} * ld);
    return offset;
  };
  n.layer0.qkv_t = take(n.width, n.qkv_ld());
  n.layer0.o_t = take(n.width, n.width_ld());
  n.layer0.gate_up_t = take(n.width, n.gate_up_ld());
  n.layer0.down_t = take(n.ff, n.width_ld());
  n.packed_layer_stride = at;
  at = n.packed_layer_stride * n.layers;
  n.head_t = with_head ? take(n.width, n.vocab_ld()) : at;
  n.packed_size = at;
  return out;
}

template <class Scalar>
Weights<Scalar> make_weights(const char* label, int R, const Net& net, double rope_theta) {
  Weights<Scalar> w;
  const std::string name = std::string("motley::") + label;
  w.params = View2<Scalar>(name + "::params", R, net.size);
  w.packed = View2<Scalar>(name + "::packed", R, net.packed_size);
  w.rope = View2<Scalar>(name + "::rope", net.max_positions, net.head_dim());
  // Rotate-half form: angle of pair i at position p is p * theta^(-2i/hd). Computed on the host in
  // double, so that host and device hold the same table.
  const auto host = Kokkos::create_mirror(w.rope);
  const int half = net.head_dim() / 2;
  for (int p = 0; p < net.max_positions; ++p)
    for (int i = 0; i < half; ++i) {
      const double angle = p * std::pow(rope_theta, -2.0 * i / net.head_dim());
      host(p, i) = static_cast<Scalar>(std::cos(angle));
      host(p, half + i) = static_cast<Scalar>(std::sin(angle));
    }
  Kokkos::deep_copy(w.rope, host);
  return w;
}

template <class Scalar>
void pack_weights(const Exec& exec, const Net& net, const Weights<Scalar>& weights) {
  const View2<Scalar> params = weights.params;
  const View2<Scalar> packed = weights.packed;
  const int R = static_cast<int>(params.extent(0));
  // One job per (replica, layer) and one for the head: a transpose is bound by memory anyway.
  Kokkos::parallel_for(
      "motley::net::pack_weights", Kokkos::RangePolicy<Exec>(exec, 0, R * (net.layers + 1)),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / (net.layers + 1);
        const int l = job % (net.layers + 1);
        const Scalar* from = &params(r, 0);
        Scalar* to = &packed(r, 0);
        const auto transpose = [&](std::int64_t source, int out, int in, std::int64_t target,
                                   int ld, int column) {
          if constexpr (std::is_same_v<Scalar, float>) {
            if (net.bf16) {
              auto* pairs = reinterpret_cast<std::uint32_t*>(to + target) + column;
              for (int i = 0; i < in; i += 2)
                for (int o = 0; o < out; ++o) {
                  const float* row = from + source + static_cast<std::int64_t>(o) * in + i;
                  pairs[static_cast<std::int64_t>(i / 2) * ld + o] =
                      bf16_pair(row[0], i + 1 < in ? row[1] : 0.0f);
                }
              return;
            }
          }
          for (int i = 0; i < in; ++i)
            for (int o = 0; o < out; ++o)
              to[target + static_cast<std::int64_t>(i) * ld + column + o] =
                  from[source + static_cast<std::int64_t>(o) * in + i];
        };
        if (l == net.layers) {
          if (net.has_head)
            transpose(net.head, net.vocab, net.width, net.head_t, net.vocab_ld(), 0);
          return;
        }
        const NetLayer& n = net.layer0;
        const std::int64_t s = l * net.layer_stride;
        const std::int64_t t = l * net.packed_layer_stride;
        const int D = net.width;
        const int KV = net.kv_width();
        transpose(n.q + s, D, D, n.qkv_t + t, net.qkv_ld(), 0);
        transpose(n.k + s, KV, D, n.qkv_t + t, net.qkv_ld(), D);
        transpose(n.v + s, KV, D, n.qkv_t + t, net.qkv_ld(), D + KV);
        transpose(n.o + s, D, D, n.o_t + t, net.width_ld(), 0);
        transpose(n.gate + s, net.ff, D, n.gate_up_t + t, net.gate_up_ld(), 0);
        transpose(n.up + s, net.ff, D, n.gate_up_t + t, net.gate_up_ld(), net.ff);
        transpose(n.down + s, D, net.ff, n.down_t + t, net.width_ld(), 0);
      });
}

template <class Scalar>
void init_weights(const Exec& exec, const NetLayout& layout, const ConstView1<std::uint64_t>& seeds,
                  std::uint32_t stream, const View2<Scalar>& params) {
  const int R = static_cast<int>(params.extent(0));
  for (const TensorSpec& tensor : layout.tensors.tensors()) {
    const bool residual =
        tensor.name.ends_with("o_proj.weight") || tensor.name.ends_with("down_proj.weight");
    const double scale = residual ? 0.02 / std::sqrt(2.0 * layout.net.layers) : 0.02;
    const bool norm = !tensor.matrix();
    const std::int64_t size = tensor.size();
    const std::int64_t offset = tensor.offset;
    Kokkos::parallel_for(
        "motley::net::init_weights",
        Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(exec, 0, R * size),
        KOKKOS_LAMBDA(const std::int64_t job) {
          const int r = static_cast<int>(job / size);
          const std::int64_t i = offset + job % size;
          if (norm) {
            params(r, i) = Scalar(1);
            return;
          }
          // Box-Muller in double; 1 - u keeps the logarithm finite.
          const DrawKey key{seeds(r), static_cast<Stream>(stream), 0};
          const Philox4 bits =
              draw_bits(key, static_cast<std::uint32_t>(i >> 32), static_cast<std::uint32_t>(i));
          const double u1 = 1.0 - bits.x[0] * 0x1p-32;
          const double u2 = bits.x[1] * 0x1p-32;
          const double normal =
              Kokkos::sqrt(-2.0 * Kokkos::log(u1)) * Kokkos::cos(6.283185307179586 * u2);
          params(r, i) = static_cast<Scalar>(scale * normal);
        });
  }
}

#define MOTLEY_INSTANTIATE(Scalar)                                                     \
  template Weights<Scalar> make_weights<Scalar>(const char*, int, const Net&, double); \
  template void pack_weights<Scalar>(const Exec&, const Net&, const Weights<Scalar>&); \
  template void init_weights<Scalar>(const Exec&, const NetLayout&,                    \
                                     const ConstView1<std::uint64_t>&, std::uint32_t,  \
                                     const View2<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
