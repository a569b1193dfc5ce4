#include <gtest/gtest.h>

#include "models/entropy_shift.hpp"
#include "tests/models/fixture.hpp"
#include "tests/models/llama_oracle.hpp"
#include "tests/oracle/sampling.hpp"

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

/// The sampler's log-probabilities under its own noisy logits, ln softmax((z + std * n) / T), with
/// n at (seed, 17, step, (attempt * B + b) * G + g, t * V + v). Groups of 40 are wider than a block
/// of the head.
template <class Scalar>
void compare_noisy_sampler(const Shape& shape, std::uint32_t attempt, double tolerance) {
  const TransformerConfig config = small_config(shape.V, shape.P + shape.T);
  const std::vector<std::uint64_t> seeds = {7, 8};
  PolicyFixture<Scalar> f(shape, config, seeds);
  auto sampling = on_host(f.sampling);
  sampling(1).noise_std = 0.7;
  sampling(1).temperature = 1.3;
  Kokkos::deep_copy(f.sampling, sampling);
  const auto workspace =
      make_rollout_workspace<Scalar>(f.layout.net, shape.R, shape.B, shape.G, shape.P, shape.T);
  RolloutKey key{f.sampling, f.seeds, Stream::sample, 3};
  key.attempt = attempt;
  rollout<Scalar>(Exec(), f.layout.net, f.weights, workspace, key, f.buffer.prompt,
                  f.buffer.prompt_length, ConstView2<int>(), rollout_output(f.buffer), f.status);
  const auto sampled = on_host(f.buffer.sampler_log_prob);
  const auto token = on_host(f.buffer.token);
  const auto length = on_host(f.buffer.length);
  const auto prompt = on_host(f.buffer.prompt);
  const auto prompt_length = on_host(f.buffer.prompt_length);
  double largest = 0;
  for (int r = 0; r < shape.R; ++r) {
    const oracle::Llama m = oracle_of(f, r, config);
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) {
        std::vector<int> text;
        const int P = prompt_length(r, b);
        for (int p = 0; p < P; ++p) text.push_back(prompt(r, b, p));
        for (int t = 0; t < length(r, b, g); ++t) text.push_back(token(r, b, g, t));
        const oracle::Matrix lp = oracle::log_probs(m, text);
        const auto item =
            (attempt * unsigned(shape.B) + unsigned(b)) * unsigned(shape.G) + unsigned(g);
        for (int t = 0; t < length(r, b, g); ++t) {
          std::vector<double> z;
          for (int v = 0; v < shape.V; ++v)
            z.push_back(lp(P + t - 1, v) + (r == 1 ? 0.7 * oracle::normal(seeds[1], 17, 3, item,
                                                                          unsigned(t * shape.V + v))
                                                   : 0.0));
          const double want =
              std::log(oracle::softmax(z, r == 1 ? 1.3 : 1.0)[std::size_t(token(r, b, g, t))]);
          EXPECT_NEAR(sampled(r, b, g, t), want, tolerance);
          largest = std::max(largest, std::abs(want - lp(P + t - 1, token(r, b, g, t))));
        }
      }
  }
  EXPECT_GT(largest, 0.5);
}

TEST(Transformer, TheNoisySamplerHasItsOwnLogits) {
  for (const std::uint32_t attempt : {0u, 3u}) {
    compare_noisy_sampler<float>({.R = 2, .B = 3, .G = 5, .P = 4, .T = 6, .V = 11}, attempt, 2e-5);
    compare_noisy_sampler<double>({.R = 2, .B = 2, .G = 40, .P = 3, .T = 4, .V = 9}, attempt, 1e-6);
  }
}

/// Sums of `entropy_shift` of a fixture's two policies, [R,kEntropySums].
template <class Scalar>
auto shift_of(const PolicyFixture<Scalar>& f, const Weights<Scalar>& after) {
  const Shape& s = f.shape;
  const auto workspace =
      make_entropy_shift_workspace<Scalar>(f.layout.net, s.R, s.B, s.G, s.P, s.T);
  const View2<double> sums("motley::test::entropy_sums", s.R, kEntropySums);
  entropy_shift<Scalar>(Exec(), f.layout.net, f.weights, after, workspace, f.loss, f.buffer, sums);
  return on_host(sums);
}

