/// Every estimator, baseline and norm against a plain oracle, under the shapings they meet.

#include "core/advantage.hpp"

#include <gtest/gtest.h>

#include "tests/core/groups.hpp"

namespace motley::test {
namespace {

/// All combinations of estimator, baseline and norm that have a meaning under this shaping.
std::vector<AdvantageParams> combinations(Shaping shaping) {
  std::vector<AdvantageParams> out;
  for (std::size_t e = 0; e < EnumNames<Estimator>::names.size(); ++e)
    for (std::size_t b = 0; b < EnumNames<Baseline>::names.size(); ++b)
      for (std::size_t n = 0; n < EnumNames<AdvantageNorm>::names.size(); ++n) {
        AdvantageParams p{.estimator = static_cast<Estimator>(e),
                          .baseline = static_cast<Baseline>(b),
                          .norm = static_cast<AdvantageNorm>(n),
                          .eps = 1e-3,
                          .k = 3,
                          .positive_weight = 0.3};
        if ((p.estimator == Estimator::pkpo || p.estimator == Estimator::passk) &&
            shaping != Shaping::none && shaping != Shaping::multiplicative)
          continue;
        if (p.baseline == Baseline::loo_partition &&
            (!keeps_rewards(p.estimator) || !is_count_reward(shaping)))
          continue;
        out.push_back(p);
        // Sets are enumerated by the oracle: one shaping is enough for their forms.
        if (p.estimator != Estimator::pkpo || shaping != Shaping::none) continue;
        p.pkpo = PkpoForm::sloo;
        out.push_back(p);
        p.pkpo = PkpoForm::none;
        out.push_back(p);
        p.k = 1;
        out.push_back(p);
        p.pkpo = PkpoForm::sloo_minus_one;
        out.push_back(p);
      }
  return out;
}

class EveryAdvantage : public ::testing::TestWithParam<int> {};

template <class Scalar>
void check_advantages(const ShapingParams& shaping) {
  const std::vector<AdvantageParams> all = combinations(shaping.shaping);
  const Ints used = {1, 0, 1, 1};
  for (const int n : {1, 2, 7, 16})
    for (const Kind kind : kKinds) {
      auto groups = draw_groups(4, n, kind, false, false, static_cast<unsigned>(n) + 40u);
      // Rounded once, so that both sides start from the same numbers.
      for (auto& x : groups)
        for (double& q : x.quality) q = double(static_cast<Scalar>(q));
      const auto got =
          run<Scalar>(groups, std::vector<ShapingParams>(all.size(), shaping), all, {.used = used});
      const auto G = static_cast<std::size_t>(n);
      for (std::size_t r = 0; r < all.size(); ++r) {
        std::vector<oracle::ShapedGroup> shaped;
        double top = 1;
        for (std::size_t b = 0; b < groups.size(); ++b) {
          shaped.emplace_back();
          for (std::size_t g = 0; g < G; ++g) {
            const std::size_t at = (r * groups.size() + b) * G + g;
            shaped[b].diversity.push_back(double(got.diversity[at]));
            shaped[b].reward.push_back(double(got.reward[at]));
            top = std::max(top, std::abs(double(got.reward[at])));
          }
        }
        const auto want =
            oracle::advantages(groups, shaped, used, knobs_of(shaping), knobs_of(all[r]));
        for (std::size_t b = 0; b < groups.size(); ++b) {
          const Doubles& mine = shaped[b].reward;
          EXPECT_NEAR(double(got.mean[r * groups.size() + b]), n > 1 ? oracle::mean(mine) : 0,
                      tolerance<Scalar>(top));
          EXPECT_NEAR(double(got.deviation[r * groups.size() + b]),
                      n > 1 ? oracle::deviation(mine, 1) : 1, 10 * tolerance<Scalar>(top));
          for (std::size_t g = 0; g < G; ++g) {
            const double value = double(got.advantage[(r * groups.size() + b) * G + g]);
            // Rewards up to `top` cancel in a baseline; eps = 1e-3 is the least divisor.
            const double bound =
                10 * tolerance<Scalar>(want[b][g]) +
                (all[r].norm == AdvantageNorm::none ? 1 : 1e3) * 1e-14 * top +
                (all[r].baseline == Baseline::loo_partition ? 4 * tolerance<Scalar>(top) : 0);
            ASSERT_NEAR(value, want[b][g], bound)
                << name_of(all[r].estimator) << " " << name_of(all[r].baseline) << " "
                << name_of(all[r].norm) << " " << name_of(all[r].pkpo) << " kind " << int(kind)
                << " n " << n << " b " << b << " g " << g;
            if (n > 1 && oracle::all_equal(mine) && keeps_rewards(all[r].estimator) &&
                (all[r].baseline == Baseline::mean || all[r].baseline == Baseline::loo) &&
                (shaping.shaping == Shaping::none || is_product(shaping.shaping)))
              ASSERT_EQ(value, 0);
          }
        }
      }
    }
}

constexpr Shaping kShapings[] = {Shaping::none,
                                 Shaping::multiplicative,
                                 Shaping::multiplicative_sigmoid,
                                 Shaping::additive,
                                 Shaping::coverage,
                                 Shaping::ips,
                                 Shaping::outcome_entropy,
                                 Shaping::mmr,
                                 Shaping::uniqueness,
                                 Shaping::ucb,
                                 Shaping::ucb_mean,
                                 Shaping::ucb_con,
                                 Shaping::batch};

TEST_P(EveryAdvantage, MatchesTheOracle) {
  ShapingParams p{.shaping = kShapings[GetParam()],
                  .quality_weight = 0.7,
                  .diversity_weight = 1.3,
                  .uniqueness_alpha = 0.6,
                  .bonus_coef = 0.4,
                  .bonus_b0 = 0.3,
                  .coverage_k = 3};
  check_advantages<double>(p);
  p.bonus_count = BonusCount::including;
  p.reward_bias = RewardBias::group_min;
  check_advantages<double>(p);
  check_advantages<float>(p);
}

INSTANTIATE_TEST_SUITE_P(Advantage, EveryAdvantage,
                         ::testing::Range(0, static_cast<int>(std::size(kShapings))),
                         [](const auto& test) {
                           return std::string(name_of(kShapings[test.param]));
                         });

/// on_answer = off: the answer's advantage has no bonus, the others' is what it was; on: both
/// alike.
TEST(Advantage, TheBonusStaysOutOfTheAnswer) {
  for (const Shaping shaping :
       {Shaping::ucb, Shaping::ucb_mean, Shaping::ucb_con, Shaping::batch, Shaping::uniqueness}) {
    const auto groups = draw_groups(6, 7, Kind::random, false, false, 21);
    const Ints used = {1, 1, 0, 1, 1, 1};
    const AdvantageParams a{.norm = AdvantageNorm::group, .eps = 1e-3};
    const ShapingParams on{.shaping = shaping, .bonus_coef = 0.4, .bonus_b0 = 0.3};
    ShapingParams off = on, none = on;
    off.bonus_on_answer = false;
    none.bonus_coef = 0;
    const auto got = run<double>(groups, {on, off}, {a, a}, {.used = used});
    std::vector<oracle::ShapedGroup> shaped;
    const std::size_t half = got.advantage.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      if (i % 7 == 0) shaped.emplace_back();
      shaped.back().diversity.push_back(got.diversity[i]);
      shaped.back().reward.push_back(got.reward[i]);
    }
    const auto with = oracle::advantages(groups, shaped, used, knobs_of(on), knobs_of(a));
    const auto without = oracle::advantages(groups, shaped, used, knobs_of(none), knobs_of(a));
    int differ = 0;
    for (std::size_t i = 0; i < half; ++i) {
      EXPECT_NEAR(got.advantage[half + i], with[i / 7][i % 7], 1e-11) << name_of(shaping);
      EXPECT_NEAR(got.answer[half + i], without[i / 7][i % 7], 1e-11) << name_of(shaping);
      EXPECT_EQ(got.answer[i], got.advantage[i]) << name_of(shaping);
      differ += got.answer[half + i] != got.advantage[half + i];
    }
    EXPECT_EQ(differ > 10, shaping != Shaping::uniqueness) << name_of(shaping);
  }
}

TEST(Advantage, EstimatorsInOneBatchGiveTheBitsOfEachAlone) {
  const auto groups = draw_groups(5, 7, Kind::random, false, false, 8);
  const std::vector<AdvantageParams> all = combinations(Shaping::none);
  const ShapingParams none{.shaping = Shaping::none};
  const auto mixed = run<float>(groups, std::vector<ShapingParams>(all.size(), none), all);
  for (std::size_t r = 0; r < all.size(); r += 3) {
    const auto alone = run<float>(groups, {none}, {all[r]});
    EXPECT_TRUE(std::equal(alone.advantage.begin(), alone.advantage.end(),
                           mixed.advantage.begin() + static_cast<long>(r * alone.advantage.size())))
        << name_of(all[r].estimator);
  }
}

/// Largest |a - factor b| over a batch of groups.
double difference(const Groups& groups, const AdvantageParams& a, const AdvantageParams& b,
                  double factor) {
  const ShapingParams none{.shaping = Shaping::none};
  const auto got = run<double>(groups, {none, none}, {a, b});
  const std::size_t half = got.advantage.size() / 2;
  double worst = 0;
  for (std::size_t i = 0; i < half; ++i)
    worst = std::max(worst, std::abs(got.advantage[i] - factor * got.advantage[half + i]));
  return worst;
}

TEST(Advantage, SetsOfOneAreTheFamiliarEstimators) {
  for (const int n : {2, 7, 16}) {
    auto groups = draw_groups(5, n, Kind::random, false, false, 9);
    const AdvantageParams rloo{.baseline = Baseline::loo};
    EXPECT_LT(difference(groups, {.estimator = Estimator::pkpo, .baseline = Baseline::none, .k = 1},
                         rloo, 1.0 / n),
              1e-14);
    // pass@1 training is GRPO with the population's deviation, of 0/1 rewards.
    for (auto& x : groups)
      for (double& q : x.quality) q = q > 0 ? 1 : 0;
    EXPECT_LT(
        difference(groups,
                   {.estimator = Estimator::passk, .baseline = Baseline::none, .eps = 0, .k = 1},
                   {.estimator = Estimator::grpo, .norm = AdvantageNorm::group, .eps = 0},
                   std::sqrt(n / (n - 1.0))),
        1e-12);
  }
}

/// Of 0/1 rewards PKPO without baseline is k/n for the correct, k/n rho(n-1, c, k-1) for the wrong.
TEST(Advantage, PkpoOfBinaryRewardsIsItsClosedForm) {
  for (const int n : {4, 8, 16})
    for (int c = 0; c <= n; ++c)
      for (const int k : {2, 3, n}) {
        auto groups = draw_groups(1, n, Kind::random, false, false, 10);
        for (int g = 0; g < n; ++g) groups[0].quality[static_cast<std::size_t>(g)] = g < c ? 1 : 0;
        const auto got = run<double>(groups, {{.shaping = Shaping::none}},
                                     {{.estimator = Estimator::pkpo,
                                       .baseline = Baseline::none,
                                       .k = k,
                                       .pkpo = PkpoForm::none}});
        double miss = 1, total = 0;
        for (int j = 0; j < k - 1; ++j) miss *= std::max(0.0, double(n - 1 - c - j)) / (n - 1 - j);
        for (int g = 0; g < n; ++g) {
          const double a = got.advantage[static_cast<std::size_t>(g)];
          EXPECT_NEAR(a, double(k) / n * (g < c ? 1 : 1 - miss), 1e-12) << n << c << k;
          total += a;
        }
        double fail = 1;
        for (int j = 0; j < k; ++j) fail *= std::max(0.0, double(n - c - j)) / (n - j);
        EXPECT_NEAR(total, k * (1 - fail), 1e-12);
      }
}

/// G in the thousands: sums stay finite, and equal rewards get equal advantages.
TEST(Advantage, LargeGroups) {
  auto groups = draw_groups(1, 1024, Kind::random, false, false, 12);
  const ShapingParams none{.shaping = Shaping::none};
  std::vector<AdvantageParams> all;
  for (const Estimator e : {Estimator::pkpo, Estimator::passk, Estimator::grpo})
    all.push_back({.estimator = e, .baseline = Baseline::none, .k = 64});
  const auto got = run<float>(groups, {none, none, none}, all);
  for (std::size_t r = 0; r < 3; ++r) {
    std::map<double, float> seen;
    for (std::size_t g = 0; g < 1024; ++g) {
      const float a = got.advantage[r * 1024 + g];
      ASSERT_TRUE(std::isfinite(a));
      const double q = groups[0].quality[g];
      ASSERT_EQ(seen.emplace(r == 1 ? double(q > 0) : q, a).first->second, a);
    }
  }
}

}  // namespace
}  // namespace motley::test
