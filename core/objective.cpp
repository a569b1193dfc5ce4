#include "core/objective.hpp"

namespace motley {

template <class Scalar>
void token_weights(const Exec& exec, const ConstView1<LossParams>& params,
                   const ConstView3<int>& length, const ConstView3<int>& used, int T, int b_first,
                   int b_last, const View3<Scalar>& weight, const TokenPlan<Scalar>& plan) {
  const int R = static_cast<int>(length.extent(0));
  const int B = static_cast<int>(length.extent(1));
  const int G = static_cast<int>(length.extent(2));
  require_extents(weight, "token_weights", "weight", "[R,B,G]", R, B, G);
  Kokkos::parallel_for(
      "motley::objective::token_weights", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        std::int64_t tokens = 0;
        std::int64_t sequences = 0;
        std::int64_t pairs = 0;
        const bool pairwise = params(r).policy == PolicyLoss::divpo && plan.role.data() != nullptr;
        for (int b = b_first; b < b_last; ++b)
          for (int g = 0; g < G; ++g)
            if (used(r, b, g) != 0 && length(r, b, g) > 0) {
              tokens += length(r, b, g);
              ++sequences;
              if (pairwise && plan.pair(r, b, g) > 0) ++pairs;
            }
        const LossAgg agg = params(r).agg;
        for (int b = 0; b < B; ++b)
          for (int g = 0; g < G; ++g) {
            const int n = length(r, b, g);
            double share = 0.0;
            if (b >= b_first && b < b_last && used(r, b, g) != 0 && n > 0) {
              switch (agg) {
                case LossAgg::token_mean: share = 1.0 / double(tokens); break;
                case LossAgg::seq_mean_token_mean: share = 1.0 / (double(sequences) * n); break;
                case LossAgg::seq_mean_token_sum: share = 1.0 / double(sequences); break;
                case LossAgg::seq_mean_token_sum_norm: share = 1.0 / (double(sequences) * T); break;
                case LossAgg::token_sum: share = 1.0; break;
              }
              if (pairwise) share = plan.pair(r, b, g) != 0 ? 1.0 / double(pairs) : 0.0;
            }
            weight(r, b, g) = static_cast<Scalar>(share);
          }
      });
}

template <class Scalar>
void token_losses(const Exec& exec, const ConstView1<LossParams>& params,
                  const ConstView4<Scalar>& new_log_prob, const ConstView4<Scalar>& old_log_prob,
                  const ConstView4<Scalar>& ref_log_prob, const ConstView3<Scalar>& advantage,
                  const ConstView3<int>& length, const ConstView3<Scalar>& weight,
                  const View4<Scalar>& loss, const View4<Scalar>& gradient,
                  const View2<double>& sums, const TokenPlan<Scalar>& plan) {
  const int R = static_cast<int>(length.extent(0));
  const int B = static_cast<int>(length.extent(1));
  const int G = static_cast<int>(length.extent(2));
  const int T = static_cast<int>(new_log_prob.extent(3));
  Kokkos::parallel_for(
      "motley::objective::token_losses", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        const LossParams& p = params(r);
        double total[kUpdateSums] = {};
        const auto add = [&](UpdateSum which, double x) { total[static_cast<int>(which)] += x; };
        for (int b = 0; b < B; ++b)
          for (int g = 0; g < G; ++g)
            for (int t = 0; t < T; ++t) {
              loss(r, b, g, t) = Scalar(0);
              gradient(r, b, g, t) = Scalar(0);
              if (t >= length(r, b, g)) continue;
              const Scalar fresh = new_log_prob(r, b, g, t);
              const TokenNote<Scalar> note = plan.note(r, b, g, t);
              const TokenLoss<Scalar> l =
                  token_loss(p, fresh, old_log_prob(r, b, g, t), ref_log_prob(r, b, g, t),
                             advantage(r, b, g), note);
              const Scalar share = weight(r, b, g);
              loss(r, b, g, t) = l.policy + static_cast<Scalar>(p.kl_in_loss()) * l.kl;
              gradient(r, b, g, t) = share * l.d_log_prob;
              add(UpdateSum::tokens, 1.0);
              add(UpdateSum::loss, double(share) * double(loss(r, b, g, t)));
              add(UpdateSum::policy_loss, double(share) * double(l.policy));
              add(UpdateSum::kl_old, double(old_log_prob(r, b, g, t)) - double(fresh));
              add(UpdateSum::ratio, double(l.ratio));
              add(UpdateSum::clip_low, l.clipped_low ? 1.0 : 0.0);
              add(UpdateSum::clip_high, l.clipped_high ? 1.0 : 0.0);
              add(UpdateSum::clip_dual, l.clipped_dual ? 1.0 : 0.0);
              add(UpdateSum::dropped, (note.role & kTokenDropped) != 0 ? 1.0 : 0.0);
              add(UpdateSum::penalised, (note.role & kTokenPenalised) != 0 ? 1.0 : 0.0);
              if (p.kl_coef != 0.0)
                add_kl_estimates(double(fresh), double(ref_log_prob(r, b, g, t)), total);
            }
        for (int k = 0; k < kUpdateSums; ++k) sums(r, k) = total[k];
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                              \
  template void token_weights<Scalar>(const Exec&, const ConstView1<LossParams>&,               \
                                      const ConstView3<int>&, const ConstView3<int>&, int, int, \
                                      int, const View3<Scalar>&, const TokenPlan<Scalar>&);     \
  template void token_losses<Scalar>(                                                           \
      const Exec&, const ConstView1<LossParams>&, const ConstView4<Scalar>&,                    \
      const ConstView4<Scalar>&, const ConstView4<Scalar>&, const ConstView3<Scalar>&,          \
      const ConstView3<int>&, const ConstView3<Scalar>&, const View4<Scalar>&,                  \
      const View4<Scalar>&, const View2<double>&, const TokenPlan<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
