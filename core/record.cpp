#include "core/record.hpp"

namespace motley {

StepRecord::StepRecord(const Shape& s)
    : shape(s),
      prompt_id("motley::record::prompt_id", s.R, s.B),
      token("motley::record::token", s.R, s.B, s.G, s.T),
      log_prob("motley::record::log_prob", s.R, s.B, s.G, s.T),
      old_log_prob("motley::record::old_log_prob", s.R, s.B, s.G, s.T),
      kept_mass("motley::record::kept_mass", s.R, s.B, s.G, s.T),
      entropy("motley::record::entropy", s.R, s.B, s.G, s.T),
      length("motley::record::length", s.R, s.B, s.G),
      finish("motley::record::finish", s.R, s.B, s.G),
      quality("motley::record::quality", s.R, s.B, s.G),
      diversity("motley::record::diversity", s.R, s.B, s.G),
      reward("motley::record::reward", s.R, s.B, s.G),
      advantage("motley::record::advantage", s.R, s.B, s.G),
      used("motley::record::used", s.R, s.B, s.G),
      class_id("motley::record::class_id", s.R, s.B, s.G),
      cluster("motley::record::cluster", s.R, s.B, s.G),
      cluster_size("motley::record::cluster_size", s.R, s.B, s.G),
      num_clusters("motley::record::num_clusters", s.R, s.B),
      pair_score("motley::record::pair_score", s.R, s.B, s.G, s.G),
      metrics("motley::record::metrics", s.R, kMetrics),
      diagnostics("motley::record::diagnostics", s.R, kDiagnostics) {}

void collect(const Exec& exec, const RolloutBuffer& buffer, const View2<double>& metrics,
             StepRecord& record) {
  Kokkos::deep_copy(exec, record.prompt_id, buffer.prompt_id);
  Kokkos::deep_copy(exec, record.token, buffer.token);
  Kokkos::deep_copy(exec, record.log_prob, buffer.sampler_log_prob);
  Kokkos::deep_copy(exec, record.old_log_prob, buffer.old_log_prob);
  Kokkos::deep_copy(exec, record.kept_mass, buffer.kept_mass);
  Kokkos::deep_copy(exec, record.entropy, buffer.entropy);
  Kokkos::deep_copy(exec, record.length, buffer.length);
  Kokkos::deep_copy(exec, record.finish, buffer.finish);
  Kokkos::deep_copy(exec, record.quality, buffer.quality);
  Kokkos::deep_copy(exec, record.diversity, buffer.diversity);
  Kokkos::deep_copy(exec, record.reward, buffer.reward);
  Kokkos::deep_copy(exec, record.advantage, buffer.advantage);
  Kokkos::deep_copy(exec, record.used, buffer.used);
  Kokkos::deep_copy(exec, record.class_id, buffer.class_id);
  Kokkos::deep_copy(exec, record.cluster, buffer.cluster);
  Kokkos::deep_copy(exec, record.cluster_size, buffer.cluster_size);
  Kokkos::deep_copy(exec, record.num_clusters, buffer.num_clusters);
  Kokkos::deep_copy(exec, record.pair_score, buffer.pair_score);
  Kokkos::deep_copy(exec, record.metrics, metrics);
  exec.fence("motley::record::collect");
}

}  // namespace motley
