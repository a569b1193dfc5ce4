#pragma once
/// Random groups of completions and their way through the reward stages.

#include <random>

#include "core/advantage.hpp"
#include "core/shaping.hpp"
#include "tests/core/views.hpp"
#include "tests/oracle/advantage.hpp"

namespace motley::test {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;
using Groups = std::vector<oracle::GroupOfCompletions>;
inline constexpr int kTokens = 8;

enum class Kind { random, one_cluster, all_distinct, equal_quality, all_wrong, extreme };
inline constexpr Kind kKinds[] = {Kind::random,        Kind::one_cluster, Kind::all_distinct,
                                  Kind::equal_quality, Kind::all_wrong,   Kind::extreme};

/// Sizes from labels; canonical label = first member. Completions outside (correct_only) stay out.
inline void count_clusters(oracle::GroupOfCompletions& x, const Ints& mode, bool correct_only) {
  const std::size_t n = mode.size();
  x.label.assign(n, 0);
  x.cluster_size.assign(n, 0);
  const auto in = [&](std::size_t i) { return !correct_only || x.quality[i] > 0; };
  for (std::size_t g = 0; g < n; ++g) {
    for (std::size_t j = n; j-- > 0;) {
      if (mode[j] != mode[g] || !in(j) || !in(g)) continue;
      x.label[g] = static_cast<int>(j);
      x.cluster_size[g] += 1;
    }
  }
}

/// B random groups of n; sizes of clusters are consistent with labels drawn from few modes.
inline Groups draw_groups(int B, int n, Kind kind, bool correct_only, bool soft, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> unit(0, 1);
  Groups out;
  for (int b = 0; b < B; ++b) {
    oracle::GroupOfCompletions x;
    x.soft = soft;
    Ints mode;
    for (int g = 0; g < n; ++g) {
      const int roll = static_cast<int>(random() % 4);
      double q = roll == 0 ? 1.0 : (roll == 1 ? 0.0 : std::round(unit(random) * 20 - 8) / 10);
      if (kind == Kind::equal_quality) q = 0.7;
      if (kind == Kind::all_wrong) q = -0.5 * (g % 2);
      if (kind == Kind::extreme) q = g % 2 == 0 ? 1e4 : -1e4;
      x.quality.push_back(q);
      mode.push_back(kind == Kind::one_cluster    ? 0
                     : kind == Kind::all_distinct ? g
                                                  : static_cast<int>(random() % 3));
      Ints text;
      Doubles log_prob;
      const int length = static_cast<int>(random() % (kTokens + 1));
      for (int t = 0; t < length; ++t) {
        text.push_back(static_cast<int>(random() % 2));
        log_prob.push_back(-std::round(unit(random) * 32) / 8);
      }
      x.text.push_back(text);
      x.log_prob.push_back(log_prob);
      x.invalid.push_back(random() % 4 == 0 ? 1 : 0);
      x.history.push_back(static_cast<int>(random() % 6));
    }
    count_clusters(x, mode, correct_only);
    for (int g = 0; g < n; ++g) {
      Doubles row;
      for (int j = 0; j < n; ++j)
        row.push_back(j < g ? x.pair_score[static_cast<std::size_t>(j)][static_cast<std::size_t>(g)]
                            : (j == g ? 1.0 : std::round(unit(random) * 64) / 64));
      x.pair_score.push_back(row);
    }
    out.push_back(x);
  }
  return out;
}

template <class Scalar>
struct Result {
  std::vector<Scalar> diversity, reward, advantage, mean, deviation, answer;
  Ints used;
};

struct RunSettings {
  Linkage linkage = Linkage::union_find;
  std::uint32_t step = 3;
  Ints used;  ///< [B]; empty = all
};

/// Runs [R,B,G] where every replica sees the same groups with its own settings.
template <class Scalar>
Result<Scalar> run(const Groups& groups, const std::vector<ShapingParams>& shaping,
                   const std::vector<AdvantageParams>& advantages = {},
                   const RunSettings& settings = {}) {
  const auto R = shaping.size();
  const auto B = groups.size();
  const auto n = groups[0].quality.size();
  Doubles quality, pair, log_prob;
  Ints size, label, history, finish, token, length, counted;
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t b = 0; b < B; ++b) {
      const auto& x = groups[b];
      for (std::size_t g = 0; g < n; ++g) {
        quality.push_back(x.quality[g]);
        size.push_back(x.cluster_size[g]);
        label.push_back(x.label[g]);
        history.push_back(x.history[g]);
        finish.push_back(x.invalid[g] != 0 ? 2 : static_cast<int>(g % 2));
        length.push_back(static_cast<int>(x.text[g].size()));
        counted.push_back(settings.used.empty() ? 1 : settings.used[b]);
        for (std::size_t t = 0; t < kTokens; ++t) {
          // Beyond the length stands what must not be read.
          token.push_back(t < x.text[g].size() ? x.text[g][t] : 1000 + static_cast<int>(g));
          log_prob.push_back(t < x.text[g].size() ? x.log_prob[g][t] : 1e6);
        }
        pair.insert(pair.end(), x.pair_score[g].begin(), x.pair_score[g].end());
      }
    }
  const View3<Scalar> diversity("motley::test::diversity", R, B, n),
      reward("motley::test::reward", R, B, n), advantage("motley::test::advantage", R, B, n),
      answer("motley::test::answer", R, B, n);
  const View2<Scalar> mean("motley::test::mean", R, B), deviation("motley::test::deviation", R, B);
  const View3<int> used("motley::test::used", R, B, n);
  const RewardWorkspace workspace = make_reward_workspace(static_cast<int>(R), static_cast<int>(B),
                                                          static_cast<int>(n), n <= kMaxMatrix);
  // What a workspace held before must not matter.
  Kokkos::deep_copy(workspace.group, -7.0);
  Kokkos::deep_copy(workspace.matrix, -7.0);
  const auto params = device<ShapingParams>(shaping);
  const auto q = device_as<View3<Scalar>>(quality, R, B, n);
  const auto clusters = device_as<View3<int>>(label, R, B, n);
  const auto sizes = device_as<View3<int>>(size, R, B, n);
  const auto lengths = device_as<View3<int>>(length, R, B, n);
  shape_reward<Scalar>(
      Exec(),
      {params,
       device<PartitionParams>(std::vector<PartitionParams>(R, {.linkage = settings.linkage})),
       settings.step, q, clusters, sizes, device_as<View4<float>>(pair, R, B, n, n),
       device_as<View4<int>>(token, R, B, n, kTokens), lengths,
       device_as<View3<int>>(finish, R, B, n), device_as<View4<float>>(log_prob, R, B, n, kTokens)},
      workspace, diversity, reward, used);
  const Ints shaped_used = values_of(used);
  if (!advantages.empty())
    group_advantage<Scalar>(
        Exec(),
        {device<AdvantageParams>(advantages), params, q, diversity, reward, clusters, sizes,
         device_as<View3<int>>(history, R, B, n), lengths, device_as<View3<int>>(counted, R, B, n)},
        workspace, mean, deviation, advantage, answer);
  return {values_of(diversity), values_of(reward), values_of(advantage), values_of(mean),
          values_of(deviation), values_of(answer), shaped_used};
}

