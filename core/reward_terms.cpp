#include "core/reward_terms.hpp"

namespace motley {

template <class Scalar>
void add_overlong_penalty(const Exec& exec, const ConstView1<OverlongParams>& params,
                          const ConstView3<int>& length, const View3<Scalar>& reward) {
  const int R = static_cast<int>(reward.extent(0));
  const int B = static_cast<int>(reward.extent(1));
  const int G = static_cast<int>(reward.extent(2));
  require_extents(length, "add_overlong_penalty", "length", "[R,B,G]", R, B, G);
  Kokkos::parallel_for(
      "motley::reward_terms::overlong", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const double penalty = overlong_penalty(params(r), length(r, b, g));
        if (penalty != 0.0)
          reward(r, b, g) = static_cast<Scalar>(double(reward(r, b, g)) + penalty);
      });
}

template <class Scalar>
void subtract_kl(const Exec& exec, const ConstView1<LossParams>& params,
                 const ConstView4<float>& old_log_prob, const ConstView4<float>& ref_log_prob,
                 const ConstView3<int>& length, const View3<Scalar>& reward) {
  const int R = static_cast<int>(reward.extent(0));
  const int B = static_cast<int>(reward.extent(1));
  const int G = static_cast<int>(reward.extent(2));
  require_extents(length, "subtract_kl", "length", "[R,B,G]", R, B, G);
  require_extents(ref_log_prob, "subtract_kl", "ref_log_prob", "[R,B,G,T]", R, B, G,
                  old_log_prob.extent(3));
  Kokkos::parallel_for(
      "motley::reward_terms::kl", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const LossParams& p = params(r);
        if (p.kl_coef == 0.0 || p.kl_placement != KlPlacement::reward) return;
        double sum = 0.0;
        for (int t = 0; t < length(r, b, g); ++t)
          sum += sampled_kl(p.kl_estimator,
                            double(old_log_prob(r, b, g, t)) - double(ref_log_prob(r, b, g, t)));
        reward(r, b, g) = static_cast<Scalar>(double(reward(r, b, g)) - p.kl_coef * sum);
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                           \
  template void add_overlong_penalty<Scalar>(const Exec&, const ConstView1<OverlongParams>&, \
                                             const ConstView3<int>&, const View3<Scalar>&);  \
  template void subtract_kl<Scalar>(const Exec&, const ConstView1<LossParams>&,              \
                                    const ConstView4<float>&, const ConstView4<float>&,      \
                                    const ConstView3<int>&, const View3<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
