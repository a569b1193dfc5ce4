/// Gradients of pretraining and of the pair classifier, and the optimiser.

#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "models/adamw.hpp"
#include "models/classifier.hpp"
#include "models/supervised.hpp"
#include "tests/models/fixture.hpp"

namespace motley::test {
namespace {

/// Central differences of `loss(params)` along random directions, h = 1e-4, against `gradient`.
template <class Loss>
void check_directions(const View2<double>& params, const std::vector<double>& gradient,
                      const ParameterLayout& layout, const Loss& loss) {
  const auto base = on_host(params);
  std::mt19937 engine(5);
  std::uniform_real_distribution<double> uniform(-1, 1);
  double norm = 0;
  for (const double g : gradient) norm += g * g;
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 1e-4);
  const double h = 1e-4;
  std::vector<std::vector<double>> directions;
  for (int trial = 0; trial < 3; ++trial) {
    std::vector<double> d(gradient.size(), 0.0);
    double length = 0;
    for (const TensorSpec& t : layout.tensors())
      for (std::int64_t i = 0; i < t.size(); ++i)
        length += std::pow(d[static_cast<std::size_t>(t.offset + i)] = uniform(engine), 2);
    for (double& x : d) x /= std::sqrt(length);
    directions.push_back(d);
  }
  for (const TensorSpec& t : layout.tensors()) {
    std::vector<double> d(gradient.size(), 0.0);
    d[static_cast<std::size_t>(
        t.offset + static_cast<std::int64_t>(engine() % static_cast<unsigned>(t.size())))] = 1.0;
    directions.push_back(d);
  }
  for (const auto& d : directions) {
    double value[2], analytic = 0;
    for (int side = 0; side < 2; ++side) {
      auto moved = Kokkos::create_mirror(params);
      for (std::size_t n = 0; n < d.size(); ++n)
        moved(0, n) = base(0, n) + (side == 0 ? h : -h) * d[n];
      Kokkos::deep_copy(params, moved);
      value[side] = loss();
    }
    for (std::size_t n = 0; n < d.size(); ++n) analytic += gradient[n] * d[n];
    EXPECT_NEAR((value[0] - value[1]) / (2 * h), analytic, 1e-6 * norm);
  }
  Kokkos::deep_copy(params, base);
}

void check_supervised() {
  const int N = 5, S = 9, V = 11;
  PolicyFixture<double> f({.R = 1, .B = 1, .G = 1, .P = 4, .T = 5, .V = V}, small_config(V, S), {3},
                          10.0);
  CorpusBatch batch{View3<int>("motley::test::token", 1, N, S),
                    View2<int>("motley::test::prompt_length", 1, N),
                    View2<int>("motley::test::length", 1, N),
                    View2<int>("motley::test::class", 1, N),
                    {}};
  std::mt19937 engine(2);
  auto token = on_host(batch.token);
  auto prompt_length = on_host(batch.prompt_length);
  auto length = on_host(batch.length);
  for (int n = 0; n < N; ++n) {
    prompt_length(0, n) = 1 + static_cast<int>(engine() % 4);
    length(0, n) = prompt_length(0, n) + 1 + static_cast<int>(engine() % 5);
    for (int s = 0; s < length(0, n); ++s) token(0, n, s) = static_cast<int>(engine() % V);
  }
  Kokkos::deep_copy(batch.token, token);
  Kokkos::deep_copy(batch.prompt_length, prompt_length);
  Kokkos::deep_copy(batch.length, length);
  const auto workspace = make_supervised_workspace<double>(f.layout.net, 1, N, S);
  const View2<double> gradient("motley::test::gradient", 1, f.layout.net.size);
  const View1<double> loss("motley::test::loss", 1);
  const auto evaluate = [&] {
    pack_weights(Exec(), f.layout.net, f.weights);
    supervised_gradient<double>(Exec(), f.layout.net, f.weights, workspace, batch, f.active,
                                gradient, loss);
    return on_host(loss)(0);
  };
  evaluate();
  const auto g = on_host(gradient);
  check_directions(f.weights.params, {g.data(), g.data() + g.span()}, f.layout.tensors, evaluate);
}
TEST(Supervised, GradientMatchesFiniteDifferences) {
  check_supervised();
}

struct PairCase {
  static constexpr int kVocab = 9, kT = 5, kGroups = 3, kG = 4;
  PairNetLayout layout;
  PairWeights<double> weights;
  PairWorkspace<double> train, score;
  View4<int> token{"motley::test::token", 1, kGroups, kG, kT};
  View3<int> length{"motley::test::length", 1, kGroups, kG};
  View4<float> label{"motley::test::label", 1, kGroups, kG, kG};
  View2<double> gradient;
  View1<double> loss{"motley::test::loss", 1};

