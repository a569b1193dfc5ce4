#pragma once
/// Evaluation on held-out prompts: samples, classes, unbiased estimators.

#include <vector>

#include "core/record.hpp"
#include "experiments/run_config.hpp"
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

  /// Samples of the last evaluation: [R,Q,M,...] on the device.
  const RolloutBuffer& samples() const { return samples_; }
  int prompts() const { return samples_.shape.B; }

 private:
  EvalRecord summarise(int r, std::int64_t step) const;

  const Task& task_;
  Net net_;
  std::vector<int> k_;
  RolloutBuffer samples_;
  TileWorkspace<float> workspace_;
  View1<SamplingParams> sampling_;
  View1<std::uint64_t> seeds_;
  View1<StatusWord> status_;
  HostView3<int> class_id_, length_, finish_;
  HostView3<float> quality_;
};

/// Copies held-out prompts [0, Q) of the table into the prompt fields of a buffer.
void load_held_out_prompts(const Exec& exec, const PromptTable& table, const RolloutBuffer& buffer);

}  // namespace motley
