#pragma once
/// Addressed random numbers: a draw is a pure function of what it is for.
///
/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). The key
/// is the replica's own 64-bit run seed, the counter is the address {position, prompt*G+completion,
/// step, stream}. There is no state, so the order of execution, the packing of replicas, the
/// thread count, a restart and the backend cannot change a draw. Arms of one seed share draws.

#include <cstdint>

#include "core/base/types.hpp"

namespace motley {

struct Philox4 {
  std::uint32_t x[4];
};

/// Ten rounds of Philox4x32; known answers in tests/core/base/rng_test.cpp.
KOKKOS_INLINE_FUNCTION Philox4 philox4x32_10(Philox4 counter, std::uint32_t key0,
                                             std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter.x[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter.x[2];
    const Philox4 next = {{static_cast<std::uint32_t>(p1 >> 32) ^ counter.x[1] ^ key0,
                           static_cast<std::uint32_t>(p1),
                           static_cast<std::uint32_t>(p0 >> 32) ^ counter.x[3] ^ key1,
                           static_cast<std::uint32_t>(p0)}};
    counter = next;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// What a draw is for. The numbers are part of the file format: never reuse or renumber.
enum class Stream : std::uint32_t {
  prompt = 1,  ///< which training prompt stands at (step, b)
  sample = 2,  ///< token of a training rollout
  eval = 3,    ///< token of an evaluation rollout
  init = 4,    ///< initial policy weights
  corpus = 5,  ///< pretraining corpus
  classifier_init = 6,
  classifier_data = 7,   ///< pairs for the pair classifier
  task = 8,              ///< the task's own tables (prompt pools)
  permute = 9,           ///< the `permuted` control
  gate = 10,             ///< token of a skill-gate rollout
  forced = 11,           ///< forced first tokens of the skill gate
  bootstrap = 12,        ///< resampling in `compare`
  holdout = 13,          ///< held-out pairs of the pair classifier
  resample = 14,         ///< prompts drawn again by dynamic sampling
  resample_token = 15,   ///< tokens of their completions
  clip_cov = 16,         ///< tokens that Clip-Cov leaves out
  mismatch = 17,         ///< noise between sampler and trainer
  judge = 18,            ///< verdicts of the noisy oracle
  cluster = 19,          ///< seeds of clustering methods
  order = 20,            ///< permutations of a group
  reward_init = 21,      ///< initial reward-model weights
  reward_data = 22,      ///< preference pairs of the reward model
  sweep = 23,            ///< random sweeps
  set_draw = 24,         ///< subsets drawn by set estimators
  own_partitioner = 64,  ///< what registered partitioners draw
  own_shaping = 65,      ///< what registered shapings draw
};

/// Address of a draw; the seed is the replica's own.
struct DrawKey {
  std::uint64_t seed;
  Stream stream;
  std::uint32_t step;
};

/// Four 32-bit words at address (key, item, position), item = prompt * G + completion.
KOKKOS_INLINE_FUNCTION Philox4 draw_bits(const DrawKey& key, std::uint32_t item,
                                         std::uint32_t position) {
  return philox4x32_10({{position, item, key.step, static_cast<std::uint32_t>(key.stream)}},
                       static_cast<std::uint32_t>(key.seed),
                       static_cast<std::uint32_t>(key.seed >> 32));
}

/// 24 high bits -> [0, 1). Exact in float, the same on every backend.
KOKKOS_INLINE_FUNCTION float unit_float(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

KOKKOS_INLINE_FUNCTION float draw_uniform(const DrawKey& key, std::uint32_t item,
                                          std::uint32_t position) {
  return unit_float(draw_bits(key, item, position).x[0]);
}

/// Standard normal variate at an address: Box-Muller of its first two words, |value| < 6.77.
KOKKOS_INLINE_FUNCTION double draw_normal(const DrawKey& key, std::uint32_t item,
                                          std::uint32_t position) {
  const Philox4 bits = draw_bits(key, item, position);
  const double radius = Kokkos::sqrt(-2.0 * Kokkos::log((bits.x[0] + 0.5) * 0x1p-32));
  return radius * Kokkos::cos(6.283185307179586 * (bits.x[1] * 0x1p-32));
}

/// Uniform integer in [0, n) by multiplication; bias below n / 2^32.
KOKKOS_INLINE_FUNCTION std::uint32_t uniform_below(std::uint32_t bits, std::uint32_t n) {
  return static_cast<std::uint32_t>((std::uint64_t{bits} * n) >> 32);
}

}  // namespace motley