TEST(EntropyShift, MatchesTheOracle) {
  const Shape shape{.R = 2, .B = 3, .G = 37, .P = 4, .T = 6, .V = 13};
  const TransformerConfig config = small_config(shape.V, shape.P + shape.T);
  PolicyFixture<double> f(shape, config, {7, 8}, 3.0);
  auto loss = on_host(f.loss);
  loss(1).inv_temperature = 1 / 0.7;
  Kokkos::deep_copy(f.loss, loss);
  f.sample();
  const auto sums = shift_of(f, f.reference);
  const auto token = on_host(f.buffer.token);
  const auto length = on_host(f.buffer.length);
  const auto prompt = on_host(f.buffer.prompt);
  const auto prompt_length = on_host(f.buffer.prompt_length);
  PolicyFixture<double> other = f;
  other.weights = f.reference;
  for (int r = 0; r < shape.R; ++r) {
    const oracle::Llama before = oracle_of(f, r, config), after = oracle_of(other, r, config);
    double tokens = 0, old_h = 0, new_h = 0, predicted = 0;
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) {
        std::vector<int> text;
        const int P = prompt_length(r, b);
        for (int p = 0; p < P; ++p) text.push_back(prompt(r, b, p));
        for (int t = 0; t < length(r, b, g); ++t) text.push_back(token(r, b, g, t));
        const double temperature = r == 1 ? 0.7 : 1.0;
        const oracle::Matrix x = oracle::log_probs(before, text, temperature);
        const oracle::Matrix y = oracle::log_probs(after, text, temperature);
        for (int t = 0; t < length(r, b, g); ++t) {
          const auto old_row = x.row(P + t - 1).array(), new_row = y.row(P + t - 1).array();
          const auto p = old_row.exp().eval();
          const auto dz = (new_row - old_row).eval();  // up to a constant, which drops out
          tokens += 1;
          old_h -= (p * old_row).sum();
          new_h -= (new_row.exp() * new_row).sum();
          predicted -= (p * old_row * dz).sum() - (p * old_row).sum() * (p * dz).sum();
        }
      }
    const auto got = [&](EntropySum which) { return sums(r, static_cast<int>(which)); };
    EXPECT_EQ(got(EntropySum::tokens), tokens);
    // Sums of several hundred numbers of size 1 in double.
    EXPECT_NEAR(got(EntropySum::before), old_h, 1e-9);
    EXPECT_NEAR(got(EntropySum::after), new_h, 1e-9);
    EXPECT_NEAR(got(EntropySum::predicted), predicted, 1e-9);
    EXPECT_GT(std::abs(new_h - old_h), 1e-3);
  }
}

TEST(EntropyShift, ThePredictionIsRightToFirstOrder) {
  const Shape shape{.R = 1, .B = 4, .G = 3, .P = 4, .T = 6, .V = 13};
  PolicyFixture<double> f(shape, small_config(shape.V, shape.P + shape.T), {7}, 3.0);
  f.sample();
  const auto miss = [&](double step) {
    Weights<double> after = make_weights<double>("moved", 1, f.layout.net, 10000.0);
    auto params = on_host(f.weights.params);
    const auto way = on_host(f.reference.params);
    for (std::size_t i = 0; i < params.extent(1); ++i) params(0, i) += step * way(0, i);
    Kokkos::deep_copy(after.params, params);
    pack_weights(Exec(), f.layout.net, after);
    const auto sums = shift_of(f, after);
    const double change = sums(0, static_cast<int>(EntropySum::after)) -
                          sums(0, static_cast<int>(EntropySum::before));
    EXPECT_NE(change, 0.0);
    return std::abs(change - sums(0, static_cast<int>(EntropySum::predicted))) / std::abs(change);
  };
  // The relative miss is of first order in the step: halving it halves the miss.
  const double large = miss(2e-3), small = miss(1e-3);
  EXPECT_LT(small, 0.05);
  EXPECT_NEAR(large / small, 2.0, 0.1);
}

}  // namespace
}  // namespace motley::test
