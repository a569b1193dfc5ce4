/// Exact results: the expected update of every method by enumeration over all groups, and where its
/// flow comes to rest.

#include <cmath>

#include "tests/core/modes.hpp"

namespace motley::test {
namespace {

const AdvantageParams kPlain{};
const AdvantageParams kBare{.baseline = Baseline::none};
const ShapingParams kDarling{.floor = 0.0};
const ShapingParams kNone{.shaping = Shaping::none};

/// E[f(A_i) | y_i in mode m] by enumeration of all |modes|^n groups.
template <class F>
Doubles expected(const Doubles& p, const Doubles& r, int n, const ShapingParams& shaping,
                 const AdvantageParams& advantage, const F& f) {
  const int modes = static_cast<int>(p.size());
  std::vector<Ints> groups;
  std::vector<Doubles> quality;
  Doubles probability;  // of the others
  const int total = static_cast<int>(std::lround(std::pow(modes, n)));
  for (int code = 0; code < total; ++code) {
    Ints group;
    Doubles q;
    double weight = 1;
    for (int i = 0, rest = code; i < n; ++i, rest /= modes) {
      group.push_back(rest % modes);
      q.push_back(r[static_cast<std::size_t>(rest % modes)]);
      if (i > 0) weight *= p[static_cast<std::size_t>(rest % modes)];
    }
    groups.push_back(group);
    quality.push_back(q);
    probability.push_back(weight);
  }
  const Doubles a = shape_groups(groups, quality, shaping, advantage).advantage;
  Doubles sum(p.size(), 0.0);
  for (std::size_t g = 0; g < groups.size(); ++g)
    sum[static_cast<std::size_t>(groups[g][0])] +=
        probability[g] * f(a[g * static_cast<std::size_t>(n)]);
  return sum;
}
Doubles expected_advantage(const Doubles& p, const Doubles& r, int n, const ShapingParams& shaping,
                           const AdvantageParams& advantage) {
  return expected(p, r, n, shaping, advantage, [](double a) { return a; });
}
/// E_m Var(A_i | y_i in mode m): what the group adds to the noise of an update.
double variance_within_modes(const Doubles& p, const Doubles& r, int n,
                             const AdvantageParams& advantage) {
  const Doubles mean = expected_advantage(p, r, n, {.floor = 0.0}, advantage);
  const Doubles square =
      expected(p, r, n, {.floor = 0.0}, advantage, [](double a) { return a * a; });
  double sum = 0;
  for (std::size_t m = 0; m < p.size(); ++m) sum += p[m] * (square[m] - mean[m] * mean[m]);
  return sum;
}

/// Qualities of so many right and so many wrong modes. Built, not written as {1, 1, 1, 0}: GCC 12.2
/// with AVX-512 makes {1, 1, 1, 1} of that list where it is an argument (-ftree-slp-vectorize).
Doubles right_and_wrong(std::size_t right, std::size_t wrong) {
  Doubles r(right, 1.0);
  r.resize(right + wrong, 0.0);
  return r;
}

/// got = law up to one constant.
void expect_law(const Doubles& got, const Doubles& law, const std::string& what) {
  for (std::size_t m = 1; m < got.size(); ++m)
    EXPECT_NEAR(got[m] - got[0], law[m] - law[0], 1e-12) << what << ", mode " << m;
}

/// Where the noise-free natural-gradient flow d ln p_m = E[A | m] comes to rest.
Doubles rest_of_flow(Doubles p, const Doubles& r, int n, const ShapingParams& shaping,
                     const AdvantageParams& advantage, double rate = 1, int steps = 400) {
  for (int s = 0; s < steps; ++s) {
    const Doubles a = expected_advantage(p, r, n, shaping, advantage);
    double total = 0;
    for (std::size_t m = 0; m < p.size(); ++m) total += p[m] *= std::exp(rate * a[m]);
    for (double& x : p) x /= total;
  }
  return p;
}

const Doubles kMix = {0.5, 0.3, 0.15, 0.05};
const Doubles kGraded = {1, 0.9, 0.5, 0};

/// E[A_i | m] = ((n-1)/n) r_m (1 - c_n p_m) + const, c_n = (n-2)/(n-1): no diversity effect at n
/// = 2. Leave-one-out: the same without (n-1)/n.
TEST(ExpectedUpdate, DarlingAscendsQualityMinusACollisionPenalty) {
  for (const int n : {2, 4, 6}) {
    const double c = double(n - 2) / (n - 1);
    Doubles law, loo;
    for (std::size_t m = 0; m < 4; ++m) {
      loo.push_back(kGraded[m] * (1 - c * kMix[m]));
      law.push_back((n - 1.0) / n * loo[m]);
    }
    expect_law(expected_advantage(kMix, kGraded, n, kDarling, kPlain), law, "mean");
    expect_law(expected_advantage(kMix, kGraded, n, kDarling, {.baseline = Baseline::loo}), loo,
               "loo");
  }
  expect(expected_advantage(kMix, kGraded, 2, kDarling, kPlain), {.0775, .0275, -.1725, -.4225});
  expect(expected_advantage(kMix, kGraded, 4, kDarling, kPlain),
         {0.037375, 0.077375, -0.125125, -0.462625});
  expect(expected_advantage(kMix, kGraded, 6, kDarling, kPlain), {0.024, 0.094, -0.109333, -0.476});
}

/// The baseline of the group without i removes the group-size bias: r_m (1 - p_m) + const at every
/// n, and v_m (1 - p_m)^(K-1) + const for larger sets.
TEST(ExpectedUpdate, LeaveOneOutPartitionHasNoGroupSizeBias) {
  const AdvantageParams loo{.baseline = Baseline::loo_partition};
  for (const int n : {3, 4, 6}) {
    Doubles law, triples;
    for (std::size_t m = 0; m < 4; ++m) {
      law.push_back(kGraded[m] * (1 - kMix[m]));
      triples.push_back(kGraded[m] * (1 - kMix[m]) * (1 - kMix[m]));
    }
    expect_law(expected_advantage(kMix, kGraded, n, kDarling, loo), law, "darling");
    if (n < 4) continue;
    expect_law(expected_advantage(
                   kMix, kGraded, n,
                   {.shaping = Shaping::coverage, .coverage_k = 3, .coverage_lambda = 1}, loo),
               triples, "coverage of 3");
  }
}

/// What the unbiased baseline costs, printed to four digits.
TEST(ExpectedUpdate, LeaveOneOutPartitionPaysInVariance) {
  const auto variance = [](int n, Baseline baseline) {
    return variance_within_modes(kMix, kGraded, n, {.baseline = baseline});
  };
  EXPECT_NEAR(variance(6, Baseline::loo_partition), .0488, 5e-5);
  EXPECT_NEAR(variance(6, Baseline::mean), .0232, 5e-5);
  EXPECT_NEAR(variance(6, Baseline::none), .0362, 5e-5);
  EXPECT_NEAR(variance(4, Baseline::loo_partition), .1063, 5e-5);
  EXPECT_NEAR(variance(4, Baseline::mean), .0302, 5e-5);
}

TEST(ExpectedUpdate, DominantModeIsPushedDownInAMixedGroup) {
  const Doubles p = {0.6, 0.3, 0.1}, r = right_and_wrong(2, 1);
  expect(expected_advantage(p, r, 6, kDarling, kPlain), {-0.0166667, 0.1833333, -0.45});
  const Doubles grpo = expected_advantage(p, r, 6, kNone, {.norm = AdvantageNorm::group});
  EXPECT_NEAR(grpo[0], .189, 6e-4);
  EXPECT_NEAR(grpo[1], .189, 6e-4);
}

/// Seven alike and one novel, all correct: GRPO has no signal, DARLING has, and the division by the
/// deviation makes it the same size whatever the difference.
TEST(ExpectedUpdate, SolvedGroupsKeepAGradient) {
  const Ints modes = {0, 0, 0, 0, 0, 0, 0, 7};
  const Doubles solved(8, 1.0);
  const auto advantage = [&](const ShapingParams& s, const AdvantageParams& a) {
    return shape_groups({modes}, {solved}, s, a).advantage;
  };
  Doubles plain(8, -3.0 / 28), scaled(8, -.353553);
  plain[7] = .75;
  scaled[7] = 2.474874;
  expect(advantage(kDarling, kPlain), plain);
  const Doubles normed = advantage(kDarling, {.norm = AdvantageNorm::group});
  for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(normed[i], scaled[i], 1e-5);
  EXPECT_EQ(advantage(kNone, {.norm = AdvantageNorm::group}), Doubles(8, 0.0));
  // A third of the diversity: the same advantages.
  const Doubles third =
      advantage({.shaping = Shaping::coverage, .coverage_k = 2, .coverage_lambda = 1.0 / 3},
                {.norm = AdvantageNorm::group});
  for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(third[i], scaled[i], 1e-4);
  EXPECT_EQ(
      shape_groups({Ints(8, 0)}, {Doubles{1, 1, 0, 0, 1, 0, 1, 1}}, kDarling, kPlain).advantage,
      Doubles(8, 0.0));
}

/// E of the shaped reward itself: 1 - p for Div, (1-(1-p)^n)/p for 1/p^, (1-p)^(K-1) for a set.
TEST(ExpectedUpdate, EffectiveRewardsOfTheCountMethods) {
  const int n = 6;
  const auto bare = [&](const ShapingParams& s) {
    return expected_advantage(kMix, kGraded, n, s, kBare);
  };
  const Doubles ips = bare({.shaping = Shaping::ips});
  const Doubles set = bare({.shaping = Shaping::coverage, .coverage_k = 4, .coverage_lambda = 1});
  const Doubles entropy = bare({.shaping = Shaping::outcome_entropy, .entropy_alpha = 0.3});
  const Doubles darling = bare(kDarling);
  for (std::size_t m = 0; m < 4; ++m) {
    const double p = kMix[m];
    EXPECT_NEAR(darling[m], kGraded[m] * (1 - p), 1e-12);
    EXPECT_NEAR(ips[m], kGraded[m] * (1 - std::pow(1 - p, n)) / p, 1e-12);
    EXPECT_NEAR(set[m], kGraded[m] * std::pow(1 - p, 3), 1e-12);
    double mean_log = 0, weight = std::pow(1 - p, n - 1);
    for (int others = 0; others < n; ++others) {
      mean_log += weight * std::log((1.0 + others) / n);
      weight *= p / (1 - p) * (n - 1 - others) / (others + 1);
    }
    EXPECT_NEAR(entropy[m], kGraded[m] - 0.3 * mean_log, 1e-12);
  }
}

/// p_m = (1 - lam/r_m)/c_n on the support, lam = (#S - c_n) / sum_S 1/r.
Doubles water_filling(const Doubles& r, int n) {
  const double c = (n - 2.0) / (n - 1);
  for (std::size_t support = r.size(); support > 0; --support) {  // r descends
    double inverse = 0;
    for (std::size_t m = 0; m < support; ++m) inverse += 1 / r[m];
    const double lam = (static_cast<double>(support) - c) / inverse;
    if (r[support - 1] <= lam) continue;
    Doubles p(r.size(), 0.0);
    for (std::size_t m = 0; m < support; ++m) p[m] = (1 - lam / r[m]) / c;
    return p;
  }
  return {};
}

TEST(FixedPoints, DarlingFillsWaterAboveAQualityThreshold) {
  expect(water_filling({1, .9, .5, .2}, 8), {.535088, .464912, 0, 0});
  expect(water_filling({1, .5}, 8), {.722222, .277778});
  const Doubles six = water_filling({1, .9, .8, .7, .6, .5}, 8);
  const Doubles printed = {.4011, .3161, .2097, .0730, 0, 0};
  for (std::size_t m = 0; m < 6; ++m) EXPECT_NEAR(six[m], printed[m], 6e-5);
  // Nothing pulls there inside the support, and what is outside is pushed down.
  const Doubles p = water_filling({1, .9, .5, .2}, 6);
  const Doubles a = expected_advantage(p, {1, .9, .5, .2}, 6, kDarling, kPlain);
  EXPECT_NEAR(a[0], a[1], 1e-12);
  EXPECT_LT(a[2], a[0] - 1e-3);
  EXPECT_LT(a[3], a[2]);
  // The flow gets there: two modes, and three of which one drops out.
  for (const int n : {4, 8}) {
    const Doubles two = rest_of_flow({.5, .5}, {1, .5}, n, kDarling, kPlain);
    EXPECT_NEAR(two[0], water_filling({1, .5}, n)[0], 1e-6);
  }
  const Doubles three = rest_of_flow({.2, .3, .5}, {1, .9, .3}, 4, kDarling, kPlain);
  for (std::size_t m = 0; m < 3; ++m) EXPECT_NEAR(three[m], water_filling({1, .9, .3}, 4)[m], 1e-6);
}

/// Binary rewards: uniform over the correct modes, zero elsewhere, even from next to nothing.
TEST(FixedPoints, BinaryRewardsEndUniformOverTheCorrectModes) {
  const Doubles start = {.97, .01, .01, .01}, r = right_and_wrong(3, 1);
  for (const ShapingParams& s :
       {kDarling,
        ShapingParams{.shaping = Shaping::coverage, .coverage_k = 3, .coverage_lambda = 1},
        ShapingParams{.shaping = Shaping::ips}}) {
    const Doubles end = rest_of_flow(start, r, 4, s, kPlain, 2, 150);
    for (std::size_t m = 0; m < 3; ++m) EXPECT_NEAR(end[m], 1.0 / 3, 1e-4) << name_of(s.shaping);
    EXPECT_LT(end[3], 1e-6) << name_of(s.shaping);
  }
  // GRPO keeps the odds of the correct modes, or makes the rich richer.
  const Doubles grpo = rest_of_flow(start, r, 4, kNone, kPlain, 2, 100);
  EXPECT_NEAR(grpo[0] / grpo[1], 97, 1e-6);
}

/// IPS is proportional where DARLING is selective: r = (1, .5) ends where the effective rewards
/// r (1-(1-p)^n)/p meet, near p ~ r.
TEST(FixedPoints, IpsKeepsModesInProportion) {
  const int n = 8;
  const auto pull = [&](double r, double p) { return r * (1 - std::pow(1 - p, n)) / p; };
  double low = .5, high = .9;
  for (int i = 0; i < 60; ++i) {
    const double p = (low + high) / 2;
    (pull(1, p) > pull(.5, 1 - p) ? low : high) = p;
  }
  // No baseline, so that the effective reward is all there is.
  const Doubles end = rest_of_flow({.5, .5}, {1, .5}, n, {.shaping = Shaping::ips}, kBare, .5);
  EXPECT_NEAR(end[0], low, 1e-6);
  EXPECT_NEAR(end[0], 2.0 / 3, .02);
}

/// Additive shaping leaks: with M correct modes the wrong ones keep mass iff w c_n > M.
TEST(FixedPoints, AdditiveLeaksBeyondTheNumberOfCorrectModes) {
  const double c = 2.0 / 3;
  for (const double w : {1.3, 1.8}) {
    ShapingParams additive{.shaping = Shaping::additive, .floor = 0.0};
    additive.diversity_weight = w;
    const Doubles end = rest_of_flow({.5, .5}, {1, 0}, 4, additive, kPlain);
    EXPECT_NEAR(end[0], w * c > 1 ? (1 + w * c) / (2 * w * c) : 1, 1e-6) << w;
  }
  // The bonus of Batch is the same pressure on the advantage, in groups that are not all correct.
  const Doubles batch = expected_advantage(kMix, right_and_wrong(2, 2), 4,
                                           {.shaping = Shaping::batch, .bonus_coef = 1}, kBare);
  EXPECT_GT(batch[3] - batch[2], 0.05);
  EXPECT_GT(batch[1], batch[0]);
}

/// Terms that know only right and wrong cannot equalise right modes.
TEST(FixedPoints, PassAtKIsIndifferentAmongCorrectModes) {
  const Doubles p = {0.6, 0.25, 0.15}, r = right_and_wrong(2, 1);
  std::vector<AdvantageParams> blind;
  for (const Estimator e : {Estimator::psr, Estimator::nsr, Estimator::w_reinforce,
                            Estimator::passk, Estimator::pkpo, Estimator::maxrl})
    blind.push_back({.estimator = e, .baseline = Baseline::none, .k = 3});
  for (const AdvantageParams& a : blind) {
    const Doubles got = expected_advantage(p, r, 5, kNone, a);
    EXPECT_NEAR(got[0], got[1], 1e-12) << name_of(a.estimator);
    EXPECT_GT(got[0], got[2] + .01) << name_of(a.estimator);
  }
  for (const Shaping s : {Shaping::multiplicative, Shaping::ips, Shaping::coverage, Shaping::set_rl,
                          Shaping::logdet, Shaping::outcome_entropy, Shaping::dra}) {
    const Doubles got = expected_advantage(p, r, 5, {.shaping = s, .floor = 0, .set_k = 2}, kPlain);
    EXPECT_GT(got[1], got[0] + 1e-3) << name_of(s);
  }
  // PKPO without baseline is the gradient of pass@k: E[A | correct] - E[A | wrong] =
  // (k/n) (1 - p_c)^(k-1), by the definition of a set that holds i.
  const Doubles pkpo = expected_advantage(
      p, r, 5, kNone,
      {.estimator = Estimator::pkpo, .baseline = Baseline::none, .k = 3, .pkpo = PkpoForm::none});
  EXPECT_NEAR(pkpo[0] - pkpo[2], 3.0 / 5 * std::pow(.15, 2), 1e-12);
}

/// With one correct mode the gap of expected advantages shrinks by 1 - c_n p.
TEST(ExpectedUpdate, DiversityCostsWhereOneModeIsRight) {
  const auto gap = [](double p, const ShapingParams& s) {
    const Doubles a = expected_advantage({p, 1 - p}, {1, 0}, 8, s, kPlain);
    return a[0] - a[1];
  };
  EXPECT_NEAR(gap(.9, kDarling) / gap(.9, kNone), .228571, 6e-7);
  EXPECT_NEAR(gap(1, kDarling) / gap(1, kNone), 1.0 / 7, 1e-12);
}

}  // namespace
}  // namespace motley::test
