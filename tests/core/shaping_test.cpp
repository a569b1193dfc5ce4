/// Every shaping against a plain oracle.

#include "core/shaping.hpp"

#include <gtest/gtest.h>

#include "tests/core/groups.hpp"

namespace motley::test {
namespace {

class EveryShaping : public ::testing::TestWithParam<int> {};

/// Settings away from the defaults, and the second branch of every switch.
std::vector<ShapingParams> settings_of(Shaping shaping, RewardBias bias) {
  ShapingParams p{.shaping = shaping,
                  .floor = 0.15,
                  .reward_bias = bias,
                  .quality_weight = 0.7,
                  .diversity_weight = 1.3,
                  .ngram_n = 2,
                  .rank_penalty = 0.4,
                  .ips_alpha = 0.7,
                  .ips_eps = 0.2,
                  .mmr_lambda = 0.6,
                  .gapo_modes = 3,
                  .coverage_k = 3,
                  .coverage_lambda = 0.8,
                  .set_k = 3,
                  .logdet_alpha = 0.3,
                  .entropy_alpha = 0.6};
  ShapingParams other = p;
  other.mmr_adaptive = MmrAdaptive::std;
  other.gapo_valid = GapoValid::correct;
  other.coverage_k = 1;
  other.set_k = 2;
  other.ips_alpha = 1.0;
  return {p, other};
}

/// How much a method stretches rounding: z-scores divide by deviations as small as the quantum of
/// the values, a rescaled ranking by its own deviation, a determinant has n pivots.
double stretch(Shaping s) {
  return s == Shaping::additive_norm || s == Shaping::mmr || s == Shaping::logdet ? 50 : 2;
}

template <class Scalar>
void check_shaping(Shaping shaping) {
  for (const Kind kind : kKinds)
    for (const int n : {1, 2, 7, 8, 16})
      for (const Linkage linkage : {Linkage::union_find, Linkage::soft})
        for (const RewardBias bias : {RewardBias::none, RewardBias::group_min, RewardBias::sigmoid})
          for (const ShapingParams& p : settings_of(shaping, bias)) {
            const bool correct_only = shaping == Shaping::multiplicative_correct;
            const auto groups =
                draw_groups(3, n, kind, correct_only, linkage == Linkage::soft,
                            static_cast<unsigned>(100 * n) + static_cast<unsigned>(kind));
            const auto got =
                run<Scalar>(groups, {{.shaping = Shaping::none}, p}, {}, {.linkage = linkage});
            const std::size_t half = got.reward.size() / 2;
            for (std::size_t b = 0; b < groups.size(); ++b) {
              const auto want = oracle::shape(groups[b], knobs_of(p));
              for (std::size_t g = 0; g < want.reward.size(); ++g) {
                const std::size_t at = half + b * want.reward.size() + g;
                ASSERT_NEAR(double(got.diversity[at]), want.diversity[g], tolerance<Scalar>(1))
                    << "kind " << int(kind) << " n " << n << " b " << b << " g " << g;
                ASSERT_NEAR(double(got.reward[at]), want.reward[g],
                            stretch(shaping) * tolerance<Scalar>(want.reward[g]))
                    << "kind " << int(kind) << " n " << n << " b " << b << " g " << g;
                ASSERT_EQ(got.used[at], 1);
                ASSERT_EQ(double(got.reward[at - half]),
                          double(static_cast<Scalar>(groups[b].quality[g])));
              }
            }
          }
}

/// `permuted` is DARLING on shuffled values: same multiset, product intact, addressed by the step.
void check_permuted() {
  const auto groups = draw_groups(5, 8, Kind::random, false, false, 4);
  ShapingParams darling{.shaping = Shaping::multiplicative, .floor = 0.1};
  ShapingParams shuffled = darling;
  shuffled.shaping = Shaping::permuted;
  shuffled.seed = 12;
  ShapingParams reseeded = shuffled;
  reseeded.seed = 13;
  const auto plain = run<double>(groups, {darling, shuffled, reseeded});
  const auto later = run<double>(groups, {darling, shuffled, reseeded}, {}, {.step = 4});
  const std::size_t n = 40;
  const auto part = [&](const Doubles& x, std::size_t r) {
    return Doubles(x.begin() + static_cast<long>(r * n),
                   x.begin() + static_cast<long>((r + 1) * n));
  };
  EXPECT_NE(part(plain.diversity, 0), part(plain.diversity, 1));
  EXPECT_NE(part(plain.diversity, 1), part(plain.diversity, 2));
  EXPECT_NE(part(plain.diversity, 1), part(later.diversity, 1));
  for (std::size_t b = 0; b < 5; ++b) {
    Doubles before(plain.diversity.begin() + static_cast<long>(b * 8),
                   plain.diversity.begin() + static_cast<long>(b * 8 + 8));
    Doubles after(plain.diversity.begin() + static_cast<long>(n + b * 8),
                  plain.diversity.begin() + static_cast<long>(n + b * 8 + 8));
    for (std::size_t g = 0; g < 8; ++g)
      EXPECT_DOUBLE_EQ(plain.reward[n + b * 8 + g], groups[b].quality[g] * std::max(after[g], 0.1));
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    EXPECT_EQ(before, after);
  }
}

TEST_P(EveryShaping, MatchesTheOracle) {
  const auto shaping = static_cast<Shaping>(GetParam());
  if (shaping == Shaping::permuted) return check_permuted();
  check_shaping<double>(shaping);
  check_shaping<float>(shaping);
}

INSTANTIATE_TEST_SUITE_P(Shaping, EveryShaping,
                         ::testing::Range(0, static_cast<int>(EnumNames<Shaping>::names.size())),
                         [](const auto& test) {
                           return std::string(name_of(static_cast<Shaping>(test.param)));
                         });

/// A member of the partition is everybody, or the correct ones where only they are partitioned.
TEST(Shaping, OnlyCorrectCompletionsArePartitionedWhereAsked) {
  const auto quality = device_as<View3<float>>(Doubles{1, 0, -1, .2, 1, 0, -1, .2}, 2, 1, 4);
  const View3<int> member("motley::test::member", 2, 1, 4);
  partition_members(Exec(),
                    device<ShapingParams>({{.shaping = Shaping::multiplicative_correct}, {}}),
                    quality, member);
  EXPECT_EQ(values_of(member), (Ints{1, 0, 0, 1, 1, 1, 1, 1}));
}

TEST(Shaping, CountsNegativeQualitiesUnderAProduct) {
  const Doubles group = {-1, 0, -0.5, 1};
  Doubles all;
  for (int i = 0; i < 8; ++i) all.insert(all.end(), group.begin(), group.end());
  const View1<int> count("motley::test::count", 4);
  count_negative_products(Exec(),
                          device<ShapingParams>({{},
                                                 {.reward_bias = RewardBias::group_min},
                                                 {.shaping = Shaping::additive},
                                                 {.shaping = Shaping::coverage}}),
                          device_as<View3<float>>(all, 4, 2, 4), count);
  EXPECT_EQ(values_of(count), (Ints{4, 0, 0, 4}));
}

/// C(16, 8) = 12870 sets are drawn, not enumerated. With M = 4096 draws the estimate of i's mean
/// has a standard error of about |f - F| / sqrt(M/2) = .3/45; 4 of them = .027.
TEST(Shaping, DrawnSetsEstimateTheMeanOverAllSets) {
  const auto groups = draw_groups(3, 16, Kind::random, false, false, 5);
  ShapingParams p{.shaping = Shaping::set_rl, .set_k = 8, .seed = 3};
  ShapingParams reseeded = p;
  reseeded.seed = 4;
  const auto got = run<double>(groups, {p, reseeded});
  const auto later = run<double>(groups, {p, reseeded}, {}, {.step = 4});
  const std::size_t half = got.reward.size() / 2;
  for (std::size_t b = 0; b < 3; ++b) {
    const auto want = oracle::shape(groups[b], knobs_of(p)).reward;
    for (std::size_t g = 0; g < 16; ++g) {
      const std::size_t at = b * 16 + g;
      EXPECT_NEAR(got.reward[at], want[g], 0.027);
      EXPECT_NE(got.reward[at], got.reward[half + at]);
      EXPECT_NE(got.reward[at], later.reward[at]);
    }
  }
}

/// One value of one knob: methods side by side give the bits that each gives alone.
TEST(Shaping, MethodsInOneBatchGiveTheBitsOfEachAlone) {
  const auto groups = draw_groups(4, 7, Kind::random, false, false, 6);
  std::vector<ShapingParams> all;
  for (std::size_t s = 0; s < EnumNames<Shaping>::names.size(); ++s)
    all.push_back({.shaping = static_cast<Shaping>(s), .set_k = 3, .seed = 11});
  const std::vector<AdvantageParams> plain(all.size());
  const auto mixed = run<float>(groups, all, plain);
  for (std::size_t s = 0; s < all.size(); ++s) {
    const auto alone = run<float>(groups, {all[s]}, {plain[s]});
    const auto at = static_cast<long>(s * alone.reward.size());
    EXPECT_TRUE(std::equal(alone.reward.begin(), alone.reward.end(), mixed.reward.begin() + at))
        << name_of(all[s].shaping);
    EXPECT_TRUE(
        std::equal(alone.advantage.begin(), alone.advantage.end(), mixed.advantage.begin() + at))
        << name_of(all[s].shaping);
  }
}

/// The methods that hold another as a special case, bit for bit.
TEST(Shaping, ReducesToTheMethodsItGeneralises) {
  for (const int n : {2, 7, 16}) {
    const auto groups = draw_groups(5, n, Kind::random, false, false, 7);
    const ShapingParams none{.shaping = Shaping::none};
    const ShapingParams darling{.shaping = Shaping::multiplicative, .floor = 0.0};
    ShapingParams coverage{.shaping = Shaping::coverage};
    coverage.coverage_k = 2;
    coverage.coverage_lambda = 1;
    ShapingParams ips{.shaping = Shaping::ips};
    ips.ips_alpha = 0;
    ShapingParams uniqueness{.shaping = Shaping::uniqueness};
    uniqueness.uniqueness_alpha = 0;
    ShapingParams whole{.shaping = Shaping::multiplicative, .floor = 1.0};
    ShapingParams no_penalty{.shaping = Shaping::unlikeliness};
    no_penalty.rank_penalty = 0;
    ShapingParams no_bonus{.shaping = Shaping::batch};
    no_bonus.bonus_coef = 0;
    ShapingParams no_entropy{.shaping = Shaping::outcome_entropy};
    no_entropy.entropy_alpha = 0;
    ShapingParams no_determinant{.shaping = Shaping::logdet};
    no_determinant.logdet_alpha = 0;
    const std::vector<ShapingParams> all = {none,       darling,       coverage,   ips,
                                            uniqueness, whole,         no_penalty, no_bonus,
                                            no_entropy, no_determinant};
    for (const AdvantageNorm norm : {AdvantageNorm::none, AdvantageNorm::group}) {
      const std::vector<AdvantageParams> advantage(all.size(), {.norm = norm});
      const auto got = run<float>(groups, all, advantage);
      const std::size_t one = groups.size() * static_cast<std::size_t>(n);
      const auto same = [&](const auto& x, std::size_t a, std::size_t b) {
        return std::equal(x.begin() + static_cast<long>(a * one),
                          x.begin() + static_cast<long>((a + 1) * one),
                          x.begin() + static_cast<long>(b * one));
      };
      EXPECT_TRUE(same(got.reward, 1, 2)) << "coverage of 2 is DARLING, n " << n;
      for (std::size_t r = 3; r < all.size(); ++r) {
        EXPECT_TRUE(same(got.reward, 0, r)) << name_of(all[r].shaping) << " n " << n;
        EXPECT_TRUE(same(got.advantage, 0, r)) << name_of(all[r].shaping) << " n " << n;
      }
    }
  }
}

}  // namespace
}  // namespace motley::test
