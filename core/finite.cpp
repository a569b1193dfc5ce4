#include "core/finite.hpp"

namespace motley {

void check_rollout(const Exec& exec, const ConstView1<MismatchParams>& params,
                   const RolloutBuffer& buffer, const View1<StatusWord>& status) {
  const int B = buffer.shape.B;
  const int G = buffer.shape.G;
  const RolloutBuffer x = buffer;
  Kokkos::parallel_for(
      "motley::finite::rollout", Kokkos::RangePolicy<Exec>(exec, 0, buffer.shape.R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const bool agrees = params(r).noise_std == 0.0;
        for (int t = 0; t < x.length(r, b, g); ++t) {
          const float sampler = x.sampler_log_prob(r, b, g, t);
          const float trainer = x.old_log_prob(r, b, g, t);
          if (!Kokkos::isfinite(trainer))
            report(status, r, Stage::score_tokens, b, g, t);
          else if (agrees && Kokkos::isfinite(sampler) &&
                   Kokkos::bit_cast<std::uint32_t>(sampler) !=
                       Kokkos::bit_cast<std::uint32_t>(trainer))
            report(status, r, Stage::mismatch, b, g, t);
        }
        if (!Kokkos::isfinite(x.quality(r, b, g)) || !Kokkos::isfinite(x.quality_true(r, b, g)))
          report(status, r, Stage::score, b, g, 0);
        for (int j = 0; j < G; ++j)
          if (!Kokkos::isfinite(x.pair_score(r, b, g, j)))
            report(status, r, Stage::pair_scores, b, g, j);
        if (!Kokkos::isfinite(x.reward(r, b, g))) report(status, r, Stage::shape_reward, b, g, 0);
      });
}

void check_embeddings(const Exec& exec, const ConstView1<PartitionParams>& params,
                      const ConstView4<float>& embedding, const View1<StatusWord>& status) {
  const int R = static_cast<int>(embedding.extent(0));
  const int B = static_cast<int>(embedding.extent(1));
  const int G = static_cast<int>(embedding.extent(2));
  const int E = static_cast<int>(embedding.extent(3));
  Kokkos::parallel_for(
      "motley::finite::embeddings", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        if (!clusters_embeddings(params(r).method)) return;
        for (int e = 0; e < E; ++e)
          if (!Kokkos::isfinite(embedding(r, b, g, e)))
            report(status, r, Stage::pair_scores, b, g, g);
      });
}

void check_advantage(const Exec& exec, const ConstView1<int>& has_reference,
                     const RolloutBuffer& buffer, const View1<StatusWord>& status) {
  const int B = buffer.shape.B;
  const int G = buffer.shape.G;
  const RolloutBuffer x = buffer;
  Kokkos::parallel_for(
      "motley::finite::advantage", Kokkos::RangePolicy<Exec>(exec, 0, buffer.shape.R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        for (int t = 0; has_reference(r) != 0 && t < x.length(r, b, g); ++t)
          if (!Kokkos::isfinite(x.ref_log_prob(r, b, g, t)))
            report(status, r, Stage::score_tokens, b, g, t);
        const bool answer = x.answer_advantage.data() != nullptr;
        if (!Kokkos::isfinite(x.advantage(r, b, g)) ||
            (answer && !Kokkos::isfinite(x.answer_advantage(r, b, g))))
          report(status, r, Stage::group_advantage, b, g, 0);
      });
}

}  // namespace motley
