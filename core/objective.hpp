#pragma once
/// The loss of one token, its derivatives, and the aggregation over tokens.

#include "core/base/describe.hpp"
#include "core/base/math.hpp"
#include "core/rollout.hpp"
#include "core/sampling.hpp"

namespace motley {

enum class PolicyLoss : int {
  ppo,
  reinforce,
  gspo,
  cispo,
  clip_cov,
  kl_cov,
  gmpo,
  sapo,
  simko,
  divpo
};
template <>
struct EnumNames<PolicyLoss> {
  static constexpr std::array<std::string_view, 10> names = {
      "ppo", "reinforce", "gspo", "cispo", "clip_cov", "kl_cov", "gmpo", "sapo", "simko", "divpo"};
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
enum class KlEstimator : int { k1, k2, k3, abs, exact, k3_unbiased };
template <>
struct EnumNames<KlEstimator> {
  static constexpr std::array<std::string_view, 6> names = {"k1",  "k2",    "k3",
                                                            "abs", "exact", "k3_unbiased"};
};
enum class KlDirection : int { reverse, forward, js };
template <>
struct EnumNames<KlDirection> {
  static constexpr std::array<std::string_view, 3> names = {"reverse", "forward", "js"};
};
enum class KlPlacement : int { loss, reward };
template <>
struct EnumNames<KlPlacement> {
  static constexpr std::array<std::string_view, 2> names = {"loss", "reward"};
};

/// Most tokens that simko raises beside the sampled one.
inline constexpr int kMaxTopTokens = 8;

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
  KlDirection kl_direction = KlDirection::reverse;
  int kl_reset_every = 0;
  double top_entropy_quantile = 1.0;
  double clip_cov_ratio = 2e-4;
  double clip_cov_lower = 1.0;
  double clip_cov_upper = 5.0;
  double kl_cov_fraction = 2e-4;
  double kl_cov_coef = 1.0;
  double sapo_tau_positive = 1.0;
  double sapo_tau_negative = 1.05;
  int simko_top_k = 3;
  double simko_alpha = 0.01;
  double simko_quantile = 0.8;
  double simko_wrong_weight = 1.1;
  double divpo_beta = 0.1;
  double divpo_band = 0.25;

