/// The decoder at awkward and at large shapes: cached decoding, full passes and the oracle agree.

#include <cstring>

#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"
#include "tests/models/llama_oracle.hpp"

namespace motley::test {
namespace {

TransformerConfig odd_config(int heads, int kv_heads, int head_dim, int ff, int layers) {
  TransformerConfig c;
  c.layers = layers;
  c.width = heads * head_dim;
  c.heads = heads;
  c.kv_heads = kv_heads;
  c.ff = ff;
  return c;
}

struct Bounds {
  double log_prob;  ///< nats, against the oracle in double
  int completions;  ///< compared with the oracle, at most
};

/// Rolls out with the cache; the trainer's full pass must give the same bits, the oracle the same
/// numbers.
void decode_equals_forward(const Shape& shape, TransformerConfig config, double scale,
                           const Bounds& bounds) {
  config.vocab = shape.V;
  config.max_positions = shape.P + shape.T;
  PolicyFixture<float> f(shape, config, {21}, scale);
  f.sample();
  EXPECT_EQ(on_host(f.status)(0), kStatusClear);
  const auto workspace = f.workspace();
  score_tokens<float>(Exec(), f.layout.net, f.weights, workspace, f.loss, f.buffer, f.active,
                      f.buffer.old_log_prob);
  const auto sampled = on_host(f.buffer.sampler_log_prob);
  const auto scored = on_host(f.buffer.old_log_prob);
  EXPECT_EQ(0, std::memcmp(sampled.data(), scored.data(), sampled.span() * sizeof(float)));
  const auto token = on_host(f.buffer.token);
  const auto length = on_host(f.buffer.length);
  const auto prompt = on_host(f.buffer.prompt);
  const auto prompt_length = on_host(f.buffer.prompt_length);
  const oracle::Llama m = oracle_of(f, 0, config);
  int compared = 0;
  for (int b = 0; b < shape.B; ++b)
    for (int g = 0; g < shape.G && compared < bounds.completions; ++g, ++compared) {
      std::vector<int> text;
      const int P = prompt_length(0, b);
      for (int p = 0; p < P; ++p) text.push_back(prompt(0, b, p));
      for (int t = 0; t < length(0, b, g); ++t) text.push_back(token(0, b, g, t));
      const oracle::Matrix lp = oracle::log_probs(m, text);
      for (int t = 0; t < length(0, b, g); ++t)
        EXPECT_NEAR(sampled(0, b, g, t), lp(P + t - 1, token(0, b, g, t)), bounds.log_prob);
    }
}

TEST(Decoding, CachedStepsEqualFullPassesForGroupedQueriesAndOddSizes) {
  // 2e-5 nats: float against double, the bound of every log-probability.
  const Bounds bounds{2e-5, 12};
  decode_equals_forward({.R = 1, .B = 3, .G = 5, .P = 7, .T = 11, .V = 17},
                        odd_config(6, 2, 6, 29, 3), 4.0, bounds);
  decode_equals_forward({.R = 1, .B = 2, .G = 9, .P = 3, .T = 17, .V = 31},
                        odd_config(3, 1, 10, 13, 1), 4.0, bounds);
  decode_equals_forward({.R = 1, .B = 1, .G = 3, .P = 1, .T = 5, .V = 5}, odd_config(5, 5, 2, 9, 2),
                        4.0, bounds);
  decode_equals_forward({.R = 1, .B = 2, .G = 67, .P = 2, .T = 3, .V = 23},
                        odd_config(4, 2, 14, 51, 2), 4.0, bounds);
}

/// One policy gradient of the sampled rollouts: finite, and not zero in any tensor.
void gradient_is_finite(const Shape& shape, TransformerConfig config) {
  config.vocab = shape.V;
  config.max_positions = shape.P + shape.T;
  PolicyFixture<float> f(shape, config, {21}, 1.0);
  f.sample();
  const auto workspace = f.workspace();
  Kokkos::deep_copy(f.buffer.old_log_prob, f.buffer.sampler_log_prob);
  Kokkos::deep_copy(f.buffer.advantage, 1.0f);
  View3<float> weight("motley::test::weight", 1, shape.B, shape.G);
  Kokkos::deep_copy(weight, 1.0f);
  View2<float> gradient("motley::test::gradient", 1, f.layout.net.size);
  View2<double> sums("motley::test::sums", 1, kUpdateSums);
  View1<double> ratio_max("motley::test::ratio_max", 1);
  policy_gradient<float>(Exec(), f.layout.net, f.weights, f.reference, workspace, f.loss, f.buffer,
                         weight, {0, shape.B, 1}, gradient, sums, ratio_max, f.status);
  EXPECT_EQ(on_host(f.status)(0), kStatusClear);
  const auto host = on_host(gradient);
  for (const TensorSpec& t : f.layout.tensors.tensors()) {
    double norm = 0;
    for (std::int64_t i = 0; i < t.size(); ++i) {
      const double x = host(0, t.offset + i);
      norm += x * x;
    }
    EXPECT_TRUE(std::isfinite(norm)) << t.name;
    EXPECT_GT(norm, 0.0) << t.name;
  }
}

TEST(LargeModels, ThirtyMillionParameters) {
  const TransformerConfig config = odd_config(8, 4, 64, 1536, 10);
  const Shape shape{.R = 1, .B = 1, .G = 2, .P = 3, .T = 4, .V = 64};
  TransformerConfig sized = config;
  sized.vocab = shape.V;
  sized.max_positions = shape.P + shape.T;
  EXPECT_GT(make_net_layout(sized, true).net.size, 30'000'000);
  decode_equals_forward(shape, config, 1.0, {2e-5, 1});
  gradient_is_finite(shape, config);
}

TEST(LargeModels, VocabularyOfFiftyThousand) {
  const TransformerConfig config = odd_config(4, 2, 8, 64, 1);
  const Shape shape{.R = 1, .B = 1, .G = 2, .P = 3, .T = 4, .V = 50'000};
  decode_equals_forward(shape, config, 1.0, {2e-5, 2});
  gradient_is_finite(shape, config);
}

}  // namespace
}  // namespace motley::test
