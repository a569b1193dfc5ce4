/// Controls that no paper has: without them a gain cannot be called semantic.

#include "experiments/presets.hpp"

namespace motley {

std::vector<Preset> control_presets() {
  return {
      {"difficulty", "the same reweighting by the share of wrong answers, no semantics",
       "control, ours",
       join_settings({{{"diversity.shaping", "difficulty", "control"},
                       {"diversity.floor", "0.1", "as darling"}},
                      centred()}),
       ""},
      {"permuted", "DARLING's diversity values shuffled inside the group", "control, ours",
       join_settings({{{"diversity.shaping", "permuted", "control"},
                       {"diversity.floor", "0.1", "as darling"}},
                      learned_partition(),
                      centred()}),
       ""},
  };
}

}  // namespace motley
