#pragma once
/// Logits of given tokens: the policy as a function, to be compared with other programs.

#include "models/tile.hpp"

namespace motley {

/// Slots for `token_logits` over N texts per replica of at most S tokens.
template <class Scalar>
TileWorkspace<Scalar> make_logits_workspace(const Net& net, int R, int N, int S);

/// Logits after every token of every text, by the forward pass of training and scoring.
/// \param token [R,N,S]   \param length [R,N], at least 1
/// \param logits [R,N,S,V] out; positions at and after the length are 0
template <class Scalar>
void token_logits(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                  const TileWorkspace<Scalar>& workspace, const ConstView3<int>& token,
                  const ConstView2<int>& length, const View4<Scalar>& logits);

}  // namespace motley
