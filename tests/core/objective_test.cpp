/// Losses against closed forms: reductions between losses, the divergences of a row, the control of
/// the entropy coefficient.

#include "core/objective.hpp"

#include <array>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "core/entropy_control.hpp"
#include "core/token_plan.hpp"
#include "tests/core/views.hpp"

namespace motley::test {
namespace {

constexpr double kHuge = 1e6;

TEST(TokenLoss, LossesMeetWhereTheyShould) {
  std::mt19937 engine(2);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int i = 0; i < 200; ++i) {
    const double fresh = -2 + uniform(engine), old = fresh - uniform(engine);
    const double a = 2 * uniform(engine);
    const double rho = std::exp(fresh - old);
    const LossParams open{.clip_ratio_low = 1, .clip_ratio_high = kHuge, .clip_ratio_c = kHuge};
    const auto loss = [&](PolicyLoss policy, LossParams p, double o,
                          const TokenNote<double>& note = {}) {
      p.policy = policy;
      return token_loss<double>(p, fresh, o, 0.0, a, note);
    };
    // At ratio 1 every loss has reinforce's slope, sapo's gate and gspo's ratio included.
    for (const PolicyLoss policy :
         {PolicyLoss::ppo, PolicyLoss::gspo, PolicyLoss::cispo, PolicyLoss::clip_cov,
          PolicyLoss::kl_cov, PolicyLoss::gmpo, PolicyLoss::sapo})
      EXPECT_NEAR(loss(policy, {}, fresh).d_log_prob, -a, 1e-15) << name_of(policy);
    // Without bounds the slope of ppo, cispo, clip_cov and kl_cov is -A rho.
    const double slope = loss(PolicyLoss::ppo, open, old).d_log_prob;
    EXPECT_NEAR(slope, -a * rho, 1e-14 * std::abs(slope));
    for (const PolicyLoss policy : {PolicyLoss::cispo, PolicyLoss::clip_cov, PolicyLoss::kl_cov})
      EXPECT_EQ(loss(policy, open, old).d_log_prob, slope) << name_of(policy);
    // A completion of one token: gspo's ratio is the token's, so it is ppo without the dual clip.
    const LossParams no_dual{.clip_ratio_c = kHuge};
    const auto one = loss(PolicyLoss::gspo, {}, old, {0, fresh - old});
    const auto ppo = loss(PolicyLoss::ppo, no_dual, old);
    EXPECT_EQ(one.policy, ppo.policy);
    EXPECT_EQ(one.d_log_prob, ppo.d_log_prob);
    EXPECT_EQ(one.clipped_high, ppo.clipped_high);
    // cispo keeps a slope where ppo has none.
    const auto cispo = loss(PolicyLoss::cispo, {}, old);
    const double frozen = std::min(std::max(rho, 0.8), 1.2);
    EXPECT_NEAR(cispo.d_log_prob, -a * frozen, 1e-14);
    EXPECT_NEAR(cispo.policy, -a * frozen * fresh, 1e-13);
    EXPECT_EQ(cispo.clipped_high, rho > 1.2);
    // kl_cov's penalty: coef |l|, slope coef sign(l).
    const LossParams kl{.kl_cov_coef = 0.7};
    const auto penalised = loss(PolicyLoss::kl_cov, kl, old, {kTokenPenalised, 0});
    EXPECT_NEAR(penalised.policy, -a * rho + 0.7 * std::abs(fresh - old), 1e-14);
    EXPECT_NEAR(penalised.d_log_prob, -a * rho + (fresh > old ? 0.7 : -0.7), 1e-13);
    // sapo: value and slope of the formula.
    const double tau = a > 0 ? 1.0 : 1.05;
    const double gate = 1 / (1 + std::exp(-tau * (rho - 1)));
    const auto sapo = loss(PolicyLoss::sapo, {}, old);
    EXPECT_NEAR(sapo.policy, -4 / tau * gate * a, 1e-14);
    EXPECT_NEAR(sapo.d_log_prob, -4 * gate * (1 - gate) * rho * a, 1e-14);
    // A dropped token has no policy term and keeps its divergence.
    for (int k = 0; k < static_cast<int>(EnumNames<PolicyLoss>::names.size()); ++k) {
      LossParams p{.kl_coef = 0.5, .kl_estimator = KlEstimator::k2};
      const auto dropped = loss(static_cast<PolicyLoss>(k), p, old, {kTokenDropped, 0.3});
      EXPECT_EQ(dropped.policy, 0.0);
      EXPECT_NEAR(dropped.d_log_prob, 0.5 * fresh, 1e-14);
      p.kl_placement = KlPlacement::reward;
      EXPECT_EQ(loss(static_cast<PolicyLoss>(k), p, old, {kTokenDropped, 0.3}).d_log_prob, 0.0)
          << "a divergence in the reward is not in the loss";
    }
  }
}

TEST(TokenLoss, GmpoCutsTheTokenThatMovedFar) {
  const LossParams p{.policy = PolicyLoss::gmpo, .clip_ratio_low = 0.4, .clip_ratio_high = 0.4};
  struct Case {
    double l, a;
    bool cut;
  };
  for (const Case& c : {Case{.5, 1, true},
                        {.3, 1, false},
                        {-.9, 1, false},
                        {-.5, -1, true},
                        {-.3, -1, false},
                        {.9, -1, false}}) {
    const auto loss = token_loss<double>(p, -1.0, -1.0 - c.l, 0.0, c.a, {0, 0.1});
    EXPECT_NEAR(loss.policy, -c.a * std::exp(0.1), 1e-15);
    EXPECT_NEAR(loss.d_log_prob, c.cut ? 0.0 : -c.a * std::exp(0.1), 1e-15) << c.l << " " << c.a;
    EXPECT_EQ(loss.clipped_low || loss.clipped_high, c.cut);
  }
}

/// pi = (.7, .2, .1), ref = (.5, .3, .2): value and gradient of a divergence with respect to
/// logits.
struct Row {
  std::array<double, 3> scaled{std::log(.7), std::log(.2), std::log(.1)};
  std::array<double, 3> ref{std::log(.5) + 2, std::log(.3) + 2, std::log(.2) + 2};
  double value = 0;

