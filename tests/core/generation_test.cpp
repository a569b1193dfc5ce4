#include "tests/oracle/generation.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "core/filter_groups.hpp"
#include "core/generation_metrics.hpp"
#include "core/mismatch.hpp"
#include "core/reward_terms.hpp"
#include "tests/core/views.hpp"

namespace motley::test {
namespace {

TEST(Overlong, PenaltyIsTheRampOfThePaper) {
  const std::vector<std::vector<int>> settings = {{0, 0}, {10, 4}, {10, 0}, {7, 7}, {16, 3}};
  for (const auto& s : settings) {
    OverlongParams p;
    p.max_length = s[0];
    p.cache = s[1];
    for (int length = 0; length <= 20; ++length)
      EXPECT_EQ(overlong_penalty(p, length), oracle::overlong(length, s[0], s[1])) << length;
  }
  // DAPO's own numbers: Lmax 20480, Lc 4096.
  OverlongParams dapo;
  dapo.max_length = 20480;
  dapo.cache = 4096;
  EXPECT_EQ(overlong_penalty(dapo, 16384), 0.0);
  EXPECT_EQ(overlong_penalty(dapo, 18432), -0.5);
  EXPECT_EQ(overlong_penalty(dapo, 20480), -1.0);
  EXPECT_EQ(overlong_penalty(dapo, 20481), -1.0);
}

/// Random log-probabilities and lengths of a batch; every third completion is empty or full.
struct Batch {
  int R, B, G, T;
  std::vector<int> length;
  std::vector<double> old_log_prob, other;

