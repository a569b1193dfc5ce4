/// Exact numbers through the kernels: a group worked by hand, and the expected update of DARLING by
/// enumeration over all groups.

#include <cmath>

#include <gtest/gtest.h>

#include "core/advantage.hpp"
#include "core/diversity_metrics.hpp"
#include "core/eval_metrics.hpp"
#include "core/objective.hpp"
#include "core/partition.hpp"
#include "core/shaping.hpp"
#include "tests/core/views.hpp"

namespace motley::test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;

struct Shaped {
  Doubles diversity, reward, advantage;
};

/// Groups of n completions with known modes and qualities, all at once: [1,B,n].
Shaped shape_groups(const std::vector<Ints>& modes, const std::vector<Doubles>& quality,
                    const ShapingParams& shaping, const AdvantageParams& advantage,
                    bool correct_only = false) {
  const auto B = modes.size();
  const auto n = modes[0].size();
  Ints flat_modes;
  Doubles flat_quality;
  for (std::size_t b = 0; b < B; ++b) {
    flat_modes.insert(flat_modes.end(), modes[b].begin(), modes[b].end());
    flat_quality.insert(flat_quality.end(), quality[b].begin(), quality[b].end());
  }
  const auto class_id = device_as<View3<int>>(flat_modes, 1, B, n);
  const auto q = device_as<View3<double>>(flat_quality, 1, B, n);
  const View4<int> token("motley::test::token", 1, B, n, 1);
  const View3<int> length("motley::test::length", 1, B, n), member("motley::test::member", 1, B, n),
      cluster("motley::test::cluster", 1, B, n), size("motley::test::size", 1, B, n),
      used("motley::test::used", 1, B, n);
  const View4<float> pair("motley::test::pair", 1, B, n, n),
      log_prob("motley::test::log_prob", 1, B, n, 1);
  const View2<int> count("motley::test::count", 1, B), calls("motley::test::calls", 1, B);
  const View3<double> diversity("motley::test::diversity", 1, B, n),
      reward("motley::test::reward", 1, B, n), a("motley::test::advantage", 1, B, n);
  const View2<double> mean("motley::test::mean", 1, B), deviation("motley::test::deviation", 1, B);
  const auto partition_params = device<PartitionParams>({{.method = PartitionMethod::oracle}});
  rule_pair_scores(Exec(), partition_params, token, length, class_id, pair, calls);
  partition_members(Exec(), device<ShapingParams>({shaping}),
                    device_as<View3<float>>(flat_quality, 1, B, n), member);
  if (!correct_only) Kokkos::deep_copy(member, 1);
  partition(Exec(), partition_params, pair, member, cluster, size, count);
  shape_reward<double>(Exec(), device<ShapingParams>({shaping}), partition_params, 0, q, size, pair,
                       token, length, log_prob, diversity, reward, used);
  group_advantage<double>(Exec(), device<AdvantageParams>({advantage}), reward, used, mean,
                          deviation, a);
  return {values_of(diversity), values_of(reward), values_of(a)};
}

void expect(const Doubles& got, const Doubles& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 6e-7) << i;  // six printed digits
}

const Ints kModes = {0, 0, 0, 3, 4, 4, 6, 7};
const Doubles kQuality = {1, 1, 1, 1, 0, 0, 1, 0};
const AdvantageParams kPlain{};

TEST(WorkedGroup, Darling) {
  const Shaped s = shape_groups({kModes}, {kQuality}, {.floor = 0.0}, kPlain);
  expect(s.diversity, {5.0 / 7, 5.0 / 7, 5.0 / 7, 1, 6.0 / 7, 6.0 / 7, 1, 1});
  expect(s.reward, {0.714286, 0.714286, 0.714286, 1, 0, 0, 1, 0});
  expect(s.advantage,
         {0.196429, 0.196429, 0.196429, 0.482143, -0.517857, -0.517857, 0.482143, -0.517857});
}

TEST(WorkedGroup, CorrectOnlyAndAdditive) {
  const Shaped correct =
      shape_groups({kModes}, {kQuality}, {.shaping = Shaping::multiplicative_correct, .floor = 0.1},
                   kPlain, true);
  Doubles floored;
  for (const double d : correct.diversity) floored.push_back(std::max(d, 0.1));
  expect(floored, {0.5, 0.5, 0.5, 1, 0.1, 0.1, 1, 0.1});
  const Shaped additive =
      shape_groups({kModes}, {kQuality}, {.shaping = Shaping::additive_norm, .floor = 0.0}, kPlain);
  expect(additive.reward,
         {-0.380096, -0.380096, -0.380096, 1.929286, -1.290992, -1.290992, 1.929286, -0.136301});
}