  /// Weight of the divergence in the loss: none where it stands in the reward.
  KOKKOS_INLINE_FUNCTION double kl_in_loss() const {
    return kl_placement == KlPlacement::loss ? kl_coef : 0.0;
  }
  /// The divergence is a sum over the vocabulary and needs the reference's row.
  KOKKOS_INLINE_FUNCTION bool exact_kl() const {
    return kl_in_loss() != 0.0 && kl_estimator == KlEstimator::exact;
  }
  /// One ratio per completion, not per token.
  KOKKOS_INLINE_FUNCTION bool sequence_ratio() const {
    return policy == PolicyLoss::gspo || policy == PolicyLoss::gmpo;
  }
  /// Log-probabilities of the reference are read.
  KOKKOS_INLINE_FUNCTION bool needs_reference() const {
    return kl_coef != 0.0 || policy == PolicyLoss::divpo;
  }
  /// Statistics over the batch are read before the gradient: `token_plan` must run.
  KOKKOS_INLINE_FUNCTION bool needs_plan() const {
    return needs_new_log_prob() || policy == PolicyLoss::simko || top_entropy_quantile < 1.0;
  }
  /// These statistics are of the current policy, so every pass after the first scores anew.
  KOKKOS_INLINE_FUNCTION bool needs_new_log_prob() const {
    return sequence_ratio() || policy == PolicyLoss::clip_cov || policy == PolicyLoss::kl_cov ||
           policy == PolicyLoss::divpo;
  }
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
  v("kl.estimator", c.kl_estimator, any_value, "1",
    "estimator of that divergence; k3_unbiased = k3 times the importance ratio");
  v("kl.direction", c.kl_direction, any_value, "1",
    "estimator = exact: KL(pi|ref), KL(ref|pi) or Jensen-Shannon with the mixture 1/2");
  v("kl.placement", c.kl_placement, any_value, "1",
    "where it enters: the loss of a token, or the reward of a completion as the sum over its tokens");
  v("kl.reset_every", c.kl_reset_every, between(0, 1e9), "1",
    "steps after which the reference becomes the current policy; 0 = never");
  v("entropy.coef", c.entropy_coef, between(-1e6, 1e6), "1",
    "weight of the entropy bonus, where it starts if entropy.adaptive moves it; 0 = off");
  v("loss.top_entropy_quantile", c.top_entropy_quantile,
    Range{.low = 0, .high = 1, .low_open = true}, "1",
    "keep the policy loss on this share of the minibatch's tokens, the most uncertain; 1 = all");
  v("clip_cov.ratio", c.clip_cov_ratio, between(0, 1), "1",
    "clip_cov: share of the tokens whose policy loss is left out, one token at least");
  v("clip_cov.lower", c.clip_cov_lower, between(-1e6, 1e6), "nat",
    "clip_cov: left-out tokens have a covariance above this");
  v("clip_cov.upper", c.clip_cov_upper, between(-1e6, 1e6), "nat",
    "clip_cov: left-out tokens have a covariance below this");
  v("kl_cov.fraction", c.kl_cov_fraction, between(0, 1), "1",
    "kl_cov: share of the tokens, those of largest covariance, that are penalised; one at least");
  v("kl_cov.coef", c.kl_cov_coef, between(0, 1e6), "1", "kl_cov: weight of |new - old| there");
  v("sapo.tau_positive", c.sapo_tau_positive, Range{.low = 0, .high = 1e3, .low_open = true}, "1",
    "sapo: steepness of the gate where the advantage is positive");
  v("sapo.tau_negative", c.sapo_tau_negative, Range{.low = 0, .high = 1e3, .low_open = true}, "1",
    "sapo: steepness of the gate elsewhere");
  v("simko.top_k", c.simko_top_k, between(1, kMaxTopTokens), "token",
    "simko: likeliest tokens of the old policy that share in what a good token gains");
  v("simko.alpha", c.simko_alpha, between(0, 1), "1",
    "simko: the share they receive together, at uncertain tokens of positive advantage");
  v("simko.quantile", c.simko_quantile, between(0, 1), "1",
    "simko: a token is uncertain above this quantile of its completion's entropies");
  v("simko.wrong_weight", c.simko_wrong_weight, between(0, 1e3), "1",
    "simko: factor of a negative advantage at uncertain tokens that were the likeliest");
  v("divpo.beta", c.divpo_beta, Range{.low = 0, .high = 1e3, .low_open = true}, "1",
    "divpo: steepness of the preference in the log-ratio to the reference");
  v("divpo.band", c.divpo_band, Range{.low = 0, .high = 0.5, .high_open = true}, "1",
    "divpo: share of a group's range of quality, from the top for the chosen, from the bottom for the rejected");
}

/// What statistics over the minibatch say of a token; bits of TokenNote::role.
inline constexpr int kTokenDropped = 1;    ///< no policy loss: clip_cov, top_entropy_quantile
inline constexpr int kTokenPenalised = 2;  ///< kl_cov: pays |new - old|
inline constexpr int kTokenUncertain = 4;  ///< simko: of high entropy in its completion
inline constexpr int kTokenLikeliest = 8;  ///< simko: and the old policy's likeliest

template <class Scalar>
struct TokenNote {
  int role = 0;
  Scalar sequence_log_ratio = 0;  ///< ln of the completion's ratio (gspo, gmpo)
  Scalar pair_slope = 0;          ///< divpo: d pair loss / d log-probability
  Scalar pair_share = 0;          ///< divpo: this token's part of the pair loss
};

/// Policy and sampled-KL loss of one token, to be minimised, with its derivative with respect to
/// the token's new log-probability. The exact entropy and the exact KL are functions of the whole
/// row and are added by `row_loss_gradient`.
template <class Scalar>
struct TokenLoss {
  Scalar policy;      ///< policy loss
  Scalar kl;          ///< sampled estimate of KL(new | ref), 0 where it is off or exact
  Scalar d_log_prob;  ///< d (policy + kl_coef * kl) / d new_log_prob
  Scalar d_top;       ///< simko: d policy / d log-probability of each of the top tokens
  Scalar ratio;       ///< the ratio the loss reads, its log clamped to +-20
  bool clipped_low, clipped_high, clipped_dual;  ///< which bound is active
};

/// rho = exp(new - old), s = exp(note.sequence_log_ratio), A the advantage:
/// ppo (darling-spec a7): l1 = -A rho, l2 = -A clip(rho, 1-low, 1+high), m = max(l1, l2); A < 0:
///   min(m, -A c).
/// reinforce: -A new_log_prob.
/// gspo (2507.18071 eq. 5): max(-A s, -A clip(s)), every token of a completion the same; the slope
///   -A s reaches every token, so with a share that is constant over the completion the sum is the
///   exact gradient, (1/T) sum_t of d s. Any loss.agg: seq-mean-token-mean is the paper's (every
///   completion weighs the same), token-mean weighs completions by their length.
/// gmpo (2507.20673): -A s, s = exp(mean of log-ratios cut at +high for A > 0, at -low for A < 0);
///   the slope reaches the tokens that are not cut.
/// cispo (2506.13585): -sg(clip(rho)) A new_log_prob; no token loses its gradient.
/// sapo (2511.20347): -(4/tau) sigmoid(tau (rho - 1)) A, tau by the sign of A.
/// clip_cov (2505.22617): max(l1, l2) without the dual clip, 0 where dropped.
/// kl_cov (2505.22617): -A rho, where penalised + kl_cov.coef |new - old|; |0| has slope 0, as in
///   autograd, so the penalty acts from the second update on a step's rollouts.
/// simko (2510.14807): ppo without the dual clip, of the ratio
///   rho' = (1 - alpha w) rho + (alpha w / K) sum_k sg(rho / rho_k) rho_k   where A > 0,
///   w = 1 at uncertain tokens, k over the old policy's K likeliest tokens. Its value is rho, so
///   the clip is ppo's; what changes is where the slope goes. A < 0: A is multiplied by
///   wrong_weight where the token is uncertain and was the likeliest. The paper says correct and
///   wrong: with binary rewards these are the signs of A.
/// divpo (2501.18101, the loss of 2305.18290): -ln sigmoid(m) of a group's pair, m = beta (sum_t of
///   new - ref over the chosen - the same over the rejected); both slopes and the parts that tokens
///   report come from the plan. No ratio enters.
/// A dropped token (any loss) has no policy term; its divergence and entropy terms stay.
/// d = new - ref: k1 d; k2 d^2/2; abs |d|; k3 exp(-d) + d - 1 with d clamped to +-20 and the value
/// to +-10, derivative 0 at the clamp; k3_unbiased rho k3, both factors differentiated.
template <class Scalar>
KOKKOS_INLINE_FUNCTION TokenLoss<Scalar> token_loss(const LossParams& p, Scalar new_log_prob,
                                                    Scalar old_log_prob, Scalar ref_log_prob,
                                                    Scalar advantage,
                                                    const TokenNote<Scalar>& note = {});

/// Divergence of a row from the reference's, nats, and the mean slope sum_a pi(a) g(a) of its
/// gradient pi (g - mean), g = d divergence / d pi.
template <class Scalar>
struct RowDivergence {
  Scalar value;
  Scalar mean_slope;
};

/// reverse: KL(pi|ref), g = ln pi - ln ref; forward: KL(ref|pi), gradient pi - ref;
/// js: (KL(pi|m) + KL(ref|m)) / 2, m = (pi + ref) / 2, g = (ln pi - ln m) / 2.
template <class Scalar>
KOKKOS_INLINE_FUNCTION RowDivergence<Scalar> row_divergence(KlDirection direction,
                                                            const Scalar* scaled,
                                                            const RowSoftmax<Scalar>& s,
                                                            const Scalar* ref_scaled,
                                                            const RowSoftmax<Scalar>& ref, int V);

/// Turns a row of scaled logits into d loss / d logits, in place.
///
/// loss = d_log_prob-weighted log-prob of `token` - entropy_coef * H + kl_coef * divergence exact;
/// with p = softmax(z), z = logits * inv_temperature:
///   d logp(token)/dz_j = [j = token] - p_j;  dH/dz_j = -p_j (ln p_j + H);
///   divergences: as in row_divergence;  times inv_temperature and `weight`.
/// \param scaled     [V] in: scaled logits; out: gradient with respect to the unscaled logits
/// \param ref_scaled [V] scaled logits of the reference, or nullptr unless kl is exact
/// \param mean_slope of row_divergence
/// \param top, num_top, d_top  tokens whose log-probability the loss has the slope d_top in (simko)
/// \param weight     the token's share of the aggregation
template <class Scalar>
KOKKOS_INLINE_FUNCTION void row_loss_gradient(const LossParams& p, Scalar* scaled, int V,
                                              const RowSoftmax<Scalar>& s, int token,
                                              Scalar d_log_prob, Scalar entropy,
                                              const Scalar* ref_scaled,
                                              const RowSoftmax<Scalar>& ref, Scalar mean_slope,
                                              Scalar weight, const int* top = nullptr,
                                              int num_top = 0, Scalar d_top = Scalar(0));

/// KL(pi | ref) = sum_a pi(a) (ln pi(a) - ln ref(a)), nats.
template <class Scalar>
KOKKOS_INLINE_FUNCTION Scalar row_kl(const Scalar* scaled, const RowSoftmax<Scalar>& s,
                                     const Scalar* ref_scaled, const RowSoftmax<Scalar>& ref,
                                     int V);

/// What `token_plan` (core/token_plan.hpp) found out about a minibatch; empty views say nothing.
template <class Scalar>
struct TokenPlan {
  View4<int> role;                   // [R,B,G,T] kToken... bits
  View3<Scalar> sequence_log_ratio;  // [R,B,G]
  View3<int> pair;                   // [R,B,G] divpo: 1 chosen, -1 rejected, 0 others
  View3<Scalar> pair_slope;          // [R,B,G]
  View3<Scalar> pair_share;          // [R,B,G]
  View4<int> top;                    // [R,B,G,T*K] old policy's likeliest tokens; may be empty
  View2<std::uint64_t> key;          // [R,B*G*T] scratch: rank of a candidate, 0 = none
  View3<double> partial;             // [R,B,kPlanSums] scratch

