#pragma once
/// Base policies: pretraining, skill gate, pair classifier, cache.
///
/// A base is a function of (task, model, pretrain and classifier options, base seed) alone; runs
/// that agree in these share it. Missing bases of a batch are trained side by side as replicas.

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "experiments/run_config.hpp"
#include "models/classifier.hpp"
#include "models/net.hpp"

namespace motley {

inline constexpr int kMaxFamilies = 8;

/// What is known of a base policy before any reinforcement.
struct BaseReport {
  int families = 0;
  int skill_steps = 0;    ///< steps of the skill stage that were taken
  double skill_loss = 0;  ///< nats per token at its end
  std::array<double, kMaxFamilies>
      forced_skill{};  ///< accuracy of each family when forced, at the gate
  std::array<double, kMaxFamilies> forced_base{};  ///< the same after the habit stages
  std::array<double, kMaxFamilies> share{};        ///< share of each family in free samples
  double quality = 0;             ///< mean quality of free samples on held-out prompts
  double skill = 0;               ///< what the task's gate measures (SkillGate), at the gate
  bool passed = false;            ///< skill between pretrain.min_skill and the task's upper bound
  double reward_accuracy = 0;     ///< of the reward model on held-out pairs, judge without noise
  double reward_correlation = 0;  ///< with the judge over uniform texts of held-out prompts
  double reward_loss = 0;         ///< nats per pair at the end of its training
  double reward_mean = 0;         ///< of its scores over the training texts
  double reward_deviation = 1;
  PairQuality classifier;  ///< on held-out prompts
};

struct BasePolicy {
  std::string key;                ///< 64 hexadecimal digits
  std::string file;               ///< where it is cached
  std::vector<float> policy;      ///< [N] of the policy's arena
  std::vector<float> classifier;  ///< [N] of the classifier's arena
  std::vector<float> reward;      ///< [N] of the reward model's arena; empty where there is none
  BaseReport report;
};

/// Lowest skill that passes: pretrain.min_skill or the task's own.
double lowest_skill(const RunConfig& config, const Task& task);

/// SHA-256 of what decides the base of a run.
std::string base_key(const RunConfig& config);

using Message = std::function<void(const std::string&)>;

/// The bases of the runs, one per run, from the cache or trained now. `say` gets progress lines.
/// All runs must agree in model, task sizes, pretrain and classifier shapes (one packed batch).
/// A base that fails the gate: gate = refuse throws Error(refused); warn and off go on.
std::vector<BasePolicy> obtain_bases(const std::vector<RunConfig>& configs, const Message& say);

/// Those of the runs whose base is not in the cache, each base once.
std::vector<RunConfig> without_base(const std::vector<RunConfig>& configs);

/// One line: seed, skill, shares, classifier F1.
std::string describe_base(const RunConfig& config, const BasePolicy& base);

}  // namespace motley
