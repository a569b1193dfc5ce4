/// The reward model's scores against a plain transformer, its loss and gradient by differences.

#include "models/reward_model.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"
#include "tests/oracle/transformer.hpp"

namespace motley::test {
namespace {

constexpr int kV = 13, kS = 7, kN = 10;

RewardModelConfig small() {
  RewardModelConfig c;
  c.layers = 2;
  c.width = 24;
  return c;
}

struct RewardFixture {
  RewardNetLayout layout = make_reward_net_layout(small(), kV, kS);
  Weights<double> weights = make_reward_weights<double>(2, layout.net);
  RewardTexts texts{View3<int>("motley::test::token", 2, kN, kS),
                    View2<int>("motley::test::length", 2, kN)};
  View2<float> label{"motley::test::label", 2, kN / 2};
  View1<std::uint64_t> seeds = device(std::vector<std::uint64_t>{3, 9});

  RewardFixture() {
    init_reward_weights<double>(Exec(), layout, seeds, weights);
    auto params = on_host(weights.params);
    for (const TensorSpec& t : layout.tensors.tensors())
      if (t.matrix())
        for (int r = 0; r < 2; ++r)
          for (std::int64_t i = 0; i < t.size(); ++i) params(r, t.offset + i) *= 10;
    Kokkos::deep_copy(weights.params, params);
    pack_weights(Exec(), layout.net.encoder, weights);
    const auto token = on_host(texts.token);
    const auto length = on_host(texts.length);
    const auto y = on_host(label);
    std::mt19937 engine(2);
    for (int r = 0; r < 2; ++r)
      for (int n = 0; n < kN; ++n) {
        length(r, n) = n == 3 ? 1 : 1 + static_cast<int>(engine() % kS);
        for (int s = 0; s < length(r, n); ++s) token(r, n, s) = static_cast<int>(engine() % kV);
        y(r, n / 2) = static_cast<float>(engine() % 2);
      }
    Kokkos::deep_copy(texts.token, token);
    Kokkos::deep_copy(texts.length, length);
    Kokkos::deep_copy(label, y);
  }