  explicit Row(KlDirection direction) {
    const LossParams p{.kl_coef = 1, .kl_estimator = KlEstimator::exact, .kl_direction = direction};
    const auto s = scale_and_normalise(scaled.data(), 3, 1.0);
    const auto q = scale_and_normalise(ref.data(), 3, 1.0);
    const auto d = row_divergence(direction, scaled.data(), s, ref.data(), q, 3);
    value = d.value;
    row_loss_gradient(p, scaled.data(), 3, s, 0, 0.0, 0.0, ref.data(), q, d.mean_slope, 1.0);
  }
};

TEST(RowDivergence, HasTheKnownValuesAndGradients) {
  const Row reverse(KlDirection::reverse), forward(KlDirection::forward), js(KlDirection::js);
  EXPECT_NEAR(reverse.value, .0851228, 5e-8);
  EXPECT_NEAR(forward.value, .0920329, 5e-8);
  const double reverse_gradient[] = {.175945, -.098118, -.077827};
  const double forward_gradient[] = {.2, -.1, -.1};
  const double pi[] = {.7, .2, .1}, ref[] = {.5, .3, .2};
  double js_value = 0, mean = 0;
  for (int i = 0; i < 3; ++i) {
    const double m = (pi[i] + ref[i]) / 2;
    js_value += .5 * pi[i] * std::log(pi[i] / m) + .5 * ref[i] * std::log(ref[i] / m);
    mean += pi[i] * .5 * std::log(pi[i] / m);
  }
  EXPECT_NEAR(js.value, js_value, 1e-14);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(reverse.scaled[i], reverse_gradient[i], 5e-7);
    EXPECT_NEAR(forward.scaled[i], forward_gradient[i], 1e-14);
    const double m = (pi[i] + ref[i]) / 2;
    EXPECT_NEAR(js.scaled[i], pi[i] * (.5 * std::log(pi[i] / m) - mean), 1e-14);
  }
}

