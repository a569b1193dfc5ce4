#pragma once
/// Statistics over a minibatch that a policy loss reads before its gradient: which tokens it leaves
/// out or penalises, and the ratio of a whole completion.

#include "core/objective.hpp"

namespace motley {

/// Where the draws of Clip-Cov stand: (the replica's seed, step, update within the step; token).
struct PlanKey {
  ConstView1<std::uint64_t> seed;  // [R]
  std::uint32_t step = 0;
  int pass = 0;
};

inline constexpr int kPlanSums = 3;

/// \param top_k  the largest simko.top_k of the batch, 0 where no replica has that loss
template <class Scalar>
TokenPlan<Scalar> make_token_plan(int R, int B, int G, int T, int top_k = 0);

/// Writes role and sequence_log_ratio of prompts [b_first, b_last) of the replicas whose loss needs
/// them; the others' stay 0.
///
/// N = counted tokens with used != 0; c_t = (A - mean A) (ln pi_t - mean ln pi), means over these
/// N. clip_cov: among tokens at no bound of the ratio and with lower < c_t < upper, max(1,
/// round(ratio
///   N)) are dropped, those of the largest draws (uniform without replacement).
/// kl_cov: the max(1, floor(fraction N)) tokens of largest c_t are penalised.
/// top_entropy_quantile q < 1: all but the max(1, ceil(q N)) tokens of largest entropy at rollout
///   are dropped (2506.01939); the denominators of the aggregation still count every token.
/// gspo: mean over the completion of new - old; gmpo: of min(new - old, clip_ratio_high) for A > 0,
///   max(new - old, -clip_ratio_low) for A < 0.
/// simko: uncertain are the tokens whose entropy at rollout is above the quantile of their own
///   completion (linear between order statistics, as torch.quantile); the likeliest is top[0],
///   which `score_tokens` writes.
/// divpo: chosen is the most diverse completion with quality >= max - band (max - min), rejected
/// the
///   least diverse with quality <= min + band (max - min), over the group's counted completions; no
///   pair where all qualities are equal. Diversity is what diversity.shaping measures: the
///   partition's, or lexical (ngram), or by log-probability (unlikelihood). m = beta (sum of new -
///   ref over the chosen - over the rejected); slopes -+ beta sigmoid(-m), and -ln sigmoid(m) is
///   shared out over the tokens of the chosen.
/// Values are compared as float, among equal ones the earlier (b, g, t) wins. Means in double, in
/// order over (g, t), then b: no result depends on threads, packing or micro-batches.
/// \param new_log_prob [R,B,G,T] of the current policy; in a step's first update old_log_prob
template <class Scalar>
void token_plan(const Exec& exec, const ConstView1<LossParams>& params, const PlanKey& key,
                const ConstView4<Scalar>& new_log_prob, const RolloutBuffer& buffer, int b_first,
                int b_last, const TokenPlan<Scalar>& plan);

}  // namespace motley
