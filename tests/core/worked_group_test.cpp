/// One group of eight worked by hand through every method: the numbers of the golden tables.

#include <cmath>

#include "core/diversity_metrics.hpp"
#include "core/eval_metrics.hpp"
#include "tests/core/modes.hpp"

namespace motley::test {
namespace {

const Ints kModes = {0, 0, 0, 3, 4, 4, 6, 7};
const Doubles kQuality = {1, 1, 1, 1, 0, 0, 1, 0};
const AdvantageParams kPlain{};

TEST(WorkedGroup, Darling) {
  const Shaped s = shape_groups({kModes}, {kQuality}, {.floor = 0.0}, kPlain);
  expect(s.diversity, {5.0 / 7, 5.0 / 7, 5.0 / 7, 1, 6.0 / 7, 6.0 / 7, 1, 1});
  expect(s.reward, {0.714286, 0.714286, 0.714286, 1, 0, 0, 1, 0});
  expect(s.advantage,
         {0.196429, 0.196429, 0.196429, 0.482143, -0.517857, -0.517857, 0.482143, -0.517857});
}

TEST(WorkedGroup, CorrectOnlyAndAdditive) {
  const Shaped correct = shape_groups(
      {kModes}, {kQuality}, {.shaping = Shaping::multiplicative_correct, .floor = 0.1}, kPlain);
  Doubles floored;
  for (const double d : correct.diversity) floored.push_back(std::max(d, 0.1));
  expect(floored, {0.5, 0.5, 0.5, 1, 0.1, 0.1, 1, 0.1});
  const Shaped additive =
      shape_groups({kModes}, {kQuality}, {.shaping = Shaping::additive_norm, .floor = 0.0}, kPlain);
  expect(additive.reward,
         {-0.380096, -0.380096, -0.380096, 1.929286, -1.290992, -1.290992, 1.929286, -0.136301});
}

TEST(WorkedGroup, Estimators) {
  const ShapingParams none{.shaping = Shaping::none};
  const Doubles grpo =
      shape_groups({kModes}, {kQuality}, none, {.norm = AdvantageNorm::group}).advantage;
  EXPECT_NEAR(grpo[0], 0.724567, 6e-7);
  EXPECT_NEAR(grpo[4], -1.207612, 6e-7);
  const Doubles plain = shape_groups({kModes}, {kQuality}, none, kPlain).advantage;
  EXPECT_NEAR(plain[0], 0.375, 1e-12);
  EXPECT_NEAR(plain[4], -0.625, 1e-12);
  const Doubles rloo =
      shape_groups({kModes}, {kQuality}, none, {.baseline = Baseline::loo}).advantage;
  EXPECT_NEAR(rloo[0], 0.428571, 6e-7);
  EXPECT_NEAR(rloo[4], -0.714286, 6e-7);
}

TEST(WorkedGroup, Metrics) {
  EXPECT_NEAR(class_entropy({3, 1, 2, 1, 1}), 1.494175, 6e-7);
  EXPECT_NEAR(distinct_at_k({3, 1, 2, 1, 1}, 8, 4), 3.214286, 6e-7);
  EXPECT_NEAR(pass_at_k(8, 5, 1), 0.625, 1e-12);
  EXPECT_NEAR(pass_at_k(8, 5, 2), 0.892857, 6e-7);
  EXPECT_EQ(pass_at_k(8, 5, 4), 1.0);
  EXPECT_NEAR(novelty_utility({7, 3, 9, 1}, {0, 0, 2, 3}, 0.8), 4.495935, 6e-7);
}

TEST(WorkedGroup, AFactorOfOneIsGrpoAndEqualRewardsGiveExactlyZero) {
  const Shaped quality_only =
      shape_groups({kModes}, {kQuality}, {.shaping = Shaping::none}, kPlain);
  const Shaped factor_one = shape_groups({kModes}, {kQuality}, {.floor = 1.0}, kPlain);
  EXPECT_EQ(quality_only.advantage, factor_one.advantage);
  for (const double eps : {0.0, 1e-6})
    for (const double a : shape_groups({kModes}, {Doubles(8, 0.7)}, {.shaping = Shaping::none},
                                       {.norm = AdvantageNorm::group, .eps = eps})
                              .advantage)
      EXPECT_EQ(a, 0.0);
}

const Details kDetails{.log_prob = {-.1, -.2, -.9, -.5, -.3, -.8, -1.2, -.4},
                       .length = {5, 7, 3, 4, 6, 2, 8, 5}};

Shaped worked(const ShapingParams& shaping, const AdvantageParams& advantage = kPlain,
              const Doubles& quality = kQuality) {
  return shape_groups({kModes}, {quality}, shaping, advantage, kDetails);
}
/// One advantage for the correct, one for the wrong.
void expect_two(const Doubles& got, double correct, double wrong) {
  expect(got, {correct, correct, correct, correct, wrong, wrong, correct, wrong});
}
Doubles estimate(const AdvantageParams& p) {
  return worked({.shaping = Shaping::none}, p).advantage;
}

TEST(WorkedGroup, RewardsOfEveryMethod) {
  expect(worked({.shaping = Shaping::unlikeliness}).reward,
         {.78125, .8125, .96875, .90625, 0, 0, 1, 0});
  const double third = 8.0 / 3;
  expect(worked({.shaping = Shaping::ips}).reward, {third, third, third, 8, 0, 0, 8, 0});
  const Doubles dra = worked({.shaping = Shaping::dra}).reward;
  const Doubles soft = {1.0 / 3, 1.0 / 3, 1.0 / 3, 1, 0, 0, 1, 0};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(dra[i], soft[i], 1.1e-6);
  const double twelfth = .642857;
  expect(worked({.shaping = Shaping::coverage}).reward, {twelfth, twelfth, twelfth, 1, 0, 0, 1, 0});
  expect(worked({.shaping = Shaping::mmr}).reward, {1, .4, .4, .7, 0, -.3, .7, 0});
  expect(worked({.shaping = Shaping::gapo}).reward,
         {.825, .825, .825, 1.075, .95, .95, 1.075, 1.075});
}

TEST(WorkedGroup, AdditiveZScores) {
  // In the released code the sample deviation (ddof 1) is the batch-level form; the population's
  // stands in the group.
  expect(worked({.shaping = Shaping::additive_norm, .floor = 0.0}).reward,
         {-.380096, -.380096, -.380096, 1.929286, -1.290992, -1.290992, 1.929286, -.136301});
  // With ddof 1: the sum of the two z-scores that gdpo whitens.
  expect(
      worked({.shaping = Shaping::none}, {.estimator = Estimator::gdpo, .baseline = Baseline::none})
          .advantage,
      {-.355548, -.355548, -.355548, 1.804683, -1.207612, -1.207612, 1.804683, -.127497});
}

TEST(WorkedGroup, AdvantagesOfEveryEstimator) {
  expect_two(estimate({.norm = AdvantageNorm::group}), .724567, -1.207612);
  // Population deviation and eps 1e-4 are the sample's scaled.
  const double n_over = std::sqrt(8.0 / 7);
  expect_two(estimate({.norm = AdvantageNorm::group, .eps = n_over * 1e-4}), .774437 / n_over,
             -1.290728 / n_over);
  expect_two(estimate({.estimator = Estimator::maxrl, .baseline = Baseline::none}), .599999,
             -.999998);
  expect_two(estimate({.baseline = Baseline::loo, .norm = AdvantageNorm::loo}), .801782, -1.463847);
  expect_two(estimate({.estimator = Estimator::opo, .baseline = Baseline::none}), 1 - .675, -.675);
  expect_two(estimate({.estimator = Estimator::w_reinforce, .baseline = Baseline::none}), .1, -1);
  expect_two(estimate({.estimator = Estimator::psr, .baseline = Baseline::none}), 1, 0);
  expect_two(estimate({.estimator = Estimator::nsr, .baseline = Baseline::none}), 0, -1);
  expect_two(estimate({.estimator = Estimator::grpo_passk, .baseline = Baseline::none}), 0, 0);
}

TEST(WorkedGroup, SetEstimators) {
  const Doubles two = {1, 0, 0, 1, 0, 0, 0, 0};
  const ShapingParams none{.shaping = Shaping::none};
  const Doubles pass =
      worked(none, {.estimator = Estimator::passk, .baseline = Baseline::none}, two).advantage;
  EXPECT_NEAR(pass[0], .522232, 6e-7);
  EXPECT_NEAR(pass[1], -.174077, 6e-7);
  const Doubles binary =
      worked(none,
             {.estimator = Estimator::pkpo, .baseline = Baseline::none, .pkpo = PkpoForm::none},
             two)
          .advantage;
  double total = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(binary[i], two[i] > 0 ? .5 : .357143, 6e-7);
    total += binary[i];
  }
  EXPECT_NEAR(total, 3.142857, 6e-7);
  const Doubles graded = {.9, .8, .7, .6, .2, .1, .5, .3};
  const auto pkpo = [&](PkpoForm form) {
    return worked(none, {.estimator = Estimator::pkpo, .baseline = Baseline::none, .pkpo = form},
                  graded)
        .advantage;
  };
  expect(pkpo(PkpoForm::none), {.45, .421429, .407143, .401429, .4, .4, .4, .4});
  expect(pkpo(PkpoForm::sloo), {.027143, -.034082, -.064694, -.076939, -.08, -.08, -.08, -.08});
  expect(pkpo(PkpoForm::sloo_minus_one), {.101429, .051429, .022857, .008571, 0, 0, .002857, 0});
}

TEST(WorkedGroup, BonusesOnTheAdvantage) {
  // coef 1 on plain centred rewards, N = |C|: the bonus is what is above .375 and -.625.
  const auto bonus = [](Shaping shaping) {
    Doubles a = worked({.shaping = shaping, .bonus_coef = 1, .bonus_count = BonusCount::including})
                    .advantage;
    for (std::size_t i = 0; i < 8; ++i) a[i] -= kQuality[i] - .625;
    return a;
  };
  expect(bonus(Shaping::batch), {-.25, -.25, -.25, 0, -.125, -.125, 0, 0});
  expect(bonus(Shaping::ucb_con), {.077350, .077350, .077350, .5, .207107, .207107, .5, .5});
  expect(bonus(Shaping::ucb_mean),
         {-.218209, -.218209, -.218209, .264819, -.069916, -.069916, .264819, .264819});
  expect(bonus(Shaping::ucb), {.577350, .577350, .577350, 1, .707107, .707107, 1, 1});
  // Solved groups get none.
  const Doubles solved =
      worked({.shaping = Shaping::batch, .bonus_coef = 1}, kPlain, Doubles(8, 1.0)).advantage;
  EXPECT_EQ(solved, Doubles(8, 0.0));
  expect(worked({.shaping = Shaping::uniqueness}, {.norm = AdvantageNorm::group}).advantage,
         {.418329, .418329, .418329, .724567, -.853911, -.853911, .724567, -1.207612});
}

/// The credits add up to a change of the determinant: chaining "without i" down to nothing gives
/// logdet(K + I) of the table.
TEST(WorkedGroup, LogDeterminant) {
  Doubles similarity;
  for (const int i : kModes)
    for (const int j : kModes) similarity.push_back(i == j ? 1.0 : 0.5);
  double total = 0;
  for (std::size_t n = 8; n > 0; --n) {
    Doubles part;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) part.push_back(similarity[i * 8 + j]);
    const Shaped s = shape_groups(
        {Ints(kModes.begin(), kModes.begin() + static_cast<long>(n))}, {Doubles(n, 0.0)},
        {.shaping = Shaping::logdet, .logdet_alpha = 1}, kPlain, {.similarity = part});
    total += s.reward[n - 1];
  }
  EXPECT_NEAR(total, 3.957235, 6e-7);
}

}  // namespace
}  // namespace motley::test
