/// Partition, diversity, shaped rewards, advantages, pass@k and NoveltyBench scores of the official
/// DARLING code.

#include <map>

#include "core/advantage.hpp"
#include "core/diversity_metrics.hpp"
#include "core/eval_metrics.hpp"
#include "core/partition.hpp"
#include "core/shaping.hpp"
#include "tests/core/golden.hpp"
#include "tests/core/views.hpp"

namespace motley::test {
namespace {

/// One prompt's completions as R = B = 1, with every stage the golden files need.
template <class Scalar>
struct Group {
  int n;
  View4<float> pair_score;
  View3<int> member, cluster, size, length, finish, history, used;
  View2<int> count;
  View4<int> token;
  View4<float> log_prob;
  View3<Scalar> quality, diversity, reward, advantage;
  View2<Scalar> mean, deviation;
  RewardWorkspace workspace;
  PartitionParams partition_params{.method = PartitionMethod::oracle};

  explicit Group(int members, int T = 1)
      : n(members),
        pair_score("motley::test::pair", 1, 1, n, n),
        member("motley::test::member", 1, 1, n),
        cluster("motley::test::cluster", 1, 1, n),
        size("motley::test::size", 1, 1, n),
        length("motley::test::length", 1, 1, n),
        finish("motley::test::finish", 1, 1, n),
        history("motley::test::history", 1, 1, n),
        used("motley::test::used", 1, 1, n),
        count("motley::test::count", 1, 1),
        token("motley::test::token", 1, 1, n, T),
        log_prob("motley::test::log_prob", 1, 1, n, T),
        quality("motley::test::quality", 1, 1, n),
        diversity("motley::test::diversity", 1, 1, n),
        reward("motley::test::reward", 1, 1, n),
        advantage("motley::test::advantage", 1, 1, n),
        mean("motley::test::mean", 1, 1),
        deviation("motley::test::deviation", 1, 1),
        workspace(make_reward_workspace(1, 1, n, false)) {
    Kokkos::deep_copy(member, 1);
    Kokkos::deep_copy(used, 1);
  }

  void set_pairs(const Doubles& upper, double lower = 0.0) {
    auto host = on_host(pair_score);
    std::size_t k = 0;
    for (int i = 0; i < n; ++i) {
      host(0, 0, i, i) = 1.0f;
      for (int j = i + 1; j < n; ++j, ++k) {
        host(0, 0, i, j) = static_cast<float>(upper[k]);
        host(0, 0, j, i) = static_cast<float>(lower);
      }
    }
    Kokkos::deep_copy(pair_score, host);
  }

  Ints run_partition(double threshold, Linkage linkage = Linkage::union_find) {
    partition_params.threshold = threshold;
    partition_params.linkage = linkage;
    partition(Exec(), device<PartitionParams>({partition_params}), pair_score, member, cluster,
              size, count);
    return values_of(cluster);
  }

  Doubles shape(const ShapingParams& params) {
    shape_reward<Scalar>(
        Exec(),
        {device<ShapingParams>({params}), device<PartitionParams>({partition_params}), 0, quality,
         cluster, size, pair_score, token, length, finish, log_prob},
        workspace, diversity, reward, used);
    const auto out = values_of(reward);
    return Doubles(out.begin(), out.end());
  }

  Doubles advantages(const AdvantageParams& params) {
    group_advantage<Scalar>(
        Exec(),
        {device<AdvantageParams>({params}), device<ShapingParams>({{.shaping = Shaping::none}}),
         quality, diversity, reward, cluster, size, history, length, used},
        workspace, mean, deviation, advantage);
    const auto out = values_of(advantage);
    return Doubles(out.begin(), out.end());
  }

