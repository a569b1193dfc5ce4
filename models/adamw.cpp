#include "models/adamw.hpp"

#include <string>

#include "core/base/math.hpp"
#include "core/base/reduce.hpp"
#include "models/chunks.hpp"

namespace motley {

template <class Scalar>
AdamState<Scalar> make_adam_state(const char* label, int R, std::int64_t N) {
  const std::string name = std::string("motley::") + label;
  AdamState<Scalar> s;
  s.m = View2<Scalar>(name + "::m", R, N);
  s.v = View2<Scalar>(name + "::v", R, N);
  s.partial = View2<double>(name + "::norm_partial", R, sum_chunks(N));
  s.norm2 = View1<double>(name + "::norm2", R);
  s.step = View1<int>(name + "::step", R);
  return s;
}

template <class Scalar>
void adamw_step(const Exec& exec, const ConstView1<OptimConfig>& config,
                const ConstView1<double>& lr, const ConstView1<int>& active,
                const View2<Scalar>& gradient, const AdamState<Scalar>& state,
                const View2<Scalar>& params, const View1<double>& grad_norm,
                const View1<StatusWord>& status) {
  const int R = static_cast<int>(params.extent(0));
  const std::int64_t N = static_cast<std::int64_t>(params.extent(1));
  ordered_sum(
      exec, "motley::models::grad_norm", R, N,
      KOKKOS_LAMBDA(const int r, const std::int64_t n) {
        return double(gradient(r, n)) * double(gradient(r, n));
      },
      state.partial, state.norm2);
  const View1<double> norm2 = state.norm2;
  const View1<int> step = state.step;
  Kokkos::parallel_for(
      "motley::models::adamw_count", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        grad_norm(r) = Kokkos::sqrt(norm2(r));
        if (!Kokkos::isfinite(norm2(r)))
          report_parameter(status, r, Stage::adamw_step, kNoParameter);
        if (active(r) != 0 && Kokkos::isfinite(norm2(r))) step(r) += 1;
      });
  const View2<Scalar> moment1 = state.m;
  const View2<Scalar> moment2 = state.v;
  for_each_parameter_block(
      "motley::models::adamw", exec, R, N,
      KOKKOS_LAMBDA(const Team& team, int r, std::int64_t first, int count) {
        const Scalar* const g = &gradient(r, first);
        if (!Kokkos::isfinite(norm2(r))) {
          team_for(team, count, [&](int n) {
            if (!Kokkos::isfinite(g[n])) report_parameter(status, r, Stage::adamw_step, first + n);
          });
          return;
        }
        if (active(r) == 0) return;
        const OptimConfig& c = config(r);
        const double norm = grad_norm(r);
        const Scalar scale =
            static_cast<Scalar>(c.grad_clip > 0 && norm > c.grad_clip ? c.grad_clip / norm : 1.0);
        const Scalar b1 = static_cast<Scalar>(c.beta1);
        const Scalar b2 = static_cast<Scalar>(c.beta2);
        const Scalar c1 = static_cast<Scalar>(1.0 - Kokkos::pow(c.beta1, double(step(r))));
        const Scalar c2 = static_cast<Scalar>(1.0 - Kokkos::pow(c.beta2, double(step(r))));
        const Scalar eps = static_cast<Scalar>(c.eps);
        const Scalar decay = static_cast<Scalar>(c.weight_decay);
        const Scalar rate = static_cast<Scalar>(lr(r));
        Scalar* const m = &moment1(r, first);
        Scalar* const v = &moment2(r, first);
        Scalar* const p = &params(r, first);
        team_for(team, count, [&](int n) {
          const Scalar slope = g[n] * scale;
          m[n] = b1 * m[n] + (Scalar(1) - b1) * slope;
          v[n] = b2 * v[n] + (Scalar(1) - b2) * slope * slope;
          p[n] -= rate * ((m[n] / c1) / (Kokkos::sqrt(v[n] / c2) + eps) + decay * p[n]);
        });
        // x - x is 0 for every finite x and for no other: the host looks over whole vectors.
        KOKKOS_IF_ON_HOST((if (lane_sum<Scalar>(count, [&](int n) {
                                 return (p[n] - p[n]) + (m[n] - m[n]) + (v[n] - v[n]);
                               }) == Scalar(0)) return;))
        team_for(team, count, [&](int n) {
          if (!Kokkos::isfinite(p[n]) || !Kokkos::isfinite(m[n]) || !Kokkos::isfinite(v[n]))
            report_parameter(status, r, Stage::adamw_step, first + n);
        });
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                    \
  template AdamState<Scalar> make_adam_state<Scalar>(const char*, int, std::int64_t); \
  template void adamw_step<Scalar>(                                                   \
      const Exec&, const ConstView1<OptimConfig>&, const ConstView1<double>&,         \
      const ConstView1<int>&, const View2<Scalar>&, const AdamState<Scalar>&,         \
      const View2<Scalar>&, const View1<double>&, const View1<StatusWord>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
