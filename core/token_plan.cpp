#include "core/token_plan.hpp"

namespace motley {

template <class Scalar>
TokenPlan<Scalar> make_token_plan(int R, int B, int G, int T, int top_k) {
  TokenPlan<Scalar> plan;
  plan.role = View4<int>("motley::token_plan::role", R, B, G, T);
  plan.sequence_log_ratio = View3<Scalar>("motley::token_plan::sequence_log_ratio", R, B, G);
  plan.pair = View3<int>("motley::token_plan::pair", R, B, G);
  plan.pair_slope = View3<Scalar>("motley::token_plan::pair_slope", R, B, G);
  plan.pair_share = View3<Scalar>("motley::token_plan::pair_share", R, B, G);
  if (top_k > 0) plan.top = View4<int>("motley::token_plan::top", R, B, G, std::size_t(T) * top_k);
  plan.key = View2<std::uint64_t>("motley::token_plan::key", R, std::size_t(B) * G * T);
  plan.partial = View3<double>("motley::token_plan::partial", R, B, kPlanSums);
  return plan;
}

namespace {

/// Order of floats as order of integers; both zeros are one.
KOKKOS_INLINE_FUNCTION std::uint32_t sortable(float x) {
  const auto bits = Kokkos::bit_cast<std::uint32_t>(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/// Sums of a group's counted tokens, and the ratio of each of its completions.
template <class Scalar>
struct PlanSums {
  ConstView1<LossParams> params;
  ConstView4<Scalar> new_log_prob;
  RolloutBuffer x;
  TokenPlan<Scalar> plan;

  KOKKOS_INLINE_FUNCTION double log_ratio(const LossParams& p, double a, int r, int b, int g,
                                          int t) const {
    const double l = double(new_log_prob(r, b, g, t)) - double(x.old_log_prob(r, b, g, t));
    if (p.policy != PolicyLoss::gmpo) return l;
    if (a > 0.0 && l > p.clip_ratio_high) return p.clip_ratio_high;
    if (a < 0.0 && l < -p.clip_ratio_low) return -p.clip_ratio_low;
    return l;
  }

  /// The k-th smallest entropy of a completion of n tokens.
  KOKKOS_INLINE_FUNCTION double order_statistic(int r, int b, int g, int n, int k) const {
    for (int t = 0; t < n; ++t) {
      const float h = x.entropy(r, b, g, t);
      int below = 0, equal = 0;
      for (int i = 0; i < n; ++i) {
        below += x.entropy(r, b, g, i) < h ? 1 : 0;
        equal += x.entropy(r, b, g, i) == h ? 1 : 0;
      }
      if (below <= k && k < below + equal) return double(h);
    }
    return 0.0;
  }

  KOKKOS_INLINE_FUNCTION void mark_uncertain(const LossParams& p, int r, int b, int g,
                                             int n) const {
    const double place = p.simko_quantile * (n - 1);
    const int k = static_cast<int>(place);
    const double low = order_statistic(r, b, g, n, k);
    const double high = k + 1 < n ? order_statistic(r, b, g, n, k + 1) : low;
    const double bound = low + (place - k) * (high - low);
    for (int t = 0; t < n; ++t) {
      if (!(double(x.entropy(r, b, g, t)) > bound)) continue;
      const bool likeliest = plan.top_of(r, b, g, t, x.shape.T)[0] == x.token(r, b, g, t);
      plan.role(r, b, g, t) = kTokenUncertain | (likeliest ? kTokenLikeliest : 0);
    }
  }

  /// Sum of new - reference over a completion.
  KOKKOS_INLINE_FUNCTION double gain(int r, int b, int g) const {
    double sum = 0.0;
    for (int t = 0; t < x.length(r, b, g); ++t)
      sum += double(new_log_prob(r, b, g, t)) - double(x.ref_log_prob(r, b, g, t));
    return sum;
  }

  KOKKOS_INLINE_FUNCTION void pair_up(const LossParams& p, int r, int b) const {
    const auto counted = [&](int g) { return x.used(r, b, g) != 0 && x.length(r, b, g) > 0; };
    double lowest = 0.0, highest = 0.0;
    bool any = false;
    for (int g = 0; g < x.shape.G; ++g) {
      if (!counted(g)) continue;
      const double q = double(x.quality(r, b, g));
      lowest = !any || q < lowest ? q : lowest;
      highest = !any || q > highest ? q : highest;
      any = true;
    }
    if (!(highest > lowest)) return;
    const double width = p.divpo_band * (highest - lowest);
    int chosen = -1, rejected = -1;
    for (int g = 0; g < x.shape.G; ++g) {
      if (!counted(g)) continue;
      const double q = double(x.quality(r, b, g));
      const float d = x.diversity(r, b, g);
      if (q >= highest - width && (chosen < 0 || d > x.diversity(r, b, chosen))) chosen = g;
      if (q <= lowest + width && (rejected < 0 || d < x.diversity(r, b, rejected))) rejected = g;
    }
    const double margin = p.divpo_beta * (gain(r, b, chosen) - gain(r, b, rejected));
    // sigmoid(-m) and -ln sigmoid(m) without overflow on either side.
    const double e = Kokkos::exp(margin > 0.0 ? -margin : margin);
    const double doubt = margin > 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
    const double loss = (margin > 0.0 ? 0.0 : -margin) + Kokkos::log1p(e);
    plan.pair(r, b, chosen) = 1;
    plan.pair(r, b, rejected) = -1;
    plan.pair_slope(r, b, chosen) = static_cast<Scalar>(-p.divpo_beta * doubt);
    plan.pair_slope(r, b, rejected) = static_cast<Scalar>(p.divpo_beta * doubt);
    plan.pair_share(r, b, chosen) = static_cast<Scalar>(loss / x.length(r, b, chosen));
  }

  KOKKOS_INLINE_FUNCTION void operator()(int r, int b) const {
    const LossParams& p = params(r);
    double tokens = 0.0, advantage = 0.0, log_prob = 0.0;
    for (int g = 0; g < x.shape.G; ++g) {
      const int n = x.length(r, b, g);
      for (int t = 0; t < x.shape.T; ++t) plan.role(r, b, g, t) = 0;
      plan.sequence_log_ratio(r, b, g) = Scalar(0);
      plan.pair(r, b, g) = 0;
      plan.pair_slope(r, b, g) = plan.pair_share(r, b, g) = Scalar(0);
      if (x.used(r, b, g) == 0) continue;
      double sum = 0.0;
      for (int t = 0; t < n; ++t) {
        const double a = double(x.token_advantage(r, b, g, t));
        tokens += 1.0;
        advantage += a;
        log_prob += double(new_log_prob(r, b, g, t));
        sum += log_ratio(p, a, r, b, g, t);
      }
      if (p.sequence_ratio())
        plan.sequence_log_ratio(r, b, g) = n > 0 ? static_cast<Scalar>(sum / n) : Scalar(0);
      if (p.policy == PolicyLoss::simko && n > 0 && plan.top.data() != nullptr)
        mark_uncertain(p, r, b, g, n);
    }
    if (p.policy == PolicyLoss::divpo) pair_up(p, r, b);
    plan.partial(r, b, 0) = tokens;
    plan.partial(r, b, 1) = advantage;
    plan.partial(r, b, 2) = log_prob;
  }
};

/// Chooses tokens of one replica; one team per replica.
template <class Scalar>
struct PlanSelect {
  ConstView1<LossParams> params;
  PlanKey key;
  ConstView4<Scalar> new_log_prob;
  RolloutBuffer x;
  TokenPlan<Scalar> plan;
  int b_first, b_last;
  int index_bits;  ///< of N = B G T: a key is (rank << index_bits) | (N - index), never 0

  struct Token {
    int b, g, t;
  };
  KOKKOS_INLINE_FUNCTION Token token(int i) const {
    return {i / (x.shape.G * x.shape.T), i / x.shape.T % x.shape.G, i % x.shape.T};
  }
  KOKKOS_INLINE_FUNCTION bool counted(int r, const Token& k) const {
    return x.used(r, k.b, k.g) != 0 && k.t < x.length(r, k.b, k.g);
  }
  KOKKOS_INLINE_FUNCTION int first() const { return b_first * x.shape.G * x.shape.T; }
  KOKKOS_INLINE_FUNCTION int last() const { return b_last * x.shape.G * x.shape.T; }
  KOKKOS_INLINE_FUNCTION std::uint64_t key_of(std::uint32_t rank, int i) const {
    const int N = x.shape.B * x.shape.G * x.shape.T;
    return (std::uint64_t{rank} << index_bits) | static_cast<std::uint64_t>(N - i);
  }

  KOKKOS_INLINE_FUNCTION double count_from(const Team& team, int r, std::uint64_t bound) const {
    double count = 0.0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, first(), last()),
        [&](const int i, double& sum) { sum += plan.key(r, i) >= bound ? 1.0 : 0.0; }, count);
    return count;
  }

  /// The `wanted`-th largest key, found bit by bit; 0 where there is no candidate.
  KOKKOS_INLINE_FUNCTION std::uint64_t kth_largest(const Team& team, int r, double wanted) const {
    const double candidates = count_from(team, r, 1);
    if (candidates == 0.0) return 0;
    if (wanted > candidates) wanted = candidates;
    std::uint64_t bound = 0;
    for (int bit = 31 + index_bits; bit >= 0; --bit) {
      const std::uint64_t trial = bound | (std::uint64_t{1} << bit);
      if (count_from(team, r, trial) >= wanted) bound = trial;
    }
    return bound;
  }

  KOKKOS_INLINE_FUNCTION std::uint64_t covariance_key(int r, int i, double mean_advantage,
                                                      double mean_log_prob) const {
    const LossParams& p = params(r);
    const Token k = token(i);
    if (!counted(r, k)) return 0;
    const float a = x.token_advantage(r, k.b, k.g, k.t);
    const Scalar fresh = new_log_prob(r, k.b, k.g, k.t);
    const double c = (double(a) - mean_advantage) * (double(fresh) - mean_log_prob);
    if (p.policy == PolicyLoss::kl_cov) return key_of(sortable(static_cast<float>(c)), i);
    if (!(c > p.clip_cov_lower && c < p.clip_cov_upper)) return 0;
    const Scalar old = x.old_log_prob(r, k.b, k.g, k.t);
    const TokenLoss<Scalar> loss = token_loss(p, fresh, old, fresh, static_cast<Scalar>(a));
    if (loss.clipped_low || loss.clipped_high) return 0;
    const DrawKey draw{key.seed(r), Stream::clip_cov, key.step};
    const auto item = static_cast<std::uint32_t>(k.b * x.shape.G + k.g);
    const auto position = static_cast<std::uint32_t>(key.pass * x.shape.T + k.t);
    return key_of(draw_bits(draw, item, position).x[0], i);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int r = team.league_rank();
    const LossParams& p = params(r);
    if (!p.needs_plan()) return;
    double sum[kPlanSums] = {};
    for (int b = b_first; b < b_last; ++b)
      for (int k = 0; k < kPlanSums; ++k) sum[k] += plan.partial(r, b, k);
    const double N = sum[0];
    if (p.policy == PolicyLoss::clip_cov || p.policy == PolicyLoss::kl_cov) {
      const bool clip = p.policy == PolicyLoss::clip_cov;
      team_range(team,
                 [&](int i) { plan.key(r, i) = covariance_key(r, i, sum[1] / N, sum[2] / N); });
      const double share = Kokkos::floor(clip ? p.clip_cov_ratio * N + 0.5 : N * p.kl_cov_fraction);
      const std::uint64_t bound = kth_largest(team, r, share > 1.0 ? share : 1.0);
      team_range(team, [&](int i) {
        if (bound == 0 || plan.key(r, i) < bound) return;
        const Token k = token(i);
        plan.role(r, k.b, k.g, k.t) |= clip ? kTokenDropped : kTokenPenalised;
      });
    }
    if (p.top_entropy_quantile < 1.0) {
      team_range(team, [&](int i) {
        const Token k = token(i);
        plan.key(r, i) = counted(r, k) ? key_of(sortable(x.entropy(r, k.b, k.g, k.t)), i) : 0;
      });
      // A product one rounding above a whole number is that number.
      const double share = Kokkos::ceil(p.top_entropy_quantile * N * (1.0 - 1e-12));
      const std::uint64_t bound = kth_largest(team, r, share > 1.0 ? share : 1.0);
      team_range(team, [&](int i) {
        const Token k = token(i);
        if (plan.key(r, i) < bound) plan.role(r, k.b, k.g, k.t) |= kTokenDropped;
      });
    }
  }

  template <class F>
  KOKKOS_INLINE_FUNCTION void team_range(const Team& team, const F& f) const {
    team.team_barrier();
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, first(), last()), f);
    team.team_barrier();
  }
};

}  // namespace

