#pragma once
/// State of a batch of R trainings in lock-step, and one step of it.

#include <memory>
#include <string>
#include <vector>

#include "core/cluster.hpp"
#include "core/generation_metrics.hpp"
#include "core/partition_method.hpp"
#include "core/record.hpp"
#include "core/shaping_method.hpp"
#include "core/token_plan.hpp"
#include "experiments/diagnostics.hpp"
#include "experiments/run_config.hpp"
#include "models/classifier.hpp"
#include "models/policy.hpp"
#include "models/rollout.hpp"

namespace motley {

/// What may differ between the replicas of a batch, one row each.
struct ReplicaTable {
  View1<std::uint64_t> seed;               // [R]
  View1<SamplingParams> sampling;          // [R]
  View1<PartitionParams> partition;        // [R]
  View1<ShapingParams> shaping;            // [R]
  View1<AdvantageParams> advantage;        // [R]
  View1<LossParams> loss;                  // [R]; entropy_coef moves where it adapts
  View1<EntropyParams> entropy;            // [R]
  View1<OptimConfig> optim;                // [R]
  View1<double> lr;                        // [R]
  View1<int> active;                       // [R] all 1: every replica trains
  View1<int> has_reference;                // [R] 1 where its log-probabilities are read
  View1<int> needs_new_log_prob;           // [R] 1 where every pass scores anew
  View1<TemperatureSchedule> temperature;  // [R]
  View1<FilterParams> filter;              // [R]
  View1<OverlongParams> overlong;          // [R]
  View1<MismatchParams> mismatch;          // [R]
  View1<RewardParams> reward_model;        // [R] mean and deviation are set with the weights
};
ReplicaTable make_replica_table(const std::vector<RunConfig>& configs);

/// Numbers that one step leaves for the next, beside weights and moments: they travel in
/// checkpoints as `state.<name>`, one row per replica, bit for bit.
struct CarriedState {
  std::string name;
  View2<double> values;    // [R,n]
  std::vector<bool> kept;  // [R] false where the replica's own settings need none; empty = all
  bool keeps(std::size_t r) const { return kept.empty() || kept[r]; }
};
inline constexpr const char* kEntropyCoef = "entropy_coef";

/// The trainer's log-probabilities of freshly sampled tokens are the sampler's, bit for bit, so a
/// step takes those over. Every so many steps, and before every checkpoint, they are computed anew
/// and compared; in debug builds always.
inline constexpr std::uint32_t kAgreementSteps = 16;

/// Everything a step touches; allocated once, the step allocates nothing.
struct TrainingState {
  const Task* task = nullptr;
  Shape shape;
  ReplicaTable replicas;
  bool any_reference = false;
  bool any_plan = false;          ///< a loss reads statistics over the minibatch
  bool any_new_log_prob = false;  ///< of the policy as it is in later passes
  bool any_reset = false;         ///< kl.reset_every
  bool any_classifier = false;    ///< weights in use, for pair scores or embeddings
  bool any_judge = false;
  bool any_clustering = false;
  bool any_policy_embedding = false;  ///< clusters the policy's own states
  bool any_schedule = false;          ///< of the temperature
  bool any_filter = false;            ///< dynamic sampling
  bool any_correction = false;        ///< of the mismatch between sampler and trainer
  bool any_noise = false;             ///< the sampler's log-probabilities are not the trainer's
  int agreement_every = 0;            ///< checkpoint.every_steps, see kAgreementSteps
  Symmetrize symmetrize = Symmetrize::none;
  UpdateOptions update;

  NetLayout policy;
  Weights<float> weights, reference;
  AdamState<float> adam;
  PairNetLayout classifier;
  PairWeights<float> classifier_weights;
  RewardNetLayout reward_model;  // of tasks that are not verifiable
  Weights<float> reward_model_weights;

  RolloutBuffer buffer;
  TileWorkspace<float> rollout_workspace;
  PolicyWorkspace<float> policy_workspace;
  PairWorkspace<float> pair_workspace;
  ClusterWorkspace cluster_workspace;
  View2<double> class_table;      // [R,N * kHistorySize], empty unless partition.across_steps
  PartitionMethods partitioners;  ///< registered ones that a replica uses
  ShapingMethods shapings;
  RewardWorkspace reward_workspace;
  bool any_signed_product = false;  ///< a product of quality without a bias: see negative_products
  View1<int> negative_products;     // [R] of this step, `count_negative_products`
  RewardModelWorkspace<float> reward_model_workspace;
  RewardTexts reward_texts;     // [R,B*G,P+T]
  View2<float> reward_score;    // [R,B*G]
  View3<int> member;            // [R,B,G]
  View3<float> token_weight;    // [R,B,G]
  View4<float> token_scale;     // [R,B,G,T] importance weights; empty unless any_correction
  TokenPlan<float> token_plan;  // empty unless any_plan
  View4<float> new_log_prob;    // [R,B,G,T]; empty unless any_new_log_prob
  View2<double> entropy_coef;   // [R,1] the carried one
  FilterState filter;
  HostView1<int> pending_on_host;       // [R]
  View2<float> gradient;                // [R,N]
  View2<double> update_sums;            // [R,kUpdateSums]
  View1<double> ratio_max;              // [R]
  View1<double> grad_norm;              // [R]
  View3<double> group_metrics;          // [R,B,kGroupMetricTerms]
  View3<double> generation_terms;       // [R,B,kGenerationTerms]
  View2<double> metrics;                // [R,kMetrics]
  View1<StatusWord> status;             // [R] of the pass at hand
  View1<StatusWord> first_fault;        // [R] of the step
  HostView1<StatusWord> fault_on_host;  // [R]
  std::vector<CarriedState> carried;
  std::shared_ptr<Diagnostics> diagnostics;  ///< null where no run logs any
};

/// The transformer of a run's policy, with the sizes that follow from its task.
TransformerConfig policy_model(const RunConfig& config, const Task& task);

/// Shapes the state for runs that agree in every array shape. Weights are left zero.
TrainingState make_training_state(const std::vector<RunConfig>& configs, const Task& task);

/// The reference of such a run is not its base policy, and travels in checkpoints.
inline bool moves_reference(const LossParams& p) {
  return p.needs_reference() && p.kl_reset_every > 0;
}

/// One step of all replicas: samples prompts, rolls out, scores, partitions, shapes, updates, and
/// copies what is logged into `record`. \throws NumericFault (experiments/numeric_fault.hpp); the
/// record then holds the whole step, and the replicas without a fault have made it
void training_step(const Exec& exec, TrainingState& state, std::uint32_t step, StepRecord& record);

/// Has a replica met a fault in this step? Waits for the device.
bool any_fault(const Exec& exec, const TrainingState& state);

}  // namespace motley
