#include "core/advantage.hpp"

namespace motley {

template <class Scalar>
struct AdvantageKernel {
  ConstView1<AdvantageParams> params;
  ConstView3<Scalar> reward;
  ConstView3<int> used;
  View2<Scalar> group_mean, group_std;
  View3<Scalar> advantage;
  int B, G;

  /// Sample deviation of all used rewards of the replica, two passes in order.
  KOKKOS_INLINE_FUNCTION double batch_deviation(int r) const {
    double sum = 0;
    int n = 0;
    for (int b = 0; b < B; ++b)
      for (int g = 0; g < G; ++g)
        if (used(r, b, g) != 0) {
          sum += double(reward(r, b, g));
          ++n;
        }
    if (n < 2) return 1.0;
    const double mean = sum / n;
    double square = 0;
    for (int b = 0; b < B; ++b)
      for (int g = 0; g < G; ++g)
        if (used(r, b, g) != 0)
          square += (double(reward(r, b, g)) - mean) * (double(reward(r, b, g)) - mean);
    return Kokkos::sqrt(square / (n - 1));
  }

  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int b = job % B;
    const int r = job / B;
    const AdvantageParams& p = params(r);
    double sum = 0;
    bool equal = true;
    for (int g = 0; g < G; ++g) {
      sum += double(reward(r, b, g));
      equal = equal && reward(r, b, g) == reward(r, b, 0);
    }
    const double mean = G > 1 ? sum / G : 0.0;
    double square = 0;
    for (int g = 0; g < G; ++g)
      square += (double(reward(r, b, g)) - mean) * (double(reward(r, b, g)) - mean);
    const double deviation = G > 1 ? (equal ? 0.0 : Kokkos::sqrt(square / (G - 1))) : 1.0;
    group_mean(r, b) = static_cast<Scalar>(mean);
    group_std(r, b) = static_cast<Scalar>(deviation);

    double scale = 1.0;
    if (p.norm == AdvantageNorm::group) scale = deviation + p.eps;
    if (p.norm == AdvantageNorm::batch) scale = batch_deviation(r) + p.eps;
    for (int g = 0; g < G; ++g) {
      double centred = double(reward(r, b, g));
      if (p.baseline != Baseline::none) {
        centred -= mean;
        if (p.baseline == Baseline::loo && G > 1) centred *= double(G) / (G - 1);
        if (equal && G > 1) centred = 0.0;
      }
      advantage(r, b, g) = used(r, b, g) != 0
                               ? static_cast<Scalar>(centred == 0.0 ? 0.0 : centred / scale)
                               : Scalar(0);
    }
  }
};

template <class Scalar>
void group_advantage(const Exec& exec, const ConstView1<AdvantageParams>& params,
                     const ConstView3<Scalar>& reward, const ConstView3<int>& used,
                     const View2<Scalar>& group_mean, const View2<Scalar>& group_std,
                     const View3<Scalar>& advantage) {
  const int R = static_cast<int>(reward.extent(0));
  const int B = static_cast<int>(reward.extent(1));
  const int G = static_cast<int>(reward.extent(2));
  require_extents(used, "group_advantage", "used", "[R,B,G]", R, B, G);
  require_extents(advantage, "group_advantage", "advantage", "[R,B,G]", R, B, G);
  const AdvantageKernel<Scalar> kernel{params,    reward,    used, group_mean,
                                       group_std, advantage, B,    G};
  Kokkos::parallel_for("motley::advantage::group_advantage",
                       Kokkos::RangePolicy<Exec>(exec, 0, R * B), kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                \
  template void group_advantage<Scalar>(                                          \
      const Exec&, const ConstView1<AdvantageParams>&, const ConstView3<Scalar>&, \
      const ConstView3<int>&, const View2<Scalar>&, const View2<Scalar>&, const View3<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
