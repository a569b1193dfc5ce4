#include "core/advantage.hpp"

namespace motley {

struct SampleMoments {
  double mean = 0, deviation = 0;
  bool equal = true;
};

/// Mean and sample deviation of f(j) over j in [0, n) but `skip`, in order; exactly 0 where all are
/// equal. A single number: mean 0, deviation 1.
template <class F>
KOKKOS_INLINE_FUNCTION SampleMoments sample_moments(int n, int skip, const F& f) {
  const int first = skip == 0 ? 1 : 0;
  const int count = skip < 0 ? n : n - 1;
  SampleMoments out;
  if (count < 2) return {0.0, 1.0, true};
  double sum = 0;
  for (int j = 0; j < n; ++j)
    if (j != skip) {
      sum += f(j);
      out.equal = out.equal && f(j) == f(first);
    }
  out.mean = sum / count;
  double square = 0;
  for (int j = 0; j < n; ++j)
    if (j != skip) square += (f(j) - out.mean) * (f(j) - out.mean);
  out.deviation = out.equal ? 0.0 : Kokkos::sqrt(square / (count - 1));
  return out;
}
inline constexpr int kNobody = -1;

/// First pass, one thread per group: u_g into workspace row 0, u_g - baseline into row 1.
template <class Scalar>
struct CreditKernel {
  AdvantageInputs<Scalar> in;
  RewardWorkspace workspace;
  View2<Scalar> group_mean, group_std;
  int B, G;

  KOKKOS_INLINE_FUNCTION int correct(int r, int b) const {
    int count = 0;
    for (int g = 0; g < G; ++g) count += in.quality(r, b, g) > Scalar(0) ? 1 : 0;
    return count;
  }

  /// u of the families that read correctness only.
  KOKKOS_INLINE_FUNCTION void by_correctness(int r, int b, double* u) const {
    const AdvantageParams& p = in.params(r);
    double right = 1, wrong = -1;
    if (p.estimator == Estimator::psr) wrong = 0;
    if (p.estimator == Estimator::nsr) right = 0;
    if (p.estimator == Estimator::w_reinforce) right = p.positive_weight;
    if (p.estimator == Estimator::passk) {
      const PassAtKAdvantage a = pass_at_k_advantage(G, correct(r, b), p.k, p.eps);
      right = a.correct;
      wrong = a.wrong;
    }
    for (int g = 0; g < G; ++g) u[g] = in.quality(r, b, g) > Scalar(0) ? right : wrong;
  }

  KOKKOS_INLINE_FUNCTION void pkpo(int r, int b, double* u, double* sorted, double* w,
                                   double* value) const {
    const AdvantageParams& p = in.params(r);
    for (int g = 0; g < G; ++g) value[g] = double(in.reward(r, b, g));
    for (int g = 0; g < G; ++g) sorted[rank_of(value, G, g)] = value[g];
    // Ranks are found again afterwards: the order needs no array of its own.
    pkpo_values(p.pkpo, p.k, G, sorted, w, u);
    for (int g = 0; g < G; ++g) w[g] = u[rank_of(value, G, g)];
    for (int g = 0; g < G; ++g) u[g] = w[g];
  }

  KOKKOS_INLINE_FUNCTION void best_minus_second(int r, int b, double* u) const {
    int best = 0;
    for (int g = 1; g < G; ++g)
      if (in.reward(r, b, g) > in.reward(r, b, best)) best = g;
    int second = best == 0 ? 1 : 0;
    for (int g = 0; g < G; ++g)
      if (g != best && in.reward(r, b, g) > in.reward(r, b, second)) second = g;
    for (int g = 0; g < G; ++g) u[g] = 0;
    if (G > 1) u[best] = double(in.reward(r, b, best)) - double(in.reward(r, b, second));
  }

  /// Length-weighted mean of the rewards; the plain mean where all lengths are 0.
  KOKKOS_INLINE_FUNCTION double length_baseline(int r, int b, double mean) const {
    double sum = 0, weight = 0;
    for (int g = 0; g < G; ++g) {
      sum += in.length(r, b, g) * double(in.reward(r, b, g));
      weight += in.length(r, b, g);
    }
    return weight > 0 ? sum / weight : mean;
  }

  /// z-score in the group, ddof 1, 0 where all are equal.
  template <class F>
  KOKKOS_INLINE_FUNCTION void add_z_scores(double weight, double eps, const F& f, double* u) const {
    const SampleMoments m = sample_moments(G, kNobody, f);
    if (m.equal) return;
    for (int g = 0; g < G; ++g) u[g] += weight * (f(g) - m.mean) / (m.deviation + eps);
  }

  KOKKOS_INLINE_FUNCTION void decoupled(int r, int b, double* u) const {
    const ShapingParams& s = in.shaping(r);
    const double eps = in.params(r).eps;
    for (int g = 0; g < G; ++g) u[g] = 0;
    add_z_scores(
        s.quality_weight, eps, [&](int g) { return double(in.quality(r, b, g)); }, u);
    add_z_scores(
        s.diversity_weight, eps, [&](int g) { return double(in.diversity(r, b, g)); }, u);
  }

