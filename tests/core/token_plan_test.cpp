#include "core/token_plan.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/core/views.hpp"
#include "tests/oracle/token_plan.hpp"

namespace motley::test {
namespace {

/// R replicas of random completions; values on a coarse grid, so that equal ones occur.
struct PlanCase {
  Shape shape;
  RolloutBuffer buffer;
  View4<double> fresh;
  View1<std::uint64_t> seeds;
  TokenPlan<double> plan;

  PlanCase(const Shape& s, unsigned seed)
      : shape(s),
        buffer(s),
        fresh("motley::test::fresh", s.R, s.B, s.G, s.T),
        plan(make_token_plan<double>(s.R, s.B, s.G, s.T)) {
    std::mt19937 engine(seed);
    const auto grid = [&](int n) { return static_cast<int>(engine() % static_cast<unsigned>(n)); };
    auto length = on_host(buffer.length);
    auto used = on_host(buffer.used);
    auto advantage = on_host(buffer.advantage);
    auto old = on_host(buffer.old_log_prob);
    auto entropy = on_host(buffer.entropy);
    auto now = on_host(fresh);
    for (int r = 0; r < s.R; ++r)
      for (int b = 0; b < s.B; ++b)
        for (int g = 0; g < s.G; ++g) {
          length(r, b, g) = grid(s.T + 1);
          used(r, b, g) = grid(5) > 0 ? 1 : 0;
          advantage(r, b, g) = 0.5f * static_cast<float>(grid(9) - 4);
          for (int t = 0; t < s.T; ++t) {
            old(r, b, g, t) = -0.25f * static_cast<float>(grid(16));
            now(r, b, g, t) = double(old(r, b, g, t)) + 0.0625 * (grid(17) - 8);
            entropy(r, b, g, t) = 0.125f * static_cast<float>(grid(12));
          }
        }
    Kokkos::deep_copy(buffer.length, length);
    Kokkos::deep_copy(buffer.used, used);
    Kokkos::deep_copy(buffer.advantage, advantage);
    Kokkos::deep_copy(buffer.old_log_prob, old);
    Kokkos::deep_copy(buffer.entropy, entropy);
    Kokkos::deep_copy(fresh, now);
    std::vector<std::uint64_t> numbers;
    for (int r = 0; r < s.R; ++r) numbers.push_back(100 + static_cast<std::uint64_t>(r));
    seeds = device(numbers);
  }

  void run(const std::vector<LossParams>& params, std::uint32_t step, int pass, int b_first,
           int b_last) {
    token_plan<double>(Exec(), device(params), {seeds, step, pass}, fresh, buffer, b_first, b_last,
                       plan);
  }

