/// The noisy oracle: its rates, its memory, and what its errors do to each linkage.

#include <random>

#include <gtest/gtest.h>

#include "core/partition.hpp"
#include "tests/core/views.hpp"
#include "tests/oracle/partition.hpp"

namespace motley::test {
namespace {

using Ints = std::vector<int>;

/// One replica, B groups of n completions with their texts and classes.
struct Judged {
  int B, n;
  Ints prompt, token, length, class_id;  // [B], [B,n,2], [B,n], [B,n]
  std::vector<float> score;              // [B,n,n]
  Ints calls;                            // [B]

  Judged(int groups, int completions) : B(groups), n(completions) {
    for (int b = 0; b < B; ++b) prompt.push_back(b);
    length.assign(static_cast<std::size_t>(B * n), 2);
  }
  View4<float> scores(const PartitionParams& p) {
    const View4<float> out("motley::test::score", 1, B, n, n);
    const View2<int> count("motley::test::calls", 1, B);
    Kokkos::deep_copy(out, NAN);
    judge_pair_scores(Exec(), device<PartitionParams>({p}), device_as<View2<int>>(prompt, 1, B),
                      device_as<View4<int>>(token, 1, B, n, 2),
                      device_as<View3<int>>(length, 1, B, n),
                      device_as<View3<int>>(class_id, 1, B, n), out, count);
    score = values_of(out);
    calls = values_of(count);
    return out;
  }
  bool same(int b, int i, int j) const {
    return score[static_cast<std::size_t>((b * n + i) * n + j)] > 0.5f;
  }
};

/// All texts unlike: eight equally likely classes.
Judged eight_modes(int groups, int n) {
  Judged x(groups, n);
  std::mt19937 random(5);
  for (int i = 0; i < groups * n; ++i) {
    x.token.insert(x.token.end(), {i % 1000, i / 1000});
    x.class_id.push_back(static_cast<int>(random() % 8));
  }
  return x;
}

PartitionParams judge(double merge, double split, double correlation = 0) {
  PartitionParams p;
  p.method = PartitionMethod::noisy_oracle;
  p.false_merge = merge;
  p.false_split = split;
  p.noise_correlation = correlation;
  p.seed = 77;
  return p;
}

/// (observed - expected)^2 / variance of a binomial count: chi-square with one degree of freedom,
/// above 10.83 once in a thousand.
double chi_square(double hits, double trials, double rate) {
  return (hits - trials * rate) * (hits - trials * rate) / (trials * rate * (1 - rate));
}

TEST(Judge, ErrsAtItsRates) {
  Judged x = eight_modes(3000, 8);
  x.scores(judge(0.07, 0.2));
  double different = 0, merged = 0, same = 0, split = 0;
  for (int b = 0; b < x.B; ++b) {
    EXPECT_EQ(x.calls[static_cast<std::size_t>(b)], 28);
    for (int i = 0; i < x.n; ++i)
      for (int j = i + 1; j < x.n; ++j) {
        ASSERT_EQ(x.same(b, i, j), x.same(b, j, i));
        const bool truth = x.class_id[static_cast<std::size_t>(b * x.n + i)] ==
                           x.class_id[static_cast<std::size_t>(b * x.n + j)];
        (truth ? same : different) += 1;
        if (truth) split += x.same(b, i, j) ? 0 : 1;
        if (!truth) merged += x.same(b, i, j) ? 1 : 0;
      }
  }
  EXPECT_LT(chi_square(merged, different, 0.07), 10.83);
  EXPECT_LT(chi_square(split, same, 0.2), 10.83);
}

TEST(Judge, WithoutErrorsIsTheOracle) {
  Judged x = eight_modes(50, 6);
  x.class_id[3] = -1;
  x.scores(judge(0, 0));
  for (int b = 0; b < x.B; ++b)
    for (int i = 0; i < x.n; ++i)
      for (int j = 0; j < x.n; ++j) {
        const int a = x.class_id[static_cast<std::size_t>(b * x.n + i)],
                  c = x.class_id[static_cast<std::size_t>(b * x.n + j)];
        EXPECT_EQ(x.same(b, i, j), i == j || (a == c && a >= 0));
      }
}

/// A pair of texts gets one verdict under its prompt wherever it stands; another prompt or seed
/// asks anew; equal texts are the same and not asked.
TEST(Judge, VerdictsBelongToThePairOfTexts) {
  Judged x = eight_modes(200, 8);
  x.scores(judge(0.3, 0.3));
  Judged y = x;  // every group backwards, and its last completion a copy of its first
  for (int b = 0; b < x.B; ++b)
    for (int g = 0; g < x.n; ++g) {
      const int from = g == x.n - 1 ? x.n - 1 : x.n - 1 - g;
      const auto at = static_cast<std::size_t>(b * x.n + g),
                 old = static_cast<std::size_t>(b * x.n + from);
      y.class_id[at] = x.class_id[old];
      y.token[2 * at] = x.token[2 * old];
      y.token[2 * at + 1] = x.token[2 * old + 1];
    }
  y.scores(judge(0.3, 0.3));
  int differ = 0;
  for (int b = 0; b < x.B; ++b) {
    EXPECT_EQ(y.calls[static_cast<std::size_t>(b)], 21);
    EXPECT_TRUE(y.same(b, 0, x.n - 1));
    for (int i = 0; i < x.n - 1; ++i)
      for (int j = 0; j < x.n - 1; ++j)
        ASSERT_EQ(y.same(b, i, j), x.same(b, x.n - 1 - i, x.n - 1 - j));
  }
  Judged z = x;
  for (int& id : z.prompt) id += 1000;
  z.scores(judge(0.3, 0.3));
  for (std::size_t i = 0; i < x.score.size(); ++i) differ += x.score[i] != z.score[i] ? 1 : 0;
  EXPECT_GT(differ, static_cast<int>(x.score.size()) / 4);
}

/// At correlation 1 all pairs of two classes err together, and the rate stays what it is: a group
/// of two classes shows 3 verdicts, of which the one between them is a merge with probability q.
TEST(Judge, CorrelatedErrorsAreSharedByPairsOfClasses) {
  const int groups = 6000;
  Judged x(groups, 6);
  for (int i = 0; i < groups * 6; ++i) {
    x.token.insert(x.token.end(), {i % 1000, i / 1000});
    x.class_id.push_back(i % 2);
  }
  const double q = 0.15;
  x.scores(judge(q, 0.1, 1));
  double merged = 0;
  for (int b = 0; b < groups; ++b) {
    merged += x.same(b, 0, 1) ? 1 : 0;
    for (int i = 0; i < 6; ++i)
      for (int j = i + 1; j < 6; ++j)
        ASSERT_EQ(x.same(b, i, j), i % 2 == j % 2 ? x.same(b, i % 2, 2 + i % 2) : x.same(b, 0, 1));
  }
  EXPECT_LT(chi_square(merged, groups, q), 10.83);
  // Half correlated: the verdicts of two pairs agree more often than by chance, the rate is q. Of
  // two independent groups of verdicts the variance is not binomial, so one pair per group counts.
  x.scores(judge(q, 0.1, 0.5));
  merged = 0;
  double both = 0;
  for (int b = 0; b < groups; ++b) {
    merged += x.same(b, 0, 1) ? 1 : 0;
    both += x.same(b, 0, 1) && x.same(b, 2, 3) ? 1 : 0;
  }
  EXPECT_LT(chi_square(merged, groups, q), 10.83);
  // Shared with probability 1/4, else independent.
  EXPECT_LT(chi_square(both, groups, 0.25 * q + 0.75 * q * q), 10.83);
}

struct Percolation {
  int n;
  double rate, union_find, greedy, soft, one_cluster;
  int reference = 400;  ///< groups of the simulation
  int groups = 2000;    ///< of ours
};

/// Independent errors percolate through union-find; greedy and soft stand them. The reference is a
/// simulation of 400 groups (80 of 64 completions), printed to three (diversity) and two (one
/// cluster) digits. Here 2000 (400): the standard error of the difference is sd * sqrt(1/400 +
/// 1/2000), sd that of a group's mean diversity (measured here) or sqrt(p (1 - p)); four of it and
/// half a printed digit bound it.
TEST(Judge, IndependentErrorsPercolateAsSimulated) {
  for (const Percolation& row :
       {Percolation{8, .05, .715, .852, .833, .02}, Percolation{8, .11, .520, .819, .789, .11},
        Percolation{8, .22, .253, .760, .705, .40}, Percolation{16, .05, .405, .862, .836, .08},
        Percolation{16, .11, .106, .840, .794, .50},
        Percolation{64, .02, .001, .877, .860, .99, 80, 400}}) {
    const int n = row.n, groups = row.groups;
    Judged x = eight_modes(groups, n);
    const View4<float> scores = x.scores(judge(row.rate, row.rate));
    const double error = 4 * std::sqrt(1.0 / row.reference + 1.0 / groups);
    const auto check = [&](const std::vector<double>& diversity, double mean, const char* what) {
      double sum = 0, square = 0;
      for (const double d : diversity) {
        sum += d;
        square += d * d;
      }
      const double sd = std::sqrt(square / groups - sum / groups * sum / groups);
      EXPECT_NEAR(sum / groups, mean, error * sd + 0.0005)
          << what << " n " << n << " rate " << row.rate;
    };
    for (const Linkage linkage : {Linkage::union_find, Linkage::greedy_first}) {
      PartitionParams p = judge(row.rate, row.rate);
      p.linkage = linkage;
      const View3<int> cluster("motley::test::cluster", 1, groups, n),
          size("motley::test::size", 1, groups, n);
      const View2<int> count("motley::test::count", 1, groups);
      partition(Exec(), device<PartitionParams>({p}), scores, View3<int>(), cluster, size, count);
      const Ints sizes = values_of(size), counts = values_of(count);
      std::vector<double> diversity(static_cast<std::size_t>(groups), 0);
      for (std::size_t i = 0; i < sizes.size(); ++i)
        diversity[i / static_cast<std::size_t>(n)] += double(n - sizes[i]) / (n - 1) / n;
      const bool uf = linkage == Linkage::union_find;
      check(diversity, uf ? row.union_find : row.greedy, uf ? "union_find" : "greedy_first");
      if (!uf) continue;
      const double one = double(std::count(counts.begin(), counts.end(), 1)) / groups;
      EXPECT_NEAR(one, row.one_cluster,
                  error * std::sqrt(row.one_cluster * (1 - row.one_cluster)) + 0.005)
          << "one cluster, n " << n << " rate " << row.rate;
    }
    std::vector<double> diversity;
    for (int b = 0; b < groups; ++b) {
      double sum = 0;
      for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) sum += i != j && !x.same(b, i, j) ? 1 : 0;
      diversity.push_back(sum / (n * (n - 1)));
    }
    check(diversity, row.soft, "soft");
  }
}

}  // namespace
}  // namespace motley::test
