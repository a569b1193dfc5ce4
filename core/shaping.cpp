#include "core/shaping.hpp"

#include "core/base/rng.hpp"
#include "core/ngram.hpp"
#include "core/set_estimators.hpp"
#include "core/shaping_method.hpp"
#include "core/shaping_terms.hpp"

namespace motley {

RewardWorkspace make_reward_workspace(int R, int B, int G, bool any_logdet) {
  RewardWorkspace w;
  w.group = View3<double>("motley::reward_workspace::group", R, B, 4 * G);
  w.batch = View2<double>("motley::reward_workspace::batch", R, 2);
  if (any_logdet) w.matrix = View4<double>("motley::reward_workspace::matrix", R, B, G, G);
  return w;
}

void partition_members(const Exec& exec, const ConstView1<ShapingParams>& params,
                       const ConstView3<float>& quality, const View3<int>& member) {
  const int B = static_cast<int>(member.extent(1));
  const int G = static_cast<int>(member.extent(2));
  Kokkos::parallel_for(
      "motley::shaping::partition_members",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(member.extent(0)) * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const bool all = params(r).shaping != Shaping::multiplicative_correct;
        member(r, b, g) = all || quality(r, b, g) > 0.0f ? 1 : 0;
      });
}

template <class Scalar>
struct ShapeKernel {
  ShapingInputs<Scalar> in;
  RewardWorkspace workspace;
  View3<Scalar> diversity, reward;
  View3<int> used;
  int B, G;

  KOKKOS_INLINE_FUNCTION int correct(int r, int b) const {
    int count = 0;
    for (int g = 0; g < G; ++g) count += in.quality(r, b, g) > Scalar(0) ? 1 : 0;
    return count;
  }

  /// (n - |C|) / (n - 1), or 1 - mean_{j != i} P_ij where the linkage is soft.
  KOKKOS_INLINE_FUNCTION Scalar partition_diversity(int r, int b, int g) const {
    if (G > 1 && in.partition_params(r).linkage == Linkage::soft) {
      double sum = 0;
      for (int j = 0; j < G; ++j)
        if (j != g) sum += in.pair_score(r, b, g, j);
      return static_cast<Scalar>(1.0 - sum / (G - 1));
    }
    return count_diversity<Scalar>(in.cluster_size(r, b, g), G);
  }

  /// Share of n-grams found in no other completion of the group.
  KOKKOS_INLINE_FUNCTION Scalar ngram_diversity(int r, int b, int g, int n) const {
    const int* text = &in.token(r, b, g, 0);
    const int count = in.length(r, b, g) - n + 1;
    int unique = 0;
    for (int i = 0; i < count; ++i) {
      bool found = !first_occurrence(text, i, n);
      for (int j = 0; j < G && !found; ++j)
        found = j != g && contains_ngram(&in.token(r, b, j, 0), in.length(r, b, j), text + i, n);
      if (!found) ++unique;
    }
    return Scalar(unique) / Scalar(count > 1 ? count : 1);
  }

  KOKKOS_INLINE_FUNCTION double mean_log_prob(int r, int b, int g) const {
    double sum = 0;
    for (int t = 0; t < in.length(r, b, g); ++t) sum += in.log_prob(r, b, g, t);
    return in.length(r, b, g) > 0 ? sum / in.length(r, b, g) : 0.0;
  }

  KOKKOS_INLINE_FUNCTION void fill_unlikelihood(int r, int b) const {
    double low = mean_log_prob(r, b, 0), high = low;
    for (int g = 1; g < G; ++g) {
      const double x = mean_log_prob(r, b, g);
      low = x < low ? x : low;
      high = x > high ? x : high;
    }
    for (int g = 0; g < G; ++g)
      diversity(r, b, g) =
          high > low ? static_cast<Scalar>(1.0 - (mean_log_prob(r, b, g) - low) / (high - low))
                     : Scalar(0.5);
  }

  /// Fisher-Yates on the group's values, drawn at (seed, permute, step, b, g).
  KOKKOS_INLINE_FUNCTION void shuffle(int r, int b) const {
    const DrawKey key{in.params(r).seed, Stream::permute, in.step};
    for (int g = G - 1; g > 0; --g) {
      const Philox4 bits =
          draw_bits(key, static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(g));
      const int other =
          static_cast<int>(uniform_below(bits.x[0], static_cast<std::uint32_t>(g + 1)));
      const Scalar keep = diversity(r, b, g);
      diversity(r, b, g) = diversity(r, b, other);
      diversity(r, b, other) = keep;
    }
  }

