#pragma once
/// The whole next-token distribution after given prefixes: what enumerating a policy needs, where a
/// rollout draws one token.

#include "core/rollout.hpp"
#include "models/policy.hpp"

namespace motley {

/// Tiles and memory of `next_token_logits` for groups of G prefixes, prompts of P and prefixes of
/// fewer than T tokens.
template <class Scalar>
struct NextTokenWorkspace {
  PolicyTiling tiling;
  TileWorkspace<Scalar> tiles;
};
template <class Scalar>
NextTokenWorkspace<Scalar> make_next_token_workspace(const Net& net, int R, int B, int G, int P,
                                                     int T);

/// Logits of the token that follows each prefix: divided by the temperature as the sampler does,
/// less the largest of the row, so that p(v) = exp(z_v) / sum exp(z). By the forward pass of
/// rollout and trainer: the sampler's log-probability of any token is this row's, bit for bit
/// before its normaliser.
/// \param inv_temperature [R]
/// \param buffer  prompt [R,B,P], prompt_length [R,B] (0 = nothing to do for this prompt), token
///   [R,B,G,T] and length [R,B,G]: a prefix of n tokens has length n + 1, 0 = no prefix
/// \param logits [R,B,G,V] out; rows without a prefix are left alone
template <class Scalar>
void next_token_logits(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                       const NextTokenWorkspace<Scalar>& workspace,
                       const ConstView1<double>& inv_temperature, const RolloutBuffer& buffer,
                       const View4<double>& logits);

}  // namespace motley