  /// s of one text by plain matrices.
  double plain_score(int r, int n) const {
    const auto params = on_host(weights.params);
    const Net& net = layout.net.encoder;
    const auto matrix = [&](std::int64_t at, int rows, int cols) {
      oracle::Matrix m(rows, cols);
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < cols; ++j) m(i, j) = params(r, at + std::int64_t{i} * cols + j);
      return m;
    };
    const auto vector = [&](std::int64_t at) {
      return oracle::Vector(matrix(at, net.width, 1).col(0));
    };
    oracle::Llama model{net.heads,
                        net.kv_heads,
                        net.norm_eps,
                        10000.0,
                        false,
                        matrix(net.embed, net.vocab, net.width),
                        {},
                        vector(net.norm),
                        {}};
    for (int l = 0; l < net.layers; ++l) {
      const std::int64_t s = l * net.layer_stride;
      const NetLayer& x = net.layer0;
      model.layers.push_back(
          {vector(x.norm1 + s), vector(x.norm2 + s), matrix(x.q + s, net.width, net.width),
           matrix(x.k + s, net.kv_width(), net.width), matrix(x.v + s, net.kv_width(), net.width),
           matrix(x.o + s, net.width, net.width), matrix(x.gate + s, net.ff, net.width),
           matrix(x.up + s, net.ff, net.width), matrix(x.down + s, net.width, net.ff)});
    }
    const auto token = on_host(texts.token);
    const auto length = on_host(texts.length);
    std::vector<int> ids(&token(r, n, 0), &token(r, n, 0) + length(r, n));
    const oracle::Matrix states = oracle::hidden_states(model, ids);
    double score = 0;
    for (int e = 0; e < net.width; ++e)
      score += params(r, layout.net.readout + e) * states.col(e).mean();
    return score;
  }
};

TEST(RewardModel, ScoresAreThoseOfAPlainTransformer) {
  const RewardFixture f;
  const auto workspace = make_reward_model_workspace<double>(f.layout.net, 2, kN, kS, false);
  const View2<double> score("motley::test::score", 2, kN);
  reward_scores<double>(Exec(), f.layout.net, f.weights, workspace, f.texts, score);
  const auto host = on_host(score);
  for (int r = 0; r < 2; ++r)
    for (int n = 0; n < kN; ++n)
      EXPECT_NEAR(host(r, n), f.plain_score(r, n), 1e-9 * (1 + std::abs(host(r, n))));
  EXPECT_GT(std::abs(host(0, 0) - host(0, 1)), 1e-3);
}

TEST(RewardModel, LossAndGradientAreBradleyTerry) {
  const RewardFixture f;
  const int first = 3, pairs = 4;  // pairs 3, 4, 0, 1: round the end
  const auto workspace = make_reward_model_workspace<double>(f.layout.net, 2, 2 * pairs, kS, true);
  const View2<double> gradient("motley::test::gradient", 2, f.layout.net.size);
  const View1<double> loss("motley::test::loss", 2);
  Kokkos::deep_copy(gradient, 1e300);  // old contents do not matter
  const auto compute = [&]() {
    pack_weights(Exec(), f.layout.net.encoder, f.weights);
    preference_gradient<double>(Exec(), f.layout.net, f.weights, workspace, f.texts, f.label, first,
                                pairs, gradient, loss);
    return on_host(loss);
  };
  const auto value = compute();
  const auto analytic = on_host(gradient);
  const auto y = on_host(f.label);
  for (int r = 0; r < 2; ++r) {
    double want = 0;
    for (const int k : {3, 4, 0, 1}) {
      const double d = f.plain_score(r, 2 * k) - f.plain_score(r, 2 * k + 1);
      want -= std::log(1 / (1 + std::exp(y(r, k) > 0 ? -d : d))) / pairs;
    }
    EXPECT_NEAR(value(r), want, 1e-9);
  }
  // Central differences in both replicas at once: nothing is summed over them.
  const auto base = on_host(f.weights.params);
  std::mt19937 engine(5);
  double norm = 0;
  for (std::int64_t n = 0; n < f.layout.net.size; ++n) norm += analytic(0, n) * analytic(0, n);
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 1e-4);
  int differs = 0;
  for (const TensorSpec& t : f.layout.tensors.tensors())
    for (int trial = 0; trial < 2; ++trial) {
      const auto n =
          t.offset + static_cast<std::int64_t>(engine() % static_cast<unsigned>(t.size()));
      double side[2][2];
      for (int s = 0; s < 2; ++s) {
        auto moved = Kokkos::create_mirror(f.weights.params);
        Kokkos::deep_copy(moved, base);
        for (int r = 0; r < 2; ++r) moved(r, n) += s == 0 ? 1e-4 : -1e-4;
        Kokkos::deep_copy(f.weights.params, moved);
        const auto at = compute();
        for (int r = 0; r < 2; ++r) side[s][r] = at(r);
      }
      for (int r = 0; r < 2; ++r) {
        EXPECT_NEAR((side[0][r] - side[1][r]) / 2e-4, analytic(r, n), 1e-6 * norm + 1e-8) << t.name;
        differs += (side[0][r] - side[1][r]) / 2e-4 != analytic(r, n) ? 1 : 0;
      }
    }
  EXPECT_GT(differs, 0);  // not one number compared with itself
}