  KOKKOS_INLINE_FUNCTION TokenNote<Scalar> note(int r, int b, int g, int t) const {
    if (role.data() == nullptr) return {};
    return {role(r, b, g, t), sequence_log_ratio(r, b, g), pair_slope(r, b, g),
            pair_share(r, b, g)};
  }
  /// The top tokens at (r,b,g,t), likeliest first; nullptr where none are kept.
  KOKKOS_INLINE_FUNCTION const int* top_of(int r, int b, int g, int t, int T) const {
    if (top.data() == nullptr) return nullptr;
    return &top(r, b, g, t * (static_cast<int>(top.extent(3)) / T));
  }
};

/// Weight of each completion's tokens such that loss = sum over tokens of weight * token loss.
///
/// M = mask, S = sequences with at least one counted token and used != 0, T_i = length:
/// token-mean 1 / sum M; seq-mean-token-mean 1 / (S T_i); seq-mean-token-sum 1 / S;
/// seq-mean-token-sum-norm 1 / (S T), T the axis (the run's constant; verl omits S); token-sum 1.
/// Denominators run over prompts [b_first, b_last) of the replica: a minibatch. divpo: 1 / pairs at
/// the two completions of every pair, 0 elsewhere, whatever the aggregation.
/// \param weight [R,B,G] out, 0 where used = 0 or outside the range   \param plan  read by divpo
template <class Scalar>
void token_weights(const Exec& exec, const ConstView1<LossParams>& params,
                   const ConstView3<int>& length, const ConstView3<int>& used, int T, int b_first,
                   int b_last, const View3<Scalar>& weight,
                   const TokenPlan<Scalar>& plan = TokenPlan<Scalar>());

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
  kl_exact,      ///< sums of the estimators of KL(new | ref)
  kl_direction,  ///< sum of the exact divergence in the configured direction
  entropy,
  ratio,
  clip_low,
  clip_high,
  clip_dual,
  dropped,
  penalised,  ///< sums over tokens
  count
};
inline constexpr int kUpdateSums = static_cast<int>(UpdateSum::count);

