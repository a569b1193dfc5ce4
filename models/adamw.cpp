#include "models/adamw.hpp"

#include <string>

#include "core/base/reduce.hpp"

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
  const View2<Scalar> m = state.m;
  const View2<Scalar> v = state.v;
  Kokkos::parallel_for(
      "motley::models::adamw",
      Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(exec, 0, R * N),
      KOKKOS_LAMBDA(const std::int64_t i) {
        const int r = static_cast<int>(i / N);
        const std::int64_t n = i % N;
        if (!Kokkos::isfinite(norm2(r))) {
          if (!Kokkos::isfinite(gradient(r, n))) report_parameter(status, r, Stage::adamw_step, n);
          return;
        }
        if (active(r) == 0) return;
        const OptimConfig& c = config(r);
        const double norm = grad_norm(r);
        const double scale = c.grad_clip > 0 && norm > c.grad_clip ? c.grad_clip / norm : 1.0;
        const Scalar g = gradient(r, n) * static_cast<Scalar>(scale);
        const Scalar b1 = static_cast<Scalar>(c.beta1);
        const Scalar b2 = static_cast<Scalar>(c.beta2);
        m(r, n) = b1 * m(r, n) + (Scalar(1) - b1) * g;
        v(r, n) = b2 * v(r, n) + (Scalar(1) - b2) * g * g;
        const Scalar c1 = static_cast<Scalar>(1.0 - Kokkos::pow(c.beta1, double(step(r))));
        const Scalar c2 = static_cast<Scalar>(1.0 - Kokkos::pow(c.beta2, double(step(r))));
        const Scalar direction =
            (m(r, n) / c1) / (Kokkos::sqrt(v(r, n) / c2) + static_cast<Scalar>(c.eps)) +
            static_cast<Scalar>(c.weight_decay) * params(r, n);
        params(r, n) -= static_cast<Scalar>(lr(r)) * direction;
        if (!Kokkos::isfinite(params(r, n)) || !Kokkos::isfinite(m(r, n)) ||
            !Kokkos::isfinite(v(r, n)))
          report_parameter(status, r, Stage::adamw_step, n);
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
