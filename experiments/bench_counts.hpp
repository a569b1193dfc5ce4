#pragma once
/// How much work a step of fixed-length rollouts is: tokens, operations, bytes.

#include "core/base/shape.hpp"
#include "models/classifier.hpp"
#include "models/net.hpp"
#include "models/policy.hpp"

namespace motley {

/// Work of one stage. Operations are multiplications and additions of the products and of
/// attention that the algorithm needs: what a backward pass computes a second time, norms, gates
/// and softmaxes are not counted. Bytes are what its kernels read and write, as if nothing stayed
/// in a cache.
struct StageCounts {
  double operations = 0;
  double bytes = 0;
};

struct StepCounts {
  double sampled_tokens = 0;  ///< R B G T
  double trained_tokens = 0;  ///< the same: every sampled token is trained on, once per epoch
  double pairs = 0;           ///< R B G (G - 1) / 2
  StageCounts rollout, update, classifier;
};

/// \param epochs       passes of the update
/// \param classifier   null where none is asked
StepCounts count_step(const Net& net, const Shape& shape, const PolicyTiling& tiling, int epochs,
                      const PairNet* classifier);

}  // namespace motley
