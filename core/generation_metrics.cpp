#include "core/generation_metrics.hpp"

#include "core/reward_terms.hpp"

namespace motley {

void generation_metrics(const Exec& exec, const RolloutBuffer& buffer, const FilterState& filter,
                        const ConstView1<SamplingParams>& sampling, const View3<double>& scratch,
                        const View2<double>& values) {
  const int R = buffer.shape.R;
  const int B = buffer.shape.B;
  const int G = buffer.shape.G;
  require_extents(values, "generation_metrics", "values", "[R,kMetrics]", R, kMetrics);
  require_extents(scratch, "generation_metrics", "scratch", "[R,B,terms]", R, B, kGenerationTerms);
  const RolloutBuffer x = buffer;
  Kokkos::parallel_for(
      "motley::metrics::generation_groups", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / B;
        const int b = job % B;
        double used = 0.0, tokens = 0.0, distance = 0.0, furthest = 0.0, k3 = 0.0;
        for (int g = 0; g < G; ++g) {
          used += x.used(r, b, g) != 0 ? 1.0 : 0.0;
          tokens += x.length(r, b, g);
          for (int t = 0; t < x.length(r, b, g); ++t) {
            const double d =
                double(x.sampler_log_prob(r, b, g, t)) - double(x.old_log_prob(r, b, g, t));
            const double size = d < 0.0 ? -d : d;
            distance += size;
            furthest = size > furthest ? size : furthest;
            k3 += sampled_kl(KlEstimator::k3, d);
          }
        }
        scratch(r, b, 0) = used;
        scratch(r, b, 1) = tokens;
        scratch(r, b, 2) = distance;
        scratch(r, b, 3) = furthest;
        scratch(r, b, 4) = k3;
      });
  const FilterState f = filter;
  Kokkos::parallel_for(
      "motley::metrics::generation", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        double used = 0.0, tokens = 0.0, distance = 0.0, furthest = 0.0, k3 = 0.0;
        for (int b = 0; b < B; ++b) {
          used += scratch(r, b, 0);
          tokens += scratch(r, b, 1);
          distance += scratch(r, b, 2);
          furthest = scratch(r, b, 3) > furthest ? scratch(r, b, 3) : furthest;
          k3 += scratch(r, b, 4);
        }
        const double n = tokens > 0.0 ? tokens : 1.0;
        const auto set = [&](Metric m, double value) { values(r, static_cast<int>(m)) = value; };
        set(Metric::num_gen_batches, f.batches(r));
        set(Metric::frac_used, used / (double(B) * G));
        set(Metric::temperature, sampling(r).temperature);
        set(Metric::mismatch_abs, distance / n);
        set(Metric::mismatch_max, furthest);
        set(Metric::mismatch_kl, k3 / n);
        set(Metric::tokens_total, tokens + f.redrawn(r));
      });
}

}  // namespace motley