  explicit PairCase(ClassifierForm form) {
    ClassifierConfig c;
    c.form = form;
    c.layers = 2;
    c.width = 16;
    c.heads = 2;
    c.ff = 24;
    layout = make_pair_net_layout(c, kVocab, kT);
    weights = make_pair_weights<double>(1, layout.net);
    init_pair_weights<double>(
        Exec(), layout, ConstView1<std::uint64_t>(device(std::vector<std::uint64_t>{4})), weights);
    auto params = on_host(weights.encoder.params);
    for (const TensorSpec& t : layout.tensors.tensors())
      if (t.matrix())
        for (std::int64_t i = 0; i < t.size(); ++i) params(0, t.offset + i) *= 6.0;
    Kokkos::deep_copy(weights.encoder.params, params);
    pack_pair_weights(Exec(), layout.net, weights);
    train = make_pair_workspace<double>(layout.net, 1, kGroups, kG, true);
    score = make_pair_workspace<double>(layout.net, 1, kGroups, kG, false);
    gradient = View2<double>("motley::test::gradient", 1, layout.net.size);
    std::mt19937 engine(9);
    auto t = on_host(token);
    auto l = on_host(length);
    auto y = on_host(label);
    for (int b = 0; b < kGroups; ++b)
      for (int i = 0; i < kG; ++i) {
        l(0, b, i) = 1 + static_cast<int>(engine() % kT);
        for (int p = 0; p < l(0, b, i); ++p)
          t(0, b, i, p) = 1 + static_cast<int>(engine() % (kVocab - 1));
        for (int j = i + 1; j < kG; ++j) y(0, b, i, j) = static_cast<float>(engine() % 2);
      }
    // Two equal completions in the last group.
    l(0, 2, 3) = l(0, 2, 1);
    for (int p = 0; p < kT; ++p) t(0, 2, 3, p) = t(0, 2, 1, p);
    Kokkos::deep_copy(token, t);
    Kokkos::deep_copy(length, l);
    Kokkos::deep_copy(label, y);
  }

