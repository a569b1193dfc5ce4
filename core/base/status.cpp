#include "core/base/status.hpp"

#include "core/base/error.hpp"

namespace motley {

std::string describe_status(StatusWord word) {
  static constexpr const char* kNames[] = {"rollout",         "score_tokens",    "score",
                                           "pair_scores",     "partition",       "shape_reward",
                                           "group_advantage", "policy_gradient", "adamw_step"};
  const auto stage = static_cast<std::size_t>(word >> 56);
  return concat("stage ", stage < std::size(kNames) ? kNames[stage] : "unknown", ", prompt ",
                (word >> 36) & 0xFFFFF, ", completion ", (word >> 18) & 0x3FFFF, ", position ",
                word & 0x3FFFF);
}

}  // namespace motley