  KOKKOS_INLINE_FUNCTION void fill_diversity(int r, int b) const {
    const ShapingParams& p = in.params(r);
    const int c = correct(r, b);
    switch (p.shaping) {
      case Shaping::unlikelihood: fill_unlikelihood(r, b); return;
      case Shaping::multiplicative_correct:
        for (int g = 0; g < G; ++g) {
          const bool counts = c > 1 && in.quality(r, b, g) > Scalar(0);
          diversity(r, b, g) =
              counts ? Scalar(c - in.cluster_size(r, b, g)) / Scalar(c - 1) : Scalar(0);
        }
        return;
      case Shaping::difficulty:
        for (int g = 0; g < G; ++g)
          diversity(r, b, g) = G > 1 ? Scalar(G - c) / Scalar(G - 1) : Scalar(0);
        return;
      case Shaping::ngram:
        for (int g = 0; g < G; ++g) diversity(r, b, g) = ngram_diversity(r, b, g, p.ngram_n);
        return;
      default:
        for (int g = 0; g < G; ++g) diversity(r, b, g) = partition_diversity(r, b, g);
        if (p.shaping == Shaping::permuted) shuffle(r, b);
    }
  }

  KOKKOS_INLINE_FUNCTION void additive_norm(int r, int b) const {
    const ShapingParams& p = in.params(r);
    const auto quality = [&](int g) { return double(in.quality(r, b, g)); };
    const auto diverse = [&](int g) { return double(floored(p, diversity(r, b, g))); };
    double q_mean, q_std, d_mean, d_std;
    moments(G, quality, q_mean, q_std);
    moments(G, diverse, d_mean, d_std);
    const auto z = [&](double x, double mean, double deviation) {
      return deviation > 1e-12 ? (x - mean) / (deviation + 1e-6) : 0.0;
    };
    for (int g = 0; g < G; ++g)
      reward(r, b, g) = static_cast<Scalar>(p.quality_weight * z(quality(g), q_mean, q_std) +
                                            p.diversity_weight * z(diverse(g), d_mean, d_std));
  }

  /// bias(q) (1 - penalty rank / n), rank by mean log-probability.
  KOKKOS_INLINE_FUNCTION void unlikeliness(int r, int b, Scalar lowest) const {
    const ShapingParams& p = in.params(r);
    double* key = row_of(workspace.group, r, b);
    for (int g = 0; g < G; ++g) key[g] = mean_log_prob(r, b, g);
    for (int g = 0; g < G; ++g)
      reward(r, b, g) = biased(p, in.quality(r, b, g), lowest) *
                        static_cast<Scalar>(1 - p.rank_penalty * rank_of(key, G, g) / G);
  }

  /// bias(q) over the soft count of the own cluster.
  KOKKOS_INLINE_FUNCTION void soft_count(int r, int b, Scalar lowest) const {
    for (int g = 0; g < G; ++g) {
      double count = 1;
      for (int j = 0; j < G; ++j)
        if (j != g) count += double(in.pair_score(r, b, g, j));
      reward(r, b, g) = static_cast<Scalar>(
          double(biased(in.params(r), in.quality(r, b, g), lowest)) / (count + 1e-6));
    }
  }

  KOKKOS_INLINE_FUNCTION bool valid(int r, int b, int g) const {
    return in.params(r).gapo_valid == GapoValid::correct
               ? in.quality(r, b, g) > Scalar(0)
               : in.finish(r, b, g) != static_cast<int>(Finish::invalid);
  }

  KOKKOS_INLINE_FUNCTION void frequency_aware(int r, int b) const {
    double* count = row_of(workspace.group, r, b);
    int total = 0;
    for (int g = 0; g < G; ++g) count[g] = 0;
    for (int g = 0; g < G; ++g)
      if (valid(r, b, g)) {
        count[in.cluster(r, b, g)] += 1;
        ++total;
      }
    for (int g = 0; g < G; ++g)
      reward(r, b, g) = valid(r, b, g)
                            ? static_cast<Scalar>(1 - (count[in.cluster(r, b, g)] / total -
                                                       1.0 / in.params(r).gapo_modes))
                            : Scalar(-1);
  }

  KOKKOS_INLINE_FUNCTION void sets(int r, int b, Scalar lowest) const {
    const ShapingParams& p = in.params(r);
    double* q = row_of(workspace.group, r, b);
    for (int g = 0; g < G; ++g) q[g] = double(biased(p, in.quality(r, b, g), lowest));
    set_rewards({p.seed, Stream::set_draw, in.step}, static_cast<std::uint32_t>(b), p.set_k, G, q,
                row_of(in.cluster, r, b), q + G, q + 2 * G, row_of(reward, r, b));
  }

