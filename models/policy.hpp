#pragma once
/// The trainer's passes over a rollout: scoring its tokens, and the policy gradient.

#include "core/base/status.hpp"
#include "core/objective.hpp"
#include "core/partition.hpp"
#include "core/rollout.hpp"
#include "models/tile.hpp"

namespace motley {

/// Tiles of one replica's batch: a prompt with some of its completions. Fixed by the shape alone.
struct PolicyTiling {
  int B = 0, G = 0, P = 0, T = 0;
  int completions = 0;  ///< per tile, at most
  int splits = 0;       ///< tiles per group
  int chunks = 0;       ///< partial gradients per replica
  int tiles(int prompts) const { return prompts * splits; }
};
PolicyTiling make_policy_tiling(const Net& net, int B, int G, int P, int T);

/// Memory of `score_tokens` and `policy_gradient`.
template <class Scalar>
struct PolicyWorkspace {
  PolicyTiling tiling;
  TileWorkspace<Scalar> score;  ///< inference tiles
  TileWorkspace<Scalar> train;  ///< training tiles
  View3<Scalar> partial;        ///< [R,chunks,N] partial gradients
  View3<double> sums;           ///< [R,chunks,kUpdateSums]
  View2<double> ratio_max;      ///< [R,chunks]
  View3<double> row_sums;       ///< [slots,head_rows,kUpdateSums + 1]
  std::size_t bytes() const;
};

/// \param exact_kl  any replica uses kl.estimator = exact
template <class Scalar>
PolicyWorkspace<Scalar> make_policy_workspace(const Net& net, int R, int B, int G, int P, int T,
                                              bool exact_kl);

/// What else a scoring pass leaves behind; empty views ask for nothing.
struct ScoreExtras {
  View4<int> top;  ///< [R,B,G,T*K] the K likeliest tokens at every position, likeliest first, among
                   ///< equal ones the lower; of replicas with loss.policy = simko
  ConstView1<PartitionParams> partition;  ///< [R]
  View4<float> embedding;  ///< [R,B,G,E] of replicas that cluster partition.embedding = policy: the
                           ///< mean of the final states that have read the completion's tokens but
                           ///< the last (of one token: the prompt's), to length 1, 0 beyond the
                           ///< width. No gradient goes through it
};

/// Log-probabilities of the logged tokens under `weights`, by the trainer's own forward pass; with
/// the sampler's weights they equal its log-probabilities bit for bit.
/// \param log_prob [R,B,G,T] out, nats, 0 where masked; replicas with active(r) = 0 are left alone.
/// Out is float (the buffer's) or Scalar.
/// \param extras  written for the active replicas that use them
template <class Scalar, class Out>
void score_tokens(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                  const PolicyWorkspace<Scalar>& workspace, const ConstView1<LossParams>& params,
                  const RolloutBuffer& buffer, const ConstView1<int>& active,
                  const View4<Out>& log_prob, const ScoreExtras& extras = ScoreExtras());

/// What the policy gradient is taken of: prompts [b_first, b_last) of every replica.
struct Minibatch {
  int b_first = 0, b_last = 0;
  int micro_batches = 1;  ///< the tiles are visited in so many launches; never changes a bit
};

/// Gradient of loss = sum over tokens of weight * (policy + kl_coef * kl - entropy_coef * H), with
/// token_loss and row_loss_gradient of core/objective.hpp, through the whole network.
///
/// Each chunk of tiles adds up its own partial gradient in tile order, chunks are added in order:
/// the sum is fixed by the shape. Prompt rows are computed once per tile and receive the sum of
/// their completions' gradients. Only counted tokens cost anything; completions of weight 0 add
/// nothing, to the sums neither.
/// \param reference  weights of the frozen policy; read where kl is exact
/// \param weight [R,B,G] from token_weights   \param gradient [R,N] out
/// \param sums [R,kUpdateSums] out            \param ratio_max [R] out
/// \param token_scale [R,B,G,T] further factor of a token's weight; empty = 1
/// \param plan  of this minibatch, where a replica's loss needs one
template <class Scalar>
void policy_gradient(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                     const Weights<Scalar>& reference, const PolicyWorkspace<Scalar>& workspace,
                     const ConstView1<LossParams>& params, const RolloutBuffer& buffer,
                     const ConstView3<Scalar>& weight, const Minibatch& minibatch,
                     const View2<Scalar>& gradient, const View2<double>& sums,
                     const View1<double>& ratio_max, const View1<StatusWord>& status,
                     const ConstView4<float>& token_scale = ConstView4<float>(),
                     const TokenPlan<Scalar>& plan = TokenPlan<Scalar>());

}  // namespace motley
