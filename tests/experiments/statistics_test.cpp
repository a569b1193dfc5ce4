/// Statistics of `motley compare` against values recorded from scipy, statsmodels and rliable
/// (reference/make_statistics.py).

#include "experiments/statistics.hpp"

#include <cmath>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace motley {
namespace {

const nlohmann::json& reference() {
  static const nlohmann::json json = [] {
    std::ifstream in(MOTLEY_SOURCE_DIR "/tests/experiments/reference/statistics.json");
    return nlohmann::json::parse(in);
  }();
  return json;
}

Strata strata_of(const nlohmann::json& json) {
  return json.get<Strata>();
}

/// Standard error of a 2.5 % quantile of `reps` draws of a density close to the normal one with
/// deviation s: sqrt(q (1 - q) / reps) / f(quantile), f = phi(1.96) / s = .05845 / s. Two
/// independent bootstraps (here and in scipy) differ by the root of the sum of both variances. The
/// distribution of a bootstrap of n values is not normal but lumpy; a factor 2 on the density
/// covers that, and 5 deviations leave one failure in a million.
double monte_carlo_bound(double s, double reps, double reference_reps) {
  const double one = std::sqrt(0.025 * 0.975) * s / 0.05845 * 2;
  return 5 * one * std::sqrt(1 / reps + 1 / reference_reps);
}

TEST(Statistics, MeanDeviationAndInterquartileMeanAreScipys) {
  for (const auto& sample : reference()["samples"]) {
    const std::vector<double> x = sample["x"];
    EXPECT_NEAR(mean_of(x), sample["mean"].get<double>(), 1e-15) << sample["name"];
    EXPECT_NEAR(deviation_of(x), sample["sd"].get<double>(), 1e-15) << sample["name"];
    EXPECT_NEAR(interquartile_mean(x), sample["iqm"].get<double>(), 1e-15) << sample["name"];
  }
}

TEST(Statistics, BootstrapIntervalsAreScipysWithinMonteCarloError) {
  constexpr int kReps = 100000;
  const double theirs = reference()["reps"];
  Bootstrap bootstrap(kReps, 0);
  for (const auto& sample : reference()["samples"]) {
    const Strata x = {sample["x"].get<std::vector<double>>()};
    const double se = deviation_of(x) / std::sqrt(static_cast<double>(count_of(x)));
    // The interquartile mean of n normal values deviates by up to 1.2 times as much; 1.5 is safe.
    for (const bool iqm : {false, true}) {
      const auto& want = sample[iqm ? "bootstrap_iqm" : "bootstrap_mean"];
      const Interval got = iqm ? bootstrap.interquartile_mean(x) : bootstrap.mean(x);
      double bound = monte_carlo_bound(iqm ? 1.5 * se : se, kReps, theirs);
      // Values on a grid of .1 make means on a grid of .1/n: a quantile may fall on the next one.
      if (sample["name"] == "ties") bound += 0.1 / static_cast<double>(count_of(x)) + 1e-12;
      EXPECT_NEAR(got.low, want[0].get<double>(), bound) << sample["name"] << iqm;
      EXPECT_NEAR(got.high, want[1].get<double>(), bound) << sample["name"] << iqm;
    }
  }
}

TEST(Statistics, BootstrapRepeatsAndDependsOnItsSeed) {
  const Strata x = {reference()["samples"][1]["x"].get<std::vector<double>>()};
  const Interval a = Bootstrap(500, 3).mean(x), b = Bootstrap(500, 3).mean(x),
                 c = Bootstrap(500, 4).mean(x);
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
  const Interval point = Bootstrap(500, 3).mean(Strata{{0.25}});
  EXPECT_EQ(point.low, 0.25);
  EXPECT_EQ(point.high, 0.25);
}

TEST(Statistics, StratifiedFiguresAreRliables) {
  constexpr int kReps = 100000;
  const auto& want = reference()["stratified"];
  const Strata x = strata_of(want["x"]), y = strata_of(want["y"]);
  EXPECT_NEAR(mean_of(x), want["mean"].get<double>(), 1e-15);
  EXPECT_NEAR(interquartile_mean(x), want["iqm"].get<double>(), 1e-15);
  EXPECT_NEAR(probability_of_improvement(x, y), want["p_improvement"].get<double>(), 1e-15);
  Bootstrap bootstrap(kReps, 7);
  const double se = deviation_of(x) / std::sqrt(static_cast<double>(count_of(x)));
  const double bound = monte_carlo_bound(se, kReps, want["reps"]);
  const Interval mean = bootstrap.mean(x), iqm = bootstrap.interquartile_mean(x);
  EXPECT_NEAR(mean.low, want["bootstrap_mean"][0].get<double>(), bound);
  EXPECT_NEAR(mean.high, want["bootstrap_mean"][1].get<double>(), bound);
  // The middle half of tasks that lie apart moves by up to twice the error of the mean.
  EXPECT_NEAR(iqm.low, want["bootstrap_iqm"][0].get<double>(), 2 * bound);
  EXPECT_NEAR(iqm.high, want["bootstrap_iqm"][1].get<double>(), 2 * bound);
  const Interval t = student_t_interval(x);
  EXPECT_NEAR(t.low, want["t"][0].get<double>(), 1e-12);
  EXPECT_NEAR(t.high, want["t"][1].get<double>(), 1e-12);
  EXPECT_NEAR(sign_flip_p(strata_of(want["difference"]), 1000, 0), want["flip_p"].get<double>(),
              1e-15);
}

TEST(Statistics, TasksWeighTheSameWhateverTheirSeeds) {
  EXPECT_DOUBLE_EQ(mean_of(Strata{{1, 1, 1, 1}, {3}}), 2);
  EXPECT_DOUBLE_EQ(probability_of_improvement(Strata{{1, 1, 1, 1}, {3}}, Strata{{0}, {4}}), 0.5);
}

TEST(Statistics, ProbabilityOfImprovementIsMannWhitneys) {
  for (const auto& pair : reference()["pairs"])
    EXPECT_NEAR(probability_of_improvement(pair["x"].get<std::vector<double>>(),
                                           pair["y"].get<std::vector<double>>()),
                pair["p_improvement"].get<double>(), 1e-15);
}

TEST(Statistics, SignFlipsAreScipysPermutationTest) {
  for (const auto& sample : reference()["samples"]) {
    const Strata x = {sample["x"].get<std::vector<double>>()};
    const double want = sample["flip_p"];
    if (sample["flip_exact"].get<bool>()) {
      EXPECT_NEAR(sign_flip_p(x, 10, 0), want, 1e-15) << sample["name"];
    } else {
      // Binomial error of both Monte Carlos, 5 deviations.
      constexpr double kReps = 100000;
      const double bound =
          5 * std::sqrt(want * (1 - want) * (1 / kReps + 1 / reference()["reps"].get<double>()));
      EXPECT_NEAR(sign_flip_p(x, static_cast<int>(kReps), 0), want, bound) << sample["name"];
      EXPECT_EQ(sign_flip_p(x, 1000, 5), sign_flip_p(x, 1000, 5));
    }
  }
  EXPECT_EQ(sign_flip_p(Strata{}, 100, 0), 1);
  EXPECT_EQ(sign_flip_p(Strata{{0, 0, 0}}, 100, 0), 1);
  // Five differences of one sign: 2 of 32 sign patterns are as far out, the least p there can be.
  EXPECT_DOUBLE_EQ(sign_flip_p(Strata{{1, 2, 3, 4, 5}}, 100, 0), 2.0 / 32);
}

TEST(Statistics, HolmIsStatsmodels) {
  for (const auto& family : reference()["holm"]) {
    const std::vector<double> got = holm(family["p"]);
    const std::vector<double> want = family["adjusted"];
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-15);
  }
  const std::vector<double> with_gap = holm({0.02, std::nan(""), 0.5});
  EXPECT_DOUBLE_EQ(with_gap[0], 0.04);
  EXPECT_TRUE(std::isnan(with_gap[1]));
}

