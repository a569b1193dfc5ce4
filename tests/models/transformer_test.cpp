#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"
#include "tests/models/llama_oracle.hpp"

namespace motley::test {
namespace {

template <class Scalar>
void compare_with_oracle(const Shape& shape, int kv_heads, bool tied, double tolerance) {
  const TransformerConfig config = small_config(shape.V, shape.P + shape.T, kv_heads, tied);
  PolicyFixture<Scalar> f(shape, config, {7, 8, 9});
  f.sample();
  const auto sampled = on_host(f.buffer.sampler_log_prob);
  const auto entropy = on_host(f.buffer.entropy);
  const auto token = on_host(f.buffer.token);
  const auto length = on_host(f.buffer.length);
  const auto prompt = on_host(f.buffer.prompt);
  const auto prompt_length = on_host(f.buffer.prompt_length);
  for (int r = 0; r < shape.R; ++r) {
    const oracle::Llama m = oracle_of(f, r, config);
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) {
        std::vector<int> text;
        const int P = prompt_length(r, b);
        for (int p = 0; p < P; ++p) text.push_back(prompt(r, b, p));
        for (int t = 0; t < length(r, b, g); ++t) text.push_back(token(r, b, g, t));
        const oracle::Matrix lp = oracle::log_probs(m, text);
        for (int t = 0; t < length(r, b, g); ++t) {
          EXPECT_NEAR(sampled(r, b, g, t), lp(P + t - 1, token(r, b, g, t)), tolerance);
          const double h = -(lp.row(P + t - 1).array().exp() * lp.row(P + t - 1).array()).sum();
          EXPECT_NEAR(entropy(r, b, g, t), h, tolerance);
        }
        for (int t = length(r, b, g); t < shape.T; ++t) {
          EXPECT_EQ(token(r, b, g, t), 0);
          EXPECT_EQ(sampled(r, b, g, t), 0.0f);
        }
      }
  }
}

// Float against double: 2e-5 nats, the bound of STYLE.md; double results are stored as float, so
// their bound is float's rounding of values up to ~10.
TEST(Transformer, LogProbsAndEntropyMatchTheOracle) {
  for (const Shape& shape : {Shape{.R = 2, .B = 3, .G = 4, .P = 5, .T = 7, .V = 13},
                             Shape{.R = 1, .B = 1, .G = 1, .P = 1, .T = 1, .V = 3},
                             Shape{.R = 1, .B = 7, .G = 13, .P = 17, .T = 33, .V = 37},
                             Shape{.R = 3, .B = 1, .G = 50, .P = 2, .T = 16, .V = 16}}) {
    compare_with_oracle<float>(shape, 2, false, 2e-5);
    compare_with_oracle<double>(shape, 2, false, 1e-6);
  }
}

TEST(Transformer, GroupedQueryAndTiedHeadsMatchTheOracle) {
  const Shape shape{.R = 1, .B = 2, .G = 3, .P = 4, .T = 6, .V = 11};
  for (const int kv_heads : {1, 2, 4})
    for (const bool tied : {false, true}) compare_with_oracle<double>(shape, kv_heads, tied, 1e-6);
}

}  // namespace
}  // namespace motley::test
