#pragma once
/// Groups with known modes and qualities through partition, shaping and advantage.

#include <gtest/gtest.h>

#include "core/advantage.hpp"
#include "core/partition.hpp"
#include "core/shaping.hpp"
#include "tests/core/views.hpp"

namespace motley::test {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;

struct Shaped {
  Doubles diversity, reward, advantage;
};

/// Groups of n completions with known modes and qualities, all at once: [1,B,n]. Every group has
/// the log-probabilities and lengths of `details`, where there are any.
struct Details {
  Doubles log_prob;
  Ints length;
  Doubles similarity;  ///< [n,n]; empty = 1 in one mode, else 0
};
inline Shaped shape_groups(const std::vector<Ints>& modes, const std::vector<Doubles>& quality,
                           const ShapingParams& shaping, const AdvantageParams& advantage,
                           const Details& details = {}) {
  const auto B = modes.size();
  const auto n = modes[0].size();
  Ints flat_modes, lengths;
  Doubles flat_quality, log_probs, pairs;
  for (std::size_t b = 0; b < B; ++b) {
    flat_modes.insert(flat_modes.end(), modes[b].begin(), modes[b].end());
    flat_quality.insert(flat_quality.end(), quality[b].begin(), quality[b].end());
    for (std::size_t g = 0; g < n; ++g) {
      lengths.push_back(details.length.empty() ? 1 : details.length[g]);
      log_probs.push_back(details.log_prob.empty() ? 0 : details.log_prob[g]);
    }
    pairs.insert(pairs.end(), details.similarity.begin(), details.similarity.end());
  }
  const auto class_id = device_as<View3<int>>(flat_modes, 1, B, n);
  const auto q = device_as<View3<double>>(flat_quality, 1, B, n);
  const auto length = device_as<View3<int>>(lengths, 1, B, n);
  const View4<int> token("motley::test::token", 1, B, n, 8);
  const View3<int> member("motley::test::member", 1, B, n),
      cluster("motley::test::cluster", 1, B, n), size("motley::test::size", 1, B, n),
      used("motley::test::used", 1, B, n), zero("motley::test::zero", 1, B, n);
  View4<float> pair("motley::test::pair", 1, B, n, n),
      log_prob("motley::test::log_prob", 1, B, n, 8);
  const View2<int> count("motley::test::count", 1, B), calls("motley::test::calls", 1, B);
  const View3<double> diversity("motley::test::diversity", 1, B, n),
      reward("motley::test::reward", 1, B, n), a("motley::test::advantage", 1, B, n);
  const View2<double> mean("motley::test::mean", 1, B), deviation("motley::test::deviation", 1, B);
  const auto partition_params = device<PartitionParams>({{.method = PartitionMethod::oracle}});
  const auto params = device<ShapingParams>({shaping});
  rule_pair_scores(Exec(), partition_params, token, length, class_id, pair, calls);
  partition_members(Exec(), params, device_as<View3<float>>(flat_quality, 1, B, n), member);
  partition(Exec(), partition_params, pair, member, cluster, size, count);
  if (!pairs.empty()) pair = device_as<View4<float>>(pairs, 1, B, n, n);
  if (!details.log_prob.empty()) {
    // The mean over the counted tokens is the number given.
    const auto host = on_host(log_prob);
    for (std::size_t i = 0; i < B * n; ++i)
      for (std::size_t t = 0; t < 8; ++t) host.data()[i * 8 + t] = static_cast<float>(log_probs[i]);
    Kokkos::deep_copy(log_prob, host);
  }
  const RewardWorkspace workspace =
      make_reward_workspace(1, static_cast<int>(B), static_cast<int>(n), true);
  shape_reward<double>(
      Exec(), {params, partition_params, 0, q, cluster, size, pair, token, length, zero, log_prob},
      workspace, diversity, reward, used);
  group_advantage<double>(Exec(),
                          {device<AdvantageParams>({advantage}), params, q, diversity, reward,
                           cluster, size, zero, length, used},
                          workspace, mean, deviation, a);
  return {values_of(diversity), values_of(reward), values_of(a)};
}

inline void expect(const Doubles& got, const Doubles& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 6e-7) << i;  // six printed digits
}

}  // namespace motley::test