TEST(WorkedGroup, Estimators) {
  const ShapingParams none{.shaping = Shaping::none};
  const Doubles grpo =
      shape_groups({kModes}, {kQuality}, none, {.norm = AdvantageNorm::group}).advantage;
  EXPECT_NEAR(grpo[0], 0.724567, 6e-7);
  EXPECT_NEAR(grpo[4], -1.207612, 6e-7);
  const Doubles plain = shape_groups({kModes}, {kQuality}, none, kPlain).advantage;
  EXPECT_NEAR(plain[0], 0.375, 1e-12);
  EXPECT_NEAR(plain[4], -0.625, 1e-12);
  const Doubles rloo =
      shape_groups({kModes}, {kQuality}, none, {.baseline = Baseline::loo}).advantage;
  EXPECT_NEAR(rloo[0], 0.428571, 6e-7);
  EXPECT_NEAR(rloo[4], -0.714286, 6e-7);
}

TEST(WorkedGroup, Metrics) {
  EXPECT_NEAR(class_entropy({3, 1, 2, 1, 1}), 1.494175, 6e-7);
  EXPECT_NEAR(distinct_at_k({3, 1, 2, 1, 1}, 8, 4), 3.214286, 6e-7);
  EXPECT_NEAR(pass_at_k(8, 5, 1), 0.625, 1e-12);
  EXPECT_NEAR(pass_at_k(8, 5, 2), 0.892857, 6e-7);
  EXPECT_EQ(pass_at_k(8, 5, 4), 1.0);
  EXPECT_NEAR(novelty_utility({7, 3, 9, 1}, {0, 0, 2, 3}, 0.8), 4.495935, 6e-7);
}

TEST(WorkedGroup, AFactorOfOneIsGrpoAndEqualRewardsGiveExactlyZero) {
  const Shaped quality_only =
      shape_groups({kModes}, {kQuality}, {.shaping = Shaping::none}, kPlain);
  const Shaped factor_one = shape_groups({kModes}, {kQuality}, {.floor = 1.0}, kPlain);
  EXPECT_EQ(quality_only.advantage, factor_one.advantage);
  for (const double eps : {0.0, 1e-6})
    for (const double a : shape_groups({kModes}, {Doubles(8, 0.7)}, {.shaping = Shaping::none},
                                       {.norm = AdvantageNorm::group, .eps = eps})
                              .advantage)
      EXPECT_EQ(a, 0.0);
}

/// E[A_i | y_i in mode m] by enumeration of all |modes|^n groups.
Doubles expected_advantage(const Doubles& p, const Doubles& r, int n, const ShapingParams& shaping,
                           const AdvantageParams& advantage) {
  const int modes = static_cast<int>(p.size());
  std::vector<Ints> groups;
  std::vector<Doubles> quality;
  Doubles probability;
  const int total = static_cast<int>(std::lround(std::pow(modes, n)));
  for (int code = 0; code < total; ++code) {
    Ints group;
    Doubles q;
    double weight = 1;
    for (int i = 0, rest = code; i < n; ++i, rest /= modes) {
      group.push_back(rest % modes);
      q.push_back(r[static_cast<std::size_t>(rest % modes)]);
      weight *= p[static_cast<std::size_t>(rest % modes)];
    }
    groups.push_back(group);
    quality.push_back(q);
    probability.push_back(weight);
  }
  const Doubles a = shape_groups(groups, quality, shaping, advantage).advantage;
  Doubles sum(p.size(), 0.0);
  for (std::size_t g = 0; g < groups.size(); ++g)
    sum[static_cast<std::size_t>(groups[g][0])] +=
        probability[g] * a[g * static_cast<std::size_t>(n)];
  for (std::size_t m = 0; m < p.size(); ++m) sum[m] /= p[m];
  return sum;
}

