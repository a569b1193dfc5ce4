#include "core/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/hash.hpp"

namespace motley {

const MetricInfo& metric_info(Metric metric) {
  static const std::array<MetricInfo, kMetrics> table = {{
      {"quality", "1", "mean quality of the step's completions"},
      {"quality_true", "1",
       "mean of the task's own quality; differs from quality where training sees a reward model"},
      {"reward", "1", "mean shaped reward"},
      {"reward_std", "1", "mean over groups of the deviation (ddof 1) of the shaped reward"},
      {"diversity", "1", "mean diversity before the floor"},
      {"advantage_std", "1", "deviation (ddof 0) of the advantage over the batch"},
      {"frac_zero_std", "1", "share of groups whose shaped rewards are all equal: no signal"},
      {"frac_zero_std_quality", "1", "the same before shaping"},
      {"frac_all_correct", "1", "share of groups with every quality above 0"},
      {"frac_all_wrong", "1", "share of groups with no quality above 0"},
      {"num_effective_groups", "1", "groups that are used and whose advantages are not all 0"},
      {"entropy", "nat", "mean token entropy"},
      {"entropy_correct", "nat",
       "mean token entropy of completions with quality above 0; NaN where none"},
      {"entropy_wrong", "nat", "mean token entropy of the others; NaN where none"},
      {"cluster_entropy", "nat", "mean over groups of the entropy of cluster shares"},
      {"num_clusters", "1", "mean clusters per group"},
      {"max_cluster_frac", "1", "mean share of the largest cluster"},
      {"num_pairs", "1", "pairs of completions in the batch"},
      {"num_classifier_calls", "1", "pairs put to the classifier after deduplication"},
      {"num_classes", "1", "mean ground-truth classes per group; NaN where the task knows none"},
      {"num_distinct_correct", "1",
       "mean ground-truth classes among completions with quality above 0"},
      {"kl_ref", "nat",
       "mean divergence from the reference by the configured estimator and direction; NaN where kl.coef = 0"},
      {"kl_old", "nat", "mean of old - new log-probability"},
      {"kl_k1", "nat", "estimator k1 of KL(new|ref); NaN where kl.coef = 0"},
      {"kl_k2", "nat", "estimator k2"},
      {"kl_k3", "nat", "estimator k3"},
      {"kl_exact", "nat",
       "KL(new|ref), exact over the vocabulary; NaN unless kl.estimator = exact, in the loss"},
      {"ratio_mean", "1", "mean importance ratio"},
      {"ratio_max", "1", "largest importance ratio"},
      {"clip_frac_low", "1", "share of tokens at the lower clip bound"},
      {"clip_frac_high", "1", "share of tokens at the upper clip bound"},
      {"clip_frac_dual", "1", "share of tokens at the dual clip bound"},
      {"dropped_frac", "1",
       "share of tokens without policy loss: clip_cov, loss.top_entropy_quantile"},
      {"penalised_frac", "1", "share of tokens that kl_cov penalises"},
      {"entropy_coef", "1",
       "coefficient of the entropy bonus; with entropy.adaptive as moved by this step's entropy"},
      {"policy_loss", "1", "aggregated policy loss"},
      {"grad_norm", "1", "norm of the gradient before clipping"},
      {"lr", "1", "learning rate"},
      {"length", "token", "mean counted tokens"},
      {"truncated_frac", "1", "share of completions cut at T"},
      {"num_gen_batches", "1",
       "generation batches of the step; above 1 where filter_groups draws again"},
      {"frac_used", "1", "share of completions that count in the loss"},
      {"temperature", "1", "sampling temperature; 0 = greedy"},
      {"mismatch_abs", "nat",
       "mean |ln pi_old - ln mu| of trainer and sampler at the sampled tokens"},
      {"mismatch_max", "nat", "largest |ln pi_old - ln mu|"},
      {"mismatch_kl", "nat", "estimator k3 of KL(sampler|trainer)"},
      {"tokens_total", "token",
       "counted tokens sampled since the start of the run, refused groups included"},
      {"params_hash", "1",
       "hash of the parameters after the step's updates: the first step where two runs differ is where they part"},
  }};
  return table.at(static_cast<std::size_t>(metric));
}

namespace {

/// Terms a group adds to the replica's means. Summed over b in order by the second kernel.
enum GroupTerm : int {
  kQuality,
  kQualityTrue,
  kReward,
  kRewardStd,
  kDiversity,
  kAdvantage,
  kAdvantage2,
  kZeroStd,
  kZeroStdQuality,
  kAllCorrect,
  kAllWrong,
  kEffective,
  kEntropyCorrect,
  kEntropyWrong,
  kTokensCorrect,
  kTokensWrong,
  kClusterEntropy,
  kClusters,
  kMaxCluster,
  kCalls,
  kClasses,
  kDistinctCorrect,
  kKnown,
  kTruncated,
  kGroupTerms
};

struct GroupMetrics {
  RolloutBuffer x;

