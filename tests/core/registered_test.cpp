/// Methods that enter by registration: the built-in lexical bonus, and a partitioner of this file.

#include "tests/core/registered.hpp"

#include <cmath>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/bleu_bonus.hpp"

namespace motley::test {

/// Labels a text by its length; numbers are neither canonical nor small.
struct SameLength {
  static constexpr const char* kName = "same_length";
  static constexpr const char* kText = "texts of equal length, counted in steps";
  struct Options {
    int width = 1;
    template <class V>
    void describe(V&& v) {
      v("width", width, between(1, 100), "token", "lengths that are one");
    }
  };
  KOKKOS_FUNCTION static void label(const Options& o, const PartitionGroup& x, int* label) {
    for (int g = 0; g < x.n; ++g) label[g] = 50 - x.length[g] / o.width;
  }
};
MOTLEY_REGISTER_PARTITIONER(SameLength)

namespace {

nlohmann::json reference() {
  std::ifstream in(std::string(MOTLEY_SOURCE_DIR) + "/tests/core/reference/bleu.json");
  return nlohmann::json::parse(in);
}

TEST(BleuBonus, ScoresAsTheReferenceImplementation) {
  const auto all = reference();
  ASSERT_GE(all["pairs"].size(), 60u);
  int between_the_ends = 0;
  for (const auto& pair : all["pairs"]) {
    const auto text = pair["text"].get<std::vector<int>>();
    const auto other = pair["reference"].get<std::vector<int>>();
    const double want = pair["bleu"];
    EXPECT_NEAR(weighted_bleu(text.data(), static_cast<int>(text.size()), other.data(),
                              static_cast<int>(other.size()), pair["order"]),
                want, 1e-14);
    between_the_ends += want > 0.01 && want < 0.99 ? 1 : 0;
  }
  EXPECT_GE(between_the_ends, 12);
}

ShapingParams bonus(RewardBias bias = RewardBias::none) {
  ShapingParams p{.shaping = value_of<Shaping>("bleu_bonus"), .reward_bias = bias};
  return p;
}
OwnSettings bonus_options(double coef, int only_all_correct, int steps) {
  return changed(shaping_settings(), "bleu_bonus", [&](const std::string& name, double old) {
    return name == "coef"               ? coef
           : name == "only_all_correct" ? only_all_correct
           : name == "steps"            ? steps
                                        : old;
  });
}

template <class Scalar>
void check_bonus(double tolerance) {
  for (const auto& group : reference()["groups"]) {
    const auto texts = group["texts"].get<Texts>();
    const auto likeness = group["likeness"].get<std::vector<double>>();
    const std::size_t n = texts.size();
    OwnGroups x{{texts, texts}, {std::vector<double>(n, 0.8), std::vector<double>(n, 0.8)}, {}};
    x.quality[1][n - 1] = -0.5;  // one is wrong
    x.cluster.assign(2, std::vector<int>(n, 0));
    const auto got = shape_own<Scalar>(
        x, {bonus(), bonus(), bonus(RewardBias::group_min), bonus(), {.shaping = Shaping::none}},
        {bonus_options(0.5, 1, 0), bonus_options(0.5, 0, 4), bonus_options(0.5, 0, 0),
         bonus_options(0.5, 0, 3), shaping_settings()});
    for (std::size_t b = 0; b < 2; ++b)
      for (std::size_t g = 0; g < n; ++g) {
        const auto at = [&](std::size_t r) { return (r * 2 + b) * n + g; };
        const double q = x.quality[b][g], q_min = b == 1 ? q + 0.5 : q - 0.8;
        const double lifted = 1 + 0.5 * (1 - likeness[g]);
        EXPECT_NEAR(double(got.diversity[at(0)]), 1 - likeness[g], tolerance);
        EXPECT_NEAR(double(got.reward[at(0)]), b == 0 ? q * lifted : q, tolerance);
        EXPECT_NEAR(double(got.reward[at(1)]), q * lifted, tolerance);
        EXPECT_NEAR(double(got.reward[at(2)]), q_min * lifted, tolerance);
        EXPECT_NEAR(double(got.reward[at(3)]), q, tolerance) << "step 3 is past the third step";
        EXPECT_EQ(got.reward[at(4)], static_cast<Scalar>(q));
      }
  }
}

TEST(BleuBonus, RewardsAreThoseOfTheReference) {
  check_bonus<double>(1e-13);
  check_bonus<float>(1e-6);
}

TEST(BleuBonus, AGroupOfOneHasNoDiversity) {
  const auto got = shape_own<double>({{{{1, 2}}}, {{1.0}}, {{0}}}, {bonus()}, {shaping_settings()});
  EXPECT_EQ(got.diversity[0], 0);
  EXPECT_EQ(got.reward[0], 1);
}

/// Side by side with built-in methods the bits are those of each alone.
TEST(Registered, ShapingsInOneBatchGiveTheBitsOfEachAlone) {
  const auto groups = reference()["groups"];
  const auto texts = groups[2]["texts"].get<Texts>();
  const OwnGroups x{{texts}, {{1, 0.3, 0.7, 1, 0.2}}, {{0, 1, 0, 0, 4}}};
  const std::vector<ShapingParams> params = {
      {.shaping = Shaping::multiplicative}, bonus(), {.shaping = Shaping::coverage}, bonus()};
  const std::vector<OwnSettings> own = {shaping_settings(), bonus_options(0.3, 0, 0),
                                        shaping_settings(), bonus_options(0.9, 0, 0)};
  const auto mixed = shape_own<float>(x, params, own);
  for (std::size_t r = 0; r < params.size(); ++r) {
    const auto alone = shape_own<float>(x, {params[r]}, {own[r]});
    for (std::size_t g = 0; g < 5; ++g) {
      EXPECT_EQ(alone.reward[g], mixed.reward[r * 5 + g]) << r;
      EXPECT_EQ(alone.diversity[g], mixed.diversity[r * 5 + g]) << r;
    }
  }
}

TEST(Registered, TraitsAnswerForTheNumber) {
  const Shaping s = value_of<Shaping>("bleu_bonus");
  EXPECT_TRUE(is_registered(s) && is_product(s));
  EXPECT_FALSE(needs_clusters(s) || needs_log_prob(s) || shapes_advantage(s) || is_count_reward(s));
  EXPECT_FALSE(is_registered(Shaping::permuted));
  EXPECT_EQ(name_of(s), "bleu_bonus");
  const PartitionMethod m = value_of<PartitionMethod>("same_length");
  EXPECT_TRUE(is_registered(m));
  EXPECT_FALSE(clusters_embeddings(m));
  EXPECT_EQ(name_of(m), "same_length");
}

OwnSettings width(int w) {
  return changed(partitioner_settings(), "same_length",
                 [&](const std::string&, double) { return w; });
}

/// Labels become scores of 0 and 1; every linkage gives them back, canonical, among the members.
TEST(Registered, LabelsComeBackThroughEveryLinkage) {
  OwnGroups x{{{{1}, {1, 2}, {3}, {4, 5, 6}, {7, 8}, {9, 9, 9}}}, {}, {}};
  for (const Linkage linkage :
       {Linkage::union_find, Linkage::greedy_first, Linkage::greedy_last, Linkage::correlation}) {
    const PartitionParams p{.method = value_of<PartitionMethod>("same_length"), .linkage = linkage};
    const PartitionParams exact{.method = PartitionMethod::exact, .linkage = linkage};
    const auto got = partition_own(x, {p, exact, p}, {width(1), width(1), width(2)});
    EXPECT_EQ(std::vector<int>(got.cluster.begin(), got.cluster.begin() + 6),
              (std::vector<int>{0, 1, 0, 3, 1, 3}));
    // Lengths 1 | 2, 3.
    EXPECT_EQ(std::vector<int>(got.cluster.begin() + 12, got.cluster.end()),
              (std::vector<int>{0, 1, 0, 1, 1, 1}));
    EXPECT_EQ(got.number[0], 3);
    EXPECT_EQ(got.number[2], 2);
    EXPECT_EQ(got.score[36], -7.0f) << "a replica of another method was touched";
    const auto alone = partition_own(x, {p}, {width(2)});
    EXPECT_EQ(alone.cluster, std::vector<int>(got.cluster.begin() + 12, got.cluster.end()));
  }
  const PartitionParams p{.method = value_of<PartitionMethod>("same_length")};
  const auto some = partition_own(
      x, {p}, {width(1)}, device_as<View3<int>>(std::vector<int>{0, 1, 1, 1, 1, 0}, 1, 1, 6));
  EXPECT_EQ(some.cluster, (std::vector<int>{-1, 1, 2, 3, 1, -1}));
  EXPECT_EQ(some.size, (std::vector<int>{0, 2, 1, 1, 2, 0}));
}

TEST(OwnOptionsBox, CopiesByValueAndKnowsItsType) {
  OwnOptions a("same_length", SameLength::Options{});
  const OwnOptions b = a;
  const auto set = [](const std::string&, double) { return 9.0; };
  Changer<decltype(set)> sink(set);
  a.describe(sink);
  EXPECT_EQ(a.as<SameLength::Options>().width, 9);
  EXPECT_EQ(b.as<SameLength::Options>().width, 1);
  EXPECT_THROW(a.as<NoOptions>(), Error);
  EXPECT_THROW(own_options({b}, "other"), Error);
}

}  // namespace
}  // namespace motley::test
