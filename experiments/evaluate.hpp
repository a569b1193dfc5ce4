#pragma once
/// Evaluation on held-out prompts: samples, classes, unbiased estimators.

#include <optional>
#include <vector>

#include "core/record.hpp"
#include "experiments/eval_summary.hpp"
#include "experiments/run_config.hpp"
#include "models/classifier.hpp"
#include "models/enumerate.hpp"
#include "models/rollout.hpp"

namespace motley {

/// Evaluates R policies at once on the task's held-out prompts.
class Evaluator {
 public:
  /// \param configs [R] runs of one shape   \param T longest completion
  Evaluator(const std::vector<RunConfig>& configs, const Task& task, const Net& net, int T);

  /// Samples eval.samples completions of every held-out prompt at (run seed, Stream::eval, step).
  /// \return one record per replica
  std::vector<EvalRecord> evaluate(const Exec& exec, const Weights<float>& weights,
                                   std::int64_t step);

  /// Does a replica's eval.partition ask the pair classifier?
  bool needs_classifier() const { return needs_classifier_; }
  /// The classifier for these replicas; its weights are read at every evaluation.
  void use_classifier(const PairNet& net, const PairWeights<float>& weights, Symmetrize symmetrize);

  /// Samples of the last evaluation: [R,Q,M,...] on the device.
  const RolloutBuffer& samples() const { return samples_; }
  int prompts() const { return samples_.shape.B; }
  /// Bytes that eval.exact holds at most, beside the arrays: `Enumerator::most_bytes`.
  std::size_t most_exact_bytes() const { return enumerator_ ? enumerator_->most_bytes() : 0; }

 private:
  void classify(const Exec& exec);
  PromptSamples samples_of(int r, int q) const;
  EvalRecord summarise(int r, std::int64_t step) const;
  void add_exact(const std::vector<Enumeration>& prompts, EvalRecord& record) const;

  const Task& task_;
  Net net_;
  std::vector<EvalSettings> settings_;      // [R]
  std::vector<bool> by_classifier_, keep_;  // [R]
  bool needs_classifier_ = false;
  RolloutBuffer samples_;
  TileWorkspace<float> workspace_;
  View1<SamplingParams> sampling_;
  View1<std::uint64_t> seeds_;
  View1<StatusWord> status_;
  HostView3<int> class_id_, length_, finish_;
  HostView3<float> quality_;
  HostView4<int> token_;
  HostView4<float> log_prob_;
  View1<PartitionParams> partition_;  // [R] classifier where by_classifier_
  PairNet pair_net_;
  PairWeights<float> pair_weights_;
  PairWorkspace<float> pair_workspace_;
  Symmetrize symmetrize_ = Symmetrize::none;
  HostView3<int> cluster_;
  std::optional<Enumerator<float>> enumerator_;  // eval.exact
  std::vector<double> temperature_;              // [R]
};

/// Copies held-out prompts [0, Q) of the table into the prompt fields of a buffer.
void load_held_out_prompts(const Exec& exec, const PromptTable& table, const RolloutBuffer& buffer);

}  // namespace motley