TEST(RewardModel, QualityIsTheStandardisedScoreOrItsSigmoid) {
  const View2<float> score("motley::test::score", 2, 6);
  const auto s = on_host(score);
  for (int r = 0; r < 2; ++r)
    for (int n = 0; n < 6; ++n) s(r, n) = static_cast<float>(n - 2.5 * r);
  Kokkos::deep_copy(score, s);
  const auto params =
      device(std::vector<RewardParams>{{RewardSquash::none, RewardFormat::checked, 2.0, 0.5},
                                       {RewardSquash::sigmoid, RewardFormat::trusted, -1.0, 2.0}});
  const View3<float> quality("motley::test::quality", 2, 2, 3);
  const View1<StatusWord> status("motley::test::status", 2);
  Kokkos::deep_copy(status, kStatusClear);
  const View3<int> finish("motley::test::finish", 2, 2, 3);  // all ended
  reward_quality(Exec(), params, score, finish, quality, status);
  const auto q = on_host(quality);
  int negative = 0;
  for (int n = 0; n < 6; ++n) {
    EXPECT_NEAR(q(0, n / 3, n % 3), (n - 2.0) / 0.5, 1e-6);
    EXPECT_NEAR(q(1, n / 3, n % 3), 1 / (1 + std::exp(-((n - 2.5) + 1.0) / 2.0)), 1e-6);
    negative += q(0, n / 3, n % 3) < 0 ? 1 : 0;
  }
  EXPECT_EQ(negative, 2);
  // Malformed texts: the fixed score where the format is checked, the model's where it is trusted.
  const auto ends = on_host(finish);
  for (int r = 0; r < 2; ++r) {
    ends(r, 0, 1) = static_cast<int>(Finish::invalid);
    ends(r, 1, 2) = static_cast<int>(Finish::length);
  }
  Kokkos::deep_copy(finish, ends);
  reward_quality(Exec(), params, score, finish, quality, status);
  const auto checked = on_host(quality);
  for (int n = 0; n < 6; ++n) {
    EXPECT_EQ(checked(0, n / 3, n % 3), n == 1 || n == 5 ? -4.0f : q(0, n / 3, n % 3));
    EXPECT_EQ(checked(1, n / 3, n % 3), q(1, n / 3, n % 3));
  }
  s(1, 4) = std::nanf("");
  Kokkos::deep_copy(score, s);
  reward_quality(Exec(), params, score, finish, quality, status);
  EXPECT_EQ(on_host(status)(0), kStatusClear);
  EXPECT_EQ(describe_status(on_host(status)(1)), "stage score, prompt 1, completion 1");
}

TEST(RewardModel, TextsArePromptAndCompletion) {
  const int B = 2, G = 2, P = 3, T = 4, S = 8;
  View3<int> prompt("motley::test::prompt", 1, B, P), length("motley::test::length", 1, B, G);
  View2<int> prompt_length("motley::test::prompt_length", 1, B);
  View4<int> token("motley::test::token", 1, B, G, T);
  const RewardTexts texts{View3<int>("motley::test::texts", 1, B * G, S),
                          View2<int>("motley::test::text_length", 1, B * G)};
  Kokkos::deep_copy(texts.token, 77);
  Kokkos::deep_copy(prompt, 5);
  Kokkos::deep_copy(token, 6);
  const auto p = on_host(prompt_length);
  const auto l = on_host(length);
  p(0, 0) = 2;
  p(0, 1) = 3;
  for (int b = 0; b < B; ++b)
    for (int g = 0; g < G; ++g) l(0, b, g) = 1 + 2 * b + g;
  Kokkos::deep_copy(prompt_length, p);
  Kokkos::deep_copy(length, l);
  reward_texts(Exec(), prompt, prompt_length, token, length, texts);
  const auto t = on_host(texts.token);
  const auto n = on_host(texts.length);
  for (int b = 0; b < B; ++b)
    for (int g = 0; g < G; ++g) {
      const int i = b * G + g;
      ASSERT_EQ(n(0, i), p(0, b) + l(0, b, g));
      for (int s = 0; s < S; ++s) EXPECT_EQ(t(0, i, s), s < p(0, b) ? 5 : (s < n(0, i) ? 6 : kPad));
    }
}

}  // namespace
}  // namespace motley::test
