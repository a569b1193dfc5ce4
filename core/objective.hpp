#pragma once
/// The loss of one token, its derivatives, and the aggregation over tokens.

#include "core/base/describe.hpp"
#include "core/base/math.hpp"
#include "core/rollout.hpp"
#include "core/sampling.hpp"

namespace motley {

enum class PolicyLoss : int { ppo, reinforce };
template <>
struct EnumNames<PolicyLoss> {
  static constexpr std::array<std::string_view, 2> names = {"ppo", "reinforce"};
};
enum class LossAgg : int {
  token_mean,
  seq_mean_token_mean,
  seq_mean_token_sum,
  seq_mean_token_sum_norm,
  token_sum
};
template <>
struct EnumNames<LossAgg> {
  static constexpr std::array<std::string_view, 5> names = {"token-mean", "seq-mean-token-mean",
                                                            "seq-mean-token-sum",
                                                            "seq-mean-token-sum-norm", "token-sum"};
};
enum class KlEstimator : int { k1, k2, k3, abs, exact };
template <>
struct EnumNames<KlEstimator> {
  static constexpr std::array<std::string_view, 5> names = {"k1", "k2", "k3", "abs", "exact"};
};

enum class KlPlacement : int { loss, reward };
template <>
struct EnumNames<KlPlacement> {
  static constexpr std::array<std::string_view, 2> names = {"loss", "reward"};
};

struct LossParams {
  PolicyLoss policy = PolicyLoss::ppo;
  double clip_ratio_low = 0.2;
  double clip_ratio_high = 0.2;
  double clip_ratio_c = 3.0;
  LossAgg agg = LossAgg::token_mean;
  double kl_coef = 0.0;
  KlEstimator kl_estimator = KlEstimator::k3;
  KlPlacement kl_placement = KlPlacement::loss;
  double entropy_coef = 0.0;
  double inv_temperature = 1.0;  ///< derived from rollout.temperature; not an option
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, LossParams> {
  v("loss.policy", c.policy, any_value, "1", "policy loss of a token");
  v("loss.clip_ratio_low", c.clip_ratio_low, between(0, 1), "1",
    "the ratio is clipped at 1 - this");
  v("loss.clip_ratio_high", c.clip_ratio_high, between(0, 1e6), "1",
    "the ratio is clipped at 1 + this");
  v("loss.clip_ratio_c", c.clip_ratio_c, Range{.low = 1, .high = 1e6, .low_open = true}, "1",
    "dual clip: bound of the loss for negative advantages");
  v("loss.agg", c.agg, any_value, "1", "how token losses are averaged; denominators are global");
  v("kl.coef", c.kl_coef, between(0, 1e6), "1",
    "weight of the divergence from the reference policy in the loss; 0 = off");
  v("kl.estimator", c.kl_estimator, any_value, "1", "estimator of that divergence");
  v("kl.placement", c.kl_placement, any_value, "1",
    "where it enters: the loss of a token, or the reward of a completion as the sum over its tokens");
  v("entropy.coef", c.entropy_coef, between(-1e6, 1e6), "1",
    "weight of the entropy bonus; 0 = off");
}

/// Policy and sampled-KL loss of one token, to be minimised, with its derivative with respect to
/// the token's new log-probability. The exact entropy and the exact KL are functions of the whole
/// row and are added by `row_loss_gradient`.
template <class Scalar>
struct TokenLoss {
  Scalar policy;      ///< policy loss
  Scalar kl;          ///< sampled estimate of KL(new | ref), 0 where kl_coef = 0 or exact
  Scalar d_log_prob;  ///< d (policy + kl_coef * kl) / d new_log_prob
  Scalar ratio;       ///< exp(new - old), the log clamped to +-20
  bool clipped_low, clipped_high, clipped_dual;  ///< which bound is active
};

/// ppo (darling-spec a7): l1 = -A rho, l2 = -A clip(rho, 1-low, 1+high), m = max(l1, l2); A < 0:
/// min(m, -A c). reinforce: -A new_log_prob. d = new - ref: k1 d; k2 d^2/2; abs |d|;
/// k3 exp(-d) + d - 1 with d clamped to +-20 and the value to +-10, derivative 0 at the clamp.
template <class Scalar>
KOKKOS_INLINE_FUNCTION TokenLoss<Scalar> token_loss(const LossParams& p, Scalar new_log_prob,
                                                    Scalar old_log_prob, Scalar ref_log_prob,
                                                    Scalar advantage);

/// Turns a row of scaled logits into d loss / d logits, in place.
///
/// loss = d_log_prob-weighted log-prob of `token` - entropy_coef * H + kl_coef * KL(pi|ref) exact;
/// with p = softmax(z), z = logits * inv_temperature:
///   d logp(token)/dz_j = [j = token] - p_j;  dH/dz_j = -p_j (ln p_j + H);
///   dKL/dz_j = p_j (ln p_j - ln ref_j - KL);  times inv_temperature and `weight`.
/// \param scaled     [V] in: scaled logits; out: gradient with respect to the unscaled logits
/// \param ref_scaled [V] scaled logits of the reference, or nullptr unless kl is exact
/// \param weight     the token's share of the aggregation
template <class Scalar>
KOKKOS_INLINE_FUNCTION void row_loss_gradient(const LossParams& p, Scalar* scaled, int V,
                                              const RowSoftmax<Scalar>& s, int token,
                                              Scalar d_log_prob, Scalar entropy,
                                              const Scalar* ref_scaled,
                                              const RowSoftmax<Scalar>& ref, Scalar exact_kl,
                                              Scalar weight);

/// KL(pi | ref) = sum_a pi(a) (ln pi(a) - ln ref(a)), nats.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar row_kl(const Scalar* scaled, const RowSoftmax<Scalar>& s,
                                     const Scalar* ref_scaled, const RowSoftmax<Scalar>& ref,
                                     int V);

/// Weight of each completion's tokens such that loss = sum over tokens of weight * token loss.
///
/// M = mask, S = sequences with at least one counted token and used != 0, T_i = length:
/// token-mean 1 / sum M; seq-mean-token-mean 1 / (S T_i); seq-mean-token-sum 1 / S;
/// seq-mean-token-sum-norm 1 / (S T), T the axis (the run's constant; verl omits S); token-sum 1.
/// Denominators run over prompts [b_first, b_last) of the replica: a minibatch.
/// \param weight [R,B,G] out, 0 where used = 0 or outside the range
template <class Scalar>
void token_weights(const Exec& exec, const ConstView1<LossParams>& params,
                   const ConstView3<int>& length, const ConstView3<int>& used, int T, int b_first,
                   int b_last, const View3<Scalar>& weight);

/// Sums collected by the update, per replica [R,kUpdateSums]; `update_metrics` turns them into
/// means.
enum class UpdateSum : int {
  tokens,       ///< counted tokens
  loss,         ///< aggregated loss, divergence and entropy bonus included
  policy_loss,  ///< aggregated policy loss
  kl_old,       ///< sum of old - new log-probability
  kl_k1,
  kl_k2,
  kl_k3,
  kl_abs,
  kl_exact,  ///< sums of the estimators of KL(new | ref)
  entropy,
  ratio,
  clip_low,
  clip_high,
  clip_dual,  ///< sums over tokens
  count
};
inline constexpr int kUpdateSums = static_cast<int>(UpdateSum::count);

/// Losses of given log-probabilities without a network: the counterfactual and the golden form of
/// what `policy_gradient` does inside a tile.
/// \param new_log_prob, old_log_prob, ref_log_prob [R,B,G,T] nats   \param advantage, weight
/// [R,B,G] \param loss [R,B,G,T] out, policy + kl_coef * kl; 0 where masked \param gradient
/// [R,B,G,T] out, d loss / d new_log_prob, weighted   \param sums [R,kUpdateSums] out
template <class Scalar>
void token_losses(const Exec& exec, const ConstView1<LossParams>& params,
                  const ConstView4<Scalar>& new_log_prob, const ConstView4<Scalar>& old_log_prob,
                  const ConstView4<Scalar>& ref_log_prob, const ConstView3<Scalar>& advantage,
                  const ConstView3<int>& length, const ConstView3<Scalar>& weight,
                  const View4<Scalar>& loss, const View4<Scalar>& gradient,
                  const View2<double>& sums);

}  // namespace motley

#include "core/objective_impl.hpp"
