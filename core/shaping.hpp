#pragma once
/// Reward shaping: quality (x) diversity.

#include <memory>
#include <vector>

#include "core/partition.hpp"
#include "core/rollout.hpp"
#include "core/shaping_params.hpp"

namespace motley {

/// Scratch of the reward stages, made once.
struct RewardWorkspace {
  View3<double> group;   // [R,B,4G] numbers per completion
  View4<double> matrix;  // [R,B,G,G] where a replica's shaping is logdet, else empty
  View2<double> batch;   // [R,2] mean and deviation over a replica's completions
};
RewardWorkspace make_reward_workspace(int R, int B, int G, bool any_logdet);

/// Who takes part in the partition: everybody, or the correct completions (quality > 0) where the
/// shaping is multiplicative_correct. \param member [R,B,G] out, 0 or 1, the argument of
/// `partition`
void partition_members(const Exec& exec, const ConstView1<ShapingParams>& params,
                       const ConstView3<float>& quality, const View3<int>& member);

/// Defaults of the options that registered shapings bring along.
OwnSettings shaping_settings();

/// Registered shapings of a batch (core/shaping_method.hpp).
class ShapingInBatch;
using ShapingMethods = std::vector<std::shared_ptr<const ShapingInBatch>>;

/// What `shape_reward` reads.
template <class Scalar>
struct ShapingInputs {
  ConstView1<ShapingParams> params;              // [R]
  ConstView1<PartitionParams> partition_params;  // [R]
  std::uint32_t step = 0;                        ///< address of the draws (permuted, set_rl)
  ConstView3<Scalar> quality;                    // [R,B,G]
  ConstView3<int> cluster;                       // [R,B,G]
  ConstView3<int> cluster_size;                  // [R,B,G]
  ConstView4<float> pair_score;                  // [R,B,G,G]
  ConstView4<int> token;                         // [R,B,G,T]
  ConstView3<int> length;                        // [R,B,G]
  ConstView3<int> finish;                        // [R,B,G]
  ConstView4<float> log_prob;                    // [R,B,G,T]
};

/// Diversity and shaped reward of every completion. n = G, s_ij = pair_score with s_ii = 1, |C| the
/// size of the own cluster, p = |C| / n; letters and numbers in brackets: docs/paper_map.md.
///
///   none                    r = q
///   multiplicative          r = bias(q) max(Div, floor)                     DARLING (A2)
///                           Div = (n - |C|) / (n - 1); soft linkage: 1 - mean_{j != i} s_ij
///   multiplicative_correct  correct (q > 0) only are partitioned: c correct, Div = (c-|C|)/(c-1);
///                           incorrect or c <= 1: 0; then floor and product
///   multiplicative_sigmoid  r = bias(q) sigmoid(max(Div, floor))
///   additive                r = w_q q + w_d max(Div, floor)  (released code: Div already floored)
///   additive_norm           r = w_q z(q) + w_d z(max(Div, floor)), z = (x - mean)/(std + 1e-6),
///                           ddof 0, 0 where std = 0 (A3)
///   ngram                   Div = |n-grams of y_i in no other y_j| / max(1, |y_i| - n + 1);
///                           r = bias(q) Div (A4)
///   unlikeliness            r = bias(q) (1 - rank_penalty rank / n), rank 0 = least mean log-prob,
///                           ties by index (A5, 2506.02355)
///   unlikelihood            Div = 1 - (l - min)/(max - min), l = mean log-prob, .5 if all equal;
///                           r = bias(q) Div
///   ips                     r = bias(q) / max(p^alpha, eps) (A6, 2601.21669)
///   uniqueness, ucb, ucb_mean, ucb_con, batch     r = q; `group_advantage` does the rest (A7, A8)
///   dra                     r = bias(q) / (sum_j s_ij + 1e-6) (A9, 2505.09655)
///   mmr                     greedy maximal marginal relevance (A10): the best keeps its quality,
///                           then always the argmax of lambda q_i - (1-lambda) max_{chosen} s_ij,
///                           which is its reward; ties by index
///   gapo                    valid: r = 1 - (f - 1/num_modes), f = share of the own cluster among
///                           the valid; others -1 (A11, 2511.12596)
///   coverage                r = bias(q) ((1-lambda) + lambda w), w = C(n-|C|,k-1)/C(n-1,k-1) (A12)
///   set_rl                  r = F + n/(k M) sum_{S holding i} (f(S) - F), f = mean bias(q) x
///                           distinct share, F = mean f over the M sets; all k-sets where there are
///                           at most 4096, else so many drawn at Stream::set_draw. With all sets r
///                           is the mean of f over those holding i, and a mean baseline takes F off
///                           (A14, 2509.25424)
///   logdet                  r = q + alpha (logdet(S+I) - logdet(S_{-i}+I)) (A15, 2509.04784).
///                           Scores of a classifier need not be positive definite: the off-diagonal
///                           is shrunk by eighths until S+I is
///   outcome_entropy         r = q - alpha ln p (F9)
///   difficulty              Div = (n - c)/(n - 1) for all, c = correct: control without semantics;
///                           r = bias(q) max(Div, floor)
///   permuted                multiplicative with the group's Div values shuffled (Fisher-Yates,
///                           Stream::permute)
/// reward_bias: group_min q - min_group q; sigmoid 1/(1+exp(-q)); applied in the products only.
/// A group of one: Div = 0 (no other completion), factor = floor.
/// `diversity` receives Div before the floor; where a method names none, that of the partition.
/// `used` receives 1. One thread per group, sums in order in double. Registered shapings follow in
/// a kernel of their own each, where a replica uses one.
template <class Scalar>
void shape_reward(const Exec& exec, const ShapingInputs<Scalar>& in,
                  const RewardWorkspace& workspace, const View3<Scalar>& diversity,
                  const View3<Scalar>& reward, const View3<int>& used,
                  const ShapingMethods& methods = {});

/// Completions whose quality is negative although the shaping multiplies it and no bias lifts it:
/// there the product inverts the incentive. \param count [R] out
void count_negative_products(const Exec& exec, const ConstView1<ShapingParams>& params,
                             const ConstView3<float>& quality, const View1<int>& count);

}  // namespace motley
