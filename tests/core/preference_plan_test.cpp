/// What SimKO and DivPO read of a minibatch, and their losses by hand.

#include <array>
#include <random>

#include <gtest/gtest.h>

#include "core/token_plan.hpp"
#include "tests/core/views.hpp"
#include "tests/oracle/preference.hpp"

namespace motley::test {
namespace {

TEST(Simko, ByHand) {
  // pi = (.5, .3, .2), the first sampled at ratio 1, A = 2, half of the gain to the two likeliest:
  // the target of the token is (.75, .25, 0), so the gradient is -2 (target - pi).
  const LossParams p{.policy = PolicyLoss::simko, .simko_top_k = 2, .simko_alpha = 0.5};
  std::array<double, 3> row{std::log(.5), std::log(.3), std::log(.2)};
  const auto s = scale_and_normalise(row.data(), 3, 1.0);
  const auto loss = token_loss<double>(p, std::log(.5), std::log(.5), 0, 2, {kTokenUncertain, 0});
  EXPECT_NEAR(loss.policy, -2, 1e-15);
  EXPECT_NEAR(loss.d_log_prob, -1, 1e-15);
  EXPECT_NEAR(loss.d_top, -.5, 1e-15);
  const int top[] = {0, 1};
  row_loss_gradient<double>(p, row.data(), 3, s, 0, loss.d_log_prob, 0, nullptr, {}, 0, 1, top, 2,
                            loss.d_top);
  EXPECT_NEAR(row[0], -.5, 1e-14);
  EXPECT_NEAR(row[1], .1, 1e-14);
  EXPECT_NEAR(row[2], .4, 1e-14);
  // A wrong argmax weighs 1.1; a wrong rival, a certain token and a certain good one are ppo's.
  const auto slope = [&](double a, int role) {
    return token_loss<double>(p, -1, -1, 0, a, {role, 0}).d_log_prob;
  };
  EXPECT_NEAR(slope(-2, kTokenUncertain | kTokenLikeliest), 2.2, 1e-14);
  EXPECT_NEAR(slope(-2, kTokenUncertain), 2, 1e-14);
  EXPECT_NEAR(slope(-2, 0), 2, 1e-14);
  EXPECT_NEAR(slope(2, 0), -2, 1e-14);
  // No dual clip: at ratio e^2 a wrong token still pays.
  const auto far = token_loss<double>(p, 1, -1, 0, -2, {0, 0});
  EXPECT_NEAR(far.policy, 2 * std::exp(2.0), 1e-12);
  EXPECT_FALSE(far.clipped_dual);
}

/// One replica of random groups.
struct PairCase {
  Shape shape;
  RolloutBuffer buffer;
  View4<double> fresh;
  TokenPlan<double> plan;

