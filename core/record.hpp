#pragma once
/// Host mirrors of what is logged: the only thing `io` ever sees of a step or an evaluation.

#include <array>
#include <string>
#include <vector>

#include "core/diagnostics.hpp"
#include "core/eval_record.hpp"
#include "core/metrics.hpp"
#include "core/rollout.hpp"

namespace motley {

/// Seconds of one step; volatile, never part of a digest.
struct StepTiming {
  double rollout_s = 0, score_s = 0, partition_s = 0, update_s = 0, log_s = 0, total_s = 0;
  double tokens_per_s = 0;
};

/// One step of all replicas on the host, allocated once and reused.
struct StepRecord {
  Shape shape;
  std::int64_t step = 0;
  HostView2<int> prompt_id;                                // [R,B]
  HostView4<int> token;                                    // [R,B,G,T]
  HostView4<float> log_prob;                               // [R,B,G,T] sampler_log_prob
  HostView4<float> old_log_prob;                           // [R,B,G,T]
  HostView4<float> kept_mass;                              // [R,B,G,T]
  HostView4<float> entropy;                                // [R,B,G,T]
  HostView3<int> length, finish;                           // [R,B,G]
  HostView3<float> quality, diversity, reward, advantage;  // [R,B,G]
  HostView3<int> used, class_id;                           // [R,B,G]
  HostView3<int> cluster, cluster_size;                    // [R,B,G]
  HostView2<int> num_clusters;                             // [R,B]
  HostView4<float> pair_score;                             // [R,B,G,G]
  HostView2<double> metrics;                               // [R,kMetrics]
  HostView2<double> diagnostics;                           // [R,kDiagnostics] of due steps
  StepTiming timing;

  StepRecord() = default;
  explicit StepRecord(const Shape& shape);
};

/// Copies the logged fields of the step to the host; ends with a fence of `exec`.
void collect(const Exec& exec, const RolloutBuffer& buffer, const View2<double>& metrics,
             StepRecord& record);

}  // namespace motley
