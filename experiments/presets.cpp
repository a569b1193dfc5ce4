/// Presets of run.method: which keys each sets, from which sentence of which paper.

#include "experiments/run_config.hpp"

namespace motley {

namespace {

struct Preset {
  const char* name;
  const char* text;
  std::vector<Setting> settings;
};

const std::vector<Preset>& methods() {
  static const std::vector<Preset> table = {
      {"grpo",
       "quality only, advantage divided by the group's deviation (arXiv 2402.03300)",
       {{"diversity.shaping", "none"},
        {"advantage.estimator", "grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "group"}}},
      {"dr_grpo",
       "quality only, no division by the deviation (arXiv 2503.20783)",
       {{"diversity.shaping", "none"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
      {"rloo",
       "quality only, mean of the other completions as baseline (arXiv 2402.14740)",
       {{"diversity.shaping", "none"},
        {"advantage.estimator", "rloo"},
        {"advantage.baseline", "loo"},
        {"advantage.norm", "none"}}},
      {"darling",
       "quality x semantic diversity of the learned partition, as the released code has it: floor 0.1, no deviation (arXiv 2509.02534)",
       {{"diversity.shaping", "multiplicative"},
        {"diversity.floor", "0.1"},
        {"partition.method", "classifier"},
        {"partition.linkage", "union_find"},
        {"partition.threshold", "0.5"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
      {"darling_paper",
       "the same as the paper's text states it: no floor",
       {{"diversity.shaping", "multiplicative"},
        {"diversity.floor", "0"},
        {"partition.method", "classifier"},
        {"partition.linkage", "union_find"},
        {"partition.threshold", "0.5"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
      {"additive",
       "z(quality) + z(diversity): the paper's additive ablation (Table 2)",
       {{"diversity.shaping", "additive_norm"},
        {"partition.method", "classifier"},
        {"partition.linkage", "union_find"},
        {"partition.threshold", "0.5"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
      {"ngram",
       "quality x share of 4-grams found in no other completion: the paper's lexical ablation (Tables 3 and 4)",
       {{"diversity.shaping", "ngram"},
        {"diversity.ngram_n", "4"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
      {"difficulty",
       "control: the same reweighting by the share of wrong answers, no semantics",
       {{"diversity.shaping", "difficulty"},
        {"diversity.floor", "0.1"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
      {"permuted",
       "control: DARLING's diversity values shuffled inside the group",
       {{"diversity.shaping", "permuted"},
        {"diversity.floor", "0.1"},
        {"partition.method", "classifier"},
        {"partition.linkage", "union_find"},
        {"partition.threshold", "0.5"},
        {"advantage.estimator", "dr_grpo"},
        {"advantage.baseline", "mean"},
        {"advantage.norm", "none"}}},
  };
  return table;
}

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Preset& preset : methods()) names.emplace_back(preset.name);
  return names;
}

std::string method_text(const std::string& method) {
  for (const Preset& preset : methods())
    if (method == preset.name) return preset.text;
  return "";
}

std::vector<Setting> preset_settings(const std::string& key, const std::string& value) {
  if (key == "run.method") {
    for (const Preset& preset : methods())
      if (value == preset.name) return preset.settings;
  }
  if (key == "advantage.estimator") {
    if (value == "grpo") return {{"advantage.baseline", "mean"}, {"advantage.norm", "group"}};
    if (value == "dr_grpo") return {{"advantage.baseline", "mean"}, {"advantage.norm", "none"}};
    if (value == "rloo") return {{"advantage.baseline", "loo"}, {"advantage.norm", "none"}};
    if (value == "reinforce") return {{"advantage.baseline", "none"}, {"advantage.norm", "none"}};
  }
  return {};
}

}  // namespace motley
