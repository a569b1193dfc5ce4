#pragma once
/// The oracle's decoder with the parameters of a fixture.

#include <string>

#include "tests/models/fixture.hpp"
#include "tests/oracle/transformer.hpp"

namespace motley::test {

template <class Scalar>
oracle::Llama oracle_of(const PolicyFixture<Scalar>& f, int r, const TransformerConfig& c) {
  const auto params = on_host(f.weights.params);
  const auto matrix = [&](std::int64_t offset, int rows, int cols) {
    oracle::Matrix m(rows, cols);
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < cols; ++j) m(i, j) = params(r, offset + std::int64_t{i} * cols + j);
    return m;
  };
  const auto vector = [&](std::int64_t offset, int n) {
    return oracle::Vector(matrix(offset, 1, n).transpose());
  };
  const ParameterLayout& t = f.layout.tensors;
  const auto at = [&](const std::string& name) { return t.tensor(name).offset; };
  const int D = c.width;
  oracle::Llama m{c.heads, c.kv_heads, c.norm_eps, c.rope_theta, c.causal, {}, {}, {}, {}};
  m.embed = matrix(at("model.embed_tokens.weight"), c.vocab, D);
  m.head = c.tied ? m.embed : matrix(at("lm_head.weight"), c.vocab, D);
  m.norm = vector(at("model.norm.weight"), D);
  for (int l = 0; l < c.layers; ++l) {
    const std::string p = "model.layers." + std::to_string(l) + ".";
    m.layers.push_back({vector(at(p + "input_layernorm.weight"), D),
                        vector(at(p + "post_attention_layernorm.weight"), D),
                        matrix(at(p + "self_attn.q_proj.weight"), D, D),
                        matrix(at(p + "self_attn.k_proj.weight"), c.kv_heads * c.head_dim(), D),
                        matrix(at(p + "self_attn.v_proj.weight"), c.kv_heads * c.head_dim(), D),
                        matrix(at(p + "self_attn.o_proj.weight"), D, D),
                        matrix(at(p + "mlp.gate_proj.weight"), c.ff, D),
                        matrix(at(p + "mlp.up_proj.weight"), c.ff, D),
                        matrix(at(p + "mlp.down_proj.weight"), D, c.ff)});
  }
  return m;
}

}  // namespace motley::test
