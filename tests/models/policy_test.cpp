#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"

namespace motley::test {
namespace {

const Shape kShape{.R = 2, .B = 5, .G = 3, .P = 6, .T = 9, .V = 13};

TEST(Rollout, SamplerLogProbEqualsTheTrainersBitForBit) {
  // 37 completions per prompt also split a group over several tiles.
  for (const Shape& shape : {kShape, Shape{.R = 1, .B = 2, .G = 37, .P = 4, .T = 11, .V = 19}}) {
    PolicyFixture<float> f(shape, small_config(shape.V, shape.P + shape.T), {7, 8}, 6.0);
    auto sampling = on_host(f.sampling);
    auto loss = on_host(f.loss);
    for (int r = 0; r < shape.R; ++r) {
      sampling(r).temperature = r == 0 ? 1.0 : 0.7;
      loss(r).inv_temperature = inverse_temperature(sampling(r));
    }
    Kokkos::deep_copy(f.sampling, sampling);
    Kokkos::deep_copy(f.loss, loss);
    f.sample();
    const auto workspace = f.workspace();
    score_tokens<float>(Exec(), f.layout.net, f.weights, workspace, f.loss, f.buffer, f.active,
                        f.buffer.old_log_prob);
    const auto sampled = on_host(f.buffer.sampler_log_prob);
    const auto scored = on_host(f.buffer.old_log_prob);
    const auto length = on_host(f.buffer.length);
    ASSERT_EQ(0, std::memcmp(sampled.data(), scored.data(), sampled.span() * sizeof(float)));
    int counted = 0;
    for (int r = 0; r < shape.R; ++r)
      for (int b = 0; b < shape.B; ++b)
        for (int g = 0; g < shape.G; ++g)
          for (int t = 0; t < length(r, b, g); ++t, ++counted) EXPECT_LT(sampled(r, b, g, t), 0.0f);
    EXPECT_GT(counted, shape.R * shape.B * shape.G);
  }
}

TEST(Rollout, ReplicaAloneEqualsReplicaInABatch) {
  const TransformerConfig config = small_config(kShape.V, kShape.P + kShape.T);
  PolicyFixture<float> both(kShape, config, {7, 8});
  both.sample();
  Shape one = kShape;
  one.R = 1;
  PolicyFixture<float> alone(one, config, {8});
  alone.sample();
  const auto a = on_host(alone.buffer.token);
  const auto b = on_host(both.buffer.token);
  EXPECT_EQ(0, std::memcmp(a.data(), &b(1, 0, 0, 0), a.span() * sizeof(int)));
  EXPECT_NE(0, std::memcmp(a.data(), &b(0, 0, 0, 0), a.span() * sizeof(int)));
}

TEST(Rollout, ForcedTokensOpenEveryCompletion) {
  PolicyFixture<float> f(kShape, small_config(kShape.V, kShape.P + kShape.T), {1, 2});
  View2<int> forced("motley::test::forced", kShape.B, 2);
  auto host = Kokkos::create_mirror(forced);
  for (int b = 0; b < kShape.B; ++b) {
    host(b, 0) = 5;
    host(b, 1) = b == 0 ? 6 : -1;
  }
  Kokkos::deep_copy(forced, host);
  const auto workspace =
      make_rollout_workspace<float>(f.layout.net, kShape.R, kShape.B, kShape.G, kShape.P, kShape.T);
  rollout<float>(Exec(), f.layout.net, f.weights, workspace, {f.sampling, f.seeds, Stream::gate, 0},
                 f.buffer.prompt, f.buffer.prompt_length, forced, rollout_output(f.buffer),
                 f.status);
  const auto token = on_host(f.buffer.token);
  for (int r = 0; r < kShape.R; ++r)
    for (int g = 0; g < kShape.G; ++g) {
      EXPECT_EQ(token(r, 0, g, 1), 6);
      for (int b = 0; b < kShape.B; ++b) EXPECT_EQ(token(r, b, g, 0), 5);
    }
}

TEST(Rollout, NonFiniteWeightsAreReportedWithTheirAddress) {
  PolicyFixture<float> f(kShape, small_config(kShape.V, kShape.P + kShape.T), {1, 2});
  auto host = on_host(f.weights.params);
  host(1, f.layout.net.norm) = std::nanf("");
  Kokkos::deep_copy(f.weights.params, host);
  f.sample();
  const auto status = on_host(f.status);
  EXPECT_EQ(status(0), kStatusClear);
  EXPECT_EQ(describe_status(status(1)), "stage rollout, prompt 0, completion 0, position 0");
}

/// A second generation batch of some prompts: draws of its own, and not a bit of the others
/// changes.
void sample_some_slots() {
  const Shape shape{.R = 3, .B = 9, .G = 7, .P = 6, .T = 9, .V = 13};
  PolicyFixture<float> f(shape, small_config(shape.V, shape.P + shape.T), {7, 8, 7});
  f.sample();
  const auto first = on_host(f.buffer.token);
  const auto first_log_prob = on_host(f.buffer.sampler_log_prob);
  const auto workspace =
      make_rollout_workspace<float>(f.layout.net, shape.R, shape.B, shape.G, shape.P, shape.T);
  const auto again = [&](const std::vector<std::vector<int>>& lists) {
    View2<int> slots("motley::test::slots", shape.R, shape.B);
    View1<int> num_slots("motley::test::num_slots", shape.R);
    auto list = on_host(slots);
    auto count = on_host(num_slots);
    for (int r = 0; r < shape.R; ++r) {
      count(r) = static_cast<int>(lists[r].size());
      for (int i = 0; i < count(r); ++i) list(r, i) = lists[r][i];
    }
    Kokkos::deep_copy(slots, list);
    Kokkos::deep_copy(num_slots, count);
    RolloutKey key{f.sampling, f.seeds, Stream::resample_token, 3};
    key.attempt = 2;
    key.slots = slots;
    key.num_slots = num_slots;
    rollout<float>(Exec(), f.layout.net, f.weights, workspace, key, f.buffer.prompt,
                   f.buffer.prompt_length, ConstView2<int>(), rollout_output(f.buffer), f.status);
    return on_host(f.buffer.token);
  };
  const auto second = again({{0, 3, 4, 8}, {}, {0, 1, 2, 3, 4, 5, 6, 7, 8}});
  const auto log_prob = on_host(f.buffer.sampler_log_prob);
  const std::size_t row = static_cast<std::size_t>(shape.G * shape.T);
  for (int r = 0; r < shape.R; ++r)
    for (int b = 0; b < shape.B; ++b) {
      const bool redrawn = r == 2 || (r == 0 && (b == 0 || b == 3 || b == 4 || b == 8));
      const int same = std::memcmp(&first(r, b, 0, 0), &second(r, b, 0, 0), row * sizeof(int));
      const int same_log_prob =
          std::memcmp(&first_log_prob(r, b, 0, 0), &log_prob(r, b, 0, 0), row * sizeof(float));
      EXPECT_EQ(same == 0, !redrawn) << r << " " << b;
      EXPECT_EQ(same_log_prob == 0, !redrawn) << r << " " << b;
      // Replicas 0 and 2 are the same training: a slot's completions do not depend on the others.
      if (r == 0 && redrawn) {
        EXPECT_EQ(0, std::memcmp(&second(0, b, 0, 0), &second(2, b, 0, 0), row * sizeof(int)));
        EXPECT_EQ(0,
                  std::memcmp(&log_prob(0, b, 0, 0), &log_prob(2, b, 0, 0), row * sizeof(float)));
      }
    }
  // What a later batch samples is scored to the same bits by the trainer.
  View4<float> scored("motley::test::scored", shape.R, shape.B, shape.G, shape.T);
  score_tokens<float>(Exec(), f.layout.net, f.weights, f.workspace(), f.loss, f.buffer, f.active,
                      scored);
  const auto host = on_host(scored);
  EXPECT_EQ(0, std::memcmp(host.data(), log_prob.data(), host.span() * sizeof(float)));
}

TEST(Rollout, LaterBatchesSampleTheRefusedSlotsAlone) {
  sample_some_slots();
}

TEST(Rollout, NoiseOfOneReplicaLeavesTheOthersAlone) {
  const TransformerConfig config = small_config(kShape.V, kShape.P + kShape.T);
  PolicyFixture<float> plain(kShape, config, {7, 8}), noisy(kShape, config, {7, 8});
  auto sampling = on_host(noisy.sampling);
  sampling(1).noise_std = 0.3;
  Kokkos::deep_copy(noisy.sampling, sampling);
  plain.sample();
  noisy.sample();
  const auto a = on_host(plain.buffer.sampler_log_prob);
  const auto b = on_host(noisy.buffer.sampler_log_prob);
  const std::size_t bytes = a.span() / 2 * sizeof(float);
  EXPECT_EQ(0, std::memcmp(&a(0, 0, 0, 0), &b(0, 0, 0, 0), bytes));
  EXPECT_NE(0, std::memcmp(&a(1, 0, 0, 0), &b(1, 0, 0, 0), bytes));
}

/// Loss of the whole pipeline as a function of the parameters, and its gradient.
struct Objective {
  PolicyFixture<double>& f;
  PolicyWorkspace<double> workspace;
  View3<double> weight;
  View2<double> gradient, sums;
  View1<double> ratio_max;
  int micro_batches = 1;

