/// Embeddings of completions by the pair classifier's encoder against the plain transformer.

#include <random>

#include <gtest/gtest.h>

#include "core/embedding.hpp"
#include "models/classifier.hpp"
#include "tests/models/fixture.hpp"
#include "tests/oracle/transformer.hpp"

namespace motley::test {
namespace {

constexpr int kVocab = 9, kT = 6, kB = 3, kG = 5;

oracle::Llama encoder_of(const PairNetLayout& layout, const PairWeights<double>& weights,
                         const ClassifierConfig& c) {
  const auto params = on_host(weights.encoder.params);
  const auto matrix = [&](const std::string& name) {
    const TensorSpec& t = layout.tensors.tensor("encoder." + name);
    oracle::Matrix m(t.rows, t.cols);
    for (std::int64_t i = 0; i < t.size(); ++i) m(i / t.cols, i % t.cols) = params(0, t.offset + i);
    return m;
  };
  const auto vector = [&](const std::string& name) {
    return oracle::Vector(matrix(name).transpose());
  };
  const TransformerConfig defaults;
  oracle::Llama m{c.heads, c.heads, defaults.norm_eps, 10000.0, false, {}, {}, {}, {}};
  m.embed = matrix("embed_tokens.weight");
  m.norm = vector("norm.weight");
  for (int l = 0; l < c.layers; ++l) {
    const std::string p = "layers." + std::to_string(l) + ".";
    m.layers.push_back(
        {vector(p + "input_layernorm.weight"), vector(p + "post_attention_layernorm.weight"),
         matrix(p + "self_attn.q_proj.weight"), matrix(p + "self_attn.k_proj.weight"),
         matrix(p + "self_attn.v_proj.weight"), matrix(p + "self_attn.o_proj.weight"),
         matrix(p + "mlp.gate_proj.weight"), matrix(p + "mlp.up_proj.weight"),
         matrix(p + "mlp.down_proj.weight")});
  }
  return m;
}

/// Stored as float: components of unit vectors are rounded at 6e-8, the double pass adds less.
TEST(TextEmbeddings, AreMeanStatesOfUnitLength) {
  ClassifierConfig c;
  c.layers = 2;
  c.width = 16;
  c.heads = 2;
  c.ff = 24;
  const PairNetLayout layout = make_pair_net_layout(c, kVocab, kT);
  const PairWeights<double> weights = make_pair_weights<double>(1, layout.net);
  init_pair_weights<double>(
      Exec(), layout, ConstView1<std::uint64_t>(device(std::vector<std::uint64_t>{4})), weights);
  pack_pair_weights(Exec(), layout.net, weights);
  const PairWorkspace<double> workspace = make_pair_workspace<double>(layout.net, 1, kB, kG, false);
  const View4<int> token("motley::test::token", 1, kB, kG, kT);
  const View3<int> length("motley::test::length", 1, kB, kG);
  const auto t = on_host(token);
  const auto l = on_host(length);
  std::mt19937 random(9);
  for (int b = 0; b < kB; ++b)
    for (int g = 0; g < kG; ++g) {
      l(0, b, g) = 1 + static_cast<int>(random() % kT);
      for (int p = 0; p < kT; ++p) t(0, b, g, p) = 1 + static_cast<int>(random() % (kVocab - 1));
    }
  l(0, 1, 4) = l(0, 1, 2);  // equal up to what follows the end
  for (int p = 0; p < l(0, 1, 2); ++p) t(0, 1, 4, p) = t(0, 1, 2, p);
  Kokkos::deep_copy(token, t);
  Kokkos::deep_copy(length, l);
  PartitionParams p;
  p.method = PartitionMethod::kmeans;
  const int E = kNgramBins;
  const View4<float> embedding("motley::test::embedding", 1, kB, kG, E);
  const View1<StatusWord> status("motley::test::status", 1);
  Kokkos::deep_copy(status, kStatusClear);
  Kokkos::deep_copy(embedding, NAN);
  text_embeddings<double>(Exec(), layout.net, weights, workspace,
                          device(std::vector<PartitionParams>{p}), token, length, embedding,
                          status);
  EXPECT_EQ(on_host(status)(0), kStatusClear);
  const auto got = on_host(embedding);
  const oracle::Llama m = encoder_of(layout, weights, c);
  for (int b = 0; b < kB; ++b)
    for (int g = 0; g < kG; ++g) {
      std::vector<int> text;
      for (int i = 0; i < l(0, b, g); ++i) text.push_back(t(0, b, g, i));
      const oracle::Vector want =
          oracle::Vector(oracle::hidden_states(m, text).colwise().mean().transpose()).normalized();
      for (int e = 0; e < E; ++e)
        EXPECT_NEAR(double(got(0, b, g, e)), e < c.width ? want[e] : 0.0, 2e-7) << b << ' ' << g;
    }
  for (int e = 0; e < E; ++e) EXPECT_EQ(got(0, 1, 2, e), got(0, 1, 4, e));

  // Others are left alone.
  p.embedding = EmbeddingKind::ngram;
  Kokkos::deep_copy(embedding, 5.0f);
  text_embeddings<double>(Exec(), layout.net, weights, workspace,
                          device(std::vector<PartitionParams>{p}), token, length, embedding,
                          status);
  EXPECT_EQ(on_host(embedding)(0, 0, 0, 0), 5.0f);
}

}  // namespace
}  // namespace motley::test
