#pragma once
/// Status word: where a kernel first met a number that is not finite.
///
/// One 64-bit word per replica, cleared at the start of a step. A kernel that can meet a
/// non-finite number packs {stage, b, g, t} and takes the integer minimum, so the report is the
/// first fault in that order whatever the thread count. Nothing is repaired silently: the end of
/// the step turns a set word into Error(numeric).

#include <string>

#include "core/base/types.hpp"

namespace motley {

enum class Stage : std::uint8_t {
  rollout,
  score_tokens,
  score,
  pair_scores,
  partition,
  shape_reward,
  group_advantage,
  policy_gradient,
  adamw_step,
};

using StatusWord = std::uint64_t;
inline constexpr StatusWord kStatusClear = ~StatusWord{0};

/// b < 2^20, g < 2^18, t < 2^18.
KOKKOS_INLINE_FUNCTION StatusWord pack_status(Stage stage, int b, int g, int t) {
  return (StatusWord{static_cast<std::uint8_t>(stage)} << 56) | (StatusWord(b & 0xFFFFF) << 36) |
         (StatusWord(g & 0x3FFFF) << 18) | StatusWord(t & 0x3FFFF);
}

KOKKOS_INLINE_FUNCTION void report(const View1<StatusWord>& status, int r, Stage stage, int b,
                                   int g, int t) {
  Kokkos::atomic_min(&status(r), pack_status(stage, b, g, t));
}

/// "stage rollout, prompt 3, completion 5, position 17"
std::string describe_status(StatusWord word);

}  // namespace motley
