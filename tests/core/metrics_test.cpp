/// token_weights, rollout_metrics and update_metrics against plain loops in double.

#include "core/metrics.hpp"

#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "tests/core/views.hpp"
#include "tests/oracle/objective.hpp"

namespace motley::test {
namespace {

/// A random step of R replicas; `known` = the task knows classes.
struct Step {
  int R, B, G, T;
  std::vector<std::vector<oracle::Group>> groups;  // [R][B]

  Step(int R_, int B_, int G_, int T_, unsigned seed, bool known, bool all_padded = false)
      : R(R_), B(B_), G(G_), T(T_) {
    std::mt19937 engine(seed);
    const auto below = [&](int n) { return static_cast<int>(engine() % static_cast<unsigned>(n)); };
    std::normal_distribution<double> normal;
    for (int r = 0; r < R; ++r) {
      groups.emplace_back();
      for (int b = 0; b < B; ++b) {
        oracle::Group group;
        const bool equal = b % 3 == 1;  // a group without signal
        const bool dropped = b % 4 == 3;
        group.reward_std = std::abs(float(normal(engine)));
        group.calls = below(9);
        for (int g = 0; g < G; ++g) {
          oracle::Completion c;
          c.length = all_padded ? 0 : below(T + 1);
          c.used = dropped ? 0 : 1;
          c.cluster = b % 5 == 4 && g == 0 && G > 1 ? -1 : below(G);
          c.class_id = known ? below(4) - (b % 2) : -1;
          c.finish = below(3);
          c.quality = equal ? double(b % 2) : double(below(3)) / 2;
          c.reward = equal ? 0.25 : double(float(normal(engine)));
          c.diversity = float(below(5)) / 4;
          c.advantage = equal ? 0.0 : double(float(normal(engine)));
          for (int t = 0; t < c.length; ++t) c.entropy.push_back(std::abs(float(normal(engine))));
          group.completions.push_back(c);
        }
        canonical(group);
        groups.back().push_back(group);
      }
    }
  }

  /// Labels as `partition` writes them: the smallest index of the cluster.
  static void canonical(oracle::Group& group) {
    std::map<int, int> first;
    for (std::size_t g = 0; g < group.completions.size(); ++g) {
      int& label = group.completions[g].cluster;
      if (label >= 0) label = first.emplace(label, static_cast<int>(g)).first->second;
    }
  }