/// E[A_i | m] = ((n-1)/n) r_m (1 - c_n p_m) + const, c_n = (n-2)/(n-1): no diversity effect at n
/// = 2.
TEST(ExpectedUpdate, DarlingAscendsQualityMinusACollisionPenalty) {
  const Doubles p = {0.5, 0.3, 0.15, 0.05};
  const Doubles r = {1, 0.9, 0.5, 0};
  for (const int n : {2, 4, 6}) {
    const Doubles got = expected_advantage(p, r, n, {.floor = 0.0}, kPlain);
    const double c = double(n - 2) / (n - 1);
    Doubles law;
    for (std::size_t m = 0; m < p.size(); ++m) law.push_back((n - 1.0) / n * r[m] * (1 - c * p[m]));
    for (std::size_t m = 1; m < p.size(); ++m)
      EXPECT_NEAR(got[m] - got[0], law[m] - law[0], 1e-12) << n;
  }
  expect(expected_advantage(p, r, 4, {.floor = 0.0}, kPlain),
         {0.037375, 0.077375, -0.125125, -0.462625});
  expect(expected_advantage(p, r, 6, {.floor = 0.0}, kPlain), {0.024, 0.094, -0.109333, -0.476});
}

/// At the stationary mixture of binary rewards, uniform over the correct modes, nothing pulls.
TEST(ExpectedUpdate, UniformOverCorrectModesIsStationary) {
  const Doubles a = expected_advantage({0.5, 0.5}, {1, 1}, 6, {.floor = 0.0}, kPlain);
  EXPECT_NEAR(a[0], 0.0, 1e-12);
  EXPECT_NEAR(a[1], 0.0, 1e-12);
  // GRPO is neutral between correct modes anywhere; DARLING pushes the dominant one down.
  const Doubles skewed = expected_advantage({0.8, 0.2}, {1, 1}, 6, {.floor = 0.0}, kPlain);
  EXPECT_LT(skewed[0], -0.01);
  EXPECT_GT(skewed[1], 0.05);
  for (const double x :
       expected_advantage({0.8, 0.2}, {1, 1}, 6, {.shaping = Shaping::none}, kPlain))
    EXPECT_EQ(x, 0.0);
}

TEST(ExpectedUpdate, DominantModeIsPushedDownInAMixedGroup) {
  expect(expected_advantage({0.6, 0.3, 0.1}, {1, 1, 0}, 6, {.floor = 0.0}, kPlain),
         {-0.0166667, 0.1833333, -0.45});
}

/// pi = (.7,.2,.1), ref = (.5,.3,.2): expected loss gradients of the estimators, methods of section
/// E.
TEST(KlGradients, EstimatorsAscendWhatTheyShould) {
  const Doubles pi = {0.7, 0.2, 0.1}, ref = {0.5, 0.3, 0.2};
  const auto gradient = [&](KlEstimator estimator) {
    const LossParams params{
        .policy = PolicyLoss::reinforce, .kl_coef = 1.0, .kl_estimator = estimator};
    Doubles sum(3, 0.0);
    for (int token = 0; token < 3; ++token) {
      const auto k = static_cast<std::size_t>(token);
      double row[3], ref_row[3];
      for (int v = 0; v < 3; ++v) {
        row[v] = std::log(pi[static_cast<std::size_t>(v)]);
        ref_row[v] = std::log(ref[static_cast<std::size_t>(v)]);
      }
      const auto s = scale_and_normalise(row, 3, 1.0);
      const auto rs = scale_and_normalise(ref_row, 3, 1.0);
      const bool exact = estimator == KlEstimator::exact;
      const auto loss = token_loss(params, std::log(pi[k]), std::log(pi[k]), std::log(ref[k]), 0.0);
      const double kl = row_kl(row, s, ref_row, rs, 3);
      EXPECT_NEAR(kl, 0.0851228, 6e-8);
      row_loss_gradient(params, row, 3, s, token, loss.d_log_prob, row_entropy(row, 3, s),
                        exact ? ref_row : nullptr, rs, kl, 1.0);
      for (std::size_t v = 0; v < 3; ++v) sum[v] += pi[k] * row[v];
    }
    return sum;
  };
  const Doubles reverse = {0.175945, -0.098118, -0.077827};
  expect(gradient(KlEstimator::exact), reverse);
  expect(gradient(KlEstimator::k2), reverse);
  expect(gradient(KlEstimator::k1), {0, 0, 0});
  expect(gradient(KlEstimator::k3), {0.2, -0.1, -0.1});  // forward KL
}

}  // namespace
}  // namespace motley::test