TEST(TokenLoss, EstimatorsHaveTheKnownExpectations) {
  // Under pi: E[k1] = E[k3] = KL(pi|ref), E[k2] = .0800876; E[grad k1] = 0, E[grad k2] = the
  // reverse KL's gradient, E[grad k3] = the forward one's; k3_unbiased at ratio 1: E = KL, gradient
  // that of the reverse KL, because the product also differentiates the measure.
  const double pi[] = {.7, .2, .1}, ref[] = {.5, .3, .2};
  const double reverse[] = {.175945, -.098118, -.077827}, forward[] = {.2, -.1, -.1};
  const double zero[] = {0, 0, 0};
  struct Case {
    KlEstimator estimator;
    double value;
    const double* gradient;
  };
  for (const Case& c : {Case{KlEstimator::k1, .0851228, zero},
                        {KlEstimator::k2, .0800876, reverse},
                        {KlEstimator::k3, .0851228, forward},
                        {KlEstimator::k3_unbiased, .0851228, reverse}}) {
    const LossParams p{.kl_coef = 1, .kl_estimator = c.estimator};
    double value = 0, gradient[3] = {};
    for (int a = 0; a < 3; ++a) {
      const double lp = std::log(pi[a]);
      const auto loss = token_loss<double>(p, lp, lp, std::log(ref[a]), 0.0);
      value += pi[a] * loss.kl;
      for (int i = 0; i < 3; ++i)
        gradient[i] += pi[a] * loss.d_log_prob * ((i == a ? 1 : 0) - pi[i]);
    }
    EXPECT_NEAR(value, c.value, 5e-8) << name_of(c.estimator);
    for (int i = 0; i < 3; ++i)
      EXPECT_NEAR(gradient[i], c.gradient[i], 5e-7) << name_of(c.estimator);
  }
}

TEST(TokenLosses, FillsTheSumsAndReadsThePlan) {
  const Shape s{.R = 2, .B = 1, .G = 2, .P = 1, .T = 3, .V = 2};
  const auto tokens = [&](const std::vector<double>& v) {
    return device_as<View4<double>>(v, 2, 1, 2, 3);
  };
  const std::vector<double> fresh = {-1, -2, -3, -1, -2, -3, -1, -2, -3, -1, -2, -3};
  const std::vector<double> ref = {-1.5, -2, -2, -3, -2, -1, -1, -1, -1, -2, -2, -2};
  const auto length = device_as<View3<int>>(std::vector<int>{3, 1, 2, 2}, 2, 1, 2);
  const auto weight = device_as<View3<double>>(std::vector<double>{.25, .25, .25, .25}, 2, 1, 2);
  const auto advantage = device_as<View3<double>>(std::vector<double>{1, -1, 2, -2}, 2, 1, 2);
  const LossParams p{.kl_coef = 0.1, .kl_estimator = KlEstimator::k2};
  auto plan = make_token_plan<double>(s.R, s.B, s.G, s.T);
  auto role = on_host(plan.role);
  role(0, 0, 0, 1) = kTokenDropped;
  role(1, 0, 1, 0) = kTokenPenalised;
  Kokkos::deep_copy(plan.role, role);
  View4<double> loss("motley::test::loss", 2, 1, 2, 3), gradient("motley::test::g", 2, 1, 2, 3);
  View2<double> sums("motley::test::sums", 2, kUpdateSums);
  const auto now = tokens(fresh);
  token_losses<double>(Exec(), device<LossParams>({p, p}), now, now, tokens(ref), advantage, length,
                       weight, loss, gradient, sums, plan);
  const auto sum = on_host(sums);
  const auto of = [&](int r, UpdateSum k) { return sum(r, static_cast<int>(k)); };
  // Replica 0 counts d = .5, 0, -1 of the first completion and 2 of the second.
  EXPECT_EQ(of(0, UpdateSum::tokens), 4);
  EXPECT_NEAR(of(0, UpdateSum::kl_k1), .5 + 0 - 1 + 2, 1e-14);
  EXPECT_NEAR(of(0, UpdateSum::kl_k2), (.25 + 0 + 1 + 4) / 2, 1e-14);
  EXPECT_NEAR(of(0, UpdateSum::kl_abs), 3.5, 1e-14);
  EXPECT_NEAR(of(0, UpdateSum::kl_k3),
              (std::exp(-.5) - .5) + 0 + (std::exp(1.) - 2) + (std::exp(-2.) + 1), 1e-13);
  EXPECT_EQ(of(0, UpdateSum::dropped), 1);
  EXPECT_EQ(of(0, UpdateSum::penalised), 0);
  EXPECT_EQ(of(1, UpdateSum::penalised), 1);
  EXPECT_NEAR(of(0, UpdateSum::policy_loss), .25 * (-1 + 0 - 1 + 1), 1e-14);
  EXPECT_NEAR(of(0, UpdateSum::loss), .25 * (-1 + .1 * (.25 + 0 + 1 + 4) / 2), 1e-14);
  EXPECT_NEAR(on_host(gradient)(0, 0, 0, 0), .25 * (-1 + .1 * .5), 1e-14);
}