  KOKKOS_INLINE_FUNCTION int class_count(int r, int b, bool correct_only) const {
    const int G = x.shape.G;
    int count = 0;
    for (int g = 0; g < G; ++g) {
      if (x.class_id(r, b, g) < 0 || (correct_only && !(x.quality(r, b, g) > 0.0f))) continue;
      bool seen = false;
      for (int j = 0; j < g && !seen; ++j)
        seen = x.class_id(r, b, j) == x.class_id(r, b, g) &&
               (!correct_only || x.quality(r, b, j) > 0.0f);
      if (!seen) ++count;
    }
    return count;
  }

  KOKKOS_INLINE_FUNCTION void operator()(int r, int b, double* out) const {
    const int G = x.shape.G;
    for (int k = 0; k < kGroupTerms; ++k) out[k] = 0.0;
    bool equal_reward = true, equal_quality = true, any_advantage = false;
    int correct = 0, known = 0;
    for (int g = 0; g < G; ++g) {
      const double a = double(x.advantage(r, b, g));
      out[kQuality] += double(x.quality(r, b, g));
      out[kQualityTrue] += double(x.quality_true(r, b, g));
      out[kReward] += double(x.reward(r, b, g));
      out[kDiversity] += double(x.diversity(r, b, g));
      out[kAdvantage] += a;
      out[kAdvantage2] += a * a;
      out[kTruncated] += x.finish(r, b, g) == static_cast<int>(Finish::length) ? 1.0 : 0.0;
      equal_reward = equal_reward && x.reward(r, b, g) == x.reward(r, b, 0);
      equal_quality = equal_quality && x.quality(r, b, g) == x.quality(r, b, 0);
      any_advantage = any_advantage || (x.used(r, b, g) != 0 && a != 0.0);
      known += x.class_id(r, b, g) >= 0 ? 1 : 0;
      const bool right = x.quality(r, b, g) > 0.0f;
      correct += right ? 1 : 0;
      double entropy = 0.0;
      for (int t = 0; t < x.length(r, b, g); ++t) entropy += double(x.entropy(r, b, g, t));
      out[right ? kEntropyCorrect : kEntropyWrong] += entropy;
      out[right ? kTokensCorrect : kTokensWrong] += x.length(r, b, g);
    }
    out[kRewardStd] = double(x.group_std(r, b));
    out[kZeroStd] = equal_reward ? 1.0 : 0.0;
    out[kZeroStdQuality] = equal_quality ? 1.0 : 0.0;
    out[kAllCorrect] = correct == G ? 1.0 : 0.0;
    out[kAllWrong] = correct == 0 ? 1.0 : 0.0;
    out[kEffective] = any_advantage ? 1.0 : 0.0;
    out[kClusters] = x.num_clusters(r, b);
    out[kCalls] = x.num_calls(r, b);
    double largest = 0.0, members = 0.0;
    for (int g = 0; g < G; ++g) members += x.cluster(r, b, g) >= 0 ? 1.0 : 0.0;
    for (int g = 0; g < G; ++g) {
      if (x.cluster(r, b, g) != g) continue;
      const double share = x.cluster_size(r, b, g) / members;
      out[kClusterEntropy] -= share * Kokkos::log(share);
      largest = share > largest ? share : largest;
    }
    out[kMaxCluster] = largest;
    out[kKnown] = known > 0 ? 1.0 : 0.0;
    out[kClasses] = class_count(r, b, false);
    out[kDistinctCorrect] = class_count(r, b, true);
  }
};

}  // namespace

void rollout_metrics(const Exec& exec, const RolloutBuffer& buffer, const View3<double>& scratch,
                     const View2<double>& values) {
  const int R = buffer.shape.R;
  const int B = buffer.shape.B;
  const int G = buffer.shape.G;
  require_extents(values, "rollout_metrics", "values", "[R,kMetrics]", R, kMetrics);
  require_extents(scratch, "rollout_metrics", "scratch", "[R,B,terms]", R, B, kGroupMetricTerms);
  static_assert(kGroupTerms == kGroupMetricTerms);
  const GroupMetrics group{buffer};
  Kokkos::parallel_for(
      "motley::metrics::groups", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
      KOKKOS_LAMBDA(const int job) { group(job / B, job % B, &scratch(job / B, job % B, 0)); });
  const View3<int> length = buffer.length;
  Kokkos::parallel_for(
      "motley::metrics::replicas", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        double sum[kGroupTerms] = {};
        for (int b = 0; b < B; ++b)
          for (int k = 0; k < kGroupTerms; ++k) sum[k] += scratch(r, b, k);
        double tokens = 0.0;
        for (int b = 0; b < B; ++b)
          for (int g = 0; g < G; ++g) tokens += length(r, b, g);
        const double n = double(B) * G;
        const auto set = [&](Metric m, double value) { values(r, static_cast<int>(m)) = value; };
        set(Metric::quality, sum[kQuality] / n);
        set(Metric::quality_true, sum[kQualityTrue] / n);
        set(Metric::reward, sum[kReward] / n);
        set(Metric::reward_std, sum[kRewardStd] / B);
        set(Metric::diversity, sum[kDiversity] / n);
        const double mean = sum[kAdvantage] / n;
        const double variance = sum[kAdvantage2] / n - mean * mean;
        set(Metric::advantage_std, variance > 0.0 ? Kokkos::sqrt(variance) : 0.0);
        set(Metric::frac_zero_std, sum[kZeroStd] / B);
        set(Metric::frac_zero_std_quality, sum[kZeroStdQuality] / B);
        set(Metric::frac_all_correct, sum[kAllCorrect] / B);
        set(Metric::frac_all_wrong, sum[kAllWrong] / B);
        set(Metric::num_effective_groups, sum[kEffective]);
        set(Metric::entropy,
            (sum[kEntropyCorrect] + sum[kEntropyWrong]) / (tokens > 0 ? tokens : 1.0));
        set(Metric::entropy_correct, sum[kEntropyCorrect] / sum[kTokensCorrect]);
        set(Metric::entropy_wrong, sum[kEntropyWrong] / sum[kTokensWrong]);
        set(Metric::cluster_entropy, sum[kClusterEntropy] / B);
        set(Metric::num_clusters, sum[kClusters] / B);
        set(Metric::max_cluster_frac, sum[kMaxCluster] / B);
        set(Metric::num_pairs, double(B) * G * (G - 1) / 2);
        set(Metric::num_classifier_calls, sum[kCalls]);
        set(Metric::num_classes,
            sum[kKnown] > 0 ? sum[kClasses] / B : Kokkos::Experimental::quiet_NaN_v<double>);
        set(Metric::num_distinct_correct, sum[kKnown] > 0
                                              ? sum[kDistinctCorrect] / B
                                              : Kokkos::Experimental::quiet_NaN_v<double>);
        set(Metric::length, tokens / n);
        set(Metric::truncated_frac, sum[kTruncated] / n);
      });
}

