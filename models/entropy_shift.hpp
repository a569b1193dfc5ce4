#pragma once
/// How an update moved the token entropies of a rollout, and what first order predicts.

#include "models/policy.hpp"

namespace motley {

/// Memory of `entropy_shift`.
template <class Scalar>
struct EntropyShiftWorkspace {
  PolicyTiling tiling;
  TileWorkspace<Scalar> tiles;
  View4<double> before, after, predicted;  ///< [R,B,G,T] of every counted token
};
template <class Scalar>
EntropyShiftWorkspace<Scalar> make_entropy_shift_workspace(const Net& net, int R, int B, int G,
                                                           int P, int T);

enum class EntropySum : int { tokens, before, after, predicted, count };
inline constexpr int kEntropySums = static_cast<int>(EntropySum::count);

/// Entropies H of the next-token distribution at every counted token of the rollout, under the
/// weights of before and of after an update, and the first-order change
///   dH ~ -Cov_{a ~ pi}(ln pi(a), dz(a)) = -sum_a pi(a) (ln pi(a) + H) dz(a)
/// with pi the distribution before and dz the measured change of the scaled logits (exact to first
/// order for a softmax; a constant added to all dz drops out).
/// \param sums [R,kEntropySums] out: counted tokens and sums over them, added in token order
template <class Scalar>
void entropy_shift(const Exec& exec, const Net& net, const Weights<Scalar>& before,
                   const Weights<Scalar>& after, const EntropyShiftWorkspace<Scalar>& workspace,
                   const ConstView1<LossParams>& params, const RolloutBuffer& buffer,
                   const View2<double>& sums);

}  // namespace motley