  double evaluate() {
    pack_pair_weights(Exec(), layout.net, weights);
    pair_gradient<double>(Exec(), layout.net, weights, train, token, length, label, gradient, loss);
    return on_host(loss)(0);
  }
};

void check_pairs(ClassifierForm form) {
  PairCase c(form);
  c.evaluate();
  const auto g = on_host(c.gradient);
  check_directions(c.weights.encoder.params, {g.data(), g.data() + g.span()}, c.layout.tensors,
                   [&] { return c.evaluate(); });
}
TEST(PairClassifier, BiEncoderGradientMatchesFiniteDifferences) {
  check_pairs(ClassifierForm::bi_encoder);
}
TEST(PairClassifier, CrossEncoderGradientMatchesFiniteDifferences) {
  check_pairs(ClassifierForm::cross_encoder);
}

/// The scores give back the training loss, pairs of equal texts are not asked, and the matrix is
/// symmetric with diagonal 1.
void check_scores(ClassifierForm form) {
  PairCase c(form);
  const double want = c.evaluate();
  const View4<float> score("motley::test::score", 1, PairCase::kGroups, PairCase::kG, PairCase::kG);
  const View2<int> calls("motley::test::calls", 1, PairCase::kGroups);
  const View1<StatusWord> status("motley::test::status", 1);
  Kokkos::deep_copy(status, kStatusClear);
  Kokkos::deep_copy(score, NAN);
  pair_scores<double>(Exec(), c.layout.net, c.weights, c.score, Symmetrize::none,
                      device(std::vector<PartitionParams>(1)), c.token, c.length, score, calls,
                      status);
  const auto s = on_host(score);
  const auto y = on_host(c.label);
  const auto n = on_host(calls);
  EXPECT_EQ(n(0, 0), 6);
  EXPECT_EQ(n(0, 2), 3);  // completions 1 and 3 are equal: three distinct texts
  EXPECT_EQ(s(0, 2, 1, 3), 1.0f);
  EXPECT_EQ(s(0, 2, 0, 1), s(0, 2, 0, 3));
  double bce = 0;
  for (int b = 0; b < PairCase::kGroups; ++b)
    for (int i = 0; i < PairCase::kG; ++i) {
      EXPECT_EQ(s(0, b, i, i), 1.0f);
      for (int j = i + 1; j < PairCase::kG; ++j) {
        EXPECT_EQ(s(0, b, i, j), s(0, b, j, i));
        if (b < 2)
          bce -= y(0, b, i, j) > 0.5f ? std::log(double(s(0, b, i, j)))
                                      : std::log1p(-double(s(0, b, i, j)));
      }
    }
  // Groups 0 and 1 against the loss of a batch of these two alone.
  const View4<int> token("motley::test::token2", 1, 2, PairCase::kG, PairCase::kT);
  const View3<int> length("motley::test::length2", 1, 2, PairCase::kG);
  const View4<float> label("motley::test::label2", 1, 2, PairCase::kG, PairCase::kG);
  Kokkos::deep_copy(
      token, Kokkos::subview(c.token, Kokkos::ALL, std::pair(0, 2), Kokkos::ALL, Kokkos::ALL));
  Kokkos::deep_copy(length, Kokkos::subview(c.length, Kokkos::ALL, std::pair(0, 2), Kokkos::ALL));
  Kokkos::deep_copy(
      label, Kokkos::subview(c.label, Kokkos::ALL, std::pair(0, 2), Kokkos::ALL, Kokkos::ALL));
  pair_gradient<double>(Exec(), c.layout.net, c.weights, c.train, token, length, label, c.gradient,
                        c.loss);
  EXPECT_NEAR(bce / 12, on_host(c.loss)(0), 1e-5);
  EXPECT_GT(want, 0.0);
}
TEST(PairClassifier, BiEncoderScoresGiveTheTrainingLoss) {
  check_scores(ClassifierForm::bi_encoder);
}
TEST(PairClassifier, CrossEncoderScoresGiveTheTrainingLoss) {
  check_scores(ClassifierForm::cross_encoder);
}

TEST(PairQuality, HandComputedCase) {
  const PairQuality q = pair_quality({0.9f, 0.8f, 0.3f, 0.6f, 0.2f, 0.3f}, {1, 1, 1, 0, 0, 0}, 0.5);
  EXPECT_DOUBLE_EQ(q.accuracy, 4.0 / 6);
  EXPECT_DOUBLE_EQ(q.precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(q.recall, 2.0 / 3);
  EXPECT_DOUBLE_EQ(q.f1, 2.0 / 3);
  EXPECT_DOUBLE_EQ(q.false_merge, 1.0 / 3);
  EXPECT_DOUBLE_EQ(q.false_split, 1.0 / 3);
  // Of 9 pairs (positive, negative): .9 and .8 beat all; .3 loses to .6, ties .3, beats .2.
  EXPECT_DOUBLE_EQ(q.auroc, 7.5 / 9);
  // Bins: .9: .1; .8: .2; .3, .3: |.6 - 1|; .6: .6; .2: .2, over 6.
  EXPECT_NEAR(q.ece, (0.1 + 0.2 + 0.4 + 0.6 + 0.2) / 6, 1e-6);
}

TEST(AdamW, MatchesAPlainLoop) {
  const int R = 2, N = 40;
  const OptimConfig c{
      .lr = 0.1, .weight_decay = 0.02, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .grad_clip = 1.5};
  const AdamState<double> state = make_adam_state<double>("test", R, N);
  const View2<double> params("motley::test::params", R, N),
      gradient("motley::test::gradient", R, N);
  const View1<double> norm("motley::test::norm", R);
  const View1<StatusWord> status("motley::test::status", R);
  Kokkos::deep_copy(status, kStatusClear);
  std::mt19937 engine(1);
  std::normal_distribution<double> normal;
  std::vector<double> p(N, 0.5), m(N, 0.0), v(N, 0.0);
  Kokkos::deep_copy(params, 0.5);
  for (int step = 1; step <= 4; ++step) {
    auto g = on_host(gradient);
    double square = 0;
    for (int n = 0; n < N; ++n) {
      g(0, n) = g(1, n) = (step == 2 ? 0.01 : 1.0) * normal(engine);
      square += g(0, n) * g(0, n);
    }
    Kokkos::deep_copy(gradient, g);
    // Replica 1 sits out.
    adamw_step<double>(Exec(), device(std::vector<OptimConfig>{c, c}),
                       device(std::vector<double>{0.1, 0.1}), device(std::vector<int>{1, 0}),
                       gradient, state, params, norm, status);
    EXPECT_NEAR(on_host(norm)(0), std::sqrt(square), 1e-12);
    const double scale = std::min(1.0, 1.5 / std::sqrt(square));
    const auto got = on_host(params);
    for (int n = 0; n < N; ++n) {
      const double x = g(0, n) * scale;
      m[n] = 0.8 * m[n] + 0.2 * x;
      v[n] = 0.9 * v[n] + 0.1 * x * x;
      p[n] -= 0.1 * (m[n] / (1 - std::pow(0.8, step)) /
                         (std::sqrt(v[n] / (1 - std::pow(0.9, step))) + 1e-6) +
                     0.02 * p[n]);
      EXPECT_NEAR(got(0, n), p[n], 1e-12);
      EXPECT_EQ(got(1, n), 0.5);
    }
  }
}

TEST(AdamW, ANonFiniteGradientChangesNothingAndIsReported) {
  const AdamState<float> state = make_adam_state<float>("test", 1, 32);
  const View2<float> params("motley::test::params", 1, 32),
      gradient("motley::test::gradient", 1, 32);
  const View1<double> norm("motley::test::norm", 1);
  const View1<StatusWord> status("motley::test::status", 1);
  Kokkos::deep_copy(status, kStatusClear);
  Kokkos::deep_copy(gradient, NAN);
  adamw_step<float>(Exec(), device(std::vector<OptimConfig>(1)), device(std::vector<double>{0.1}),
                    device(std::vector<int>{1}), gradient, state, params, norm, status);
  EXPECT_EQ(on_host(params)(0, 3), 0.0f);
  EXPECT_NE(on_host(status)(0), kStatusClear);
}

}  // namespace
}  // namespace motley::test
