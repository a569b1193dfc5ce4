#include "core/sampling.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "core/temperature.hpp"
#include "tests/core/views.hpp"
#include "tests/oracle/sampling.hpp"

namespace motley::test {
namespace {

const double kInf = std::numeric_limits<double>::infinity();

SamplingParams params_of(const oracle::Cuts& c) {
  SamplingParams p;
  p.temperature = c.temperature;
  p.top_k = c.top_k;
  p.top_p = c.top_p;
  p.min_p = c.min_p;
  return p;
}

template <class Scalar>
struct Draws {
  std::vector<int> token;
  std::vector<Scalar> log_prob, entropy;
  std::vector<float> kept_mass;
};

/// One draw per u from the same row.
template <class Scalar>
Draws<Scalar> draw(const std::vector<double>& logits, const oracle::Cuts& cuts,
                   const std::vector<float>& u) {
  const std::size_t N = u.size(), V = logits.size();
  std::vector<double> rows;
  for (std::size_t i = 0; i < N; ++i) rows.insert(rows.end(), logits.begin(), logits.end());
  const auto row = device_as<View2<Scalar>>(rows, N, V);
  View1<int> token("motley::test::token", N);
  View1<Scalar> log_prob("motley::test::log_prob", N), entropy("motley::test::entropy", N);
  View1<float> kept("motley::test::kept", N);
  sample_rows<Scalar>(Exec(), params_of(cuts), row, device(u), token, log_prob, entropy, kept);
  return {values_of(token), values_of(log_prob), values_of(entropy), values_of(kept)};
}

std::vector<oracle::Cuts> cuts_to_try() {
  return {{},
          {.temperature = 0.5},
          {.temperature = 2.5},
          {.top_k = 1},
          {.top_k = 3},
          {.top_k = 400},
          {.top_p = 0.6},
          {.top_p = 0.999},
          {.min_p = 0.2},
          {.min_p = 0.93},
          {.temperature = 1.5, .top_p = 0.7, .top_k = 5},
          {.temperature = 0.7, .top_p = 0.9, .min_p = 0.05, .top_k = 6},
          {.temperature = 0}};
}

std::vector<std::vector<double>> rows_to_try() {
  std::mt19937 engine(5);
  std::normal_distribution<double> normal(0, 1.5);
  std::vector<std::vector<double>> rows = {
      {0.3},
      {1, 1},
      {2, 2, 2, 2, 2, 2, 2},                           // all tied
      {0.5, 3, 0.5, 3, -1, 3, 0.5, -1, 2},             // ties at every level
      {-kInf, 1, -kInf, 0.2, -kInf, 0.2, -0.5, -kInf}  // impossible tokens, first and last
  };
  for (const int V : {2, 16, 17, 40}) {
    std::vector<double> row;
    for (int v = 0; v < V; ++v) row.push_back(static_cast<double>(float(normal(engine))));
    rows.push_back(row);
  }
  std::vector<double> wide = rows.back();
  wide[3] = 1e4;
  wide[7] = -1e4;
  rows.push_back(wide);
  return rows;
}

/// Inverse CDF in token order, where rounding cannot decide: 3e-6 covers a sum of 40 floats.
template <class Scalar>
void compare_with_oracle() {
  std::vector<float> u;
  for (int i = 0; i < 257; ++i)
    u.push_back(std::min(static_cast<float>(i) / 256.0f, 1.0f - 0x1p-24f));
  for (const auto& row : rows_to_try())
    for (const oracle::Cuts& cuts : cuts_to_try()) {
      const oracle::Truncated want = oracle::truncated(row, cuts);
      const Draws<Scalar> got = draw<Scalar>(row, cuts, u);
      double h = 0;
      for (const double p : want.full) h -= p > 0 ? p * std::log(p) : 0;
      for (std::size_t i = 0; i < u.size(); ++i) {
        ASSERT_GT(want.p[got.token[i]], 0) << "token " << got.token[i] << " is not kept";
        double below = 0;
        for (int v = 0; v < got.token[i]; ++v) below += want.p[v];
        EXPECT_GT(u[i], below - 3e-6);
        EXPECT_LT(u[i], below + want.p[got.token[i]] + 3e-6);
        EXPECT_NEAR(got.kept_mass[i], want.kept_mass, 3e-6);
        // Under the full softmax, whatever is cut.
        EXPECT_NEAR(got.log_prob[i], std::log(want.full[got.token[i]]), 2e-5);
        EXPECT_NEAR(got.entropy[i], h, 2e-5);
      }
    }
}

TEST(Sampling, EveryCutMatchesTheSortedOracle) {
  compare_with_oracle<float>();
  compare_with_oracle<double>();
}

TEST(Sampling, TheLargestDrawGivesTheLastKeptToken) {
  const std::vector<float> last = {1.0f - 0x1p-24f};
  EXPECT_EQ(draw<float>({1, 2, 3, -kInf}, {}, last).token[0], 2);
  EXPECT_EQ(draw<float>({1, 2, 3, 0, 2}, {.top_k = 3}, last).token[0], 4);
  EXPECT_EQ(draw<float>({1, 2, 3, 0, 2, -9}, {.min_p = 0.3}, last).token[0], 4);
  // 4096 equal tokens: the running sum has rounded 4096 times and must still end inside.
  const std::vector<double> flat(4096, 0.25);
  EXPECT_EQ(draw<float>(flat, {}, last).token[0], 4095);
  EXPECT_EQ(draw<float>(flat, {}, {0.0f}).token[0], 0);
}

TEST(Sampling, GreedyTakesTheFirstOfEqualsAndIgnoresTheDraw) {
  const auto got = draw<float>({-kInf, 2, 5, 5, 1}, {.temperature = 0, .top_p = 0.1, .top_k = 1},
                               {0.0f, 0.5f, 1.0f - 0x1p-24f});
  EXPECT_EQ(got.token, (std::vector<int>{2, 2, 2}));
  EXPECT_EQ(got.kept_mass[0], 1.0f);
}

TEST(Sampling, TiesAtACutKeepTheSmallerIds) {
  std::vector<float> u;
  for (int i = 0; i < 64; ++i) u.push_back(static_cast<float>(i) / 64.0f);
  for (const oracle::Cuts& cuts : {oracle::Cuts{.top_k = 2}, oracle::Cuts{.top_p = 0.35},
                                   oracle::Cuts{.top_p = 0.45, .top_k = 4}})
    for (const int token : draw<float>({1, 1, 1, 1, 1}, cuts, u).token) EXPECT_LT(token, 2);
}

/// Frequencies of addressed draws against the exact truncated distribution.
///
/// X = sum (n_v - N p_v)^2 / (N p_v) is chi-square with d = kept - 1 degrees, P(X > d + 2 sqrt(d x)
/// + 2 x) <= exp(-x) (Laurent and Massart 2000). With x = 18 a false alarm of all 30 cases together
/// has probability below 30 exp(-18) < 5e-7. Every N p_v is above 50.
TEST(Sampling, FrequenciesFollowTheTruncatedDistribution) {
  const int N = 100000;
  int cases = 0;
  for (const std::uint64_t seed : {3, 4, 5})
    for (const oracle::Cuts& cuts : cuts_to_try()) {
      if (cuts.temperature == 0 || cuts.top_k == 1 || cuts.min_p > 0.9) continue;
      const std::vector<double> row = {0.4, -1, 1.2, 0.4, -kInf, 2, -1.5, 0.9, 0.4};
      std::vector<float> u;
      for (int i = 0; i < N; ++i)
        u.push_back(draw_uniform({seed, Stream::sample, 1}, static_cast<std::uint32_t>(i), 2));
      const oracle::Truncated want = oracle::truncated(row, cuts);
      std::vector<int> count(row.size(), 0);
      for (const int token : draw<float>(row, cuts, u).token)
        ++count[static_cast<std::size_t>(token)];
      double x = 0;
      int degrees = -1;
      for (std::size_t v = 0; v < row.size(); ++v) {
        if (want.p[v] == 0) {
          EXPECT_EQ(count[v], 0);
          continue;
        }
        ASSERT_GT(N * want.p[v], 50);
        x += std::pow(count[v] - N * want.p[v], 2) / (N * want.p[v]);
        ++degrees;
      }
      EXPECT_LT(x, degrees + 2 * std::sqrt(degrees * 18.0) + 36) << "top_p " << cuts.top_p;
      ++cases;
    }
  EXPECT_EQ(cases, 30);
}

TEST(Normal, IsBoxMullerOfTheAddressedWords) {
  for (std::uint32_t i = 0; i < 2000; ++i) {
    const std::uint64_t seed = 0x123456789abcdefull * (i + 1);
    const double got = draw_normal({seed, Stream::mismatch, i % 7}, i * 31, i * 977);
    EXPECT_NEAR(got, oracle::normal(seed, 17, i % 7, i * 31, i * 977), 1e-13);
  }
  // The standard errors of mean, variance and fourth moment of n normals are 1/sqrt(n),
  // sqrt(2/n) and sqrt(96/n); five of each leave a false alarm below 2e-6.
  const int n = 200000;
  double m1 = 0, m2 = 0, m4 = 0;
  for (int i = 0; i < n; ++i) {
    const double z = draw_normal({9, Stream::mismatch, 0}, static_cast<std::uint32_t>(i), 5);
    m1 += z / n;
    m2 += z * z / n;
    m4 += z * z * z * z / n;
  }
  EXPECT_NEAR(m1, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(m2, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(m4, 3, 5 * std::sqrt(96.0 / n));
}

TEST(Temperature, SchedulesReachTheirEndsAndTheTrainerFollows) {
  std::vector<TemperatureSchedule> schedules(4);
  for (std::size_t i = 0; i < 4; ++i) {
    schedules[i].start = 1.2;
    schedules[i].steps = 101;
  }
  EXPECT_TRUE(parse_temperature_schedule("linear:0.4", schedules[1]));
  EXPECT_TRUE(parse_temperature_schedule("cosine:0.4", schedules[2]));
  EXPECT_TRUE(parse_temperature_schedule("linear:2", schedules[3]));
  schedules[3].steps = 1;
  std::vector<SamplingParams> sampling(4);
  std::vector<LossParams> loss(4);
  for (std::size_t i = 0; i < 4; ++i) loss[i].inv_temperature = sampling[i].temperature = 1.2;
  const auto d_sampling = device(sampling);
  const auto d_loss = device(loss);
  // Linear: equal parts. Cosine: (1 + cos(pi f)) / 2 = 1, .853553, .5, .146447, 0 of the way left.
  const double linear[] = {1.2, 1.0, 0.8, 0.6, 0.4};
  const double cosine[] = {1.2, 0.4 + 0.8 * 0.8535533906, 0.8, 0.4 + 0.8 * 0.1464466094, 0.4};
  for (int i = 0; i < 5; ++i) {
    set_temperature(Exec(), device(schedules), static_cast<std::uint32_t>(25 * i), d_sampling,
                    d_loss);
    const auto got = on_host(d_sampling);
    const auto inverse = on_host(d_loss);
    EXPECT_EQ(got(0).temperature, 1.2);
    EXPECT_EQ(inverse(0).inv_temperature, 1.2);  // a constant one is not touched
    EXPECT_NEAR(got(1).temperature, linear[i], 1e-9);
    EXPECT_NEAR(got(2).temperature, cosine[i], 1e-9);
    EXPECT_EQ(got(3).temperature, 1.2);  // a run of one step stays at the start
    for (int r = 1; r < 4; ++r) EXPECT_EQ(inverse(r).inv_temperature, 1.0 / got(r).temperature);
  }
}

TEST(Temperature, RefusesWhatIsNoSchedule) {
  TemperatureSchedule s;
  for (const char* text : {"", "linear", "linear:", "linear:0", "linear:-1", "linear:101",
                           "cosin:1", "cosine:nan", "linear:1x", "constant:1", "linear:1e", ":1"})
    EXPECT_FALSE(parse_temperature_schedule(text, s)) << text;
  EXPECT_EQ(s.course, TemperatureCourse::constant);
  EXPECT_TRUE(parse_temperature_schedule("cosine:1e-1", s));
  EXPECT_EQ(s.end, 0.1);
}

}  // namespace
}  // namespace motley::test
