#pragma once
/// Token weights and a step's metrics as plain loops in double over one replica. Includes nothing
/// of motley: it is the oracle of core/objective.cpp and core/metrics.cpp.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace oracle {

/// One completion of a step.
struct Completion {
  int length = 0, used = 1, cluster = 0, class_id = -1, finish = 0;
  double quality = 0, reward = 0, diversity = 0, advantage = 0;
  std::vector<double> entropy;  ///< [length]
};
struct Group {
  std::vector<Completion> completions;
  double reward_std = 0;
  int calls = 0;
};

/// Weight of every completion's tokens under `mode`, groups [first, last) alone in the batch.
inline std::vector<std::vector<double>> token_weights(const std::vector<Group>& groups,
                                                      const std::string& mode, int axis, int first,
                                                      int last) {
  // Every counted token as one entry (group, completion): the mean over entries says it all.
  std::vector<std::pair<int, int>> tokens;
  std::set<std::pair<int, int>> sequences;
  for (int b = first; b < last; ++b)
    for (int g = 0; g < static_cast<int>(groups[b].completions.size()); ++g)
      for (int t = 0; t < groups[b].completions[g].length; ++t)
        if (groups[b].completions[g].used != 0) {
          tokens.emplace_back(b, g);
          sequences.emplace(b, g);
        }
  std::vector<std::vector<double>> out;
  for (const Group& group : groups) out.emplace_back(group.completions.size(), 0.0);
  const double S = static_cast<double>(sequences.size());
  for (const auto& [b, g] : sequences) {
    const double n = groups[b].completions[g].length;
    if (mode == "token-mean") out[b][g] = 1 / static_cast<double>(tokens.size());
    if (mode == "seq-mean-token-mean") out[b][g] = 1 / S / n;
    if (mode == "seq-mean-token-sum") out[b][g] = 1 / S;
    if (mode == "seq-mean-token-sum-norm") out[b][g] = 1 / S / axis;
    if (mode == "token-sum") out[b][g] = 1;
  }
  return out;
}

/// Mean of the values that `of` adds for every completion (or group).
struct Mean {
  double sum = 0, n = 0;
  void add(double x) {
    sum += x;
    n += 1;
  }
  /// NaN where nothing was added.
  double value() const { return sum / n; }
};

/// The columns that follow from the rollouts, by name, from their definitions in docs/metrics.md.
inline std::map<std::string, double> rollout_metrics(const std::vector<Group>& groups) {
  std::map<std::string, Mean> m;
  double pairs = 0, calls = 0, effective = 0, mean_advantage = 0;
  bool known = false;
  Mean all;
  std::vector<double> advantages;
  for (const Group& group : groups) {
    const int n = static_cast<int>(group.completions.size());
    std::set<double> rewards, qualities;
    std::map<int, int> clusters;
    std::set<int> classes, right_classes;
    int right = 0, moved = 0;
    for (const Completion& c : group.completions) {
      m["quality"].add(c.quality);
      m["reward"].add(c.reward);
      m["diversity"].add(c.diversity);
      m["length"].add(c.length);
      m["truncated_frac"].add(c.finish == 1);
      advantages.push_back(c.advantage);
      rewards.insert(c.reward);
      qualities.insert(c.quality);
      if (c.cluster >= 0) ++clusters[c.cluster];
      if (c.class_id >= 0) {
        known = true;
        classes.insert(c.class_id);
        if (c.quality > 0) right_classes.insert(c.class_id);
      }
      right += c.quality > 0;
      moved += c.used != 0 && c.advantage != 0;
      for (const double h : c.entropy) {
        all.add(h);
        m[c.quality > 0 ? "entropy_correct" : "entropy_wrong"].add(h);
      }
    }
    m["reward_std"].add(group.reward_std);
    m["frac_zero_std"].add(rewards.size() == 1);
    m["frac_zero_std_quality"].add(qualities.size() == 1);
    m["frac_all_correct"].add(right == n);
    m["frac_all_wrong"].add(right == 0);
    m["num_clusters"].add(static_cast<double>(clusters.size()));
    m["num_classes"].add(static_cast<double>(classes.size()));
    m["num_distinct_correct"].add(static_cast<double>(right_classes.size()));
    double members = 0, largest = 0, entropy = 0;
    for (const auto& [label, size] : clusters) members += size;
    for (const auto& [label, size] : clusters) {
      entropy -= size / members * std::log(size / members);
      largest = std::max(largest, size / members);
    }
    m["cluster_entropy"].add(entropy);
    m["max_cluster_frac"].add(largest);
    pairs += n * (n - 1) / 2.0;
    calls += group.calls;
    effective += moved > 0;
  }
  std::map<std::string, double> out;
  m["entropy_correct"], m["entropy_wrong"];  // there even where nothing is counted
  for (const auto& [name, mean] : m) out[name] = mean.value();
  out["entropy"] = all.n > 0 ? all.value() : 0;
  out["num_pairs"] = pairs;
  out["num_classifier_calls"] = calls;
  out["num_effective_groups"] = effective;
  for (const double a : advantages) mean_advantage += a / static_cast<double>(advantages.size());
  double variance = 0;
  for (const double a : advantages)
    variance += std::pow(a - mean_advantage, 2) / static_cast<double>(advantages.size());
  out["advantage_std"] = std::sqrt(variance);
  if (!known)
    out["num_classes"] = out["num_distinct_correct"] = std::numeric_limits<double>::quiet_NaN();
  return out;
}

}  // namespace oracle
