#pragma once
/// Estimators over sets of k of a group's n completions: set rewards, pass@k training, PKPO.
/// Rows are pointers to n numbers; everything runs inside one thread.

#include "core/base/rng.hpp"
#include "core/shaping_terms.hpp"

namespace motley {

/// C(n, k), or anything above `limit` where it is larger.
KOKKOS_INLINE_FUNCTION int count_sets(int n, int k, int limit) {
  double count = 1;
  for (int j = 1; j <= k; ++j) {
    count = count * (n - k + j) / j;
    if (count > limit) return limit + 1;
  }
  return static_cast<int>(count + 0.5);
}

/// Moves `set`, k ascending numbers below n, to the next in lexicographic order; false at the end.
KOKKOS_INLINE_FUNCTION bool next_set(int* set, int n, int k) {
  int at = k - 1;
  while (at >= 0 && set[at] == n - k + at) --at;
  if (at < 0) return false;
  ++set[at];
  for (int j = at + 1; j < k; ++j) set[j] = set[j - 1] + 1;
  return true;
}

/// Uniform k-set of n by Floyd's algorithm, drawn at (key, item, number * kMaxSet + j).
KOKKOS_INLINE_FUNCTION void draw_set(const DrawKey& key, std::uint32_t item, int number, int* set,
                                     int n, int k) {
  for (int j = 0; j < k; ++j) {
    const int top = n - k + j;
    const Philox4 bits = draw_bits(key, item, static_cast<std::uint32_t>(number * kMaxSet + j));
    int pick = static_cast<int>(uniform_below(bits.x[0], static_cast<std::uint32_t>(top + 1)));
    for (int i = 0; i < j; ++i)
      if (set[i] == pick) {
        pick = top;
        break;
      }
    set[j] = pick;
  }
}

/// f(S) of set_rl (A14): mean quality times the share of different clusters.
KOKKOS_INLINE_FUNCTION double set_value(const int* set, int k, const double* quality,
                                        const int* cluster) {
  double sum = 0;
  int distinct = 0;
  for (int i = 0; i < k; ++i) {
    sum += quality[set[i]];
    bool seen = false;
    for (int j = 0; j < i && !seen; ++j) seen = cluster[set[j]] == cluster[set[i]];
    distinct += seen ? 0 : 1;
  }
  return sum / k * distinct / k;
}

/// reward_i = F + n/(k M) sum_{S holding i} (f(S) - F) over all k-sets or kMaxSets drawn ones.
/// The mean over i is F = mean f exactly in either case.
/// \param quality [n]   \param sum, times [n] scratch   \param reward [n] out
template <class Scalar>
KOKKOS_INLINE_FUNCTION void set_rewards(const DrawKey& key, std::uint32_t item, int k, int n,
                                        const double* quality, const int* cluster, double* sum,
                                        double* times, Scalar* reward) {
  int set[kMaxSet];
  if (k > n) k = n;
  const int all = count_sets(n, k, kMaxSets);
  const int sets = all <= kMaxSets ? all : kMaxSets;
  for (int i = 0; i < n; ++i) sum[i] = times[i] = 0;
  for (int j = 0; j < k; ++j) set[j] = j;
  double total = 0;
  for (int s = 0; s < sets; ++s) {
    if (all > kMaxSets) draw_set(key, item, s, set, n, k);
    const double value = set_value(set, k, quality, cluster);
    total += value;
    for (int j = 0; j < k; ++j) {
      sum[set[j]] += value;
      times[set[j]] += 1;
    }
    if (all <= kMaxSets) next_set(set, n, k);
  }
  const double mean = total / sets;
  const double weight = double(n) / (double(k) * sets);
  for (int i = 0; i < n; ++i)
    reward[i] = static_cast<Scalar>(mean + weight * (sum[i] - times[i] * mean));
}

/// Analytical pass@k training (B7, 2508.10751): advantages of a correct and of a wrong completion
/// where c of n are correct. R = 1 - C(n-c,k)/C(n,k), s = sqrt(R(1-R)):
///   correct (1-R)/(s+eps),   wrong (1 - R - C(n-c-1,k-1)/C(n-1,k-1))/(s+eps); both 0 where s = 0.
struct PassAtKAdvantage {
  double correct = 0, wrong = 0;
};
KOKKOS_INLINE_FUNCTION PassAtKAdvantage pass_at_k_advantage(int n, int c, int k, double eps) {
  if (k > n) k = n;
  const double miss = choose_ratio(n - c, n, k);
  const double s = Kokkos::sqrt((1 - miss) * miss);
  if (s == 0) return {};
  return {miss / (s + eps), (miss - choose_ratio(n - c - 1, n - 1, k - 1)) / (s + eps)};
}

enum class PkpoForm : int { sloo_minus_one, sloo, none };
template <>
struct EnumNames<PkpoForm> {
  static constexpr std::array<std::string_view, 3> names = {"sloo_minus_one", "sloo", "none"};
};

/// PKPO (B8, 2505.15201), rewards g in ascending order, w_i = C(i,k-1)/C(n,k):
///   none            s_i = (1/C(n,k)) sum over k-sets holding i of their maximum;
///                   s_{n-1} = g_{n-1} k/n,  s_{i-1} = s_i - w_{i-1} (g_i - g_{i-1})
///   sloo            s_i - (k/(n-1)) E[maximum of k of the others]
///   sloo_minus_one  (1/C(n,k)) sum over k-sets S holding i of max(S) - max(S without i);
///                   0 at i = 0, then d_i = d_{i-1} + w_i (g_i - g_{i-1})
/// At k = 1 sloo_minus_one, whose S without i is empty, takes the mean of the others: RLOO / n.
/// Equal rewards get equal values bit for bit (sloo: up to rounding). The sum over a group, not the
/// mean, is the gradient of max@k times k.
/// \param g [n] ascending   \param w [n] scratch   \param out [n] in the order of g
KOKKOS_INLINE_FUNCTION void pkpo_values(PkpoForm form, int k, int n, const double* g, double* w,
                                        double* out) {
  if (k > n) k = n;
  w[n - 1] = double(k) / n;
  for (int i = n - 1; i > 0; --i) w[i - 1] = i - k + 1 > 0 ? w[i] * (i - k + 1) / i : 0.0;
  if (form == PkpoForm::sloo_minus_one && k > 1) {
    out[0] = 0;
    for (int i = 1; i < n; ++i) out[i] = out[i - 1] + w[i] * (g[i] - g[i - 1]);
    return;
  }
  out[n - 1] = g[n - 1] * w[n - 1];
  for (int i = n - 1; i > 0; --i) out[i - 1] = out[i] - w[i - 1] * (g[i] - g[i - 1]);
  if (form == PkpoForm::none || k >= n) return;
  if (form == PkpoForm::sloo_minus_one) {
    // d_i = (g_i - mean of the others) / n as one increasing sequence: ties and equal groups exact.
    double first = 0;
    for (int i = 1; i < n; ++i) first -= (g[i] - g[0]) / (n - 1) / n;
    out[0] = first;
    for (int i = 1; i < n; ++i) out[i] = out[i - 1] + (g[i] - g[i - 1]) / (n - 1);
    return;
  }
  // Expected maximum of k of the others: their j-th has the weight C(j,k-1)/C(n-1,k).
  w[n - 2] = double(k) / (n - 1);
  for (int j = n - 2; j > 0; --j) w[j - 1] = j - k + 1 > 0 ? w[j] * (j - k + 1) / j : 0.0;
  const double scale = double(k) / (n - 1);
  double above = 0, below = 0;
  for (int i = n - 1; i >= 0; --i) {
    out[i] -= scale * above;
    if (i > 0) above += g[i] * w[i - 1];
  }
  for (int i = 0; i < n; ++i) {
    out[i] -= scale * below;
    if (i < n - 1) below += g[i] * w[i];
  }
}

}  // namespace motley
