#pragma once
/// AdamW with a global-norm clip, per replica (Loshchilov & Hutter 2019).

#include "core/base/describe.hpp"
#include "core/base/status.hpp"
#include "core/base/types.hpp"

namespace motley {

struct OptimConfig {
  double lr = 3e-4;
  double weight_decay = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double grad_clip = 1.0;  ///< 0 = off
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, OptimConfig> {
  v("optim.lr", c.lr, between(0, 10), "1", "learning rate");
  v("optim.weight_decay", c.weight_decay, between(0, 10), "1", "decoupled weight decay");
  v("optim.beta1", c.beta1, Range{.low = 0, .high = 1, .high_open = true}, "1",
    "decay of the first moment");
  v("optim.beta2", c.beta2, Range{.low = 0, .high = 1, .high_open = true}, "1",
    "decay of the second moment");
  v("optim.eps", c.eps, Range{.low = 0, .high = 1, .low_open = true}, "1",
    "added to the root of the second moment");
  v("optim.grad_clip", c.grad_clip, between(0, 1e9), "1",
    "largest global norm of the gradient; 0 = off");
}

/// Moments and scratch of the optimiser for R replicas of N parameters.
template <class Scalar>
struct AdamState {
  View2<Scalar> m, v;     ///< [R,N]
  View2<double> partial;  ///< scratch of the norm
  View1<double> norm2;    ///< [R] squared gradient norm
  View1<int> step;        ///< [R] updates done so far
};
template <class Scalar>
AdamState<Scalar> make_adam_state(const char* label, int R, std::int64_t N);

/// One update: g *= min(1, clip / |g|); m, v with bias correction; p -= lr (m^ / (sqrt(v^) + eps) +
/// wd p). \param config [R]   \param lr [R] this step's rate   \param active [R] 0 = leave the
/// replica alone \param grad_norm [R] out, before clipping. A non-finite norm is reported to
/// `status`, with the first element of the gradient that is not finite, and the replica's
/// parameters are left as they were; so is the first parameter or moment that becomes non-finite.
template <class Scalar>
void adamw_step(const Exec& exec, const ConstView1<OptimConfig>& config,
                const ConstView1<double>& lr, const ConstView1<int>& active,
                const View2<Scalar>& gradient, const AdamState<Scalar>& state,
                const View2<Scalar>& params, const View1<double>& grad_norm,
                const View1<StatusWord>& status);

}  // namespace motley