  RolloutBuffer buffer() const {
    RolloutBuffer x(Shape{R, B, G, 1, T, 4});
    const auto fill = [&](const auto& view, auto get) {
      auto host = Kokkos::create_mirror(view);
      for (int r = 0; r < R; ++r)
        for (int b = 0; b < B; ++b)
          for (int g = 0; g < G; ++g)
            host(r, b, g) = static_cast<typename std::decay_t<decltype(view)>::value_type>(
                get(groups[r][b].completions[g], groups[r][b]));
      Kokkos::deep_copy(view, host);
    };
    using C = oracle::Completion;
    using Gr = oracle::Group;
    fill(x.length, [](const C& c, const Gr&) { return c.length; });
    fill(x.used, [](const C& c, const Gr&) { return c.used; });
    fill(x.cluster, [](const C& c, const Gr&) { return c.cluster; });
    fill(x.cluster_size, [](const C& c, const Gr& group) {
      int size = 0;
      for (const C& other : group.completions) size += other.cluster == c.cluster;
      return size;
    });
    fill(x.class_id, [](const C& c, const Gr&) { return c.class_id; });
    fill(x.finish, [](const C& c, const Gr&) { return c.finish; });
    fill(x.quality, [](const C& c, const Gr&) { return c.quality; });
    fill(x.reward, [](const C& c, const Gr&) { return c.reward; });
    fill(x.diversity, [](const C& c, const Gr&) { return c.diversity; });
    fill(x.advantage, [](const C& c, const Gr&) { return c.advantage; });
    auto entropy = Kokkos::create_mirror(x.entropy);
    auto std_host = Kokkos::create_mirror(x.group_std);
    auto clusters = Kokkos::create_mirror(x.num_clusters);
    auto calls = Kokkos::create_mirror(x.num_calls);
    for (int r = 0; r < R; ++r)
      for (int b = 0; b < B; ++b) {
        const oracle::Group& group = groups[r][b];
        std::set<int> labels;
        for (int g = 0; g < G; ++g) {
          if (group.completions[g].cluster >= 0) labels.insert(group.completions[g].cluster);
          for (int t = 0; t < T; ++t)  // what is masked must not be read
            entropy(r, b, g, t) = t < group.completions[g].length
                                      ? static_cast<float>(group.completions[g].entropy[t])
                                      : std::nanf("");
        }
        std_host(r, b) = static_cast<float>(group.reward_std);
        clusters(r, b) = static_cast<int>(labels.size());
        calls(r, b) = group.calls;
      }
    Kokkos::deep_copy(x.entropy, entropy);
    Kokkos::deep_copy(x.group_std, std_host);
    Kokkos::deep_copy(x.num_clusters, clusters);
    Kokkos::deep_copy(x.num_calls, calls);
    return x;
  }
};

TEST(TokenWeights, MatchTheOracleForEveryModeMinibatchAndShape) {
  for (const auto& [R, B, G, T] :
       std::vector<std::array<int, 4>>{{1, 1, 1, 1}, {2, 5, 3, 7}, {1, 9, 2, 4}, {3, 4, 7, 1}}) {
    const Step step(R, B, G, T, 17, true);
    const RolloutBuffer x = step.buffer();
    for (std::size_t mode = 0; mode < EnumNames<LossAgg>::names.size(); ++mode) {
      const std::string name(EnumNames<LossAgg>::names[mode]);
      std::vector<LossParams> params(R);
      for (LossParams& p : params) p.agg = static_cast<LossAgg>(mode);
      for (const auto& [first, last] :
           std::vector<std::array<int, 2>>{{0, B}, {0, (B + 1) / 2}, {B / 2, B}, {0, 0}}) {
        View3<double> weight("motley::test::weight", R, B, G);
        Kokkos::deep_copy(weight, NAN);
        token_weights<double>(Exec(), device(params), x.length, x.used, T, first, last, weight);
        const auto got = on_host(weight);
        for (int r = 0; r < R; ++r) {
          const auto want = oracle::token_weights(step.groups[r], name, T, first, last);
          for (int b = 0; b < B; ++b)
            for (int g = 0; g < G; ++g)
              // Both round a quotient or two of the same integers.
              EXPECT_NEAR(got(r, b, g), want[b][g], 1e-15) << name << " " << first << " " << last;
        }
      }
    }
  }
}

TEST(TokenWeights, NothingCountedGivesZeros) {
  for (const bool padded : {true, false}) {
    Step step(1, 4, 3, 5, 3, true, padded);
    for (oracle::Group& group : step.groups[0])
      for (oracle::Completion& c : group.completions)
        if (!padded) c.used = 0;
    const RolloutBuffer x = step.buffer();
    for (std::size_t mode = 0; mode < EnumNames<LossAgg>::names.size(); ++mode) {
      std::vector<LossParams> params(1);
      params[0].agg = static_cast<LossAgg>(mode);
      View3<float> weight("motley::test::weight", 1, 4, 3);
      Kokkos::deep_copy(weight, 7.0f);
      token_weights<float>(Exec(), device(params), x.length, x.used, 5, 0, 4, weight);
      for (const float w : values_of(weight)) EXPECT_EQ(w, 0.0f);
    }
  }
}

void compare_rollout_metrics(const Step& step) {
  const RolloutBuffer x = step.buffer();
  View3<double> scratch("motley::test::scratch", step.R, step.B, kGroupMetricTerms);
  View2<double> values("motley::test::values", step.R, kMetrics);
  Kokkos::deep_copy(scratch, NAN);
  Kokkos::deep_copy(values, -77.0);
  rollout_metrics(Exec(), x, scratch, values);
  const auto got = on_host(values);
  for (int r = 0; r < step.R; ++r) {
    const std::map<std::string, double> want = oracle::rollout_metrics(step.groups[r]);
    std::size_t compared = 0;
    for (int k = 0; k < kMetrics; ++k) {
      const auto found = want.find(metric_info(static_cast<Metric>(k)).name);
      if (found == want.end()) continue;
      ++compared;
      if (std::isnan(found->second))
        EXPECT_TRUE(std::isnan(got(r, k))) << found->first;
      else
        // Sums of at most some thousand numbers near 1 in double, in another order; the deviation
        // of the advantage is a difference of squares.
        EXPECT_NEAR(got(r, k), found->second, 1e-12 * (1 + std::abs(found->second)))
            << found->first;
    }
    EXPECT_EQ(compared, want.size());
    EXPECT_GE(compared, 22u);
  }
}

TEST(RolloutMetrics, MatchTheOracle) {
  for (const bool known : {true, false}) {
    compare_rollout_metrics(Step(2, 10, 6, 9, 5, known));
    compare_rollout_metrics(Step(3, 1, 1, 1, 6, known));
    compare_rollout_metrics(Step(1, 7, 2, 33, 7, known));
    compare_rollout_metrics(Step(1, 4, 3, 2, 8, known, true));
  }
}

TEST(UpdateMetrics, AreMeansOverTokensAndNaNWhereThereIsNoKl) {
  const int R = 7;
  std::vector<LossParams> params(R);
  for (int r = 1; r < R - 1; ++r) {
    params[r].kl_coef = 0.5;
    params[r].kl_estimator = static_cast<KlEstimator>(r - 1);
  }
  std::vector<double> sums(R * kUpdateSums);
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = 1.5 + static_cast<double>(i * i % 101);
  const auto at = [&](int r, UpdateSum k) -> double& {
    return sums[r * kUpdateSums + static_cast<int>(k)];
  };
  for (int r = 0; r < R; ++r) at(r, UpdateSum::tokens) = r == R - 1 ? 0 : 10 + r;
  View2<double> values("motley::test::values", R, kMetrics);
  update_metrics(Exec(), device_as<View2<double>>(sums, R, kUpdateSums),
                 device(std::vector<double>{1, 2, 3, 4, 5, 6, 7}),
                 device(std::vector<double>{11, 12, 13, 14, 15, 16, 17}),
                 device(std::vector<double>{.1, .2, .3, .4, .5, .6, .7}), device(params), values);
  const auto got = on_host(values);
  const auto expect = [&](int r, Metric metric, double want) {
    const double value = got(r, static_cast<int>(metric));
    if (std::isnan(want))
      EXPECT_TRUE(std::isnan(value)) << r << " " << metric_info(metric).name;
    else
      EXPECT_DOUBLE_EQ(value, want) << r << " " << metric_info(metric).name;
  };
  const std::pair<UpdateSum, Metric> kl[] = {{UpdateSum::kl_k1, Metric::kl_k1},
                                             {UpdateSum::kl_k2, Metric::kl_k2},
                                             {UpdateSum::kl_k3, Metric::kl_k3}};
  const UpdateSum configured[] = {UpdateSum::kl_k1, UpdateSum::kl_k2, UpdateSum::kl_k3,
                                  UpdateSum::kl_abs, UpdateSum::kl_exact};
  for (int r = 0; r < R; ++r) {
    const double tokens = at(r, UpdateSum::tokens);
    const auto mean = [&](UpdateSum k) { return tokens > 0 ? at(r, k) / tokens : 0.0; };
    const bool on = params[r].kl_coef != 0;
    for (const auto& [sum, metric] : kl) expect(r, metric, on ? mean(sum) : NAN);
    expect(r, Metric::kl_ref, on ? mean(configured[r - 1]) : NAN);
    expect(r, Metric::kl_exact, r == 5 ? mean(UpdateSum::kl_exact) : NAN);
    expect(r, Metric::kl_old, mean(UpdateSum::kl_old));
    expect(r, Metric::ratio_mean, mean(UpdateSum::ratio));
    expect(r, Metric::clip_frac_low, mean(UpdateSum::clip_low));
    expect(r, Metric::clip_frac_high, mean(UpdateSum::clip_high));
    expect(r, Metric::clip_frac_dual, mean(UpdateSum::clip_dual));
    expect(r, Metric::policy_loss, at(r, UpdateSum::policy_loss));
    expect(r, Metric::ratio_max, r + 1);
    expect(r, Metric::grad_norm, r + 11);
    expect(r, Metric::lr, (r + 1) / 10.0);
  }
}

/// SplitMix64's finaliser, written out.
std::uint64_t mixed(std::uint64_t x) {
  x += 11400714819323198485ull;
  x = (x ^ (x >> 30)) * 13787848793156543929ull;
  x = (x ^ (x >> 27)) * 10723151780598845931ull;
  return x ^ (x >> 31);
}

TEST(HashParams, IsTheSumOfMixedBitsAndSeesEveryChange) {
  // The first number of SplitMix64 from state 0.
  ASSERT_EQ(mixed(0), 0xE220A8397B1DCDAFull);
  const int R = 3, N = 1000;
  HostView2<float> params("params", R, N);
  for (int i = 0; i < R * N; ++i) params.data()[i] = std::sin(static_cast<float>(i));
  const auto hashes = [&] {
    const View2<double> values("values", R, kMetrics);
    hash_params(Exec(), Kokkos::create_mirror_view_and_copy(Memory(), params), values);
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), values);
    std::vector<double> out;
    for (int r = 0; r < R; ++r) out.push_back(host(r, static_cast<int>(Metric::params_hash)));
    return out;
  };
  const std::vector<double> before = hashes();
  for (int r = 0; r < R; ++r) {
    std::uint64_t sum = 0;
    for (int i = 0; i < N; ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, &params(r, i), sizeof bits);
      sum += mixed((static_cast<std::uint64_t>(i) << 32) + bits);
    }
    EXPECT_EQ(before[static_cast<std::size_t>(r)], static_cast<double>(sum >> 11)) << r;
  }
  EXPECT_NE(before[0], before[1]);
  // The last bit of one number, and two numbers that change places.
  params(1, 500) = std::nextafter(params(1, 500), 2.0f);
  std::swap(params(2, 3), params(2, 4));
  const std::vector<double> after = hashes();
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[1], before[1]);
  EXPECT_NE(after[2], before[2]);
}

}  // namespace
}  // namespace motley::test
