#include "core/sampling.hpp"

#include "core/base/shape.hpp"

namespace motley {

template <class Scalar>
void sample_rows(const Exec& exec, const SamplingParams& params, const View2<Scalar>& logits,
                 const ConstView1<float>& u, const View1<int>& token, const View1<Scalar>& log_prob,
                 const View1<Scalar>& entropy, const View1<float>& kept_mass) {
  const int rows = static_cast<int>(logits.extent(0));
  const int V = static_cast<int>(logits.extent(1));
  require_extents(token, "sample_rows", "token", "[N]", rows);
  Kokkos::parallel_for(
      "motley::sampling::sample_rows", Kokkos::RangePolicy<Exec>(exec, 0, rows),
      KOKKOS_LAMBDA(const int i) {
        Scalar* row = &logits(i, 0);
        const auto softmax =
            scale_and_normalise(row, V, static_cast<Scalar>(inverse_temperature(params)));
        const TokenDraw drawn = draw_token(row, V, softmax, params, u(i));
        token(i) = drawn.token;
        kept_mass(i) = drawn.kept_mass;
        log_prob(i) = softmax.log_prob(row[drawn.token]);
        entropy(i) = row_entropy(row, V, softmax);
      });
}

template void sample_rows<float>(const Exec&, const SamplingParams&, const View2<float>&,
                                 const ConstView1<float>&, const View1<int>&, const View1<float>&,
                                 const View1<float>&, const View1<float>&);
template void sample_rows<double>(const Exec&, const SamplingParams&, const View2<double>&,
                                  const ConstView1<float>&, const View1<int>&, const View1<double>&,
                                  const View1<double>&, const View1<float>&);

}  // namespace motley
