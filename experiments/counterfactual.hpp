#pragma once
/// The logged rollouts of a run under other settings: what another partition, shaping or baseline
/// would have rewarded, without a single new rollout.
///
/// The settings are the replicas of one batch: every step's logged completions are put into all of
/// them and the stages of `training_step` from pair scores to advantages run once for all.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experiments/base_policy.hpp"
#include "experiments/training_step.hpp"
#include "io/run_reader.hpp"

namespace motley {

/// One setting. `logged`: what the run itself did, as the file says; nothing is computed anew.
struct Variant {
  std::string name;
  RunConfig config;
  bool logged = false;
};

/// What the stages gave for one step, host copies. R = variants.
struct Rewarded {
  std::vector<int> cluster, cluster_size;           ///< [R,B,G]
  std::vector<int> num_clusters, num_calls;         ///< [R,B]
  std::vector<float> diversity, reward, advantage;  ///< [R,B,G]
  std::vector<float> pair_score;  ///< [R,B,G,G]; 0 for `logged` without the option
};

class Counterfactual {
 public:
  /// Opens the run; missing base policies are made anew from their seeds where a classifier or a
  /// gradient needs them. \throws Error(input) when it logs no rollouts, Error(config) when a
  /// variant differs from the run in a setting that has shaped the rollouts themselves, or needs
  /// log-probabilities the file does not hold
  Counterfactual(const std::string& file, std::vector<Variant> variants, const Message& say);
  ~Counterfactual();

  const RunReader& reader() const { return reader_; }
  const RunConfig& own() const { return own_; }  ///< configuration of the run
  const std::vector<Variant>& variants() const { return variants_; }
  const Shape& shape() const { return state_.shape; }  ///< R = variants
  const std::vector<std::int64_t>& steps() const { return steps_; }

  /// Rewards the rollouts of one step under every variant. With partition.across_steps the steps
  /// come in rising order; those left out are replayed too.
  const Rewarded& reward(std::int64_t step);
  const Rewarded& rewarded() const { return rewarded_; }  ///< of the last step
  const RolloutStep& logged() const { return logged_; }
  const std::string& file() const { return file_; }

  /// Clusters of the same completions in another order, by the linkage (or the clustering method)
  /// alone on the permuted pair scores (embeddings) of the last step; labels come back in the old
  /// order. [R,B,G]
  const std::vector<int>& permuted_clusters();

  /// Steps with logged rollouts whose policy is at hand: 0 by the base policy, others by the
  /// checkpoints of the run's folder.
  std::vector<std::int64_t> gradient_steps() const;
  /// Gradients of the policy term (no divergence, no entropy bonus) of the last step's rollouts
  /// under the policy that made them. [R,N] row-major
  const std::vector<float>& gradient();

 private:
  void load_classifiers();
  void load_rollouts(std::int64_t step);
  void reward_step(std::int64_t step);
  void restore_logged();
  void permute_embeddings(const std::vector<std::size_t>& order);
  void load_policy();

  RunReader reader_;
  std::string file_;
  RunConfig own_;
  std::vector<Variant> variants_;
  std::vector<std::int64_t> steps_;
  Message say_;
  std::unique_ptr<Task> task_;
  TrainingState state_;
  std::vector<BasePolicy> bases_;
  Exec exec_;
  RolloutStep logged_;
  std::int64_t step_ = -1;
  Rewarded rewarded_;
  std::vector<int> permuted_;
  std::vector<float> gradient_;
};

/// cos(a, b); 1 where both are zero, 0 where one is.
double cosine(std::span<const float> a, std::span<const float> b);

}  // namespace motley
