#pragma once
/// Supervised next-token training on texts: the base policy's pretraining.

#include "core/base/status.hpp"
#include "models/tasks/task.hpp"
#include "models/tile.hpp"

namespace motley {

template <class Scalar>
struct SupervisedWorkspace {
  int texts_per_tile = 1;
  int chunks = 2;
  TileWorkspace<Scalar> tiles;
  View3<Scalar> partial;      ///< [R,chunks,N]
  View3<double> sums;         ///< [R,chunks,2] loss, tokens
  View1<double> token_count;  ///< [R]
};
/// \param N texts per replica, S = tokens of the longest text
template <class Scalar>
SupervisedWorkspace<Scalar> make_supervised_workspace(const Net& net, int R, int N, int S);

/// Gradient of the mean cross-entropy over completion tokens (those after the prompt), nats.
/// \param active [R] 0 = skip the replica   \param gradient [R,N] out   \param loss [R] out, mean
template <class Scalar>
void supervised_gradient(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                         const SupervisedWorkspace<Scalar>& workspace, const CorpusBatch& batch,
                         const ConstView1<int>& active, const View2<Scalar>& gradient,
                         const View1<double>& loss);

}  // namespace motley