template <class Scalar>
void token_plan(const Exec& exec, const ConstView1<LossParams>& params, const PlanKey& key,
                const ConstView4<Scalar>& new_log_prob, const RolloutBuffer& buffer, int b_first,
                int b_last, const TokenPlan<Scalar>& plan) {
  const Shape& s = buffer.shape;
  require_extents(new_log_prob, "token_plan", "new_log_prob", "[R,B,G,T]", s.R, s.B, s.G, s.T);
  require_extents(plan.role, "token_plan", "role", "[R,B,G,T]", s.R, s.B, s.G, s.T);
  const int prompts = b_last - b_first;
  const PlanSums<Scalar> sums{params, new_log_prob, buffer, plan};
  Kokkos::parallel_for(
      "motley::token_plan::sums", Kokkos::RangePolicy<Exec>(exec, 0, s.R * prompts),
      KOKKOS_LAMBDA(const int job) {
        if (params(job / prompts).needs_plan()) sums(job / prompts, b_first + job % prompts);
      });
  int index_bits = 1;
  while ((std::int64_t{1} << index_bits) <= std::int64_t{s.B} * s.G * s.T) ++index_bits;
  const PlanSelect<Scalar> select{params, key,     new_log_prob, buffer,
                                  plan,   b_first, b_last,       index_bits};
  // On the host a team is one thread, as for the tiles.
  Kokkos::parallel_for("motley::token_plan::select",
                       TeamPolicy(exec, s.R, std::is_same_v<Exec, HostExec> ? 1 : 256), select);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                             \
  template TokenPlan<Scalar> make_token_plan<Scalar>(int, int, int, int, int);                 \
  template void token_plan<Scalar>(const Exec&, const ConstView1<LossParams>&, const PlanKey&, \
                                   const ConstView4<Scalar>&, const RolloutBuffer&, int, int,  \
                                   const TokenPlan<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