  Objective(PolicyFixture<double>& fixture, bool exact)
      : f(fixture),
        workspace(f.workspace(exact)),
        weight("motley::test::weight", f.shape.R, f.shape.B, f.shape.G),
        gradient("motley::test::gradient", f.shape.R, f.layout.net.size),
        sums("motley::test::sums", f.shape.R, kUpdateSums),
        ratio_max("motley::test::ratio_max", f.shape.R) {}

  double operator()() {
    pack_weights(Exec(), f.layout.net, f.weights);
    policy_gradient<double>(Exec(), f.layout.net, f.weights, f.reference, workspace, f.loss,
                            f.buffer, weight, {0, f.shape.B, micro_batches}, gradient, sums,
                            ratio_max, f.status);
    double loss = 0;
    const auto host = on_host(sums);
    for (int r = 0; r < f.shape.R; ++r) loss += host(r, static_cast<int>(UpdateSum::loss));
    return loss;
  }
};

/// Central differences along whole-vector random directions and single coordinates of every tensor.
void check_gradient(const LossParams& params, int kv_heads, bool tied) {
  const Shape shape{.R = 1, .B = 2, .G = 3, .P = 3, .T = 5, .V = 7};
  PolicyFixture<double> f(shape, small_config(shape.V, shape.P + shape.T, kv_heads, tied), {11},
                          10.0);
  f.sample();
  auto loss = on_host(f.loss);
  loss(0) = params;
  Kokkos::deep_copy(f.loss, loss);
  // Old and reference log-probabilities differ from the new ones, so the ratio is not 1; margins
  // keep every ratio away from the clip bounds of this case.
  auto old_log_prob = on_host(f.buffer.old_log_prob);
  auto ref_log_prob = on_host(f.buffer.ref_log_prob);
  auto advantage = on_host(f.buffer.advantage);
  const auto sampled = on_host(f.buffer.sampler_log_prob);
  std::mt19937 engine(3);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int b = 0; b < shape.B; ++b)
    for (int g = 0; g < shape.G; ++g) {
      advantage(0, b, g) = static_cast<float>(uniform(engine));
      for (int t = 0; t < shape.T; ++t) {
        const double shift = (g % 2 == 0 ? 0.05 : 0.6) * (t % 2 == 0 ? 1 : -1);
        old_log_prob(0, b, g, t) = sampled(0, b, g, t) + static_cast<float>(shift);
        ref_log_prob(0, b, g, t) = sampled(0, b, g, t) + static_cast<float>(0.3 * uniform(engine));
      }
    }
  Kokkos::deep_copy(f.buffer.old_log_prob, old_log_prob);
  Kokkos::deep_copy(f.buffer.ref_log_prob, ref_log_prob);
  Kokkos::deep_copy(f.buffer.advantage, advantage);
  Objective objective(f, params.kl_estimator == KlEstimator::exact && params.kl_coef != 0);
  auto weight = on_host(objective.weight);
  for (int b = 0; b < shape.B; ++b)
    for (int g = 0; g < shape.G; ++g) weight(0, b, g) = 0.1 + 0.05 * (b + g);
  Kokkos::deep_copy(objective.weight, weight);

