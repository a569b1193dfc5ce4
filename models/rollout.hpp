#pragma once
/// Batched rollout: sampling G completions of every prompt with a key-value cache.

#include "core/base/status.hpp"
#include "core/rollout.hpp"
#include "core/sampling.hpp"
#include "models/tile.hpp"

namespace motley {

/// A logit of the sampler that is overwritten on purpose (experiments/fault_injection.hpp).
struct LogitFault {
  int r = -1;  ///< -1 = none
  int b = 0, g = 0, t = 0;
  float value = 0.0f;
};

/// Where a rollout's draws come from and how it samples, per replica.
struct RolloutKey {
  ConstView1<SamplingParams> sampling;  ///< [R]
  ConstView1<std::uint64_t> seed;       ///< [R] the replica's own run seed
  Stream stream = Stream::sample;
  std::uint32_t step = 0;
  std::uint32_t attempt = 0;   ///< generation batch of the step; the items of a later one follow
  ConstView2<int> slots = {};  ///< [R,B] prompts to sample, in increasing order; empty = all
  ConstView1<int> num_slots = {};  ///< [R] how many of them
  LogitFault fault = {};
};

/// What a rollout writes; the sampler's fields of a RolloutBuffer.
struct RolloutOutput {
  View4<int> token;        ///< [R,B,G,T] kPad after the end
  View3<int> length;       ///< [R,B,G]
  View3<int> finish;       ///< [R,B,G]
  View4<float> log_prob;   ///< [R,B,G,T] 0 where masked
  View4<float> entropy;    ///< [R,B,G,T] 0 where masked
  View4<float> kept_mass;  ///< [R,B,G,T] 1 where masked
};
RolloutOutput rollout_output(const RolloutBuffer& buffer);

/// Slots for `rollout` with groups of G, prompts of P and completions of T tokens.
template <class Scalar>
TileWorkspace<Scalar> make_rollout_workspace(const Net& net, int R, int B, int G, int P, int T);

/// Samples completions. A tile of prompts and their completions goes through all positions in one
/// team; the prompt is computed once for its group; finished completions leave the tile. The draw
/// of token t of completion g is at address (seed, stream, step, (attempt * B + b) * G + g, t).
/// Where a replica's noise_std is not 0, every logit of the sampler (not divided by the temperature
/// yet) receives noise_std times a normal variate at (seed, Stream::mismatch, step, the same item,
/// t * V + token). A completion ends with kEos or at T tokens. \param prompt [R,B,P]  \param
/// prompt_length [R,B], at least 1 \param forced [B,K] tokens that open every completion of prompt
/// b, negative = sample; may be empty \param status [R] receives the address of the first
/// non-finite logits Every element of the output is written, but nothing of prompts that are not
/// among the slots. Bits of a completion depend on nothing but its prompt, weights and address.
template <class Scalar>
void rollout(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
             const TileWorkspace<Scalar>& workspace, const RolloutKey& key,
             const ConstView3<int>& prompt, const ConstView2<int>& prompt_length,
             const ConstView2<int>& forced, const RolloutOutput& out,
             const View1<StatusWord>& status);

}  // namespace motley