TEST(Statistics, StudentTIsScipys) {
  for (const auto& row : reference()["t_quantile"])
    EXPECT_NEAR(student_t_quantile(row["q"], row["degrees"]), row["value"].get<double>(),
                1e-9 * std::abs(row["value"].get<double>()))
        << row.dump();
  for (const auto& sample : reference()["samples"]) {
    const Interval t = student_t_interval(Strata{sample["x"].get<std::vector<double>>()});
    EXPECT_NEAR(t.low, sample["t"][0].get<double>(), 1e-12) << sample["name"];
    EXPECT_NEAR(t.high, sample["t"][1].get<double>(), 1e-12) << sample["name"];
  }
}

TEST(Statistics, SeedsNeededFollowTheFormulaAndExactPower) {
  EXPECT_DOUBLE_EQ(seeds_needed(0.1, 0.1), 16);  // 2 * 2.8^2 = 15.68
  EXPECT_DOUBLE_EQ(seeds_needed(1e-9, 1), 2);
  EXPECT_TRUE(std::isinf(seeds_needed(0.1, 0)));
  // Paired: 2 sd^2 is the variance of the differences. The t-test needs about 1.96^2 / 2 = 2 more.
  for (const auto& row : reference()["power"]) {
    const double n = seeds_needed(row["sd"].get<double>() / std::sqrt(2.0), row["delta"]);
    EXPECT_LT(n, row["n"].get<double>() + 1);
    EXPECT_GT(n, row["n"].get<double>() - 3);
  }
}

}  // namespace
}  // namespace motley
