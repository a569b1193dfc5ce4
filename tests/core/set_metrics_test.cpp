/// Metrics of a set of completions against enumeration and closed forms.

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/base/rng.hpp"
#include "core/diversity_metrics.hpp"
#include "core/entropy_law.hpp"
#include "core/eval_metrics.hpp"
#include "core/text_metrics.hpp"
#include "tests/oracle/metrics.hpp"

namespace motley {
namespace {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;

/// Labels, correctness and scores of a made-up set.
struct Sampled {
  Ints label, counts;
  std::vector<bool> correct;
  std::vector<VotingClass> classes;
  Doubles score;
};

Sampled sampled(int n, int classes, std::uint32_t number) {
  Sampled s;
  const DrawKey key{3, Stream::task, number};
  for (int i = 0; i < n; ++i) {
    const Philox4 bits = draw_bits(key, 0, static_cast<std::uint32_t>(i));
    s.label.push_back(static_cast<int>(uniform_below(bits.x[0], std::uint32_t(classes))));
    s.correct.push_back(s.label.back() % 3 != 1);
    s.score.push_back(double(unit_float(bits.x[1])));
  }
  std::map<int, VotingClass> by_label;
  for (std::size_t i = 0; i < s.label.size(); ++i) {
    ++by_label[s.label[i]].members;
    by_label[s.label[i]].correct = s.correct[i];
  }
  for (const auto& [id, c] : by_label) {
    s.classes.push_back(c);
    s.counts.push_back(c.members);
  }
  return s;
}

oracle::Strings strings(int n, int longest, int vocab, std::uint32_t number) {
  oracle::Strings out;
  const DrawKey key{4, Stream::task, number};
  for (int i = 0; i < n; ++i) {
    const int length = static_cast<int>(
        uniform_below(draw_bits(key, std::uint32_t(i), 0).x[0], std::uint32_t(longest + 1)));
    out.emplace_back();
    for (int t = 0; t < length; ++t)
      out.back().push_back(static_cast<int>(uniform_below(
          draw_bits(key, std::uint32_t(i), std::uint32_t(t + 1)).x[0], std::uint32_t(vocab))));
  }
  return out;
}

Doubles indicator(const Ints& label, double on_top, double base) {
  Doubles kernel;
  for (const int a : label)
    for (const int b : label) kernel.push_back((a == b ? on_top : 0.0) + base);
  return kernel;
}

const Ints kWorked = {0, 0, 0, 3, 4, 4, 6, 7};

TEST(SetMetrics, TheWorkedGroup) {
  const Ints counts = class_counts(kWorked);
  EXPECT_EQ(counts, (Ints{3, 1, 2, 1, 1}));
  const ClassDiversity d = class_diversity(counts);
  EXPECT_NEAR(d.entropy, 1.494175, 6e-7);
  EXPECT_NEAR(d.effective, 4.455660, 6e-7);
  EXPECT_NEAR(d.inverse_simpson, 4.0, 1e-12);
  EXPECT_NEAR(d.collision, 0.75, 1e-12);
  EXPECT_NEAR(d.inverse_max, 2.666667, 6e-7);
  EXPECT_NEAR(d.miller_madow, 1.494175 + 4.0 / 16, 6e-7);
  EXPECT_NEAR(distinct_at_k(counts, 8, 4), 3.214286, 6e-7);
  const Doubles plain = indicator(kWorked, 1, 0), blurred = indicator(kWorked, 0.5, 0.5);
  EXPECT_NEAR(vendi_score(plain, {}), 4.455660, 6e-7);
  EXPECT_NEAR(vendi_score(blurred, {}), 3.135123, 6e-7);
  EXPECT_NEAR(vendi_score(blurred, {}, 2), 2.285714, 6e-7);
  EXPECT_NEAR(vendi_score(blurred, {}, kInfiniteOrder), 1.585253, 6e-7);
  EXPECT_NEAR(all_pass_at_k(8, 5, 1), 0.625, 1e-12);
  EXPECT_NEAR(all_pass_at_k(8, 5, 2), 0.357143, 6e-7);
  EXPECT_NEAR(all_pass_at_k(8, 5, 4), 0.071429, 6e-7);
  EXPECT_NEAR(max_at_k({.9, .8, .7, .6, .2, .1, .5, .3}, 4), 0.82, 1e-12);
  EXPECT_NEAR(expectation_adjusted_distinct(9, 40, 10), 0.913502, 6e-7);
  EXPECT_NEAR(novelty_utility({7, 3, 9, 1}, {0, 0, 2, 3}, 0.8), 4.495935, 6e-7);
  EXPECT_EQ(distinct_k(kWorked, 3), 1);
  EXPECT_EQ(distinct_k(kWorked, 8), 5);
}

TEST(SetMetrics, EstimatorsAreMeansOverAllSubsets) {
  for (std::uint32_t number = 0; number < 12; ++number) {
    const int n = 7 + static_cast<int>(number % 3);
    const Sampled s = sampled(n, 2 + static_cast<int>(number % 5), number);
    const int c = static_cast<int>(std::count(s.correct.begin(), s.correct.end(), true));
    for (int k = 1; k <= n; ++k) {
      SCOPED_TRACE(testing::Message() << "set " << number << ", n " << n << ", k " << k);
      const auto mean = [&](const auto& f) { return oracle::mean_over_subsets(n, k, f); };
      const auto correct_in = [&](const Ints& pick) {
        return std::count_if(pick.begin(), pick.end(),
                             [&](int i) { return s.correct[std::size_t(i)]; });
      };
      EXPECT_NEAR(pass_at_k(n, c, k), mean([&](const Ints& p) { return correct_in(p) > 0; }),
                  1e-12);
      EXPECT_NEAR(all_pass_at_k(n, c, k), mean([&](const Ints& p) { return correct_in(p) == k; }),
                  1e-12);
      EXPECT_NEAR(distinct_at_k(s.counts, n, k), mean([&](const Ints& p) {
                    std::set<int> seen;
                    for (const int i : p) seen.insert(s.label[std::size_t(i)]);
                    return double(seen.size());
                  }),
                  1e-12);
      EXPECT_NEAR(max_at_k(s.score, k), mean([&](const Ints& p) {
                    double top = 0;
                    for (const int i : p) top = std::max(top, s.score[std::size_t(i)]);
                    return top;
                  }),
                  1e-12);
      EXPECT_NEAR(maj_at_k(s.classes, k),
                  mean([&](const Ints& p) { return oracle::vote(s.label, s.correct, p); }), 1e-12);
    }
  }
}

TEST(SetMetrics, UtilityIsTheMeanOverAllOrders) {
  for (std::uint32_t number = 0; number < 4; ++number) {
    const Sampled s = sampled(6, 3, 50 + number);
    for (int k = 1; k <= 6; ++k)
      for (const double patience : {0.8, 1.0}) {
        const double expected = oracle::mean_over_orders(6, k, [&](const Ints& order) {
          double sum = 0, norm = 0, weight = 1;
          std::set<int> seen;
          for (const int i : order) {
            if (seen.insert(s.label[std::size_t(i)]).second)
              sum += weight * s.score[std::size_t(i)];
            norm += weight;
            weight *= patience;
          }
          return sum / norm;
        });
        EXPECT_NEAR(utility_at_k(s.score, s.label, k, patience), expected, 1e-12)
            << "set " << number << ", k " << k << ", patience " << patience;
      }
  }
}

TEST(SetMetrics, VotesOfManySamples) {
  // 64 samples in three classes, k = 5: sums of products of binomials, written out.
  const Ints members = {40, 20, 4};
  const auto choose = [](int n, int x) {
    double value = 1;
    for (int i = 0; i < x; ++i) value = value * (n - i) / (i + 1);
    return x < 0 || x > n ? 0.0 : value;
  };
  double right = 0;
  for (int a = 0; a <= 5; ++a)
    for (int b = 0; a + b <= 5; ++b) {
      const int c = 5 - a - b;
      const int top = std::max({a, b, c});
      const double winners = (a == top) + (b == top) + (c == top);
      right += choose(40, a) * choose(20, b) * choose(4, c) * (b == top ? 1 : 0) / winners;
    }
  const std::vector<VotingClass> classes = {{40, false}, {20, true}, {4, false}};
  const double exact = maj_at_k(classes, 5);
  EXPECT_NEAR(exact, right / choose(64, 5), 1e-12);
  EXPECT_EQ(maj_at_k(classes, 64), 0.0);
  EXPECT_EQ(maj_at_k({{64, true}}, 3), 1.0);
  // 20000 draws of a share in [0,1]: standard error at most 0.5 / sqrt(20000) = .0035; 4 of them.
  EXPECT_NEAR(drawn_maj_at_k(classes, 5, 20000, 11, 2, 3), exact, 0.0142);
  EXPECT_EQ(drawn_maj_at_k(classes, 5, 50, 11, 2, 3), drawn_maj_at_k(classes, 5, 50, 11, 2, 3));
  EXPECT_EQ(drawn_maj_at_k(classes, 64, 3, 11, 2, 3), 0.0);
  EXPECT_TRUE(exact_vote_feasible(256, 128));
  EXPECT_FALSE(exact_vote_feasible(4096, 64));
}

TEST(SetMetrics, UnbiasedForDrawsOfAKnownPolicy) {
  // Every outcome of n = 4 draws of three classes, weighted with its probability: pass@2, D_2 and
  // maj@2 must give the values of two draws of that policy.
  const Doubles p = {0.5, 0.3, 0.2};  // class 1 is correct
  double pass = 0, distinct = 0, vote = 0;
  for (int code = 0; code < 81; ++code) {
    Ints counts(3, 0);
    double chance = 1;
    for (int i = 0, rest = code; i < 4; ++i, rest /= 3) {
      ++counts[std::size_t(rest % 3)];
      chance *= p[std::size_t(rest % 3)];
    }
    pass += chance * pass_at_k(4, counts[1], 2);
    distinct += chance * distinct_at_k(counts, 4, 2);
    vote += chance * maj_at_k({{counts[0], false}, {counts[1], true}, {counts[2], false}}, 2);
  }
  EXPECT_NEAR(pass, exact_pass_at_k(0.3, 2), 1e-14);
  EXPECT_NEAR(pass, 1 - 0.49, 1e-14);
  EXPECT_NEAR(distinct, 3 - (0.25 + 0.49 + 0.64), 1e-14);
  EXPECT_NEAR(vote, 0.09 + 0.5 * 2 * 0.3 * 0.7, 1e-14);
  EXPECT_EQ(exact_pass_at_k(1, 3), 1.0);
  EXPECT_EQ(exact_pass_at_k(0, 3), 0.0);
}

TEST(SetMetrics, SemanticEntropy) {
  // Equal probabilities: the discrete form. Probabilities far below the smallest double are fine.
  EXPECT_NEAR(semantic_entropy(Doubles(8, -2000.0), kWorked), 1.494175, 6e-7);
  const Doubles log_prob = {std::log(.1), std::log(.2), std::log(.3)};
  const double a = .3 / .6, b = .3 / .6;
  EXPECT_NEAR(semantic_entropy(log_prob, {7, 7, 2}), -a * std::log(a) - b * std::log(b), 1e-12);
  // Normalised: .1^(1/1), .2^(1/2), .3^(1/3).
  const double x = .1 + std::sqrt(.2), y = std::cbrt(.3), z = x + y;
  EXPECT_NEAR(semantic_entropy(log_prob, {7, 7, 2}, {1, 2, 3}),
              -x / z * std::log(x / z) - y / z * std::log(y / z), 1e-12);
  EXPECT_EQ(semantic_entropy({-1, -2}, {5, 5}), 0.0);
  const double never = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(semantic_entropy({-1, never}, {5, 6}), 0.0);
}

TEST(SetMetrics, EigenvaluesOfKnownSpectra) {
  // Path graph: second difference matrix, eigenvalues 2 - 2 cos(pi j / (n + 1)).
  for (const int n : {1, 2, 3, 10, 64}) {
    Doubles path(std::size_t(n * n), 0.0);
    for (int i = 0; i < n; ++i) {
      path[std::size_t(i * n + i)] = 2;
      if (i > 0) path[std::size_t(i * n + i - 1)] = path[std::size_t((i - 1) * n + i)] = -1;
    }
    const Doubles got = symmetric_eigenvalues(path, n);
    for (int j = 1; j <= n; ++j)
      EXPECT_NEAR(got[std::size_t(j - 1)], 2 - 2 * std::cos(M_PI * j / (n + 1)), 1e-13 * (n + 4));
  }
  for (const int n : {2, 5, 17, 40}) {
    Doubles full(std::size_t(n * n));
    for (int i = 0; i < n; ++i)
      for (int j = 0; j <= i; ++j)
        full[std::size_t(i * n + j)] = full[std::size_t(j * n + i)] =
            double(unit_float(
                draw_bits({1, Stream::task, 9}, std::uint32_t(i), std::uint32_t(j)).x[0])) -
            .5;
    const Doubles got = symmetric_eigenvalues(full, n), want = oracle::jacobi(full, n);
    for (std::size_t j = 0; j < got.size(); ++j) EXPECT_NEAR(got[j], want[j], 1e-12 * n);
  }
  EXPECT_NEAR(symmetric_eigenvalues(Doubles(49, 1.0), 7).back(), 7.0, 1e-13);
}

TEST(SetMetrics, VendiMergesEqualItems) {
  const Doubles merged = indicator({0, 1, 2, 3, 4}, 1, 0);
  EXPECT_NEAR(vendi_score(merged, {3 / 8., 1 / 8., 2 / 8., 1 / 8., 1 / 8.}), 4.455660, 6e-7);
  EXPECT_NEAR(vendi_score(Doubles(64, 1.0), {}), 1.0, 1e-12);
  EXPECT_NEAR(vendi_score(indicator({0, 1, 2, 3}, 1, 0), {}, 0.5), 4.0, 1e-12);
  // 256 items in 16 equal classes.
  Ints label;
  for (int i = 0; i < 256; ++i) label.push_back(i % 16);
  EXPECT_NEAR(vendi_score(indicator(label, 1, 0), {}), 16.0, 1e-10);
  // Repeating the texts of a set changes no share.
  oracle::Strings texts = strings(9, 6, 3, 77), twice = texts;
  twice.insert(twice.end(), texts.begin(), texts.end());
  EXPECT_NEAR(ngram_vendi(texts), ngram_vendi(twice), 1e-12);
  EXPECT_NEAR(ngram_vendi(texts), vendi_score(ngram_kernel(texts), {}), 1e-10);
  EXPECT_NEAR(ngram_vendi({{1, 2, 3}, {4, 5}, {6, 7, 8, 9}}), 3.0, 1e-12);  // nothing in common
  // One bigram of two shared, two unigrams of three: cosine (2/3 + 1/2) / 2.
  EXPECT_NEAR(ngram_kernel({{1, 2, 3}, {1, 2, 4}})[1], (2 / 3. + 1 / 2.) / 2, 1e-15);
}

TEST(SetMetrics, TextMetricsAgainstTheTextbook) {
  for (std::uint32_t number = 0; number < 30; ++number) {
    const oracle::Strings set =
        strings(2 + static_cast<int>(number % 7), 8, 2 + static_cast<int>(number % 4), number);
    SCOPED_TRACE(number);
    EXPECT_NEAR(self_bleu(set), oracle::self_bleu(set), 1e-12);
    for (const int n : {1, 2, 4})
      EXPECT_NEAR(distinct_n(set, n), oracle::distinct_n(set, std::size_t(n)), 1e-15);
    double total = 0;
    std::set<int> seen;
    for (const auto& s : set) {
      total += double(s.size());
      seen.insert(s.begin(), s.end());
    }
    if (total > 0) {
      EXPECT_NEAR(expectation_adjusted_distinct(set, 12),
                  double(seen.size()) / (12 * (1 - std::pow(11. / 12, total))), 1e-12);
    }
  }
  EXPECT_NEAR(self_bleu({{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}}), 1.0, 1e-15);
  EXPECT_EQ(self_bleu({{1, 2}, {3, 4}}), 0.0);
  EXPECT_TRUE(std::isnan(self_bleu({{1, 2}})));
  EXPECT_EQ(distinct_n({{1, 2}}, 4), 0.0);
}

TEST(SetMetrics, ByCorrectnessAndSurvival) {
  const DiversityByCorrectness d =
      diversity_by_correctness(kWorked, {true, true, true, true, false, false, true, false});
  EXPECT_EQ(d.distinct, 5);
  EXPECT_EQ(d.distinct_correct, 3);
  EXPECT_EQ(d.distinct_wrong, 2);
  EXPECT_NEAR(d.entropy, 1.494175, 6e-7);
  EXPECT_NEAR(d.entropy_correct, -.6 * std::log(.6) - .4 * std::log(.2), 1e-12);
  EXPECT_NEAR(d.entropy_wrong, -2 / 3. * std::log(2 / 3.) - 1 / 3. * std::log(1 / 3.), 1e-12);
  EXPECT_TRUE(std::isnan(diversity_by_correctness({1}, {true}).entropy_wrong));
  const SolvedSplit split = split_by_solved({1, 2, 6}, {0, 3, 1});
  EXPECT_EQ(split.solved, 4.0);
  EXPECT_EQ(split.unsolved, 1.0);
  EXPECT_EQ(split.num_solved, 2);

  const Survival s = mode_survival(
      {{.5, .3, .1, .1}, {.6, .05, .2, .15}, {.7, .3, .0, .0}, {.8, .2, .0, .0}}, 0.1);
  EXPECT_EQ(s.reachable, 2);
  EXPECT_EQ(s.surviving, 2);
  EXPECT_EQ(s.lost_at, (Ints{-1, -1, -2, -2}));
  EXPECT_EQ(mode_survival({{.5, .3}, {.9, .1}, {.7, .3}, {1, 0}, {1, 0}}, 0.1).lost_at,
            (Ints{-1, 3}));
}

TEST(SetMetrics, ComputeCurve) {
  const std::vector<ComputePoint> curve = compute_curve({1, 4, 16}, {.3, .6, .6}, 12.5);
  EXPECT_EQ(curve[1].tokens, 50.0);
  EXPECT_EQ(best_within(curve, 49).k, 1);
  EXPECT_EQ(best_within(curve, 1e9).k, 4);
  EXPECT_EQ(best_within(curve, 5).k, 0);
}

TEST(SetMetrics, FrontAndHypervolume) {
  // Rectangles from (1,1): 3 wide to height 2, then 1 wide to height 4; (2,1.5) lies inside.
  const std::vector<FrontPoint> points = {{4, 3}, {2, 5}, {2, 1.5}, {0.5, 9}, {4, 2}};
  EXPECT_DOUBLE_EQ(hypervolume(points, {1, 1}), 3 * 2 + 1 * 2);
  EXPECT_DOUBLE_EQ(hypervolume(points, {0, 0}), 4 * 3 + 2 * 2 + 0.5 * 4);
  EXPECT_EQ(hypervolume({{1, 1}}, {1, 0}), 0.0);
  EXPECT_FALSE(is_dominated(points, 0));
  EXPECT_FALSE(is_dominated(points, 1));
  EXPECT_TRUE(is_dominated(points, 2));
  EXPECT_FALSE(is_dominated(points, 3));
  EXPECT_TRUE(is_dominated(points, 4));
  EXPECT_FALSE(is_dominated({{1, 1}, {1, 1}}, 0));
}

TEST(EntropyLaw, EqualRewardsExplainNothing) {
  // 0.1 ten times: the mean is not 0.1 in double.
  const EntropyLaw law =
      fit_entropy({1, .9, .8, .7, .6, .5, .4, .3, .2, .1}, std::vector<double>(10, 0.1));
  EXPECT_NEAR(law.a, 0.0, 1e-12);
  EXPECT_TRUE(std::isnan(law.r2));
}

TEST(EntropyLaw, IsLeastSquaresInTheExponential) {
  Doubles entropy, reward, x;
  for (int i = 0; i < 60; ++i) {
    entropy.push_back(1.5 * std::exp(-0.05 * i) + 0.01 * (i % 3));
    x.push_back(std::exp(entropy.back()));
    reward.push_back(0.8 - 0.2 * x.back() + 0.02 * std::sin(7.0 * i));
  }
  const EntropyLaw all = fit_entropy(entropy, reward);
  const auto [slope, intercept] = oracle::line_through(x, reward);
  EXPECT_NEAR(all.a, -slope, 1e-12);
  EXPECT_NEAR(all.b, intercept, 1e-12);
  EXPECT_NEAR(all.ceiling, intercept + slope, 1e-12);
  EXPECT_EQ(all.predicted, 0);
  EXPECT_TRUE(std::isnan(all.rmse));

  const EntropyLaw early = fit_entropy(entropy, reward, 0.25);
  EXPECT_EQ(early.fitted, 15);
  const auto [s, c] =
      oracle::line_through({x.begin(), x.begin() + 15}, {reward.begin(), reward.begin() + 15});
  double outside = 0, inside = 0, total = 0, mean = 0;
  for (std::size_t i = 0; i < 15; ++i) mean += reward[i] / 15;
  for (std::size_t i = 0; i < 60; ++i) {
    const double miss = std::pow(reward[i] - (c + s * x[i]), 2);
    (i < 15 ? inside : outside) += miss;
    if (i < 15) total += std::pow(reward[i] - mean, 2);
  }
  EXPECT_NEAR(early.rmse, std::sqrt(outside / 45), 1e-12);
  EXPECT_NEAR(early.r2, 1 - inside / total, 1e-12);
  // The exact law, with a hole: recovered, nothing left.
  Doubles exact;
  for (const double v : x) exact.push_back(0.9 - 0.3 * v);
  exact[5] = std::nan("");
  const EntropyLaw law = fit_entropy(entropy, exact, 0.2);
  EXPECT_NEAR(law.a, 0.3, 1e-10);
  EXPECT_NEAR(law.b, 0.9, 1e-10);
  EXPECT_NEAR(law.rmse, 0.0, 1e-10);
  EXPECT_EQ(law.fitted + law.predicted, 59);
  EXPECT_TRUE(std::isnan(fit_entropy({1, 1, 1}, {1, 2, 3}).a));
  EXPECT_TRUE(std::isnan(fit_entropy({1}, {1}).a));
}

}  // namespace
}  // namespace motley