TEST(EntropyControl, FollowsTheHandComputedSequence) {
  const std::vector<double> measured = {.5, .1, .2, .05, .3, .3, .3, .1};
  const EntropyParams threshold{
      .adaptive = EntropyAdaptive::threshold, .target = .2, .delta = 1e-3, .min = 0, .max = 2.5e-3};
  const EntropyParams lagrangian{
      .adaptive = EntropyAdaptive::lagrangian, .target = .2, .delta = .1};
  // threshold from 1e-3: down, up, up (at the target too), up and cut at the top, down, down, down
  // and cut at 0, up.
  const std::vector<double> want_threshold = {0, 1e-3, 2e-3, 2.5e-3, 1.5e-3, .5e-3, 0, 1e-3};
  // lagrangian from 1e-3: + .1 (.2 - H), never below 0.
  const std::vector<double> want_lagrangian = {0, .01, .01, .025, .015, .005, 0, .01};
  const auto loss = device<LossParams>({{.entropy_coef = 1e-3}, {.entropy_coef = 1e-3}, {}});
  View2<double> coef("motley::test::coef", 3, 1), metrics("motley::test::metrics", 3, kMetrics);
  Kokkos::deep_copy(coef, 1e-3);
  const auto params = device<EntropyParams>({threshold, lagrangian, {}});
  const auto column = static_cast<int>(Metric::entropy_coef);
  for (std::size_t i = 0; i < measured.size(); ++i) {
    auto host = on_host(metrics);
    for (int r = 0; r < 3; ++r) host(r, static_cast<int>(Metric::entropy)) = measured[i];
    Kokkos::deep_copy(metrics, host);
    entropy_control(Exec(), params, coef, loss, metrics);
    const auto c = on_host(coef);
    const auto applied = on_host(loss);
    const auto logged = on_host(metrics);
    EXPECT_NEAR(c(0, 0), want_threshold[i], 1e-15) << i;
    EXPECT_NEAR(c(1, 0), want_lagrangian[i], 1e-15) << i;
    EXPECT_EQ(c(2, 0), 1e-3);
    for (int r = 0; r < 3; ++r) EXPECT_EQ(logged(r, column), c(r, 0));
    EXPECT_EQ(applied(0).entropy_coef, measured[i] <= .2 ? c(0, 0) : 0.0) << i;
    EXPECT_EQ(applied(1).entropy_coef, c(1, 0));
    EXPECT_EQ(applied(2).entropy_coef, 0.0);
  }
  EXPECT_EQ(initial_entropy_coef(threshold, 1.0), 2.5e-3);
  EXPECT_EQ(initial_entropy_coef(lagrangian, -1.0), 0.0);
  EXPECT_EQ(initial_entropy_coef({}, -1.0), -1.0);
}

}  // namespace
}  // namespace motley::test