  KOKKOS_INLINE_FUNCTION void credit(int r, int b, double mean, bool equal, double* u) const {
    const AdvantageParams& p = in.params(r);
    switch (p.estimator) {
      case Estimator::psr:
      case Estimator::nsr:
      case Estimator::w_reinforce:
      case Estimator::passk: by_correctness(r, b, u); return;
      case Estimator::pkpo: pkpo(r, b, u, u + G, u + 2 * G, u + 3 * G); return;
      case Estimator::grpo_passk: best_minus_second(r, b, u); return;
      case Estimator::gdpo: decoupled(r, b, u); return;
      default: break;
    }
    double centre = 0, scale = 1;
    bool zero = false;
    if (p.estimator == Estimator::maxrl) {
      centre = mean;
      scale = mean + p.eps;
      zero = equal || !(mean > 0);
    }
    if (p.estimator == Estimator::opo) {
      centre = length_baseline(r, b, mean);
      zero = equal;
    }
    for (int g = 0; g < G; ++g) u[g] = zero ? 0.0 : (double(in.reward(r, b, g)) - centre) / scale;
  }

  /// Mean over j != i of what j would get in the group without i.
  KOKKOS_INLINE_FUNCTION double mean_without(int r, int b, int i) const {
    const ShapingParams& s = in.shaping(r);
    Scalar lowest = in.quality(r, b, i == 0 ? 1 : 0);
    for (int j = 0; j < G; ++j)
      if (j != i && in.quality(r, b, j) < lowest) lowest = in.quality(r, b, j);
    double sum = 0;
    for (int j = 0; j < G; ++j) {
      if (j == i) continue;
      const int size =
          in.cluster_size(r, b, j) - (in.cluster(r, b, j) == in.cluster(r, b, i) ? 1 : 0);
      sum += double(count_reward(s, biased(s, in.quality(r, b, j), lowest),
                                 count_diversity<Scalar>(size, G - 1), size, G - 1));
    }
    return sum / (G - 1);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int b = job % B;
    const int r = job / B;
    const AdvantageParams& p = in.params(r);
    const SampleMoments m =
        sample_moments(G, kNobody, [&](int g) { return double(in.reward(r, b, g)); });
    group_mean(r, b) = static_cast<Scalar>(m.mean);
    group_std(r, b) = static_cast<Scalar>(m.deviation);

    double* u = row_of(workspace.group, r, b);
    credit(r, b, m.mean, m.equal, u);
    const SampleMoments mu = sample_moments(G, kNobody, [&](int g) { return u[g]; });
    double* centred = u + G;
    for (int g = 0; g < G; ++g) {
      centred[g] = u[g];
      if (p.baseline == Baseline::none || G < 2) continue;
      if (p.baseline == Baseline::loo_partition) {
        centred[g] -= mean_without(r, b, g);
        continue;
      }
      centred[g] -= mu.mean;
      if (p.baseline == Baseline::loo) centred[g] *= double(G) / (G - 1);
      if (mu.equal) centred[g] = 0.0;
    }
  }
};

/// Second pass, one thread per replica: sample deviation of all used u, two passes in order.
template <class Scalar>
struct BatchKernel {
  AdvantageInputs<Scalar> in;
  RewardWorkspace workspace;
  int B, G;

  KOKKOS_INLINE_FUNCTION void operator()(const int r) const {
    if (in.params(r).norm != AdvantageNorm::batch) return;
    double sum = 0;
    int n = 0;
    for (int b = 0; b < B; ++b)
      for (int g = 0; g < G; ++g)
        if (in.used(r, b, g) != 0) {
          sum += workspace.group(r, b, g);
          ++n;
        }
    const double mean = n > 0 ? sum / n : 0.0;
    double square = 0;
    for (int b = 0; b < B; ++b)
      for (int g = 0; g < G; ++g)
        if (in.used(r, b, g) != 0) {
          const double x = workspace.group(r, b, g) - mean;
          square += x * x;
        }
    workspace.batch(r, 0) = mean;
    workspace.batch(r, 1) = n < 2 ? 1.0 : Kokkos::sqrt(square / (n - 1));
  }
};

/// Third pass, one thread per group: division, weight, bonus.
template <class Scalar>
struct FinishKernel {
  AdvantageInputs<Scalar> in;
  RewardWorkspace workspace;
  View3<Scalar> advantage, answer_advantage;
  int B, G;

  KOKKOS_INLINE_FUNCTION void write(const View3<Scalar>& out, int r, int b, const double* a) const {
    for (int g = 0; g < G; ++g)
      out(r, b, g) = in.used(r, b, g) != 0 ? static_cast<Scalar>(a[g]) : Scalar(0);
  }