  KOKKOS_INLINE_FUNCTION void relevance(int r, int b) const {
    double* score = row_of(workspace.group, r, b);
    marginal_relevance(in.params(r), row_of(in.quality, r, b), row_of(in.pair_score, r, b), G,
                       score, score + G);
    for (int g = 0; g < G; ++g) reward(r, b, g) = static_cast<Scalar>(score[g]);
  }

  KOKKOS_INLINE_FUNCTION void determinant(int r, int b) const {
    double* credit = row_of(workspace.group, r, b);
    logdet_credit(row_of(in.pair_score, r, b), G, row_of(workspace.matrix, r, b), credit + G,
                  credit);
    for (int g = 0; g < G; ++g)
      reward(r, b, g) =
          static_cast<Scalar>(double(in.quality(r, b, g)) + in.params(r).logdet_alpha * credit[g]);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int b = job % B;
    const int r = job / B;
    const ShapingParams& p = in.params(r);
    fill_diversity(r, b);
    Scalar lowest = in.quality(r, b, 0);
    for (int g = 0; g < G; ++g) {
      used(r, b, g) = 1;
      lowest = in.quality(r, b, g) < lowest ? in.quality(r, b, g) : lowest;
    }
    switch (p.shaping) {
      case Shaping::additive_norm: additive_norm(r, b); return;
      case Shaping::unlikeliness: unlikeliness(r, b, lowest); return;
      case Shaping::dra: soft_count(r, b, lowest); return;
      case Shaping::mmr: relevance(r, b); return;
      case Shaping::gapo: frequency_aware(r, b); return;
      case Shaping::set_rl: sets(r, b, lowest); return;
      case Shaping::logdet: determinant(r, b); return;
      default: break;
    }
    for (int g = 0; g < G; ++g) {
      const Scalar q = biased(p, in.quality(r, b, g), lowest);
      const Scalar d = diversity(r, b, g);
      if (is_count_reward(p.shaping)) {
        reward(r, b, g) = count_reward(p, q, d, in.cluster_size(r, b, g), G);
      } else {
        const bool bare = p.shaping == Shaping::ngram || p.shaping == Shaping::unlikelihood;
        reward(r, b, g) = q * (bare ? d : floored(p, d));
      }
    }
  }
};

template <class Scalar>
void shape_reward(const Exec& exec, const ShapingInputs<Scalar>& in,
                  const RewardWorkspace& workspace, const View3<Scalar>& diversity,
                  const View3<Scalar>& reward, const View3<int>& used,
                  const ShapingMethods& methods) {
  const int R = static_cast<int>(in.quality.extent(0));
  const int B = static_cast<int>(in.quality.extent(1));
  const int G = static_cast<int>(in.quality.extent(2));
  require_extents(in.cluster, "shape_reward", "cluster", "[R,B,G]", R, B, G);
  require_extents(in.cluster_size, "shape_reward", "cluster_size", "[R,B,G]", R, B, G);
  require_extents(in.pair_score, "shape_reward", "pair_score", "[R,B,G,G]", R, B, G, G);
  require_extents(in.finish, "shape_reward", "finish", "[R,B,G]", R, B, G);
  require_extents(workspace.group, "shape_reward", "workspace.group", "[R,B,4G]", R, B, 4 * G);
  require_extents(reward, "shape_reward", "reward", "[R,B,G]", R, B, G);
  Kokkos::parallel_for("motley::shaping::shape_reward", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
                       ShapeKernel<Scalar>{in, workspace, diversity, reward, used, B, G});
  for (const auto& method : methods) method->shape(exec, in, workspace, diversity, reward);
}

void count_negative_products(const Exec& exec, const ConstView1<ShapingParams>& params,
                             const ConstView3<float>& quality, const View1<int>& count) {
  const int B = static_cast<int>(quality.extent(1));
  const int G = static_cast<int>(quality.extent(2));
  Kokkos::parallel_for(
      "motley::shaping::count_negative_products",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(quality.extent(0))),
      KOKKOS_LAMBDA(const int r) {
        const ShapingParams& p = params(r);
        int found = 0;
        if (is_product(p.shaping) && p.reward_bias == RewardBias::none)
          for (int b = 0; b < B; ++b)
            for (int g = 0; g < G; ++g) found += quality(r, b, g) < 0.0f ? 1 : 0;
        count(r) = found;
      });
}

#define MOTLEY_INSTANTIATE(Scalar)                                                             \
  template void shape_reward<Scalar>(                                                          \
      const Exec&, const ShapingInputs<Scalar>&, const RewardWorkspace&, const View3<Scalar>&, \
      const View3<Scalar>&, const View3<int>&, const ShapingMethods&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
