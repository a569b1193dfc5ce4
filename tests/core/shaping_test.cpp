/// Every shaping and every advantage against plain oracles.

#include "core/shaping.hpp"

#include <random>

#include <gtest/gtest.h>

#include "core/advantage.hpp"
#include "tests/core/views.hpp"
#include "tests/oracle/shaping.hpp"

namespace motley::test {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;
constexpr int kTokens = 8;

enum class Kind { random, one_cluster, all_distinct, equal_quality, all_wrong, extreme };
constexpr Kind kKinds[] = {Kind::random,        Kind::one_cluster, Kind::all_distinct,
                           Kind::equal_quality, Kind::all_wrong,   Kind::extreme};

/// B random groups of n; sizes of clusters are consistent with labels drawn from few modes.
std::vector<oracle::GroupOfCompletions> draw_groups(int B, int n, Kind kind, bool correct_only,
                                                    bool soft, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> unit(0, 1);
  std::vector<oracle::GroupOfCompletions> out;
  for (int b = 0; b < B; ++b) {
    oracle::GroupOfCompletions x;
    x.soft = soft;
    Ints mode;
    for (int g = 0; g < n; ++g) {
      const int roll = static_cast<int>(random() % 4);
      double q = roll == 0 ? 1.0 : (roll == 1 ? 0.0 : std::round(unit(random) * 20 - 8) / 10);
      if (kind == Kind::equal_quality) q = 0.7;
      if (kind == Kind::all_wrong) q = -0.5 * (g % 2);
      if (kind == Kind::extreme) q = g % 2 == 0 ? 1e4 : -1e4;
      x.quality.push_back(q);
      mode.push_back(kind == Kind::one_cluster    ? 0
                     : kind == Kind::all_distinct ? g
                                                  : static_cast<int>(random() % 3));
      Ints text;
      Doubles log_prob;
      const int length = static_cast<int>(random() % (kTokens + 1));
      for (int t = 0; t < length; ++t) {
        text.push_back(static_cast<int>(random() % 2));
        log_prob.push_back(-std::round(unit(random) * 32) / 8);
      }
      x.text.push_back(text);
      x.log_prob.push_back(log_prob);
    }
    for (int g = 0; g < n; ++g) {
      int size = 0;
      Doubles row;
      const auto in = [&](int i) {
        return !correct_only || x.quality[static_cast<std::size_t>(i)] > 0;
      };
      for (int j = 0; j < n; ++j) {
        const bool same = mode[static_cast<std::size_t>(g)] == mode[static_cast<std::size_t>(j)];
        size += same && in(g) && in(j) ? 1 : 0;
        row.push_back(j < g ? x.pair_score[static_cast<std::size_t>(j)][static_cast<std::size_t>(g)]
                            : (j == g ? 1.0 : std::round(unit(random) * 64) / 64));
      }
      x.cluster_size.push_back(size);
      x.pair_score.push_back(row);
    }
    out.push_back(x);
  }
  return out;
}

template <class Scalar>
struct Result {
  std::vector<Scalar> diversity, reward;
  Ints used;
};

/// Runs [R,B,G] where every replica sees the same groups with its own settings.
template <class Scalar>
Result<Scalar> run(const std::vector<oracle::GroupOfCompletions>& groups,
                   const std::vector<ShapingParams>& shaping, Linkage linkage,
                   std::uint32_t step = 3) {
  const auto R = shaping.size();
  const auto B = groups.size();
  const auto n = groups[0].quality.size();
  Doubles quality, pair, log_prob;
  Ints size, token, length;
  for (std::size_t r = 0; r < R; ++r)
    for (const auto& x : groups)
      for (std::size_t g = 0; g < n; ++g) {
        quality.push_back(x.quality[g]);
        size.push_back(x.cluster_size[g]);
        length.push_back(static_cast<int>(x.text[g].size()));
        for (std::size_t t = 0; t < kTokens; ++t) {
          // Beyond the length stands what must not be read.
          token.push_back(t < x.text[g].size() ? x.text[g][t] : 1000 + static_cast<int>(g));
          log_prob.push_back(t < x.text[g].size() ? x.log_prob[g][t] : 1e6);
        }
        pair.insert(pair.end(), x.pair_score[g].begin(), x.pair_score[g].end());
      }
  const View3<Scalar> diversity("motley::test::diversity", R, B, n),
      reward("motley::test::reward", R, B, n);
  const View3<int> used("motley::test::used", R, B, n);
  shape_reward<Scalar>(
      Exec(), device<ShapingParams>(shaping),
      device<PartitionParams>(std::vector<PartitionParams>(R, {.linkage = linkage})), step,
      device_as<View3<Scalar>>(quality, R, B, n), device_as<View3<int>>(size, R, B, n),
      device_as<View4<float>>(pair, R, B, n, n), device_as<View4<int>>(token, R, B, n, kTokens),
      device_as<View3<int>>(length, R, B, n), device_as<View4<float>>(log_prob, R, B, n, kTokens),
      diversity, reward, used);
  return {values_of(diversity), values_of(reward), values_of(used)};
}

/// Rounding of a few operations at the size of the value; extreme qualities of 1e4 scale it.
template <class Scalar>
double tolerance(double x) {
  return (sizeof(Scalar) == 8 ? 1e-12 : 2e-6) * (1 + std::abs(x));
}

class EveryShaping : public ::testing::TestWithParam<int> {};

template <class Scalar>
void check_shaping(Shaping shaping) {
  for (const Kind kind : kKinds)
    for (const int n : {1, 2, 7, 8, 16})
      for (const Linkage linkage : {Linkage::union_find, Linkage::soft})
        for (const RewardBias bias :
             {RewardBias::none, RewardBias::group_min, RewardBias::sigmoid}) {
          const bool correct_only = shaping == Shaping::multiplicative_correct;
          const auto groups =
              draw_groups(3, n, kind, correct_only, linkage == Linkage::soft,
                          static_cast<unsigned>(100 * n) + static_cast<unsigned>(kind));
          ShapingParams p{.shaping = shaping,
                          .floor = 0.15,
                          .reward_bias = bias,
                          .quality_weight = 0.7,
                          .diversity_weight = 1.3,
                          .ngram_n = 2};
          ShapingParams other{.shaping = Shaping::none};
          const auto got = run<Scalar>(groups, {other, p}, linkage);
          const oracle::ShapingKnobs knobs{
              std::string(name_of(shaping)), std::string(name_of(bias)), 0.15, 0.7, 1.3, 2};
          const std::size_t half = got.reward.size() / 2;
          for (std::size_t b = 0; b < groups.size(); ++b) {
            const auto want = oracle::shape(groups[b], knobs);
            for (std::size_t g = 0; g < want.reward.size(); ++g) {
              const std::size_t at = half + b * want.reward.size() + g;
              ASSERT_NEAR(double(got.diversity[at]), want.diversity[g], tolerance<Scalar>(1))
                  << "kind " << int(kind) << " n " << n << " b " << b << " g " << g;
              // z-scores divide by deviations as small as the quantum of the values.
              ASSERT_NEAR(
                  double(got.reward[at]), want.reward[g],
                  (shaping == Shaping::additive_norm ? 50 : 1) * tolerance<Scalar>(want.reward[g]))
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
  const auto plain = run<double>(groups, {darling, shuffled, reseeded}, Linkage::union_find);
  const auto later = run<double>(groups, {darling, shuffled, reseeded}, Linkage::union_find, 4);
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
                         [](const auto& info) {
                           return std::string(name_of(static_cast<Shaping>(info.param)));
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

struct Case {
  Baseline baseline;
  AdvantageNorm norm;
};

class EveryAdvantage : public ::testing::TestWithParam<std::tuple<int, int>> {};

template <class Scalar>
void check_advantage(const Case& c) {
  for (const int n : {1, 2, 7, 16})
    for (const Kind kind : kKinds) {
      const auto groups = draw_groups(6, n, kind, false, false, static_cast<unsigned>(n) + 40u);
      Doubles reward, batch;
      Ints used;
      for (int r = 0; r < 2; ++r)
        for (std::size_t b = 0; b < groups.size(); ++b)
          for (const double q : groups[b].quality) {
            // The second replica's rewards are other numbers: nothing may cross.
            reward.push_back(r == 0 ? double(static_cast<Scalar>(q)) : 3.0 - q);
            used.push_back(b == 4 ? 0 : 1);
            if (r == 0 && b != 4) batch.push_back(reward.back());
          }
      const auto B = groups.size();
      const View3<Scalar> out("motley::test::advantage", 2, B, n);
      const View2<Scalar> mean("motley::test::mean", 2, B),
          deviation("motley::test::deviation", 2, B);
      const AdvantageParams p{.baseline = c.baseline, .norm = c.norm, .eps = 1e-3};
      group_advantage<Scalar>(Exec(), device<AdvantageParams>({p, AdvantageParams{}}),
                              device_as<View3<Scalar>>(reward, 2, B, n),
                              device_as<View3<int>>(used, 2, B, n), mean, deviation, out);
      const auto got = values_of(out);
      const auto means = values_of(mean), deviations = values_of(deviation);
      for (std::size_t b = 0; b < B; ++b) {
        const Doubles mine(reward.begin() + static_cast<long>(b) * n,
                           reward.begin() + static_cast<long>(b + 1) * n);
        const auto want = oracle::advantage(mine, batch, std::string(name_of(c.baseline)),
                                            std::string(name_of(c.norm)), 1e-3);
        const bool equal =
            std::all_of(mine.begin(), mine.end(), [&](double x) { return x == mine[0]; });
        EXPECT_NEAR(double(means[b]), n > 1 ? oracle::mean(mine) : 0,
                    10 * tolerance<Scalar>(1e4 * (kind == Kind::extreme)));
        EXPECT_NEAR(double(deviations[b]), n > 1 ? oracle::deviation(mine, 1) : 1,
                    10 * tolerance<Scalar>(1e4 * (kind == Kind::extreme)));
        for (std::size_t g = 0; g < mine.size(); ++g) {
          const double value = double(got[b * mine.size() + g]);
          if (b == 4 || (equal && n > 1 && c.baseline != Baseline::none))
            EXPECT_EQ(value, 0) << "n " << n << " b " << b;
          else
            EXPECT_NEAR(value, want[g], 10 * tolerance<Scalar>(want[g]))
                << "n " << n << " b " << b << " g " << g;
        }
      }
    }
}

TEST_P(EveryAdvantage, MatchesTheOracle) {
  const Case c{static_cast<Baseline>(std::get<0>(GetParam())),
               static_cast<AdvantageNorm>(std::get<1>(GetParam()))};
  check_advantage<double>(c);
  check_advantage<float>(c);
}

INSTANTIATE_TEST_SUITE_P(
    Advantage, EveryAdvantage,
    ::testing::Combine(::testing::Range(0, static_cast<int>(EnumNames<Baseline>::names.size())),
                       ::testing::Range(0,
                                        static_cast<int>(EnumNames<AdvantageNorm>::names.size()))),
    [](const auto& info) {
      return std::string(name_of(static_cast<Baseline>(std::get<0>(info.param)))) + "_" +
             std::string(name_of(static_cast<AdvantageNorm>(std::get<1>(info.param))));
    });

}  // namespace
}  // namespace motley::test
