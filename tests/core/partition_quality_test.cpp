/// Agreement of partitions against the plain count over pairs and values worked elsewhere.

#include "core/partition_quality.hpp"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/error.hpp"

namespace motley::test {
namespace {

using Ints = std::vector<int>;

const Ints kTruth = {0, 0, 0, 3, 4, 4, 6, 7};
const Ints kPredicted = {0, 0, 2, 2, 4, 4, 4, 7};

/// Six printed digits.
TEST(PartitionQuality, WorkedExample) {
  EXPECT_NEAR(adjusted_rand_index(kTruth, kPredicted), 0.339623, 6e-7);
  const VMeasure v = v_measure(kTruth, kPredicted);
  EXPECT_NEAR(v.homogeneity, 0.724276, 6e-7);
  EXPECT_NEAR(v.completeness, 0.819294, 6e-7);
  EXPECT_NEAR(v.v, 0.768860, 6e-7);
  const PairCounts p = count_pairs(kTruth, kPredicted);
  EXPECT_DOUBLE_EQ(p.precision(), 0.4);
  EXPECT_DOUBLE_EQ(p.recall(), 0.5);
  EXPECT_NEAR(p.f1(), 0.444444, 6e-7);
  EXPECT_DOUBLE_EQ(p.false_merge(), 3.0 / 24);
  EXPECT_DOUBLE_EQ(p.false_split(), 0.5);
}

/// The index from its definition: agreement of pairs against its mean over all pairings of the two
/// cluster-size profiles, which for pair counts is T P / total.
TEST(PartitionQuality, MatchesACountOverAllPairs) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const int n = 2 + static_cast<int>(random() % 9);
    Ints a, b;
    for (int i = 0; i < n; ++i) {
      a.push_back(static_cast<int>(random() % 4) - 1);
      b.push_back(static_cast<int>(random() % 4) - 1);
    }
    long long truth = 0, predicted = 0, both = 0, total = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = i + 1; j < a.size(); ++j) {
        const bool x = a[i] >= 0 && a[i] == a[j], y = b[i] >= 0 && b[i] == b[j];
        truth += x;
        predicted += y;
        both += x && y;
        ++total;
      }
    const PairCounts p = count_pairs(a, b);
    ASSERT_EQ(p.truth, truth);
    ASSERT_EQ(p.predicted, predicted);
    ASSERT_EQ(p.both, both);
    ASSERT_EQ(p.total, total);
    const double expected = double(truth) * double(predicted) / double(total);
    const double most = 0.5 * double(truth + predicted);
    const double want = most == expected ? 1 : (double(both) - expected) / (most - expected);
    ASSERT_NEAR(adjusted_rand_index(a, b), want, 1e-12);
    ASSERT_NEAR(adjusted_rand_index(a, b), adjusted_rand_index(b, a), 1e-12);
    const VMeasure forward = v_measure(a, b), backward = v_measure(b, a);
    ASSERT_NEAR(forward.homogeneity, backward.completeness, 1e-12);
    ASSERT_NEAR(forward.v, backward.v, 1e-12);
  }
}

TEST(PartitionQuality, NamesOfClustersDoNotMatter) {
  const Ints renamed = {9, 9, 1, 1, 0, 0, 0, 4};
  EXPECT_EQ(adjusted_rand_index(kTruth, renamed), adjusted_rand_index(kTruth, kPredicted));
  EXPECT_EQ(adjusted_rand_index(kPredicted, renamed), 1);
  EXPECT_NEAR(v_measure(kPredicted, renamed).v, 1, 1e-15);
}

TEST(PartitionQuality, TrivialPartitions) {
  const Ints together(5, 2), apart = {0, 1, 2, 3, 4}, left_out(5, -1), one = {0};
  for (const Ints& x : {together, apart}) {
    EXPECT_EQ(adjusted_rand_index(x, x), 1);
    EXPECT_EQ(v_measure(x, x).v, 1);
  }
  EXPECT_EQ(adjusted_rand_index(apart, left_out), 1);
  EXPECT_EQ(adjusted_rand_index(together, apart), 0);
  EXPECT_EQ(v_measure(apart, together).homogeneity, 0);
  EXPECT_EQ(v_measure(apart, together).v, 0);
  EXPECT_EQ(adjusted_rand_index(one, one), 1);
  EXPECT_EQ(count_pairs(together, apart).false_split(), 1);
  EXPECT_EQ(count_pairs(apart, together).false_merge(), 1);
  EXPECT_THROW(adjusted_rand_index(one, apart), Error);
}

TEST(PartitionQuality, CountsAddUpOverGroups) {
  PairCounts sum = count_pairs(kTruth, kPredicted);
  sum += count_pairs(kPredicted, kTruth);
  EXPECT_EQ(sum.total, 56);
  EXPECT_EQ(sum.truth, 9);
  EXPECT_EQ(sum.predicted, 9);
  EXPECT_EQ(sum.both, 4);
}

}  // namespace
}  // namespace motley::test
