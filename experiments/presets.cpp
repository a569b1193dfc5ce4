#include "experiments/presets.hpp"

namespace motley {

std::vector<Setting> join_settings(std::vector<std::vector<Setting>> parts) {
  std::vector<Setting> out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

std::vector<Setting> quality_only() {
  return {{"diversity.shaping", "none", "the reward is the quality"}};
}

std::vector<Setting> group_std() {
  return {{"advantage.estimator", "grpo", "2402.03300 section 4.1"},
          {"advantage.baseline", "mean", "2402.03300: mean of the group"},
          {"advantage.norm", "group", "2402.03300: divided by the group's deviation"}};
}

std::vector<Setting> centred() {
  return {{"advantage.estimator", "dr_grpo", "2503.20783: no division"},
          {"advantage.baseline", "mean", "mean of the group"},
          {"advantage.norm", "none", "no division by the deviation"}};
}

std::vector<Setting> learned_partition() {
  return {{"partition.method", "classifier", "2509.02534 section 3: a learned classifier of pairs"},
          {"partition.linkage", "union_find", "released code, process_uid_partition"},
          {"partition.threshold", "0.5", "released code, mathematics (0.32 for its ModernBERT)"}};
}

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = [] {
    std::vector<Preset> out;
    for (const auto& part :
         {baseline_presets(), diversity_presets(), update_presets(), control_presets()})
      out.insert(out.end(), part.begin(), part.end());
    return out;
  }();
  return all;
}

const Preset* find_preset(const std::string& name) {
  for (const Preset& preset : presets())
    if (preset.name == name) return &preset;
  return nullptr;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.push_back(preset.name);
  return names;
}

std::vector<Setting> preset_settings(const std::string& key, const std::string& value) {
  if (key == "run.method") {
    const Preset* preset = find_preset(value);
    return preset != nullptr ? preset->settings : std::vector<Setting>{};
  }
  if (key == "advantage.estimator") {
    const auto family = [](const char* baseline, const char* norm) {
      return std::vector<Setting>{{"advantage.baseline", baseline, ""},
                                  {"advantage.norm", norm, ""}};
    };
    if (value == "grpo") return family("mean", "group");
    if (value == "dr_grpo") return family("mean", "none");
    if (value == "rloo") return family("loo", "none");
    if (value == "gdpo") return family("none", "batch");
    // The others make their own baseline.
    for (const char* name :
         {"reinforce", "psr", "nsr", "w_reinforce", "passk", "pkpo", "maxrl", "grpo_passk", "opo"})
      if (value == name) return family("none", "none");
  }
  return {};
}

}  // namespace motley
