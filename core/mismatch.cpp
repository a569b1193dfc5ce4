#include "core/mismatch.hpp"

namespace motley {

void mismatch_weights(const Exec& exec, const ConstView1<MismatchParams>& params,
                      const ConstView4<float>& old_log_prob,
                      const ConstView4<float>& sampler_log_prob, const ConstView3<int>& length,
                      const View4<float>& scale) {
  const int R = static_cast<int>(scale.extent(0));
  const int B = static_cast<int>(scale.extent(1));
  const int G = static_cast<int>(scale.extent(2));
  const int T = static_cast<int>(scale.extent(3));
  require_extents(length, "mismatch_weights", "length", "[R,B,G]", R, B, G);
  require_extents(old_log_prob, "mismatch_weights", "old_log_prob", "[R,B,G,T]", R, B, G, T);
  require_extents(sampler_log_prob, "mismatch_weights", "sampler_log_prob", "[R,B,G,T]", R, B, G,
                  T);
  Kokkos::parallel_for(
      "motley::mismatch::weights", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const MismatchParams& p = params(r);
        const int n = length(r, b, g);
        const auto log_ratio = [&](int t) {
          return double(old_log_prob(r, b, g, t)) - double(sampler_log_prob(r, b, g, t));
        };
        double whole = 0.0;
        for (int t = 0; t < n; ++t) whole += log_ratio(t);
        if (p.level == MismatchLevel::geometric && n > 0) whole /= n;
        for (int t = 0; t < T; ++t) {
          const double x = p.level == MismatchLevel::token && t < n ? log_ratio(t) : whole;
          scale(r, b, g, t) = t < n ? static_cast<float>(mismatch_weight(p, x)) : 1.0f;
        }
      });
}

}  // namespace motley