/// Adds the estimators of KL(new | ref) of one token to its sums.
KOKKOS_INLINE_FUNCTION void add_kl_estimates(double new_log_prob, double ref_log_prob,
                                             double* sums);

/// Losses of given log-probabilities without a network: the counterfactual and the golden form of
/// what `policy_gradient` does inside a tile.
/// \param new_log_prob, old_log_prob, ref_log_prob [R,B,G,T] nats   \param advantage, weight
/// [R,B,G] \param loss [R,B,G,T] out, policy + kl_coef * kl; 0 where masked \param gradient
/// [R,B,G,T] out, d loss / d new_log_prob (simko: of the sampled token alone), weighted   \param
/// sums [R,kUpdateSums] out, without the terms of a whole row (entropy, kl_exact)   \param plan of
/// the same new_log_prob
template <class Scalar>
void token_losses(const Exec& exec, const ConstView1<LossParams>& params,
                  const ConstView4<Scalar>& new_log_prob, const ConstView4<Scalar>& old_log_prob,
                  const ConstView4<Scalar>& ref_log_prob, const ConstView3<Scalar>& advantage,
                  const ConstView3<int>& length, const ConstView3<Scalar>& weight,
                  const View4<Scalar>& loss, const View4<Scalar>& gradient,
                  const View2<double>& sums, const TokenPlan<Scalar>& plan = TokenPlan<Scalar>());

}  // namespace motley

#include "core/objective_impl.hpp"