  objective();
  const auto gradient = on_host(objective.gradient);
  const auto base = on_host(f.weights.params);
  const std::int64_t N = f.layout.net.size;
  const double h = 1e-4;
  const auto difference = [&](const std::vector<double>& direction) {
    double value[2];
    for (int side = 0; side < 2; ++side) {
      auto moved = Kokkos::create_mirror(f.weights.params);
      for (std::int64_t n = 0; n < N; ++n)
        moved(0, n) = base(0, n) + (side == 0 ? h : -h) * direction[n];
      Kokkos::deep_copy(f.weights.params, moved);
      value[side] = objective();
    }
    Kokkos::deep_copy(f.weights.params, base);
    return (value[0] - value[1]) / (2 * h);
  };
  double norm = 0;
  for (std::int64_t n = 0; n < N; ++n) norm += gradient(0, n) * gradient(0, n);
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 1e-3);
  for (int trial = 0; trial < 3; ++trial) {
    std::vector<double> direction(N, 0.0);
    double length = 0;
    for (const TensorSpec& t : f.layout.tensors.tensors())
      for (std::int64_t i = 0; i < t.size(); ++i)
        length += std::pow(direction[t.offset + i] = uniform(engine), 2);
    double analytic = 0;
    for (std::int64_t n = 0; n < N; ++n)
      analytic += gradient(0, n) * (direction[n] /= std::sqrt(length));
    const double numeric = difference(direction);
    // rtol 1e-6 of the gradient's own size: the truncation error of h = 1e-4 is about 1e-8.
    EXPECT_NEAR(numeric, analytic, 1e-6 * norm);
    EXPECT_NE(numeric, analytic);
  }
  for (const TensorSpec& t : f.layout.tensors.tensors()) {
    const std::int64_t n =
        t.offset + static_cast<std::int64_t>(engine() % static_cast<unsigned>(t.size()));
    std::vector<double> direction(N, 0.0);
    direction[n] = 1.0;
    EXPECT_NEAR(difference(direction), gradient(0, n), 1e-6 * norm) << t.name;
  }
}

