/// model.precision = bf16: the same contracts as in float, and close to it.

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"

namespace motley::test {
namespace {

TransformerConfig config_of(const Shape& s, Precision precision, bool odd) {
  TransformerConfig c = small_config(s.V, s.P + s.T);
  c.precision = precision;
  if (odd) {  // no multiple of 16, of 2 neither
    c.width = 42;
    c.heads = 3;
    c.kv_heads = 1;
    c.ff = 101;
  }
  return c;
}

TEST(Precision, SamplerLogProbEqualsTheTrainersBitForBit) {
  for (const Shape& shape : {Shape{.R = 2, .B = 5, .G = 3, .P = 6, .T = 9, .V = 13},
                             Shape{.R = 1, .B = 2, .G = 37, .P = 4, .T = 11, .V = 19}})
    for (const bool odd : {false, true}) {
      std::vector<std::uint64_t> seeds = {7, 8};
      seeds.resize(static_cast<std::size_t>(shape.R));
      PolicyFixture<float> f(shape, config_of(shape, Precision::bf16, odd), seeds);
      f.sample();
      score_tokens<float>(Exec(), f.layout.net, f.weights, f.workspace(), f.loss, f.buffer,
                          f.active, f.buffer.old_log_prob);
      const auto sampled = on_host(f.buffer.sampler_log_prob);
      const auto scored = on_host(f.buffer.old_log_prob);
      ASSERT_EQ(0, std::memcmp(sampled.data(), scored.data(), sampled.span() * sizeof(float)))
          << odd;
    }
}

/// Log-probabilities of the same completions, and the gradient of their loss.
struct Pass {
  std::vector<double> log_prob, gradient;
};
Pass pass_of(PolicyFixture<float>& f, const RolloutBuffer& completions) {
  const Shape& s = f.shape;
  RolloutBuffer& b = f.buffer;
  Kokkos::deep_copy(b.token, completions.token);
  Kokkos::deep_copy(b.length, completions.length);
  Kokkos::deep_copy(b.finish, completions.finish);
  Kokkos::deep_copy(b.old_log_prob, completions.sampler_log_prob);
  auto advantage = on_host(b.advantage);
  for (int r = 0; r < s.R; ++r)
    for (int i = 0; i < s.B; ++i)
      for (int g = 0; g < s.G; ++g) advantage(r, i, g) = g % 2 == 0 ? 0.9f : -0.7f;
  Kokkos::deep_copy(b.advantage, advantage);
  const auto workspace = f.workspace();
  score_tokens<float>(Exec(), f.layout.net, f.weights, workspace, f.loss, b, f.active,
                      b.sampler_log_prob);
  View3<float> weight("motley::test::weight", s.R, s.B, s.G);
  Kokkos::deep_copy(weight, 0.01f);
  View2<float> gradient("motley::test::gradient", s.R, f.layout.net.size);
  View2<double> sums("motley::test::sums", s.R, kUpdateSums);
  View1<double> ratio_max("motley::test::ratio_max", s.R);
  policy_gradient<float>(Exec(), f.layout.net, f.weights, f.reference, workspace, f.loss, b, weight,
                         {0, s.B, 1}, gradient, sums, ratio_max, f.status);
  Pass out;
  const auto log_prob = on_host(b.sampler_log_prob);
  const auto length = on_host(b.length);
  for (int r = 0; r < s.R; ++r)
    for (int i = 0; i < s.B; ++i)
      for (int g = 0; g < s.G; ++g)
        for (int t = 0; t < length(r, i, g); ++t)
          out.log_prob.push_back(double(log_prob(r, i, g, t)));
  const auto host = on_host(gradient);
  for (std::size_t i = 0; i < host.span(); ++i) out.gradient.push_back(double(host.data()[i]));
  return out;
}

/// A number of bfloat16 is off by 2^-9 of itself at most, by 1/3 of that on average.
TEST(Precision, LogProbsAndGradientAreNearThoseInFloat) {
  const Shape shape{.R = 1, .B = 6, .G = 4, .P = 5, .T = 12, .V = 17};
  for (const bool odd : {false, true}) {
    PolicyFixture<float> exact(shape, config_of(shape, Precision::fp32, odd), {9});
    PolicyFixture<float> rounded(shape, config_of(shape, Precision::bf16, odd), {9});
    PolicyFixture<float> sampled(shape, config_of(shape, Precision::fp32, odd), {9});
    sampled.sample();
    const Pass a = pass_of(exact, sampled.buffer), b = pass_of(rounded, sampled.buffer);
    ASSERT_EQ(a.log_prob.size(), b.log_prob.size());
    ASSERT_GT(a.log_prob.size(), 100u);
    double off = 0;
    for (std::size_t i = 0; i < a.log_prob.size(); ++i)
      off += std::abs(a.log_prob[i] - b.log_prob[i]) / static_cast<double>(a.log_prob.size());
    EXPECT_GT(off, 1e-5) << odd;
    EXPECT_LT(off, 1e-2) << odd;
    double aa = 0, bb = 0, ab = 0;
    for (std::size_t i = 0; i < a.gradient.size(); ++i) {
      aa += a.gradient[i] * a.gradient[i];
      bb += b.gradient[i] * b.gradient[i];
      ab += a.gradient[i] * b.gradient[i];
    }
    EXPECT_GT(ab / std::sqrt(aa * bb), 0.9995) << odd;
    EXPECT_LT(ab / std::sqrt(aa * bb), 0.99999999) << odd;
    EXPECT_NEAR(std::sqrt(bb / aa), 1.0, 0.01) << odd;
  }
}

}  // namespace
}  // namespace motley::test