  void set_quality(const Doubles& q) { quality = device_as<View3<Scalar>>(q, 1, 1, n); }
};

TEST(Golden, Partition) {
  for (const json& c : cases("partition.json")) {
    const auto groups = members_of(c);
    int calls = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const int n = static_cast<int>(groups[g].size());
      const std::string what = "case " + c["id"].dump() + " group " + std::to_string(g);
      const json& e = c["expected"];
      Group<double> group(n);
      group.set_quality(Doubles(static_cast<std::size_t>(n), 1.0));
      group.set_pairs(c["groups"][g]["prob_upper"].get<Doubles>());
      calls += n * (n - 1) / 2;

      const Ints labels = group.run_partition(0.5);
      for (int i = 0; i < n; ++i)
        EXPECT_EQ(
            labels[static_cast<std::size_t>(i)],
            e["labels_group"][static_cast<std::size_t>(groups[g][static_cast<std::size_t>(i)])])
            << what;
      EXPECT_EQ(values_of(group.count)[0], e["num_clusters"][g].get<int>()) << what;
      // With quality 1 the reward is the official diversity value.
      expect_near(group.shape({.floor = 0.1}), pick(e["partition"], groups[g]), 1e-12, what);
      expect_near(group.shape({.shaping = Shaping::multiplicative_sigmoid, .floor = 0.1}),
                  pick(e["partition_sigmoid"], groups[g]), 1e-12, what);
      expect_near(group.shape({.floor = 0.0}), pick(e["lm_judge_partition"], groups[g]), 1e-12,
                  what);
      expect_near(group.shape({.shaping = Shaping::multiplicative_sigmoid, .floor = 0.0}),
                  pick(e["lm_judge_partition_sigmoid"], groups[g]), 1e-12, what);

      group.run_partition(0.32);
      expect_near(group.shape({.floor = 0.1}), pick(e["threshold_0p32_partition"], groups[g]),
                  1e-12, what);
      const Ints at_032 = values_of(group.cluster);
      for (int i = 0; i < n; ++i)
        EXPECT_EQ(groups[g][static_cast<std::size_t>(at_032[static_cast<std::size_t>(i)])],
                  e["threshold_0p32_labels_batch"]
                   [static_cast<std::size_t>(groups[g][static_cast<std::size_t>(i)])]
                       .get<int>())
            << what;

      group.run_partition(0.102);
      Doubles legacy =
          group.shape({.floor = 0.0});  // motley's (n - s) / (n - 1); there over the whole batch
      for (double& d : legacy) d *= (n - 1) / c["batch_size"].get<double>();
      expect_near(legacy, pick(e["legacy_threshold_0p102_partition"], groups[g]), 1e-12, what);

      if (c.contains("correctness")) {
        const Doubles correct = pick(c["correctness"], groups[g]);
        group.set_quality(correct);
        partition_members(Exec(),
                          device<ShapingParams>({{.shaping = Shaping::multiplicative_correct}}),
                          device_as<View3<float>>(correct, 1, 1, n), group.member);
        const Ints correct_labels = group.run_partition(0.5);
        for (int i = 0; i < n; ++i) {
          const int mine = correct_labels[static_cast<std::size_t>(i)];
          const int batch = groups[g][static_cast<std::size_t>(
              mine < 0 ? i : mine)];  // there the incorrect are singletons
          EXPECT_EQ(batch, e["partition_correct_labels_batch"]
                            [static_cast<std::size_t>(groups[g][static_cast<std::size_t>(i)])]
                                .get<int>())
              << what;
        }
        // The reward of an incorrect completion is 0, so its official value is max(diversity,
        // floor).
        group.shape({.shaping = Shaping::multiplicative_correct, .floor = 0.1});
        Doubles diversity;
        for (const double d : values_of(group.diversity)) diversity.push_back(std::max(d, 0.1));
        expect_near(diversity, pick(e["partition_correct"], groups[g]), 1e-12, what);
      }
    }
    EXPECT_EQ(calls, c["classifier_calls"].get<int>());
  }
}

TEST(Golden, ShortAnswer) {
  for (const json& c : cases("short_answer.json")) {
    std::map<std::string, int> ids;
    const auto words = [&](std::string text) {
      Ints out;
      std::string word;
      for (char& ch : text += ' ') {
        const bool blank = std::isspace(static_cast<unsigned char>(ch)) != 0;
        if (!blank) word += static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
        if (blank && !word.empty()) {
          out.push_back(ids.emplace(word, static_cast<int>(ids.size())).first->second);
          word.clear();
        }
      }
      return out;
    };
    const Ints a = words(c["r0"]);
    const Ints b = words(c["r1"]);
    const int verdict = short_answer_verdict(a.data(), static_cast<int>(a.size()), b.data(),
                                             static_cast<int>(b.size()), 5);
    const int want = c["expected"].is_null() ? -1 : (c["expected"].get<bool>() ? 1 : 0);
    EXPECT_EQ(verdict, want) << c.dump();
  }
}

TEST(Golden, Ngram) {
  for (const json& c : cases("ngram.json")) {
    std::map<std::string, Ints> groups;
    for (std::size_t b = 0; b < c["uid"].size(); ++b)
      groups[c["uid"][b]].push_back(static_cast<int>(b));
    std::size_t order = 0;
    for (const auto& [uid, members] : groups) {
      const std::string what = "case " + c["id"].dump() + " " + uid;
      std::size_t T = 1;
      for (const int b : members) T = std::max(T, c["tokens"][static_cast<std::size_t>(b)].size());
      Group<double> group(static_cast<int>(members.size()), static_cast<int>(T));
      group.set_quality(Doubles(members.size(), 1.0));
      auto token = on_host(group.token);
      auto length = on_host(group.length);
      for (std::size_t i = 0; i < members.size(); ++i) {
        const Ints text = c["tokens"][static_cast<std::size_t>(members[i])].get<Ints>();
        length(0, 0, i) = static_cast<int>(text.size());
        for (std::size_t t = 0; t < text.size(); ++t) token(0, 0, i, t) = text[t];
      }
      Kokkos::deep_copy(group.token, token);
      Kokkos::deep_copy(group.length, length);
      const int n = c["n"];
      expect_near(group.shape({.shaping = Shaping::ngram, .ngram_n = n}),
                  pick(c["expected"]["ngram"], members), 1e-12, what);
      // The evaluation averages the number of n-grams that no other generation has: the numerators.
      double unique = 0;
      const Doubles share = group.shape({.shaping = Shaping::ngram, .ngram_n = n});
      for (std::size_t i = 0; i < members.size(); ++i)
        unique += share[i] * std::max(1, length(0, 0, i) - n + 1);
      EXPECT_NEAR(unique / static_cast<double>(members.size()),
                  c["expected"]["eval_unique_ngrams_per_group"][order].get<double>(), 1e-9)
          << what;
      expect_near(group.shape({.shaping = Shaping::ngram, .ngram_n = 4}),
                  pick(c["expected"]["ngram_default_n4"], members), 1e-12, what);
      ++order;

      // unlikelihood takes a sequence log-prob over the number of words, 1 at least; here one token
      // carries it. log_prob is float in motley, so the bound is float's.
      Group<double> sequence(static_cast<int>(members.size()));
      sequence.set_quality(Doubles(members.size(), 1.0));
      Kokkos::deep_copy(sequence.length, 1);
      Doubles log_prob;
      for (const int b : members)
        log_prob.push_back(
            c["log_probs"][static_cast<std::size_t>(b)].get<double>() /
            std::max<double>(1.0,
                             static_cast<double>(c["tokens"][static_cast<std::size_t>(b)].size())));
      sequence.log_prob = device_as<View4<float>>(log_prob, 1, 1, members.size(), 1);
      expect_near(sequence.shape({.shaping = Shaping::unlikelihood}),
                  pick(c["expected"]["unlikelihood"], members), 2e-6, what);
    }
  }
}

template <class Scalar>
void check_rewards(const char* precision) {
  for (const json& c : cases("rewards.json")) {
    const auto groups = members_of(c);
    const json& e = c["expected"][precision];
    const std::string mode = c["mode"];
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const int n = static_cast<int>(groups[g].size());
      const std::string what = "case " + c["id"].dump() + " " + mode + " " + precision;
      const std::string diversity_fn = c["diversity_fn"];
      Group<Scalar> group(n);
      group.set_pairs(c["groups"][g]["equiv_upper"].get<Doubles>());
      const Doubles quality = pick(c["quality"], groups[g]);
      group.set_quality(quality);
      // The diversity itself, from the pair decisions.
      ShapingParams params{.floor = diversity_fn.rfind("lm_judge", 0) == 0 ? 0.0 : 0.1};
      if (diversity_fn.find("sigmoid") != std::string::npos)
        params.shaping = Shaping::multiplicative_sigmoid;
      if (diversity_fn.find("correct") != std::string::npos)
        params.shaping = Shaping::multiplicative_correct;
      partition_members(Exec(), device<ShapingParams>({params}),
                        device_as<View3<float>>(pick(c["correctness"], groups[g]), 1, 1, n),
                        group.member);
      group.run_partition(0.5);
      const double lambda_rm = c["lambda_rm"], lambda_rule = c["lambda_rule"];
      Doubles reward;
      if (mode == "multiplicative") {
        reward = group.shape(params);
      } else if (mode == "multiplicative_add_bias") {
        // The official code takes L times the minimum off (darling-spec a5); motley takes it once.
        const double lowest = *std::min_element(quality.begin(), quality.end());
        Doubles moved = quality;
        for (double& q : moved) q -= (c["L"].get<double>() - 1) * static_cast<float>(lowest);
        group.set_quality(moved);
        Group<Scalar> biased = group;
        params.reward_bias = RewardBias::group_min;
        // group_min subtracts min(moved) = min - (L-1) min; put the rest back before it does.
        Doubles shifted = quality;
        for (double& q : shifted) q = q - c["L"].get<double>() * static_cast<float>(lowest);
        biased.set_quality(shifted);
        params.reward_bias = RewardBias::none;
        if (params.shaping == Shaping::multiplicative_correct) {
          biased.set_quality(quality);
          biased.shape(params);
          reward.clear();
          const auto diversity = values_of(biased.diversity);
          for (int i = 0; i < n; ++i)
            reward.push_back(
                shifted[static_cast<std::size_t>(i)] *
                std::max<double>(diversity[static_cast<std::size_t>(i)], params.floor));
        } else {
          reward = biased.shape(params);
        }
        // And the sensible form, weighted by L: (q - min) d differs from it by (L - 1) min d.
        params.reward_bias = RewardBias::group_min;
        if (params.shaping != Shaping::multiplicative_correct) {
          group.set_quality(quality);
          const Doubles sensible = group.shape(params);
          params.reward_bias = RewardBias::none;
          group.set_quality(Doubles(static_cast<std::size_t>(n), 1.0));
          const Doubles factor = group.shape(params);
          for (int i = 0; i < n; ++i) {
            const auto k = static_cast<std::size_t>(i);
            const double rebuilt = sensible[k] - (c["L"].get<double>() - 1) * lowest * factor[k];
            EXPECT_NEAR(rebuilt, reward[k], 1e-4 * (1 + std::abs(reward[k]))) << what;
          }
        }
      } else if (mode == "quality_only") {
        params.shaping = Shaping::none;
        reward = group.shape(params);
      } else {
        // additive, additive_lambdas and normalized_additive, which the official code overwrites.
        ASSERT_TRUE(mode == "additive" || mode == "additive_lambdas" ||
                    mode == "normalized_additive")
            << what;
        const Doubles diversity = pick(c["diversity"], groups[g]);
        if (params.shaping == Shaping::multiplicative) {
          ShapingParams sum{.shaping = Shaping::additive,
                            .floor = params.floor,
                            .quality_weight = lambda_rm,
                            .diversity_weight = lambda_rule};
          reward = group.shape(sum);
          if (mode == "normalized_additive") {
            // additive_norm against the two z-scores the official helper gives for 1-D input.
            ShapingParams norm{.shaping = Shaping::additive_norm,
                               .floor = params.floor,
                               .quality_weight = 1.0,
                               .diversity_weight = 0.0};
            const Doubles zq = group.shape(norm);
            const Doubles want_q = pick(e["normalize_1d_quality"], groups[g]);
            norm.quality_weight = 0.0;
            norm.diversity_weight = 1.0;
            const Doubles zd = group.shape(norm);
            const Doubles want_d = pick(e["normalize_1d_diversity"], groups[g]);
            for (int i = 0; i < n; ++i) {
              const auto k = static_cast<std::size_t>(i);
              // The helper works in float32 whatever the input; a deviation of rounding size has no
              // sign.
              if (std::abs(want_q[k]) < 50) {
                EXPECT_NEAR(zq[k], want_q[k], 2e-4 * (1 + std::abs(want_q[k]))) << what;
              }
              EXPECT_NEAR(zd[k], want_d[k], 2e-4 * (1 + std::abs(want_d[k]))) << what;
            }
          }
        } else {
          for (int i = 0; i < n; ++i)
            reward.push_back(lambda_rm * quality[static_cast<std::size_t>(i)] +
                             lambda_rule * diversity[static_cast<std::size_t>(i)]);
        }
      }
      const Doubles want = pick(e["reward"], groups[g]);
      for (std::size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(reward[i], want[i], bound<Scalar>(want[i])) << what;

      group.reward = device_as<View3<Scalar>>(reward, 1, 1, n);
      const Doubles plain = group.advantages({.norm = AdvantageNorm::none});
      const Doubles scaled =
          group.advantages({.estimator = Estimator::grpo, .norm = AdvantageNorm::group});
      const Doubles want_plain = pick(e["advantage_no_std"], groups[g]);
      const Doubles want_scaled = pick(e["advantage_std"], groups[g]);
      const Doubles mask = pick(e["std_compare_mask"], groups[g]);
      double top = 1.0;
      for (const double r : reward) top = std::max(top, std::abs(r));
      for (std::size_t i = 0; i < want.size(); ++i) {
        EXPECT_NEAR(plain[i], want_plain[i], top * bound<Scalar>(want_plain[i])) << what;
        // A quotient by a small deviation carries the rounding of the rewards.
        if (mask[i] != 0)
          EXPECT_NEAR(scaled[i], want_scaled[i], sizeof(Scalar) == 8 ? 1e-7 : 5e-3) << what;
      }
    }
  }
}
TEST(Golden, RewardsInDouble) {
  check_rewards<double>("f64");
}
TEST(Golden, RewardsInFloat) {
  check_rewards<float>("f32");
}

template <class Scalar>
void check_advantage(const char* precision) {
  for (const json& c : cases("advantage.json")) {
    const auto groups = members_of(c);
    const json& e = c["expected"][precision];
    const double eps = c["epsilon"];
    for (const Ints& members : groups) {
      const std::string what = "case " + c["id"].dump() + " " + precision;
      Group<Scalar> group(static_cast<int>(members.size()));
      const Doubles score = pick(c["scores"], members);
      double top = 1.0;
      for (const double s : score) top = std::max(top, std::abs(s));
      group.reward = device_as<View3<Scalar>>(score, 1, 1, members.size());
      const auto tolerance = [&](double want, bool scaled) {
        if (scaled && sizeof(Scalar) == 4) return 5e-3 * (1 + std::abs(want));
        // The official deviation of a group of one is a float32 1 + 1e-6, whatever the input.
        if (scaled && members.size() == 1) return 1e-7 * (1 + std::abs(want));
        return top * bound<Scalar>(want);
      };
      const auto compare = [&](const AdvantageParams& params, const char* key, bool masked) {
        const Doubles got = group.advantages(params);
        const Doubles want = pick(e[key], members);
        const Doubles mask = pick(e["std_compare_mask"], members);
        for (std::size_t i = 0; i < want.size(); ++i)
          if (!masked || mask[i] != 0)
            EXPECT_NEAR(got[i], want[i], tolerance(want[i], masked)) << what << " " << key;
      };
      compare({.norm = AdvantageNorm::group, .eps = eps}, "grpo_std", true);
      compare({.norm = AdvantageNorm::none, .eps = eps}, "grpo_no_std", false);
      compare({.baseline = Baseline::loo, .norm = AdvantageNorm::none, .eps = eps}, "rloo", false);
    }
  }
}
TEST(Golden, AdvantageInDouble) {
  check_advantage<double>("f64");
}
TEST(Golden, AdvantageInFloat) {
  check_advantage<float>("f32");
}

TEST(Golden, PassAtK) {
  for (const json& c : cases("passk.json")) {
    const int n = c["n"];
    const Ints ks = c["ks"];
    for (std::size_t i = 0; i < ks.size(); ++i) {
      double mean = 0;
      for (std::size_t p = 0; p < c["num_correct"].size(); ++p) {
        const double got = pass_at_k(n, c["num_correct"][p], ks[i]);
        EXPECT_NEAR(got, c["expected"]["per_prompt"][p][i].get<double>(), 1e-12)
            << "case " << c["id"];
        mean += got / static_cast<double>(c["num_correct"].size());
      }
      EXPECT_NEAR(mean, c["expected"]["mean"][i].get<double>(), 1e-12) << "case " << c["id"];
    }
  }
}

TEST(Golden, NoveltyBench) {
  const json data = load("noveltybench.json");
  const Doubles thresholds = data["reward_thresholds"];
  for (const json& c : data["cases"]) {
    const int n = c["n"];
    const json& e = c["expected"];
    const std::string what = "case " + c["id"].dump();
    Group<double> group(n);
    group.set_pairs(c["equiv_upper"].get<Doubles>());
    const Ints labels = group.run_partition(0.5, Linkage::greedy_first);
    // There classes are numbered as they open; each stands for its first member.
    std::map<int, int> first;
    for (int i = 0; i < n; ++i)
      first.emplace(e["partition"][static_cast<std::size_t>(i)].get<int>(), i);
    for (int i = 0; i < n; ++i)
      EXPECT_EQ(labels[static_cast<std::size_t>(i)],
                first[e["partition"][static_cast<std::size_t>(i)].get<int>()])
          << what;
    EXPECT_EQ(values_of(group.count)[0], e["distinct_k"].get<int>()) << what;
    Doubles score;
    for (int i = 0; i < n; ++i) {
      const double raw = c["raw_rewards"][static_cast<std::size_t>(i)];
      const double bins =
          1.0 + static_cast<double>(std::count_if(thresholds.begin(), thresholds.end(),
                                                  [&](double t) { return raw > t; }));
      EXPECT_EQ(bins, e["generation_scores"][static_cast<std::size_t>(i)].get<double>()) << what;
      score.push_back(bins);
    }
    double mean = 0;
    for (const double s : score) mean += s / n;
    EXPECT_NEAR(mean, e["quality"].get<double>(), 1e-12) << what;
    EXPECT_NEAR(novelty_utility(score, labels, 1.0), e["utility"].get<double>(), 1e-12) << what;
  }
}

}  // namespace
}  // namespace motley::test
