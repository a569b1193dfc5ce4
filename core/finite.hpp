#pragma once
/// What a step has made of its completions, looked over before it is learnt from: every number is
/// finite, and sampler and trainer agree.

#include "core/base/status.hpp"
#include "core/mismatch.hpp"
#include "core/partition.hpp"
#include "core/rollout.hpp"

namespace motley {

/// Reports the first number of quality, quality_true, pair_score, reward and old_log_prob that is
/// not finite, each under the stage that wrote it; and, of replicas without an injected mismatch,
/// the first token whose old_log_prob differs from its sampler_log_prob in any bit
/// (Stage::mismatch). One thread per completion.
void check_rollout(const Exec& exec, const ConstView1<MismatchParams>& params,
                   const RolloutBuffer& buffer, const View1<StatusWord>& status);

/// Reports the first embedding that is not finite, as the pair of a completion with itself: its
/// similarities may be finite all the same.
/// \param embedding [R,B,G,E] read for the replicas that cluster embeddings
void check_embeddings(const Exec& exec, const ConstView1<PartitionParams>& params,
                      const ConstView4<float>& embedding, const View1<StatusWord>& status);

/// As check_rollout, for ref_log_prob of the replicas that have a reference, and for the advantage,
/// that of a stated answer included.
/// \param has_reference [R]
void check_advantage(const Exec& exec, const ConstView1<int>& has_reference,
                     const RolloutBuffer& buffer, const View1<StatusWord>& status);

}  // namespace motley