TEST(PolicyGradient, MatchesFiniteDifferencesForPpo) {
  check_gradient({}, 2, false);
}
TEST(PolicyGradient, MatchesFiniteDifferencesWithTiedHeadAndAllHeads) {
  check_gradient({}, 4, true);
}
TEST(PolicyGradient, MatchesFiniteDifferencesForReinforceWithEntropyAndTemperature) {
  check_gradient({.policy = PolicyLoss::reinforce, .entropy_coef = 0.3, .inv_temperature = 1.4}, 1,
                 false);
}
TEST(PolicyGradient, MatchesFiniteDifferencesForEveryKlEstimator) {
  for (const KlEstimator estimator :
       {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3, KlEstimator::abs, KlEstimator::exact})
    check_gradient({.kl_coef = 0.5, .kl_estimator = estimator, .entropy_coef = 0.1}, 2, false);
}

TEST(PolicyGradient, DoesNotDependOnMicroBatchesNorOnOldMemory) {
  const Shape shape{.R = 2, .B = 7, .G = 4, .P = 5, .T = 40, .V = 11};
  PolicyFixture<double> f(shape, small_config(shape.V, shape.P + shape.T), {5, 6});
  f.sample();
  Kokkos::deep_copy(f.buffer.old_log_prob, f.buffer.sampler_log_prob);
  Kokkos::deep_copy(f.buffer.advantage, 0.7f);
  Objective objective(f, false);
  Kokkos::deep_copy(objective.weight, 0.01);
  const double loss = objective();
  const auto first = on_host(objective.gradient);
  for (const int micro : {1, 2, 4, 5}) {
    Kokkos::deep_copy(objective.workspace.partial, NAN);
    Kokkos::deep_copy(objective.workspace.train.memory, NAN);
    objective.micro_batches = micro;
    EXPECT_EQ(objective(), loss);
    const auto again = on_host(objective.gradient);
    EXPECT_EQ(0, std::memcmp(first.data(), again.data(), first.span() * sizeof(double))) << micro;
  }
}

