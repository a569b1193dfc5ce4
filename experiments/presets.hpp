#pragma once
/// Presets of run.method: one named value per published method and control.
///
/// A preset sets the keys that make the method; each setting says where its value comes from. The
/// tables serve `run.method`, `motley config explain run.method` and docs/paper_index.md.

#include <string>
#include <vector>

namespace motley {

/// One key = value of a preset, and the place in the paper or its code that the value comes from.
struct Setting {
  std::string key, value, source;
};

struct Preset {
  std::string name;
  std::string title;  ///< one sentence: what it is
  std::string paper;  ///< "arXiv 2509.02534; code facebookresearch/darling", or "control, ours"
  std::vector<Setting> settings;
  std::string differs;  ///< where paper, released code and this program differ; "" = nowhere known
};

/// All presets in the order of the docs: baselines, diversity in the reward, advantages, losses and
/// entropy, controls.
const std::vector<Preset>& presets();
/// The preset of a name, or nullptr.
const Preset* find_preset(const std::string& name);
std::vector<std::string> method_names();

/// What `key = value` sets beside itself (run.method, advantage.estimator); empty where nothing.
std::vector<Setting> preset_settings(const std::string& key, const std::string& value);

/// The tables, one function a topic; joined by `presets`.
std::vector<Preset> baseline_presets();   // presets_baseline.cpp
std::vector<Preset> diversity_presets();  // presets_diversity.cpp
std::vector<Preset> update_presets();     // presets_update.cpp
std::vector<Preset> control_presets();    // presets_control.cpp

/// Groups of settings that many presets share.
std::vector<Setting> quality_only();       ///< no shaping
std::vector<Setting> group_std();          ///< mean baseline, divided by the group's deviation
std::vector<Setting> centred();            ///< mean baseline, no division
std::vector<Setting> learned_partition();  ///< classifier, union_find, threshold .5
/// One list after the other.
std::vector<Setting> join_settings(std::vector<std::vector<Setting>> parts);

}  // namespace motley
