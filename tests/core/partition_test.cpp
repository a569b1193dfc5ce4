/// Pair scores of the rule methods and every linkage against plain oracles.

#include "core/partition.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/core/views.hpp"
#include "tests/oracle/cluster.hpp"

namespace motley::test {
namespace {

using Ints = std::vector<int>;

/// A batch [R,B,G] of symmetric score matrices and what `partition` makes of it.
struct Batch {
  int R, B, G;
  std::vector<float> score;  // [R,B,G,G]
  Ints member;               // [R,B,G]
  Ints cluster, size, count;

  Batch(int replicas, int prompts, int n, double density, unsigned seed)
      : R(replicas), B(prompts), G(n) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> unit(0, 1);
    score.assign(static_cast<std::size_t>(R * B * G * G), 1.0f);
    member.assign(static_cast<std::size_t>(R * B * G), 1);
    for (int k = 0; k < R * B; ++k)
      for (int i = 0; i < G; ++i) {
        if (unit(random) < 0.2f) member[at(k, i)] = 0;
        for (int j = i + 1; j < G; ++j) {
          // The lower triangle lies: it must never be read.
          score[pair(k, i, j)] = unit(random) < static_cast<float>(density) ? 0.9f : 0.1f;
          score[pair(k, j, i)] = 1.0f - score[pair(k, i, j)];
        }
      }
  }
  std::size_t at(int k, int i) const { return static_cast<std::size_t>(k * G + i); }
  std::size_t pair(int k, int i, int j) const {
    return static_cast<std::size_t>((k * G + i) * G + j);
  }
  void run(const std::vector<PartitionParams>& params, bool everybody) {
    const View3<int> out("motley::test::cluster", R, B, G), sizes("motley::test::size", R, B, G);
    const View2<int> counts("motley::test::count", R, B);
    Kokkos::deep_copy(out, 77);
    Kokkos::deep_copy(sizes, 77);
    Kokkos::deep_copy(counts, 77);
    partition(Exec(), device<PartitionParams>(params), device_as<View4<float>>(score, R, B, G, G),
              everybody ? View3<int>() : device_as<View3<int>>(member, R, B, G), out, sizes,
              counts);
    cluster = values_of(out);
    size = values_of(sizes);
    count = values_of(counts);
  }
  /// Upper triangle of group k, mirrored.
  oracle::Matrix matrix(int k) const {
    oracle::Matrix m(static_cast<std::size_t>(G),
                     std::vector<double>(static_cast<std::size_t>(G), 1));
    for (int i = 0; i < G; ++i)
      for (int j = i + 1; j < G; ++j)
        m[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] =
            m[static_cast<std::size_t>(j)][static_cast<std::size_t>(i)] =
                double(score[pair(k, i, j)]);
    return m;
  }
  Ints members(int k, bool everybody) const {
    if (everybody) return Ints(static_cast<std::size_t>(G), 1);
    return {member.begin() + k * G, member.begin() + (k + 1) * G};
  }
};

oracle::Labels expected(Linkage linkage, const oracle::Matrix& m, const Ints& member) {
  switch (linkage) {
    case Linkage::union_find: return oracle::components(m, 0.5, member);
    case Linkage::greedy_first: return oracle::greedy_first(m, 0.5, member);
    case Linkage::greedy_last: return oracle::greedy_last(m, 0.5, member);
    case Linkage::soft: return oracle::Labels(member.size(), -1);
    case Linkage::correlation: break;  // an optimum, not an order: tested by its cost
  }
  ADD_FAILURE() << "a linkage without an oracle: " << name_of(linkage);
  return {};
}

std::vector<PartitionParams> with_linkages(const std::vector<Linkage>& linkages) {
  std::vector<PartitionParams> out;
  for (const Linkage linkage : linkages)
    out.push_back({.method = PartitionMethod::classifier, .linkage = linkage, .threshold = 0.5});
  return out;
}

class EveryLinkage : public ::testing::TestWithParam<int> {};

TEST_P(EveryLinkage, MatchesTheOracle) {
  const auto linkage = static_cast<Linkage>(GetParam());
  for (const int G : {1, 2, 3, 7, 8, 33})
    for (const double density : {0.0, 0.1, 0.3, 1.0})
      for (const bool everybody : {true, false}) {
        Batch batch(1, 20, G, density, static_cast<unsigned>(G * 10) + (everybody ? 1u : 2u));
        batch.run(with_linkages({linkage}), everybody);
        for (int k = 0; k < batch.B; ++k) {
          const auto want = expected(linkage, batch.matrix(k), batch.members(k, everybody));
          const auto sizes = oracle::sizes(want);
          for (int g = 0; g < G; ++g) {
            ASSERT_EQ(batch.cluster[batch.at(k, g)], want[static_cast<std::size_t>(g)])
                << "G " << G << " density " << density << " group " << k << " completion " << g;
            ASSERT_EQ(batch.size[batch.at(k, g)], sizes[static_cast<std::size_t>(g)]);
          }
          ASSERT_EQ(batch.count[static_cast<std::size_t>(k)], oracle::count(want));
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Partition, EveryLinkage,
                         ::testing::Range(0, static_cast<int>(Linkage::correlation)),
                         [](const auto& test) {
                           return std::string(name_of(static_cast<Linkage>(test.param)));
                         });

TEST(Partition, ReplicasUseTheirOwnRow) {
  const std::vector<Linkage> linkages = {Linkage::greedy_last, Linkage::union_find, Linkage::soft,
                                         Linkage::greedy_first};
  Batch batch(4, 5, 9, 0.2, 5);
  batch.run(with_linkages(linkages), false);
  for (int k = 0; k < 20; ++k) {
    const auto want = expected(linkages[static_cast<std::size_t>(k / 5)], batch.matrix(k),
                               batch.members(k, false));
    for (int g = 0; g < 9; ++g)
      EXPECT_EQ(batch.cluster[batch.at(k, g)], want[static_cast<std::size_t>(g)]) << k << ' ' << g;
  }
}

TEST(Partition, AScoreAtTheThresholdIsNotTheSame) {
  Batch batch(1, 1, 2, 1.0, 1);
  batch.score[1] = 0.5f;
  batch.run(with_linkages({Linkage::union_find}), true);
  EXPECT_EQ(batch.cluster, (Ints{0, 1}));
}

/// Union-find is an equivalence whatever the order: permuting the group permutes the clusters.
TEST(Partition, UnionFindDoesNotDependOnOrder) {
  Batch batch(1, 1, 12, 0.12, 9);
  batch.run(with_linkages({Linkage::union_find}), true);
  const auto together = batch.cluster;
  Batch turned = batch;
  Ints order(12);
  for (int i = 0; i < 12; ++i) order[static_cast<std::size_t>(i)] = (5 * i + 3) % 12;
  const auto m = batch.matrix(0);
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 12; ++j)
      turned.score[turned.pair(0, i, j)] =
          static_cast<float>(m[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]
                              [static_cast<std::size_t>(order[static_cast<std::size_t>(j)])]);
  turned.run(with_linkages({Linkage::union_find}), true);
  for (std::size_t i = 0; i < 12; ++i)
    for (std::size_t j = 0; j < 12; ++j)
      EXPECT_EQ(turned.cluster[i] == turned.cluster[j],
                together[static_cast<std::size_t>(order[i])] ==
                    together[static_cast<std::size_t>(order[j])]);
}

/// Scores in (0, 1) of every size, and ties where `levels` of them repeat.
Batch draw_scores(int groups, int G, int levels, unsigned seed) {
  Batch batch(1, groups, G, 0.5, seed);
  std::mt19937 random(seed);
  for (float& s : batch.score)
    s = static_cast<float>(1 + random() % static_cast<unsigned>(levels)) /
        static_cast<float>(levels + 1);
  return batch;
}

/// Up to eight members the cost is the least of all partitions, and of equal ones the first stands.
TEST(CorrelationClustering, IsExactForSmallGroups) {
  for (const int G : {1, 2, 3, 5, 7, 9})
    for (const int levels : {2, 1000})
      for (const double threshold : {0.5, 0.3}) {
        Batch batch = draw_scores(25, G, levels, static_cast<unsigned>(G));
        auto params = with_linkages({Linkage::correlation});
        params[0].threshold = threshold;
        batch.run(params, G < 8);
        for (int k = 0; k < batch.B; ++k) {
          const Ints member = batch.members(k, G < 8);
          if (std::count(member.begin(), member.end(), 1) > 7) continue;
          double least = 1e300;
          oracle::Labels best(member.size(), -1);
          oracle::for_each_partition(member, [&](const oracle::Labels& label) {
            const double cost = oracle::correlation_cost(batch.matrix(k), threshold, label);
            if (cost < least - 1e-9) {
              least = cost;
              best = label;
            }
          });
          const Ints got(batch.cluster.begin() + k * G, batch.cluster.begin() + (k + 1) * G);
          EXPECT_EQ(got, oracle::canonical(best)) << "G " << G << " group " << k;
        }
      }
}

/// Above that no single move gains, nor is it worse than one cluster or none; labels are canonical;
/// where the scores are a clean partition it is found.
TEST(CorrelationClustering, IsAFixedPointForLargeGroups) {
  for (const int G : {9, 16, 33}) {
    Batch batch = draw_scores(10, G, 1000, static_cast<unsigned>(G));
    batch.run(with_linkages({Linkage::correlation}), true);
    for (int k = 0; k < batch.B; ++k) {
      const auto m = batch.matrix(k);
      const oracle::Labels got(batch.cluster.begin() + k * G, batch.cluster.begin() + (k + 1) * G);
      EXPECT_EQ(got, oracle::canonical(got));
      const double cost = oracle::correlation_cost(m, 0.5, got);
      for (std::size_t i = 0; i < got.size(); ++i)
        for (int to = 0; to <= G; ++to) {
          oracle::Labels moved = got;
          moved[i] = to;
          EXPECT_GE(oracle::correlation_cost(m, 0.5, moved), cost - 1e-6) << "G " << G;
        }
    }
    for (int i = 0; i < G; ++i)
      for (int j = 0; j < G; ++j) batch.score[batch.pair(0, i, j)] = i % 3 == j % 3 ? 0.8f : 0.2f;
    batch.run(with_linkages({Linkage::correlation}), true);
    for (int i = 0; i < G; ++i) EXPECT_EQ(batch.cluster[batch.at(0, i)], i % 3);
  }
}

class EveryRuleMethod : public ::testing::TestWithParam<int> {};

TEST_P(EveryRuleMethod, ScoresPairsAsTheOracle) {
  const auto method = static_cast<PartitionMethod>(GetParam());
  const bool rule = method == PartitionMethod::oracle || method == PartitionMethod::exact ||
                    method == PartitionMethod::ngram;
  std::mt19937 random(21);
  const int G = 7, T = 9, n = 3;
  Ints token, length, class_id;
  std::vector<Ints> texts;
  for (int g = 0; g < G; ++g) {
    Ints text;
    const int size = static_cast<int>(random() % (T + 1));
    for (int t = 0; t < size; ++t) text.push_back(1 + static_cast<int>(random() % 2));
    if (g == 4) text = texts[1];
    texts.push_back(text);
    length.push_back(static_cast<int>(text.size()));
    class_id.push_back(static_cast<int>(random() % 4) - 1);
    // What follows the end must not count.
    text.resize(T, g + 10);
    token.insert(token.end(), text.begin(), text.end());
  }
  const View4<float> score("motley::test::score", 1, 1, G, G);
  const View2<int> calls("motley::test::calls", 1, 1);
  Kokkos::deep_copy(score, -7.0f);
  Kokkos::deep_copy(calls, 9);
  rule_pair_scores(Exec(), device<PartitionParams>({{.method = method, .ngram_n = n}}),
                   device_as<View4<int>>(token, 1, 1, G, T), device_as<View3<int>>(length, 1, 1, G),
                   device_as<View3<int>>(class_id, 1, 1, G), score, calls);
  const auto got = values_of(score);
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (std::size_t j = 0; j < texts.size(); ++j) {
      double want = -7;  // replicas of other methods are left alone
      switch (method) {
        case PartitionMethod::oracle: want = class_id[i] == class_id[j] && class_id[i] >= 0; break;
        case PartitionMethod::exact: want = texts[i] == texts[j]; break;
        case PartitionMethod::ngram: want = oracle::jaccard(texts[i], texts[j], n); break;
        default: break;
      }
      if (i == j && rule) want = 1;
      EXPECT_FLOAT_EQ(got[i * texts.size() + j], static_cast<float>(want)) << i << ' ' << j;
    }
  EXPECT_EQ(values_of(calls)[0], rule ? 0 : 9);
}

INSTANTIATE_TEST_SUITE_P(
    Partition, EveryRuleMethod,
    ::testing::Range(0, static_cast<int>(EnumNames<PartitionMethod>::names.size())),
    [](const auto& test) {
      return std::string(name_of(static_cast<PartitionMethod>(test.param)));
    });

}  // namespace
}  // namespace motley::test