  explicit PairCase(const Shape& s, unsigned seed)
      : shape(s),
        buffer(s),
        fresh("motley::test::fresh", s.R, s.B, s.G, s.T),
        plan(make_token_plan<double>(s.R, s.B, s.G, s.T, 2)) {
    std::mt19937 engine(seed);
    const auto grid = [&](int n) { return static_cast<int>(engine() % static_cast<unsigned>(n)); };
    auto length = on_host(buffer.length);
    auto used = on_host(buffer.used);
    auto quality = on_host(buffer.quality);
    auto diversity = on_host(buffer.diversity);
    auto entropy = on_host(buffer.entropy);
    auto token = on_host(buffer.token);
    auto ref = on_host(buffer.ref_log_prob);
    auto now = on_host(fresh);
    auto top = on_host(plan.top);
    for (int r = 0; r < s.R; ++r)
      for (int b = 0; b < s.B; ++b)
        for (int g = 0; g < s.G; ++g) {
          length(r, b, g) = grid(s.T + 1);
          used(r, b, g) = grid(6) > 0 ? 1 : 0;
          quality(r, b, g) = 0.125f * static_cast<float>(b % 2 == 0 ? 8 * grid(2) : grid(9));
          diversity(r, b, g) = 0.25f * static_cast<float>(grid(5));
          for (int t = 0; t < s.T; ++t) {
            entropy(r, b, g, t) = 0.25f * static_cast<float>(grid(7));
            token(r, b, g, t) = grid(3);
            top(r, b, g, 2 * t) = grid(3);
            top(r, b, g, 2 * t + 1) = 3;
            ref(r, b, g, t) = -0.25f * static_cast<float>(grid(9));
            now(r, b, g, t) = -0.125 * grid(17);
          }
        }
    Kokkos::deep_copy(buffer.length, length);
    Kokkos::deep_copy(buffer.used, used);
    Kokkos::deep_copy(buffer.quality, quality);
    Kokkos::deep_copy(buffer.diversity, diversity);
    Kokkos::deep_copy(buffer.entropy, entropy);
    Kokkos::deep_copy(buffer.token, token);
    Kokkos::deep_copy(buffer.ref_log_prob, ref);
    Kokkos::deep_copy(fresh, now);
    Kokkos::deep_copy(plan.top, top);
  }
  void run(const std::vector<LossParams>& params, int b_first, int b_last) {
    const View1<std::uint64_t> seeds("motley::test::seeds", shape.R);
    token_plan<double>(Exec(), device(params), {seeds, 0, 0}, fresh, buffer, b_first, b_last, plan);
  }
};

const Shape kShapes[] = {{.R = 3, .B = 6, .G = 5, .P = 1, .T = 7, .V = 4},
                         {.R = 2, .B = 1, .G = 2, .P = 1, .T = 1, .V = 4},
                         {.R = 1, .B = 5, .G = 13, .P = 1, .T = 33, .V = 4}};

TEST(Simko, UncertainTokensAreAboveTheQuantileOfTheirCompletion) {
  for (const Shape& s : kShapes)
    for (const double q : {0.0, 0.37, 0.8, 1.0}) {
      PairCase c(s, 41);
      c.run(std::vector<LossParams>(s.R, {.policy = PolicyLoss::simko, .simko_quantile = q}), 0,
            s.B);
      const auto role = on_host(c.plan.role);
      const auto entropy = on_host(c.buffer.entropy);
      const auto length = on_host(c.buffer.length);
      const auto used = on_host(c.buffer.used);
      const auto token = on_host(c.buffer.token);
      const auto top = on_host(c.plan.top);
      int uncertain = 0, likeliest = 0;
      for (int r = 0; r < s.R; ++r)
        for (int b = 0; b < s.B; ++b)
          for (int g = 0; g < s.G; ++g) {
            std::vector<double> own;
            for (int t = 0; t < length(r, b, g); ++t) own.push_back(entropy(r, b, g, t));
            const double bound = own.empty() ? 0 : oracle::quantile(own, q);
            for (int t = 0; t < s.T; ++t) {
              const bool above =
                  used(r, b, g) != 0 && t < length(r, b, g) && entropy(r, b, g, t) > bound;
              const bool first = above && token(r, b, g, t) == top(r, b, g, 2 * t);
              EXPECT_EQ(role(r, b, g, t),
                        (above ? kTokenUncertain : 0) | (first ? kTokenLikeliest : 0))
                  << q << " " << b << " " << g << " " << t;
              uncertain += above;
              likeliest += first;
            }
          }
      if (s.T > 1 && q < 1) EXPECT_GT(likeliest, 0);
      if (q == 1.0) EXPECT_EQ(uncertain, 0);
    }
}

TEST(Divpo, ByHand) {
  // Four completions of one token: qualities 1, 1, 0, 0, diversities .2, .7, .7, .2. Chosen the
  // second, rejected the fourth; gains 1 and -1, beta .1: m = .2.
  const Shape s{.R = 1, .B = 1, .G = 4, .P = 1, .T = 2, .V = 4};
  PairCase c(s, 1);
  const auto put = [](const auto& view, std::vector<double> values) {
    auto host = on_host(view);
    for (std::size_t i = 0; i < values.size(); ++i)
      host.data()[i] = static_cast<std::remove_reference_t<decltype(*host.data())>>(values[i]);
    Kokkos::deep_copy(view, host);
  };
  put(c.buffer.length, {1, 2, 1, 1});
  put(c.buffer.used, {1, 1, 1, 1});
  put(c.buffer.quality, {1, 1, 0, 0});
  put(c.buffer.diversity, {.2, .7, .7, .2});
  put(c.fresh, {0, 9, -.5, -1, 0, 9, -2, 9});
  put(c.buffer.ref_log_prob, {0, 9, -1, -1.5, 0, 9, -1, 9});
  const std::vector<LossParams> params{{.policy = PolicyLoss::divpo, .divpo_beta = 0.1}};
  c.run(params, 0, 1);
  const View3<double> weight("motley::test::weight", 1, 1, 4);
  token_weights<double>(Exec(), device(params), c.buffer.length, c.buffer.used, 2, 0, 1, weight,
                        c.plan);
  EXPECT_EQ(values_of(c.plan.pair), (std::vector<int>{0, 1, 0, -1}));
  EXPECT_EQ(values_of(weight), (std::vector<double>{0, 1, 0, 1}));
  const View4<double> loss("motley::test::loss", 1, 1, 4, 2), gradient("g", 1, 1, 4, 2);
  const View2<double> sums("motley::test::sums", 1, kUpdateSums);
  token_losses<double>(Exec(), device(params), c.fresh, c.fresh, c.fresh,
                       View3<double>("a", 1, 1, 4), c.buffer.length, weight, loss, gradient, sums,
                       c.plan);
  // ln(1 + e^-.2) = .598139; .1 / (1 + e^.2) = .0450166.
  EXPECT_NEAR(on_host(sums)(0, static_cast<int>(UpdateSum::loss)), .598139, 1e-6);
  const auto g = values_of(gradient);
  const std::vector<double> wanted{0, 0, -.0450166, -.0450166, 0, 0, .0450166, 0};
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(g[i], wanted[i], 1e-7) << i;
}

TEST(Divpo, PairsMatchTheOracle) {
  for (const Shape& s : kShapes)
    for (const double band : {0.0, 0.25, 0.49})
      for (const auto& [b_first, b_last] : {std::pair{0, s.B}, {s.B / 2, s.B}}) {
        PairCase c(s, 43);
        const LossParams p{.policy = PolicyLoss::divpo, .divpo_beta = 0.7, .divpo_band = band};
        const std::vector<LossParams> params(s.R, p);
        Kokkos::deep_copy(c.plan.pair, 7);
        c.run(params, b_first, b_last);
        const View3<double> weight("motley::test::weight", s.R, s.B, s.G);
        token_weights<double>(Exec(), device(params), c.buffer.length, c.buffer.used, s.T, b_first,
                              b_last, weight, c.plan);
        const View4<double> loss("motley::test::loss", s.R, s.B, s.G, s.T);
        const View2<double> sums("motley::test::sums", s.R, kUpdateSums);
        token_losses<double>(Exec(), device(params), c.fresh, c.fresh, c.fresh,
                             View3<double>("motley::test::a", s.R, s.B, s.G), c.buffer.length,
                             weight, loss, View4<double>("motley::test::g", s.R, s.B, s.G, s.T),
                             sums, c.plan);
        const auto pair = on_host(c.plan.pair);
        const auto slope = on_host(c.plan.pair_slope);
        const auto share = on_host(weight);
        const auto length = on_host(c.buffer.length);
        const auto used = on_host(c.buffer.used);
        const auto quality = on_host(c.buffer.quality);
        const auto diversity = on_host(c.buffer.diversity);
        const auto ref = on_host(c.buffer.ref_log_prob);
        const auto now = on_host(c.fresh);
        for (int r = 0; r < s.R; ++r) {
          std::vector<oracle::Pair> pairs;
          double total = 0, count = 0;
          for (int b = b_first; b < b_last; ++b) {
            std::vector<oracle::Candidate> group;
            for (int g = 0; g < s.G; ++g) {
              oracle::Candidate x{quality(r, b, g), diversity(r, b, g), 0,
                                  used(r, b, g) != 0 && length(r, b, g) > 0};
              for (int t = 0; t < length(r, b, g); ++t)
                x.gain += now(r, b, g, t) - double(ref(r, b, g, t));
              group.push_back(x);
            }
            pairs.push_back(oracle::divpo(group, p.divpo_beta, band));
            total += pairs.back().loss;
            count += pairs.back().chosen >= 0;
            // The slope of the loss in either gain, by differences.
            if (pairs.back().chosen >= 0)
              for (const int g : {pairs.back().chosen, pairs.back().rejected}) {
                const double h = 1e-5;
                auto up = group, down = group;
                up[static_cast<std::size_t>(g)].gain += h;
                down[static_cast<std::size_t>(g)].gain -= h;
                EXPECT_NEAR(slope(r, b, g),
                            (oracle::divpo(up, p.divpo_beta, band).loss -
                             oracle::divpo(down, p.divpo_beta, band).loss) /
                                (2 * h),
                            1e-9);
              }
          }
          for (int b = 0; b < s.B; ++b)
            for (int g = 0; g < s.G; ++g) {
              int wanted = 7;
              if (b >= b_first && b < b_last) {
                const oracle::Pair& x = pairs[static_cast<std::size_t>(b - b_first)];
                wanted = g == x.chosen ? 1 : (g == x.rejected ? -1 : 0);
              }
              EXPECT_EQ(pair(r, b, g), wanted) << b << " " << g;
              EXPECT_EQ(share(r, b, g), wanted == 1 || wanted == -1 ? 1 / count : 0.0);
            }
          EXPECT_NEAR(on_host(sums)(r, static_cast<int>(UpdateSum::loss)),
                      count > 0 ? total / count : 0.0, 1e-12);
        }
      }
}

}  // namespace
}  // namespace motley::test
