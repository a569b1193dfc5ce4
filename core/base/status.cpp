#include "core/base/status.hpp"

#include <array>

#include "core/base/error.hpp"

namespace motley {

std::string_view name_of(Stage stage) {
  static constexpr std::array<std::string_view, 10> kNames = {
      "rollout",      "score_tokens",    "score",           "pair_scores", "partition",
      "shape_reward", "group_advantage", "policy_gradient", "adamw_step",  "mismatch"};
  const auto i = static_cast<std::size_t>(stage);
  return i < kNames.size() ? kNames[i] : "unknown";
}

void keep_first_fault(const Exec& exec, const View1<StatusWord>& status,
                      const View1<StatusWord>& first) {
  Kokkos::parallel_for(
      "motley::status::keep_first", Kokkos::RangePolicy<Exec>(exec, 0, status.extent(0)),
      KOKKOS_LAMBDA(const int r) {
        if (first(r) == kStatusClear) first(r) = status(r);
        status(r) = kStatusClear;
      });
}

StatusAddress unpack_status(StatusWord word) {
  StatusAddress a;
  a.stage = static_cast<Stage>(word >> 56);
  if (a.stage == Stage::adamw_step) {
    const auto n = static_cast<std::int64_t>(word & static_cast<StatusWord>(kNoParameter));
    a.parameter = n == kNoParameter ? -1 : n;
    return a;
  }
  a.prompt = static_cast<int>((word >> 36) & 0xFFFFF);
  a.completion = static_cast<int>((word >> 18) & 0x3FFFF);
  const int last = static_cast<int>(word & 0x3FFFF);
  switch (a.stage) {
    case Stage::pair_scores: a.other = last; break;
    case Stage::score:
    case Stage::partition:
    case Stage::shape_reward:
    case Stage::group_advantage: break;
    default: a.position = last;
  }
  return a;
}

std::string describe_status(StatusWord word) {
  const StatusAddress a = unpack_status(word);
  std::string out = concat("stage ", name_of(a.stage));
  if (a.parameter >= 0) out += concat(", parameter ", a.parameter);
  if (a.prompt >= 0) out += concat(", prompt ", a.prompt, ", completion ", a.completion);
  if (a.other >= 0 && a.other != a.completion) out += concat(" with completion ", a.other);
  if (a.position >= 0) out += concat(", position ", a.position);
  return out;
}

}  // namespace motley
