#include "core/entropy_control.hpp"

#include <algorithm>

namespace motley {

double initial_entropy_coef(const EntropyParams& params, double coef) {
  if (params.adaptive == EntropyAdaptive::threshold)
    return std::clamp(coef, params.min, std::max(params.min, params.max));
  if (params.adaptive == EntropyAdaptive::lagrangian) return std::max(0.0, coef);
  return coef;
}

void entropy_control(const Exec& exec, const ConstView1<EntropyParams>& params,
                     const View2<double>& coef, const View1<LossParams>& loss,
                     const View2<double>& metrics) {
  const int R = static_cast<int>(params.extent(0));
  require_extents(coef, "entropy_control", "coef", "[R,1]", R, 1);
  require_extents(metrics, "entropy_control", "metrics", "[R,kMetrics]", R, kMetrics);
  Kokkos::parallel_for(
      "motley::entropy_control::step", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        const EntropyParams& p = params(r);
        const double H = metrics(r, static_cast<int>(Metric::entropy));
        double c = coef(r, 0);
        if (p.adaptive == EntropyAdaptive::threshold) {
          c += H <= p.target ? p.delta : -p.delta;
          c = c < p.min ? p.min : (c > p.max ? p.max : c);
          loss(r).entropy_coef = H <= p.target ? c : 0.0;
        } else if (p.adaptive == EntropyAdaptive::lagrangian) {
          c += p.delta * (p.target - H);
          c = c < 0.0 ? 0.0 : c;
          loss(r).entropy_coef = c;
        }
        coef(r, 0) = c;
        metrics(r, static_cast<int>(Metric::entropy_coef)) = c;
      });
}

}  // namespace motley