  Batch(int R_, int B_, int G_, int T_, double spread) : R(R_), B(B_), G(G_), T(T_) {
    std::mt19937 engine(7);
    std::normal_distribution<double> normal(0, spread);
    for (int i = 0; i < R * B * G; ++i)
      length.push_back(i % 3 == 0 ? (i % 2) * T : static_cast<int>(engine() % unsigned(T + 1)));
    for (int i = 0; i < R * B * G * T; ++i) {
      old_log_prob.push_back(double(float(normal(engine))));
      // Some equal, some beyond every clamp.
      const double shift = i % 5 == 0 ? 0 : (i % 11 == 0 ? 30 : normal(engine));
      other.push_back(double(float(old_log_prob.back() + shift)));
    }
  }
  std::vector<double> tokens(const std::vector<double>& of, int i) const {
    return {of.begin() + i * T, of.begin() + i * T + length[static_cast<std::size_t>(i)]};
  }
  View3<int> lengths() const { return device_as<View3<int>>(length, R, B, G); }
  View4<float> view(const std::vector<double>& of) const {
    return device_as<View4<float>>(of, R, B, G, T);
  }
};

TEST(KlInReward, IsSubtractedWithEveryEstimator) {
  const char* const names[] = {"k1", "k2", "k3", "abs"};
  const KlEstimator estimators[] = {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3,
                                    KlEstimator::abs};
  // Replicas: the four estimators, placement = loss, coefficient 0.
  for (const auto& [G, T] : {std::pair{1, 1}, {2, 5}, {7, 13}}) {
    const Batch x(6, 3, G, T, 2.0);
    std::vector<LossParams> params(6);
    for (std::size_t r = 0; r < 6; ++r) {
      params[r].kl_coef = r == 5 ? 0.0 : 0.3;
      params[r].kl_estimator = estimators[r % 4];
      params[r].kl_placement = r == 4 ? KlPlacement::loss : KlPlacement::reward;
    }
    const auto reward =
        device_as<View3<double>>(std::vector<double>(x.length.size(), 0.7), 6, 3, G);
    subtract_kl<double>(Exec(), device(params), x.view(x.old_log_prob), x.view(x.other),
                        x.lengths(), reward);
    const auto got = values_of(reward);
    for (int i = 0; i < static_cast<int>(got.size()); ++i) {
      const int r = i / (3 * G);
      const double want =
          r >= 4 ? 0.7
                 : 0.7 - 0.3 * oracle::divergence(names[r], x.tokens(x.old_log_prob, i),
                                                  x.tokens(x.other, i));
      // Sums of at most 13 doubles of size 30 or, clamped, 450.
      EXPECT_NEAR(got[static_cast<std::size_t>(i)], want, 1e-10) << names[r % 4];
    }
  }
}

TEST(Overlong, IsAddedToTheRewardAndLeavesOtherReplicasAlone) {
  const Batch x(2, 2, 3, 9, 1.0);
  std::vector<OverlongParams> params(2);
  params[1].max_length = 6;
  params[1].cache = 4;
  std::vector<double> before;
  for (std::size_t i = 0; i < x.length.size(); ++i) before.push_back(0.1 * double(i));
  const auto reward = device_as<View3<double>>(before, 2, 2, 3);
  add_overlong_penalty<double>(Exec(), device(params), x.lengths(), reward);
  const auto got = values_of(reward);
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(got[i], i < 6 ? before[i] : before[i] + oracle::overlong(x.length[i], 6, 4));
}

TEST(KlInReward, LeavesTheLossWithoutIt) {
  LossParams p;
  p.kl_coef = 0.4;
  for (const KlEstimator e :
       {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3, KlEstimator::abs}) {
    p.kl_estimator = e;
    p.kl_placement = KlPlacement::reward;
    const TokenLoss<double> in_reward = token_loss(p, -1.0, -1.1, -2.0, 0.5);
    p.kl_placement = KlPlacement::loss;
    const TokenLoss<double> in_loss = token_loss(p, -1.0, -1.1, -2.0, 0.5);
    LossParams none;
    const TokenLoss<double> without = token_loss(none, -1.0, -1.1, -2.0, 0.5);
    EXPECT_EQ(in_reward.kl, 0.0);
    EXPECT_EQ(in_reward.d_log_prob, without.d_log_prob);
    EXPECT_NE(in_loss.d_log_prob, without.d_log_prob);
  }
}

TEST(MismatchWeights, EveryCorrectionAndLevelMatchesTheOracle) {
  const char* const corrections[] = {"none", "tis", "mis"};
  const char* const levels[] = {"token", "sequence", "geometric"};
  for (const double cap : {1.0, 2.0, 5.0})
    for (const auto& [G, T] : {std::pair{1, 1}, {2, 6}, {7, 13}}) {
      const Batch x(9, 2, G, T, 0.8);
      std::vector<MismatchParams> params(9);
      for (std::size_t r = 0; r < 9; ++r) {
        params[r].correction = static_cast<MismatchCorrection>(r / 3);
        params[r].level = static_cast<MismatchLevel>(r % 3);
        params[r].cap = cap;
      }
      View4<float> scale("motley::test::scale", 9, 2, G, T);
      Kokkos::deep_copy(scale, NAN);
      mismatch_weights(Exec(), device(params), x.view(x.old_log_prob), x.view(x.other), x.lengths(),
                       scale);
      const auto got = values_of(scale);
      for (int i = 0; i < 9 * 2 * G; ++i)
        for (int t = 0; t < T; ++t) {
          const int r = i / (2 * G);
          double want = 1;
          if (t < x.length[static_cast<std::size_t>(i)])
            want = oracle::importance(corrections[r / 3], levels[r % 3], cap,
                                      x.tokens(x.old_log_prob, i), x.tokens(x.other, i),
                                      static_cast<std::size_t>(t));
          // Float rounding of weights up to 5.
          EXPECT_NEAR(got[static_cast<std::size_t>(i * T + t)], want, 4e-7)
              << corrections[r / 3] << " " << levels[r % 3];
        }
    }
}

TEST(MismatchWeights, AreExactlyOneWhereSamplerAndTrainerAgree) {
  const Batch x(1, 2, 3, 5, 1.0);
  for (int c = 0; c < 3; ++c)
    for (int l = 0; l < 3; ++l) {
      std::vector<MismatchParams> params(1);
      params[0].correction = static_cast<MismatchCorrection>(c);
      params[0].level = static_cast<MismatchLevel>(l);
      View4<float> scale("motley::test::scale", 1, 2, 3, 5);
      mismatch_weights(Exec(), device(params), x.view(x.other), x.view(x.other), x.lengths(),
                       scale);
      for (const float w : values_of(scale)) EXPECT_EQ(w, 1.0f);
    }
}

/// What a slot would draw in an attempt: rewards that are equal, or not, by a fixed scramble.
struct FakeGroups {
  int R, B, G;
  std::uint32_t bits(int seed, int attempt, int b, int g) const {
    return draw_bits({static_cast<std::uint64_t>(seed), Stream::task, 1},
                     static_cast<std::uint32_t>((attempt * B + b) * G + g), 3)
        .x[0];
  }
  /// A third of the groups has no signal of its own.
  float quality(int seed, int attempt, int b, int g) const {
    const std::uint32_t kind = bits(seed, attempt, b, 1000) % 3;
    return kind == 0 ? 1.0f
                     : (kind == 1 ? 0.0f : static_cast<float>(bits(seed, attempt, b, g) % 2));
  }
  /// Shaped: all-correct groups tell their members apart, all-wrong ones do not.
  float reward(int seed, int attempt, int b, int g) const {
    return quality(seed, attempt, b, g) * (1.0f + static_cast<float>(g % 2));
  }
  int length(int seed, int attempt, int b, int g) const {
    return 1 + static_cast<int>(bits(seed, attempt, b, g) % 9);
  }
};

struct Judged {
  std::vector<std::vector<int>> attempt_of, good;
  std::vector<int> batches;
  std::vector<double> redrawn;
};

/// The loop of dynamic sampling with the fake groups in place of rollouts.
Judged judge(const FakeGroups& fake, const std::vector<int>& seeds,
             const std::vector<FilterParams>& params) {
  const auto R = static_cast<int>(seeds.size());
  FilterState state = make_filter_state(R, fake.B);
  Kokkos::deep_copy(state.slots, -7);
  accept_groups(Exec(), state);
  HostView3<float> quality("motley::test::quality", R, fake.B, fake.G),
      reward("motley::test::reward", R, fake.B, fake.G);
  HostView3<int> length("motley::test::length", R, fake.B, fake.G);
  Judged out;
  out.attempt_of.assign(seeds.size(), std::vector<int>(static_cast<std::size_t>(fake.B), 0));
  const auto draw = [&](int r, int attempt, int b) {
    const auto at = static_cast<std::size_t>(r);
    out.attempt_of[at][static_cast<std::size_t>(b)] = attempt;
    for (int g = 0; g < fake.G; ++g) {
      quality(r, b, g) = fake.quality(seeds[at], attempt, b, g);
      reward(r, b, g) = fake.reward(seeds[at], attempt, b, g);
      length(r, b, g) = fake.length(seeds[at], attempt, b, g);
    }
  };
  for (int r = 0; r < R; ++r)
    for (int b = 0; b < fake.B; ++b) draw(r, 0, b);
  for (int attempt = 0;; ++attempt) {
    View3<float> d_quality("motley::test::q", R, fake.B, fake.G),
        d_reward("motley::test::r", R, fake.B, fake.G);
    View3<int> d_length("motley::test::l", R, fake.B, fake.G);
    Kokkos::deep_copy(d_quality, quality);
    Kokkos::deep_copy(d_reward, reward);
    Kokkos::deep_copy(d_length, length);
    judge_groups(Exec(), device(params), attempt, d_quality, d_reward, d_length, state);
    const auto num_slots = on_host(state.num_slots), pending = on_host(state.pending);
    const auto slots = on_host(state.slots);
    bool any = false;
    for (int r = 0; r < R; ++r) {
      EXPECT_EQ(pending(r), num_slots(r) > 0 ? 1 : 0);
      for (int i = 0; i < num_slots(r); ++i) {
        if (i > 0) EXPECT_GT(slots(r, i), slots(r, i - 1));
        draw(r, attempt + 1, slots(r, i));
        any = true;
      }
    }
    if (!any) break;
  }
  const auto good = on_host(state.good);
  for (int r = 0; r < R; ++r) {
    out.good.emplace_back();
    for (int b = 0; b < fake.B; ++b) out.good.back().push_back(good(r, b));
  }
  out.batches = values_of(state.batches);
  out.redrawn = values_of(state.redrawn);
  return out;
}

TEST(FilterGroups, EverySlotKeepsItsFirstGoodGroup) {
  const FakeGroups fake{0, 11, 4};
  const std::vector<int> seeds = {1, 2, 3, 4, 5, 1};
  std::vector<FilterParams> params(6);
  const FilterMetric metrics[] = {FilterMetric::none,   FilterMetric::acc, FilterMetric::shaped,
                                  FilterMetric::shaped, FilterMetric::acc, FilterMetric::acc};
  const int most[] = {10, 10, 10, 1, 2, 3};
  for (std::size_t r = 0; r < 6; ++r) params[r] = {metrics[r], most[r]};
  const Judged packed = judge(fake, seeds, params);
  for (std::size_t r = 0; r < 6; ++r) {
    const auto group = [&](int attempt, int b) {
      int correct = 0;
      double tokens = 0;
      bool equal = true;
      for (int g = 0; g < fake.G; ++g) {
        correct += fake.quality(seeds[r], attempt, b, g) > 0 ? 1 : 0;
        equal =
            equal && fake.reward(seeds[r], attempt, b, g) == fake.reward(seeds[r], attempt, b, 0);
        tokens += fake.length(seeds[r], attempt, b, g);
      }
      const bool good =
          metrics[r] == FilterMetric::none ||
          (metrics[r] == FilterMetric::acc ? correct > 0 && correct < fake.G : !equal);
      return oracle::Drawn{good, tokens};
    };
    const oracle::Filtered want = oracle::filter(fake.B, most[r], group);
    EXPECT_EQ(packed.attempt_of[r], want.attempt_of) << r;
    EXPECT_EQ(packed.good[r], want.good) << r;
    EXPECT_EQ(packed.batches[r], want.batches) << r;
    EXPECT_EQ(packed.redrawn[r], want.redrawn) << r;
    // Alone as in company.
    const Judged alone = judge(fake, {seeds[r]}, {params[r]});
    EXPECT_EQ(alone.attempt_of[0], packed.attempt_of[r]);
    EXPECT_EQ(alone.batches[0], packed.batches[r]);
    EXPECT_EQ(alone.redrawn[0], packed.redrawn[r]);
  }
  EXPECT_GT(packed.batches[1], 2);
  EXPECT_EQ(packed.batches[0], 1);
  EXPECT_EQ(packed.batches[3], 1);
}

TEST(FilterGroups, UsedLeavesOutRefusedGroupsAndTruncatedCompletions) {
  const auto good = device_as<View2<int>>(std::vector<int>{1, 0, 1, 0}, 2, 2);
  const std::vector<int> finish = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
  std::vector<OverlongParams> overlong(2);
  overlong[1].filter = true;
  View3<int> used("motley::test::used", 2, 2, 3);
  Kokkos::deep_copy(used, -1);
  mark_used(Exec(), good, device(overlong), device_as<View3<int>>(finish, 2, 2, 3), used);
  EXPECT_EQ(values_of(used), (std::vector<int>{1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0}));
}

TEST(GenerationMetrics, AreTheMeansOfTheBatch) {
  const Shape shape{.R = 2, .B = 3, .G = 4, .P = 2, .T = 6, .V = 9};
  const Batch x(shape.R, shape.B, shape.G, shape.T, 1.0);
  RolloutBuffer buffer(shape);
  buffer.length = x.lengths();
  buffer.old_log_prob = x.view(x.old_log_prob);
  buffer.sampler_log_prob = x.view(x.other);
  std::vector<int> used;
  for (int i = 0; i < 24; ++i) used.push_back(i % 5 == 0 ? 0 : 1);
  buffer.used = device_as<View3<int>>(used, 2, 3, 4);
  FilterState filter = make_filter_state(2, 3);
  accept_groups(Exec(), filter);
  Kokkos::deep_copy(Kokkos::subview(filter.batches, 1), 4);
  Kokkos::deep_copy(Kokkos::subview(filter.redrawn, 1), 100.0);
  std::vector<SamplingParams> sampling(2);
  sampling[1].temperature = 0.6;
  View3<double> scratch("motley::test::scratch", 2, 3, kGenerationTerms);
  View2<double> values("motley::test::values", 2, kMetrics);
  generation_metrics(Exec(), buffer, filter, device(sampling), scratch, values);
  const auto got = on_host(values);
  for (int r = 0; r < 2; ++r) {
    double in_use = 0, tokens = 0, distance = 0, furthest = 0, k3 = 0;
    for (int i = 12 * r; i < 12 * (r + 1); ++i) {
      in_use += used[static_cast<std::size_t>(i)];
      tokens += x.length[static_cast<std::size_t>(i)];
      const auto old = x.tokens(x.old_log_prob, i), mu = x.tokens(x.other, i);
      k3 += oracle::divergence("k3", mu, old);
      distance += oracle::divergence("abs", mu, old);
      for (std::size_t t = 0; t < mu.size(); ++t)
        furthest = std::max(furthest, std::abs(mu[t] - old[t]));
    }
    const auto metric = [&](Metric m) { return got(r, static_cast<int>(m)); };
    EXPECT_EQ(metric(Metric::frac_used), in_use / 12);
    EXPECT_EQ(metric(Metric::num_gen_batches), r == 0 ? 1 : 4);
    EXPECT_EQ(metric(Metric::temperature), r == 0 ? 1.0 : 0.6);
    EXPECT_EQ(metric(Metric::tokens_total), tokens + (r == 0 ? 0 : 100));
    EXPECT_NEAR(metric(Metric::mismatch_abs), distance / tokens, 1e-12);
    EXPECT_EQ(metric(Metric::mismatch_max), furthest);
    EXPECT_NEAR(metric(Metric::mismatch_kl), k3 / tokens, 1e-12);
  }
}

}  // namespace
}  // namespace motley::test
