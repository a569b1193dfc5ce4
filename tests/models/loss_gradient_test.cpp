/// Every loss, through the whole network, against central differences in double.

#include <cstring>

#include "tests/models/update_fixture.hpp"

namespace motley::test {
namespace {

struct Divergence {
  double coef;
  KlEstimator estimator;
  KlDirection direction = KlDirection::reverse;
};

TEST(LossGradient, MatchesFiniteDifferencesForEveryCombination) {
  Update update;
  std::mt19937 engine(29);
  int cases = 0;
  for (int policy = 0; policy < static_cast<int>(EnumNames<PolicyLoss>::names.size()); ++policy)
    for (int agg = 0; agg < 5; ++agg)
      for (const Divergence& d : {Divergence{0, KlEstimator::k3},
                                  {.4, KlEstimator::k1},
                                  {.4, KlEstimator::k2},
                                  {.4, KlEstimator::k3},
                                  {.4, KlEstimator::abs},
                                  {.4, KlEstimator::k3_unbiased},
                                  {.4, KlEstimator::exact},
                                  {.4, KlEstimator::exact, KlDirection::forward},
                                  {.4, KlEstimator::exact, KlDirection::js}})
        for (const double entropy : {0.0, 0.2}) {
          LossParams p{.policy = static_cast<PolicyLoss>(policy),
                       .agg = static_cast<LossAgg>(agg),
                       .kl_coef = d.coef,
                       .kl_estimator = d.estimator,
                       .entropy_coef = entropy,
                       .inv_temperature = 1.2,
                       .kl_direction = d.direction,
                       .clip_cov_ratio = 0.2,
                       .clip_cov_lower = 0.0,
                       .kl_cov_fraction = 0.3,
                       .simko_alpha = 0};  // its value has another slope: see preference_test.cpp
          // divpo has one aggregation and no other term.
          if (p.policy == PolicyLoss::divpo && (agg > 0 || d.coef != 0 || entropy != 0)) continue;
          // cispo's coefficient is held fixed by its definition; beyond the bounds it is fixed.
          const bool frozen = p.policy == PolicyLoss::cispo;
          update.set(p, frozen ? 0.5 : 0.05, 0.6);
          update.check(engine,
                       std::string(name_of(p.policy)) + " " + std::string(name_of(p.agg)) + " " +
                           std::to_string(d.coef) + " " + std::string(name_of(d.estimator)) + " " +
                           std::string(name_of(d.direction)) + " " + std::to_string(entropy));
          ++cases;
          if (p.policy == PolicyLoss::kl_cov) EXPECT_GT(update.sum(UpdateSum::penalised), 1);
          if (p.policy == PolicyLoss::clip_cov) EXPECT_GT(update.sum(UpdateSum::dropped), 1);
        }
  EXPECT_EQ(cases, 9 * 5 * 9 * 2 + 1);
}

TEST(LossGradient, MatchesFiniteDifferencesOnTheMostUncertainTokens) {
  Update update;
  std::mt19937 engine(31);
  for (const PolicyLoss policy : {PolicyLoss::ppo, PolicyLoss::reinforce, PolicyLoss::kl_cov,
                                  PolicyLoss::clip_cov, PolicyLoss::sapo})
    for (int agg = 0; agg < 5; ++agg) {
      const LossParams p{.policy = policy,
                         .agg = static_cast<LossAgg>(agg),
                         .kl_coef = 0.1,
                         .top_entropy_quantile = 0.6,
                         .kl_cov_fraction = 0.3};
      update.set(p, 0.05, 0.6);
      update.check(engine, std::string(name_of(policy)));
      const double tokens = update.sum(UpdateSum::tokens);
      EXPECT_GE(update.sum(UpdateSum::dropped), tokens - std::ceil(0.6 * tokens));
    }
}

TEST(LossGradient, ADivergenceInTheRewardIsNotInTheLoss) {
  Update update;
  update.set({.kl_coef = 0, .kl_estimator = KlEstimator::exact}, 0.05, 0.6);
  const double without = update();
  const auto gradient = on_host(update.gradient);
  for (const KlEstimator estimator : {KlEstimator::k1, KlEstimator::exact}) {
    update.set({.kl_coef = 0.4, .kl_estimator = estimator, .kl_placement = KlPlacement::reward},
               0.05, 0.6);
    EXPECT_EQ(update(), without);
    const auto same = on_host(update.gradient);
    EXPECT_EQ(0, std::memcmp(gradient.data(), same.data(), same.span() * sizeof(double)));
    EXPECT_NE(update.sum(UpdateSum::kl_k1), 0.0) << "it is still measured";
  }
}

TEST(LossGradient, ACompletionOfWeightZeroAddsNothing) {
  Update update;
  update.set({}, 0.05, 0.6);
  auto weight = on_host(update.weight);
  weight(0, 0, 1) = 0;
  Kokkos::deep_copy(update.weight, weight);
  update();
  const auto length = on_host(update.f.buffer.length);
  int tokens = 0;
  for (int b = 0; b < 2; ++b)
    for (int g = 0; g < 3; ++g) tokens += b == 0 && g == 1 ? 0 : length(0, b, g);
  EXPECT_EQ(update.sum(UpdateSum::tokens), tokens);
  const auto gradient = on_host(update.gradient);
  auto advantage = on_host(update.f.buffer.advantage);
  advantage(0, 0, 1) = 100;
  Kokkos::deep_copy(update.f.buffer.advantage, advantage);
  update();
  const auto same = on_host(update.gradient);
  EXPECT_EQ(0, std::memcmp(gradient.data(), same.data(), same.span() * sizeof(double)));
}

TEST(LossGradient, TheFirstUpdateHasRatioOneBitForBit) {
  // Every loss but sapo, whose gate rounds, then has reinforce's gradient, bit for bit.
  const Shape shape{.R = 8, .B = 3, .G = 4, .P = 4, .T = 9, .V = 13};
  PolicyFixture<float> f(shape, small_config(shape.V, shape.P + shape.T),
                         std::vector<std::uint64_t>(8, 5));
  auto loss = on_host(f.loss);
  for (int r = 0; r < shape.R; ++r)
    loss(r) = {.policy = static_cast<PolicyLoss>(r), .clip_cov_lower = 1e5, .clip_cov_upper = 1e6};
  Kokkos::deep_copy(f.loss, loss);
  f.sample();
  auto advantage = on_host(f.buffer.advantage);
  for (int r = 0; r < shape.R; ++r)
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) advantage(r, b, g) = static_cast<float>(g - 1.5 + 0.1 * b);
  Kokkos::deep_copy(f.buffer.advantage, advantage);
  Kokkos::deep_copy(f.buffer.used, 1);
  const auto workspace = f.workspace();
  const Exec exec;
  score_tokens(exec, f.layout.net, f.weights, workspace, f.loss, f.buffer, f.active,
               f.buffer.old_log_prob);
  const auto plan = make_token_plan<float>(shape.R, shape.B, shape.G, shape.T);
  token_plan<float>(exec, f.loss, {f.seeds, 0, 0}, f.buffer.old_log_prob, f.buffer, 0, shape.B,
                    plan);
  View3<float> weight("motley::test::weight", shape.R, shape.B, shape.G);
  token_weights<float>(exec, f.loss, f.buffer.length, f.buffer.used, shape.T, 0, shape.B, weight);
  View2<float> gradient("motley::test::gradient", shape.R, f.layout.net.size);
  View2<double> sums("motley::test::sums", shape.R, kUpdateSums);
  View1<double> top("motley::test::top", shape.R);
  policy_gradient<float>(exec, f.layout.net, f.weights, f.reference, workspace, f.loss, f.buffer,
                         weight, {0, shape.B, 1}, gradient, sums, top, f.status,
                         ConstView4<float>(), plan);
  const auto g = on_host(gradient);
  const auto s = on_host(sums);
  for (int r = 0; r < shape.R; ++r) {
    EXPECT_EQ(s(r, static_cast<int>(UpdateSum::ratio)), s(r, static_cast<int>(UpdateSum::tokens)));
    EXPECT_EQ(s(r, static_cast<int>(UpdateSum::kl_old)), 0.0);
    if (loss(r).policy == PolicyLoss::sapo) continue;
    EXPECT_EQ(0, std::memcmp(&g(0, 0), &g(r, 0), g.extent(1) * sizeof(float)))
        << name_of(loss(r).policy);
  }
}

}  // namespace
}  // namespace motley::test
