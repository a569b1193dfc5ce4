/// Quality-only baselines.

#include "experiments/presets.hpp"

namespace motley {

std::vector<Preset> baseline_presets() {
  return {
      {"grpo", "quality only, advantage divided by the group's deviation", "arXiv 2402.03300",
       join_settings({quality_only(), group_std()}),
       "the advantage of a group of equal rewards is exactly 0; the released float32 codes leave up to .6 there"},
      {"dr_grpo", "quality only, no division by the deviation", "arXiv 2503.20783",
       join_settings({quality_only(), centred()}),
       "the paper also divides the loss by a constant length: loss.agg = seq-mean-token-sum-norm"},
      {"rloo", "quality only, mean of the other completions as baseline", "arXiv 2402.14740",
       join_settings({quality_only(),
                      {{"advantage.estimator", "rloo", "section 3"},
                       {"advantage.baseline", "loo", "mean of the other completions"},
                       {"advantage.norm", "none", "no division"}}}),
       ""},
  };
}

}  // namespace motley
