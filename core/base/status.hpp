#pragma once
/// Status word: where a kernel first met a number that is not finite.
///
/// One 64-bit word per replica, cleared at the start of a step. A kernel that can meet a
/// non-finite number packs {stage, b, g, t} and takes the integer minimum, so the report is the
/// first fault in that order whatever the thread count. `keep_first_fault` puts it aside before the
/// next pass, so that what follows from a fault does not hide it. Nothing is repaired silently: the
/// end of the step turns a set word into an error.

#include <string>
#include <string_view>

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
  mismatch,  ///< sampler and trainer disagree although they must not
};
std::string_view name_of(Stage stage);

using StatusWord = std::uint64_t;
inline constexpr StatusWord kStatusClear = ~StatusWord{0};

/// b < 2^20, g < 2^18, t < 2^18.
KOKKOS_INLINE_FUNCTION StatusWord pack_status(Stage stage, int b, int g, int t) {
  return (StatusWord{static_cast<std::uint8_t>(stage)} << 56) | (StatusWord(b & 0xFFFFF) << 36) |
         (StatusWord(g & 0x3FFFF) << 18) | StatusWord(t & 0x3FFFF);
}

/// A fault of parameter n of the arena; n < 2^56.
KOKKOS_INLINE_FUNCTION StatusWord pack_parameter(Stage stage, std::int64_t n) {
  return (StatusWord{static_cast<std::uint8_t>(stage)} << 56) | static_cast<StatusWord>(n);
}
/// In place of n where no parameter is to blame: the gradient's norm overflows.
inline constexpr std::int64_t kNoParameter = (std::int64_t{1} << 56) - 1;

KOKKOS_INLINE_FUNCTION void report(const View1<StatusWord>& status, int r, Stage stage, int b,
                                   int g, int t) {
  Kokkos::atomic_min(&status(r), pack_status(stage, b, g, t));
}

KOKKOS_INLINE_FUNCTION void report_parameter(const View1<StatusWord>& status, int r, Stage stage,
                                             std::int64_t n) {
  Kokkos::atomic_min(&status(r), pack_parameter(stage, n));
}

/// first(r) = status(r) where it is clear; clears status.
void keep_first_fault(const Exec& exec, const View1<StatusWord>& status,
                      const View1<StatusWord>& first);

/// A word taken apart; what the stage does not know is -1.
struct StatusAddress {
  Stage stage = Stage::rollout;
  int prompt = -1, completion = -1;
  int position = -1;            ///< of a token
  int other = -1;               ///< pair_scores: the other completion
  std::int64_t parameter = -1;  ///< adamw_step: its place in the arena
};
StatusAddress unpack_status(StatusWord word);

/// "stage rollout, prompt 3, completion 5, position 17"
std::string describe_status(StatusWord word);

}  // namespace motley