  /// Counted tokens of a minibatch and where they stand in `role`.
  std::vector<oracle::PlanToken> tokens(int r, int b_first, int b_last, std::uint32_t step,
                                        int pass, std::vector<std::size_t>& place) const {
    const auto length = on_host(buffer.length);
    const auto used = on_host(buffer.used);
    const auto advantage = on_host(buffer.advantage);
    const auto old = on_host(buffer.old_log_prob);
    const auto entropy = on_host(buffer.entropy);
    const auto now = on_host(fresh);
    const auto seed = on_host(seeds);
    std::vector<oracle::PlanToken> out;
    place.clear();
    for (int b = b_first; b < b_last; ++b)
      for (int g = 0; g < shape.G; ++g)
        for (int t = 0; used(r, b, g) != 0 && t < length(r, b, g); ++t) {
          const Philox4 draw =
              draw_bits({seed(r), Stream::clip_cov, step}, static_cast<unsigned>(b * shape.G + g),
                        static_cast<unsigned>(pass * shape.T + t));
          out.push_back({advantage(r, b, g), now(r, b, g, t), old(r, b, g, t), entropy(r, b, g, t),
                         draw.x[0]});
          place.push_back(((std::size_t(r) * shape.B + b) * shape.G + g) * std::size_t(shape.T) +
                          t);
        }
    return out;
  }
};

const Shape kShapes[] = {{.R = 3, .B = 5, .G = 4, .P = 1, .T = 7, .V = 2},
                         {.R = 1, .B = 1, .G = 1, .P = 1, .T = 1, .V = 2},
                         {.R = 2, .B = 3, .G = 7, .P = 1, .T = 33, .V = 2}};

/// Roles of replica r against a list of chosen tokens.
void expect_roles(const PlanCase& c, const std::vector<std::size_t>& place,
                  const std::vector<int>& chosen, int bit, bool chosen_have_it, const char* what) {
  const auto role = values_of(c.plan.role);
  std::vector<char> wanted(place.size(), chosen_have_it ? 0 : 1);
  for (const int i : chosen) wanted[static_cast<std::size_t>(i)] = chosen_have_it ? 1 : 0;
  for (std::size_t i = 0; i < place.size(); ++i)
    EXPECT_EQ((role[place[i]] & bit) != 0, wanted[i] != 0) << what << ", token " << i;
}

TEST(TokenPlan, KlCovTakesTheLargestCovariances) {
  for (const Shape& s : kShapes)
    for (const double fraction : {0.0, 2e-4, 0.05, 0.3, 1.0}) {
      PlanCase c(s, 17);
      const LossParams p{.policy = PolicyLoss::kl_cov, .kl_cov_fraction = fraction};
      c.run(std::vector<LossParams>(s.R, p), 4, 1, 0, s.B);
      for (int r = 0; r < s.R; ++r) {
        std::vector<std::size_t> place;
        const auto tokens = c.tokens(r, 0, s.B, 4, 1, place);
        const auto chosen = oracle::kl_cov(tokens, fraction);
        if (!tokens.empty()) EXPECT_GE(chosen.size(), 1u);
        expect_roles(c, place, chosen, kTokenPenalised, true, "kl_cov");
      }
    }
}

TEST(TokenPlan, ClipCovDrawsAmongTheUnclippedOfTheBand) {
  int chosen_tokens = 0;
  for (const Shape& s : kShapes)
    for (const double ratio : {0.0, 2e-4, 0.04, 0.5}) {
      PlanCase c(s, 23);
      const LossParams p{.policy = PolicyLoss::clip_cov,
                         .clip_cov_ratio = ratio,
                         .clip_cov_lower = 0.1,
                         .clip_cov_upper = 2.0};
      c.run(std::vector<LossParams>(s.R, p), 9, 2, 0, s.B);
      for (int r = 0; r < s.R; ++r) {
        std::vector<std::size_t> place;
        const auto tokens = c.tokens(r, 0, s.B, 9, 2, place);
        const auto chosen =
            oracle::clip_cov(tokens, ratio, 0.1, 2.0, p.clip_ratio_low, p.clip_ratio_high);
        chosen_tokens += static_cast<int>(chosen.size());
        expect_roles(c, place, chosen, kTokenDropped, true, "clip_cov");
      }
    }
  EXPECT_GT(chosen_tokens, 20);
}

TEST(TokenPlan, ClipCovDrawsAnewInEveryStepAndPass) {
  const Shape s = kShapes[2];
  const LossParams p{.policy = PolicyLoss::clip_cov,
                     .clip_cov_ratio = 0.05,
                     .clip_cov_lower = 0.1,
                     .clip_cov_upper = 2.0};
  const auto roles = [&](std::uint32_t step, int pass) {
    PlanCase c(s, 23);
    c.run(std::vector<LossParams>(s.R, p), step, pass, 0, s.B);
    return values_of(c.plan.role);
  };
  EXPECT_EQ(roles(1, 0), roles(1, 0));
  EXPECT_NE(roles(1, 0), roles(2, 0));
  EXPECT_NE(roles(1, 0), roles(1, 1));
}

TEST(TokenPlan, TopEntropyKeepsExactlyTheShare) {
  for (const Shape& s : kShapes)
    for (const double q : {0.01, 0.2, 0.5, 0.99}) {
      PlanCase c(s, 31);
      const LossParams p{.top_entropy_quantile = q};
      c.run(std::vector<LossParams>(s.R, p), 0, 0, 0, s.B);
      for (int r = 0; r < s.R; ++r) {
        std::vector<std::size_t> place;
        const auto tokens = c.tokens(r, 0, s.B, 0, 0, place);
        // max(1, ceil(q N)) for q in hundredths, in whole numbers.
        const int hundredths = static_cast<int>(std::lround(100 * q));
        const int kept = std::max(1, (hundredths * static_cast<int>(tokens.size()) + 99) / 100);
        expect_roles(c, place, oracle::top_entropy(tokens, kept), kTokenDropped, false, "entropy");
      }
    }
}

TEST(TokenPlan, AMinibatchIsItsOwnPopulation) {
  const Shape s = kShapes[0];
  PlanCase c(s, 5);
  const LossParams p{.policy = PolicyLoss::kl_cov, .kl_cov_fraction = 0.2};
  Kokkos::deep_copy(c.plan.role, -1);
  c.run(std::vector<LossParams>(s.R, p), 1, 3, 2, 4);
  const auto role = on_host(c.plan.role);
  for (int r = 0; r < s.R; ++r) {
    std::vector<std::size_t> place;
    const auto tokens = c.tokens(r, 2, 4, 1, 3, place);
    expect_roles(c, place, oracle::kl_cov(tokens, 0.2), kTokenPenalised, true, "minibatch");
    for (const int b : {0, 1, 4})
      for (int g = 0; g < s.G; ++g)
        for (int t = 0; t < s.T; ++t) EXPECT_EQ(role(r, b, g, t), -1) << "outside the minibatch";
  }
}

TEST(TokenPlan, RatioOfACompletionIsTheGeometricMean) {
  const Shape s = kShapes[0];
  PlanCase c(s, 7);
  const LossParams gspo{.policy = PolicyLoss::gspo};
  const LossParams gmpo{.policy = PolicyLoss::gmpo, .clip_ratio_low = 0.2, .clip_ratio_high = 0.3};
  c.run({gspo, gmpo, {}}, 0, 0, 0, s.B);
  const auto got = on_host(c.plan.sequence_log_ratio);
  const auto length = on_host(c.buffer.length);
  const auto used = on_host(c.buffer.used);
  const auto advantage = on_host(c.buffer.advantage);
  const auto old = on_host(c.buffer.old_log_prob);
  const auto now = on_host(c.fresh);
  for (int r = 0; r < 3; ++r)
    for (int b = 0; b < s.B; ++b)
      for (int g = 0; g < s.G; ++g) {
        double sum = 0;
        const double a = advantage(r, b, g);
        for (int t = 0; t < length(r, b, g); ++t) {
          const double l = now(r, b, g, t) - double(old(r, b, g, t));
          sum += r == 0 ? l : (a > 0 ? std::min(l, 0.3) : (a < 0 ? std::max(l, -0.2) : l));
        }
        const bool counts = r < 2 && used(r, b, g) != 0 && length(r, b, g) > 0;
        EXPECT_NEAR(got(r, b, g), counts ? sum / length(r, b, g) : 0.0, 1e-12);
      }
}

TEST(TokenPlan, AReplicaAloneEqualsItselfAmongOthers) {
  Shape s = kShapes[0];
  PlanCase all(s, 11);
  const std::vector<LossParams> params = {
      {.policy = PolicyLoss::clip_cov, .clip_cov_ratio = .1, .clip_cov_lower = .1},
      {},
      {.policy = PolicyLoss::kl_cov, .top_entropy_quantile = 0.3, .kl_cov_fraction = 0.1}};
  all.run(params, 2, 1, 0, s.B);
  const auto packed = values_of(all.plan.role);
  const std::size_t one = packed.size() / static_cast<std::size_t>(s.R);
  for (int r = 0; r < s.R; ++r) {
    PlanCase alone(s, 11);
    std::vector<LossParams> others(static_cast<std::size_t>(s.R));
    others[static_cast<std::size_t>(r)] = params[static_cast<std::size_t>(r)];
    alone.run(others, 2, 1, 0, s.B);
    const auto role = values_of(alone.plan.role);
    int set = 0;
    for (std::size_t i = r * one; i < (r + 1) * one; ++i) {
      EXPECT_EQ(role[i], packed[i]);
      set += role[i] != 0 ? 1 : 0;
    }
    EXPECT_EQ(set > 0, r != 1) << "a loss without a plan gets no roles";
  }
}

}  // namespace
}  // namespace motley::test
