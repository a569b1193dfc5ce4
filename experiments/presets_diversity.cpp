/// Diversity in the reward: DARLING, its ablations and its rivals.

#include "experiments/presets.hpp"

namespace motley {

namespace {

constexpr const char* kDarling = "arXiv 2509.02534; code facebookresearch/darling";

std::vector<Preset> darling_family() {
  return {
      {"darling", "quality x semantic diversity of the learned partition", kDarling,
       join_settings({{{"diversity.shaping", "multiplicative", "section 3"},
                       {"diversity.floor", "0.1", "released code; the paper has none"}},
                      learned_partition(),
                      centred()}),
       "the paper's text calls a pair's distance `classify` (1 = equivalent); its Figure 2 and its code take 1 - classify, and so does this program"},
      {"darling_paper", "DARLING as the paper's text states it: no floor", kDarling,
       join_settings({{{"diversity.shaping", "multiplicative", "section 3"},
                       {"diversity.floor", "0", "the paper names no floor"}},
                      learned_partition(),
                      centred()}),
       "without the floor a group of one cluster has reward 0 everywhere and no gradient"},
      {"additive", "z(quality) + z(diversity): the additive ablation", kDarling,
       join_settings({{{"diversity.shaping", "additive_norm", "section 6.1, Table 2"}},
                      learned_partition(),
                      centred()}),
       "in the released code this branch is overwritten by the plain sum, which is diversity.shaping = additive"},
      {"ngram", "quality x share of 4-grams found in no other completion: the lexical ablation",
       kDarling,
       join_settings({{{"diversity.shaping", "ngram", "section 6.2, Tables 3 and 4"},
                       {"diversity.ngram_n", "4", "section 6.2"}},
                      centred()}),
       "no floor, in the paper's code neither"},
  };
}

}  // namespace

std::vector<Preset> diversity_presets() {
  return darling_family();
}

}  // namespace motley
