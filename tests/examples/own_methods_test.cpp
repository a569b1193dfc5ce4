/// The shaping and the partitioner of docs/examples, each against a plain oracle.

#include <random>

#include <gtest/gtest.h>

#include "tests/core/registered.hpp"
#include "tests/oracle/examples.hpp"

namespace motley::test {
namespace {

OwnGroups random_groups(int B, int n, unsigned seed) {
  std::mt19937 random(seed);
  OwnGroups x;
  for (int b = 0; b < B; ++b) {
    x.texts.emplace_back();
    x.quality.emplace_back();
    x.cluster.emplace_back();
    std::vector<int> first(3, -1);
    for (int g = 0; g < n; ++g) {
      x.texts.back().emplace_back(random() % (kText + 1));
      for (int& token : x.texts.back().back()) token = static_cast<int>(random() % 2);
      x.quality.back().push_back(static_cast<double>(random() % 3) / 2 - 0.25);
      int& label = first[random() % 3];
      if (label < 0) label = g;
      x.cluster.back().push_back(label);
    }
  }
  return x;
}

TEST(OwnShaping, RewardsFallWithTheRankAmongTexts) {
  for (const int n : {1, 2, 7, 16}) {
    const OwnGroups x = random_groups(6, n, static_cast<unsigned>(n));
    ShapingParams p{.shaping = value_of<Shaping>("shortest_first")};
    ShapingParams biased = p;
    biased.reward_bias = RewardBias::group_min;
    const auto options = [](double decay, int among) {
      return changed(shaping_settings(), "shortest_first", [&](const std::string& name, double) {
        return name == "decay" ? decay : among;
      });
    };
    const auto got =
        shape_own<double>(x, {p, biased, {.shaping = Shaping::ips}, p},
                          {options(0.5, 0), options(0.3, 1), options(0, 0), options(0, 0)});
    for (std::size_t b = 0; b < x.texts.size(); ++b) {
      std::vector<int> length;
      for (const auto& text : x.texts[b]) length.push_back(static_cast<int>(text.size()));
      const double lowest = *std::min_element(x.quality[b].begin(), x.quality[b].end());
      const auto plain = oracle::shortest_first(length, x.cluster[b], x.quality[b], 0.5, false);
      const auto among = oracle::shortest_first(length, x.cluster[b], x.quality[b], 0.3, true);
      const auto winner = oracle::shortest_first(length, x.cluster[b], x.quality[b], 0, false);
      for (std::size_t g = 0; g < plain.size(); ++g) {
        const auto at = [&](std::size_t r) { return (r * x.texts.size() + b) * plain.size() + g; };
        const double q = x.quality[b][g];
        EXPECT_NEAR(got.diversity[at(0)], plain[g], 1e-15);
        EXPECT_NEAR(got.reward[at(0)], q * plain[g], 1e-15);
        EXPECT_NEAR(got.reward[at(1)], (q - lowest) * among[g], 1e-15);
        EXPECT_NEAR(got.reward[at(3)], q * winner[g], 1e-15);
      }
    }
    const auto alone = shape_own<double>(x, {biased}, {options(0.3, 1)});
    EXPECT_TRUE(std::equal(alone.reward.begin(), alone.reward.end(),
                           got.reward.begin() + static_cast<long>(alone.reward.size())));
  }
}

TEST(OwnPartitioner, ScoresTheSharedBeginning) {
  for (const int n : {1, 2, 7}) {
    const OwnGroups x = random_groups(8, n, 20 + static_cast<unsigned>(n));
    const PartitionParams p{.method = value_of<PartitionMethod>("common_start"), .threshold = 0.4};
    std::vector<OwnSettings> own;
    const std::vector<int> skips = {0, 1, 5};
    for (const int skip : skips)
      own.push_back(changed(partitioner_settings(), "common_start",
                            [&](const std::string&, double) { return skip; }));
    const auto got = partition_own(x, {p, p, p}, own);
    std::size_t at = 0;
    for (const int skip : skips)
      for (const Texts& texts : x.texts)
        for (std::size_t i = 0; i < texts.size(); ++i)
          for (std::size_t j = 0; j < texts.size(); ++j, ++at)
            EXPECT_EQ(got.score[at], i == j ? 1.0f
                                            : static_cast<float>(oracle::common_start(
                                                  texts[i], texts[j], std::size_t(skip))))
                << skip << " " << i << " " << j;
    const auto alone = partition_own(x, {p}, {own[1]});
    EXPECT_TRUE(std::equal(alone.cluster.begin(), alone.cluster.end(),
                           got.cluster.begin() + static_cast<long>(alone.cluster.size())));
  }
}

}  // namespace
}  // namespace motley::test