/// The knobs of the oracle for settings of ours.
inline oracle::ShapingKnobs knobs_of(const ShapingParams& p) {
  oracle::ShapingKnobs k;
  k.shaping = std::string(name_of(p.shaping));
  k.bias = std::string(name_of(p.reward_bias));
  k.floor = p.floor;
  k.quality_weight = p.quality_weight;
  k.diversity_weight = p.diversity_weight;
  k.ngram = p.ngram_n;
  k.rank_penalty = p.rank_penalty;
  k.ips_alpha = p.ips_alpha;
  k.ips_eps = p.ips_eps;
  k.uniqueness_alpha = p.uniqueness_alpha;
  k.bonus = p.bonus_coef;
  k.b0 = p.bonus_b0;
  k.including = p.bonus_count == BonusCount::including;
  k.mmr_lambda = p.mmr_lambda;
  k.mmr_std = p.mmr_adaptive == MmrAdaptive::std;
  k.gapo_modes = p.gapo_modes;
  k.gapo_correct = p.gapo_valid == GapoValid::correct;
  k.coverage_k = p.coverage_k;
  k.coverage_lambda = p.coverage_lambda;
  k.set_k = p.set_k;
  k.logdet_alpha = p.logdet_alpha;
  k.entropy_alpha = p.entropy_alpha;
  return k;
}
inline oracle::AdvantageKnobs knobs_of(const AdvantageParams& p) {
  return {std::string(name_of(p.estimator)),
          std::string(name_of(p.baseline)),
          std::string(name_of(p.norm)),
          p.eps,
          p.k,
          std::string(name_of(p.pkpo)),
          p.positive_weight};
}

/// Rounding of a few operations at the size of the value; extreme qualities of 1e4 scale it.
template <class Scalar>
double tolerance(double x) {
  return (sizeof(Scalar) == 8 ? 1e-12 : 2e-6) * (1 + std::abs(x));
}

}  // namespace motley::test