void update_metrics(const Exec& exec, const ConstView2<double>& sums,
                    const ConstView1<double>& ratio_max, const ConstView1<double>& grad_norm,
                    const ConstView1<double>& lr, const ConstView1<LossParams>& params,
                    const View2<double>& values) {
  const int R = static_cast<int>(values.extent(0));
  Kokkos::parallel_for(
      "motley::metrics::update", Kokkos::RangePolicy<Exec>(exec, 0, R), KOKKOS_LAMBDA(const int r) {
        const double nan = Kokkos::Experimental::quiet_NaN_v<double>;
        const double tokens = sums(r, static_cast<int>(UpdateSum::tokens));
        const auto mean = [&](UpdateSum k) {
          return tokens > 0 ? sums(r, static_cast<int>(k)) / tokens : 0.0;
        };
        const auto set = [&](Metric m, double value) { values(r, static_cast<int>(m)) = value; };
        const LossParams& p = params(r);
        const bool kl = p.kl_coef != 0.0;
        const bool exact = p.exact_kl();
        set(Metric::kl_old, mean(UpdateSum::kl_old));
        set(Metric::kl_k1, kl ? mean(UpdateSum::kl_k1) : nan);
        set(Metric::kl_k2, kl ? mean(UpdateSum::kl_k2) : nan);
        set(Metric::kl_k3, kl ? mean(UpdateSum::kl_k3) : nan);
        set(Metric::kl_exact, exact ? mean(UpdateSum::kl_exact) : nan);
        double configured = nan;
        if (kl) switch (p.kl_estimator) {
            case KlEstimator::k1: configured = mean(UpdateSum::kl_k1); break;
            case KlEstimator::k2: configured = mean(UpdateSum::kl_k2); break;
            case KlEstimator::k3: configured = mean(UpdateSum::kl_k3); break;
            case KlEstimator::abs: configured = mean(UpdateSum::kl_abs); break;
            case KlEstimator::k3_unbiased: configured = mean(UpdateSum::kl_k3); break;
            case KlEstimator::exact:
              configured = mean(p.kl_direction == KlDirection::reverse ? UpdateSum::kl_exact
                                                                       : UpdateSum::kl_direction);
              break;
          }
        set(Metric::kl_ref, configured);
        set(Metric::ratio_mean, mean(UpdateSum::ratio));
        set(Metric::ratio_max, ratio_max(r));
        set(Metric::clip_frac_low, mean(UpdateSum::clip_low));
        set(Metric::clip_frac_high, mean(UpdateSum::clip_high));
        set(Metric::clip_frac_dual, mean(UpdateSum::clip_dual));
        set(Metric::dropped_frac, mean(UpdateSum::dropped));
        set(Metric::penalised_frac, mean(UpdateSum::penalised));
        set(Metric::policy_loss, sums(r, static_cast<int>(UpdateSum::policy_loss)));
        set(Metric::grad_norm, grad_norm(r));
        set(Metric::lr, lr(r));
      });
}

void hash_params(const Exec& exec, const ConstView2<float>& params, const View2<double>& values) {
  const auto N = static_cast<std::int64_t>(params.extent(1));
  Kokkos::parallel_for(
      "motley::metrics::hash_params",
      TeamPolicy(exec, static_cast<int>(params.extent(0)), Kokkos::AUTO),
      KOKKOS_LAMBDA(const Team& team) {
        const int r = team.league_rank();
        std::uint64_t hash = 0;
        Kokkos::parallel_reduce(
            Kokkos::TeamThreadRange(team, N),
            [&](const std::int64_t i, std::uint64_t& sum) {
              const std::uint32_t bits = Kokkos::bit_cast<std::uint32_t>(params(r, i));
              sum += mix64((static_cast<std::uint64_t>(i) << 32) + bits);
            },
            hash);
        Kokkos::single(Kokkos::PerTeam(team), [&] {
          values(r, static_cast<int>(Metric::params_hash)) = static_cast<double>(hash >> 11);
        });
      });
}

}  // namespace motley