TEST(PolicyGradient, PaddingCannotChangeABit) {
  PolicyFixture<float> f(kShape, small_config(kShape.V, kShape.P + kShape.T), {5, 6});
  f.sample();
  Kokkos::deep_copy(f.buffer.advantage, -0.3f);
  Kokkos::deep_copy(f.buffer.old_log_prob, f.buffer.sampler_log_prob);
  const auto workspace = f.workspace();
  View3<float> weight("motley::test::weight", kShape.R, kShape.B, kShape.G);
  Kokkos::deep_copy(weight, 0.02f);
  View2<float> gradient("motley::test::gradient", kShape.R, f.layout.net.size);
  View2<double> sums("motley::test::sums", kShape.R, kUpdateSums);
  View1<double> top("motley::test::top", kShape.R);
  const auto run = [&] {
    policy_gradient<float>(Exec(), f.layout.net, f.weights, f.reference, workspace, f.loss,
                           f.buffer, weight, {0, kShape.B, 1}, gradient, sums, top, f.status);
    return on_host(gradient);
  };
  const auto clean = run();
  auto token = on_host(f.buffer.token);
  auto old_log_prob = on_host(f.buffer.old_log_prob);
  const auto length = on_host(f.buffer.length);
  for (int r = 0; r < kShape.R; ++r)
    for (int b = 0; b < kShape.B; ++b)
      for (int g = 0; g < kShape.G; ++g)
        for (int t = length(r, b, g); t < kShape.T; ++t) {
          token(r, b, g, t) = 3;
          old_log_prob(r, b, g, t) = NAN;
        }
  Kokkos::deep_copy(f.buffer.token, token);
  Kokkos::deep_copy(f.buffer.old_log_prob, old_log_prob);
  const auto dirty = run();
  EXPECT_EQ(0, std::memcmp(clean.data(), dirty.data(), clean.span() * sizeof(float)));
}

/// Gradient and loss under a scale that is constant over each completion are those of scaled
/// weights; a scale of ones changes no bit.
void scale_tokens() {
  const Shape shape{.R = 1, .B = 2, .G = 3, .P = 3, .T = 5, .V = 7};
  PolicyFixture<double> f(shape, small_config(shape.V, shape.P + shape.T), {11});
  f.sample();
  Kokkos::deep_copy(f.buffer.old_log_prob, f.buffer.sampler_log_prob);
  Kokkos::deep_copy(f.buffer.advantage, 0.7f);
  const auto workspace = f.workspace();
  View2<double> gradient("motley::test::gradient", 1, f.layout.net.size);
  View2<double> sums("motley::test::sums", 1, kUpdateSums);
  View1<double> top("motley::test::top", 1);
  const auto run = [&](double weight_of_first, const ConstView4<float>& scale) {
    View3<double> weight("motley::test::weight", 1, shape.B, shape.G);
    auto host = on_host(weight);
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g)
        host(0, b, g) = 0.1 * (b == 0 && g == 1 ? weight_of_first : 1);
    Kokkos::deep_copy(weight, host);
    policy_gradient<double>(Exec(), f.layout.net, f.weights, f.reference, workspace, f.loss,
                            f.buffer, weight, {0, shape.B, 1}, gradient, sums, top, f.status,
                            scale);
    return std::pair{on_host(gradient), on_host(sums)};
  };
  View4<float> scale("motley::test::scale", 1, shape.B, shape.G, shape.T);
  Kokkos::deep_copy(scale, 1.0f);
  const auto [plain, plain_sums] = run(1, ConstView4<float>());
  const auto [ones, ones_sums] = run(1, scale);
  EXPECT_EQ(0, std::memcmp(plain.data(), ones.data(), plain.span() * sizeof(double)));
  auto host = on_host(scale);
  for (int t = 0; t < shape.T; ++t) host(0, 0, 1, t) = 0.25f;
  Kokkos::deep_copy(scale, host);
  const auto [scaled, scaled_sums] = run(1, scale);
  const auto [weighted, weighted_sums] = run(0.25, ConstView4<float>());
  double moved = 0;
  for (std::int64_t n = 0; n < f.layout.net.size; ++n) {
    EXPECT_NEAR(scaled(0, n), weighted(0, n), 1e-14);
    moved = std::max(moved, std::abs(scaled(0, n) - plain(0, n)));
  }
  EXPECT_GT(moved, 1e-4);
  const int loss = static_cast<int>(UpdateSum::loss);
  EXPECT_NEAR(scaled_sums(0, loss), weighted_sums(0, loss), 1e-14);
  EXPECT_NE(scaled_sums(0, loss), plain_sums(0, loss));
}

TEST(PolicyGradient, TokenScaleMultipliesAShareOfTheLoss) {
  scale_tokens();
}

}  // namespace
}  // namespace motley::test
