#pragma once
/// State of a batch of R trainings in lock-step, and one step of it.

#include <memory>
#include <string>
#include <vector>

#include "core/record.hpp"
#include "experiments/run_config.hpp"
#include "models/classifier.hpp"
#include "models/policy.hpp"
#include "models/rollout.hpp"

namespace motley {

/// What may differ between the replicas of a batch, one row each.
struct ReplicaTable {
  View1<std::uint64_t> seed;         // [R]
  View1<SamplingParams> sampling;    // [R]
  View1<PartitionParams> partition;  // [R]
  View1<ShapingParams> shaping;      // [R]
  View1<AdvantageParams> advantage;  // [R]
  View1<LossParams> loss;            // [R]
  View1<OptimConfig> optim;          // [R]
  View1<double> lr;                  // [R]
  View1<int> active;                 // [R] all 1: every replica trains
  View1<int> has_reference;          // [R] 1 where kl.coef > 0
  View1<RewardParams> reward;        // [R] mean and deviation are set with the weights
};
ReplicaTable make_replica_table(const std::vector<RunConfig>& configs);

/// Numbers that one step leaves for the next, beside weights and moments: they travel in
/// checkpoints as `state.<name>`, one row per replica, bit for bit.
struct CarriedState {
  std::string name;
  View2<double> values;  // [R,n]
};

/// Everything a step touches; allocated once, the step allocates nothing.
struct TrainingState {
  const Task* task = nullptr;
  Shape shape;
  ReplicaTable replicas;
  bool any_reference = false;
  bool any_classifier = false;
  Symmetrize symmetrize = Symmetrize::none;
  UpdateOptions update;

  NetLayout policy;
  Weights<float> weights, reference;
  AdamState<float> adam;
  PairNetLayout classifier;
  PairWeights<float> classifier_weights;
  RewardNetLayout reward;  // of tasks that are not verifiable
  Weights<float> reward_weights;

  RolloutBuffer buffer;
  TileWorkspace<float> rollout_workspace;
  PolicyWorkspace<float> policy_workspace;
  PairWorkspace<float> pair_workspace;
  RewardWorkspace<float> reward_workspace;
  RewardTexts reward_texts;     // [R,B*G,P+T]
  View2<float> reward_score;    // [R,B*G]
  View3<int> member;            // [R,B,G]
  View3<float> token_weight;    // [R,B,G]
  View2<float> gradient;        // [R,N]
  View2<double> update_sums;    // [R,kUpdateSums]
  View1<double> ratio_max;      // [R]
  View1<double> grad_norm;      // [R]
  View3<double> group_metrics;  // [R,B,kGroupMetricTerms]
  View2<double> metrics;        // [R,kMetrics]
  View1<StatusWord> status;     // [R]
  std::vector<CarriedState> carried;
};

/// Shapes the state for runs that agree in every array shape. Weights are left zero.
TrainingState make_training_state(const std::vector<RunConfig>& configs, const Task& task);

/// Device and host bytes a batch of runs will take.
std::size_t training_bytes(const TrainingState& state);

/// One step of all replicas: samples prompts, rolls out, scores, partitions, shapes, updates, and
/// copies what is logged into `record`. \throws Error(numeric) naming replica and address
void training_step(const Exec& exec, TrainingState& state, std::uint32_t step, StepRecord& record);

/// Quality and classes of the completions in the buffer: `quality_true` by the task, `quality` the
/// same or, where the task is not verifiable, by the reward model.
void score_completions(const Exec& exec, TrainingState& state);

class StageTimer;

/// The stages from pair scores to advantages, of a buffer that holds scored completions: a part of
/// `training_step`, and all there is to do where logged rollouts are rewarded anew.
void reward_stages(const Exec& exec, TrainingState& state, std::uint32_t step, StageTimer& timer);

/// Throws Error(numeric) when a status word is set.
void require_finite(const TrainingState& state, std::uint32_t step);

}  // namespace motley
