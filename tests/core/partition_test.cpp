/// Pair scores of the rule methods and every linkage against plain oracles.

#include "core/partition.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/core/views.hpp"
#include "tests/oracle/partition.hpp"

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
                         ::testing::Range(0, static_cast<int>(EnumNames<Linkage>::names.size())),
                         [](const auto& info) {
                           return std::string(name_of(static_cast<Linkage>(info.param)));
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

/// Independent false merges percolate: methods of one replica per rate, eight equally likely modes,
/// n = 8, the same rate of false splits. Reference .715 at q = .05 and .253 at q = .22 (simulated,
/// 400 groups, error .01-.02); 2000 groups here have a standard error of about .005, so .03 is
/// beyond three of both.
TEST(Partition, UnionFindPercolatesUnderIndependentErrors) {
  const int n = 8, groups = 2000;
  for (const auto& [rate, mean] :
       {std::pair{0.05, 0.715}, std::pair{0.11, 0.520}, std::pair{0.22, 0.253}}) {
    std::mt19937 random(11);
    Batch batch(1, groups, n, 0.0, 3);
    for (int k = 0; k < groups; ++k) {
      Ints mode;
      for (int i = 0; i < n; ++i) mode.push_back(static_cast<int>(random() % 8));
      for (int i = 0; i < n; ++i)
        for (int j = i + 1; j < n; ++j) {
          const bool flipped = double(random() % 100000) < rate * 100000;
          const bool same =
              (mode[static_cast<std::size_t>(i)] == mode[static_cast<std::size_t>(j)]) != flipped;
          batch.score[batch.pair(k, i, j)] = same ? 0.9f : 0.1f;
        }
    }
    batch.run(with_linkages({Linkage::union_find}), true);
    double sum = 0;
    for (const int size : batch.size) sum += double(n - size) / (n - 1);
    EXPECT_NEAR(sum / (groups * n), mean, 0.03) << "rate " << rate;
  }
}

class EveryRuleMethod : public ::testing::TestWithParam<int> {};

TEST_P(EveryRuleMethod, ScoresPairsAsTheOracle) {
  const auto method = static_cast<PartitionMethod>(GetParam());
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
      double want = -7;  // the classifier's replicas are left alone
      switch (method) {
        case PartitionMethod::oracle: want = class_id[i] == class_id[j] && class_id[i] >= 0; break;
        case PartitionMethod::exact: want = texts[i] == texts[j]; break;
        case PartitionMethod::ngram: want = oracle::jaccard(texts[i], texts[j], n); break;
        case PartitionMethod::classifier: break;
      }
      if (i == j && method != PartitionMethod::classifier) want = 1;
      EXPECT_FLOAT_EQ(got[i * texts.size() + j], static_cast<float>(want)) << i << ' ' << j;
    }
  EXPECT_EQ(values_of(calls)[0], method == PartitionMethod::classifier ? 9 : 0);
}

INSTANTIATE_TEST_SUITE_P(
    Partition, EveryRuleMethod,
    ::testing::Range(0, static_cast<int>(EnumNames<PartitionMethod>::names.size())),
    [](const auto& info) {
      return std::string(name_of(static_cast<PartitionMethod>(info.param)));
    });

}  // namespace
}  // namespace motley::test