  /// What the advantage of g is divided by.
  KOKKOS_INLINE_FUNCTION double scale_of(const AdvantageParams& p, int r, int b, int skip) const {
    const SampleMoments m =
        sample_moments(G, skip, [&](int g) { return double(in.reward(r, b, g)); });
    return skip != kNobody && m.equal ? 1.0 : m.deviation + p.eps;
  }

  KOKKOS_INLINE_FUNCTION double bonus(const ShapingParams& s, int r, int b, int g) const {
    if (s.shaping == Shaping::batch) return -double(in.cluster_size(r, b, g) - 1) / G;
    const int count = in.history(r, b, g) +
                      (s.bonus_count == BonusCount::including ? in.cluster_size(r, b, g) : 0);
    return count > 1 ? 1 / Kokkos::sqrt(double(count)) : 1.0;
  }

  KOKKOS_INLINE_FUNCTION void add_bonus(const ShapingParams& s, int r, int b, double* a) const {
    bool all_correct = true;
    double sum = 0;
    for (int g = 0; g < G; ++g) {
      all_correct = all_correct && in.quality(r, b, g) > Scalar(0);
      sum += bonus(s, r, b, g);
    }
    if (all_correct) return;
    for (int g = 0; g < G; ++g) {
      double x = bonus(s, r, b, g);
      if (s.shaping == Shaping::ucb_con) x -= s.bonus_b0;
      if (s.shaping == Shaping::ucb_mean && G > 1) x -= (sum - x) / (G - 1);
      a[g] += s.bonus_coef * x;
    }
  }

  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int b = job % B;
    const int r = job / B;
    const AdvantageParams& p = in.params(r);
    const ShapingParams& s = in.shaping(r);
    double* a = row_of(workspace.group, r, b) + G;
    double scale = 1.0;
    if (p.norm == AdvantageNorm::group) scale = scale_of(p, r, b, kNobody);
    if (p.norm == AdvantageNorm::batch) scale = workspace.batch(r, 1) + p.eps;
    for (int g = 0; g < G; ++g) {
      if (p.norm == AdvantageNorm::loo) scale = scale_of(p, r, b, g);
      a[g] = a[g] == 0.0 ? 0.0 : a[g] / scale;
      if (s.shaping == Shaping::uniqueness)
        a[g] /= Kokkos::pow(double(in.cluster_size(r, b, g)), s.uniqueness_alpha);
    }
    const bool answers = answer_advantage.data() != nullptr;
    const bool apart = adds_bonus(s.shaping) && !s.bonus_on_answer;
    if (answers && apart) write(answer_advantage, r, b, a);
    if (adds_bonus(s.shaping)) add_bonus(s, r, b, a);
    if (answers && !apart) write(answer_advantage, r, b, a);
    write(advantage, r, b, a);
  }
};

template <class Scalar>
void group_advantage(const Exec& exec, const AdvantageInputs<Scalar>& in,
                     const RewardWorkspace& workspace, const View2<Scalar>& group_mean,
                     const View2<Scalar>& group_std, const View3<Scalar>& advantage,
                     const View3<Scalar>& answer_advantage) {
  const int R = static_cast<int>(in.reward.extent(0));
  const int B = static_cast<int>(in.reward.extent(1));
  const int G = static_cast<int>(in.reward.extent(2));
  require_extents(in.used, "group_advantage", "used", "[R,B,G]", R, B, G);
  require_extents(in.quality, "group_advantage", "quality", "[R,B,G]", R, B, G);
  require_extents(in.diversity, "group_advantage", "diversity", "[R,B,G]", R, B, G);
  require_extents(in.cluster, "group_advantage", "cluster", "[R,B,G]", R, B, G);
  require_extents(in.cluster_size, "group_advantage", "cluster_size", "[R,B,G]", R, B, G);
  require_extents(in.history, "group_advantage", "history", "[R,B,G]", R, B, G);
  require_extents(in.length, "group_advantage", "length", "[R,B,G]", R, B, G);
  require_extents(workspace.group, "group_advantage", "workspace.group", "[R,B,4G]", R, B, 4 * G);
  require_extents(advantage, "group_advantage", "advantage", "[R,B,G]", R, B, G);
  Kokkos::parallel_for("motley::advantage::credit", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
                       CreditKernel<Scalar>{in, workspace, group_mean, group_std, B, G});
  Kokkos::parallel_for("motley::advantage::batch", Kokkos::RangePolicy<Exec>(exec, 0, R),
                       BatchKernel<Scalar>{in, workspace, B, G});
  Kokkos::parallel_for("motley::advantage::group_advantage",
                       Kokkos::RangePolicy<Exec>(exec, 0, R * B),
                       FinishKernel<Scalar>{in, workspace, advantage, answer_advantage, B, G});
}

#define MOTLEY_INSTANTIATE(Scalar)                                                               \
  template void group_advantage<Scalar>(                                                         \
      const Exec&, const AdvantageInputs<Scalar>&, const RewardWorkspace&, const View2<Scalar>&, \
      const View2<Scalar>&, const View3<Scalar>&, const View3<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
