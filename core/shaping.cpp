#include "core/shaping.hpp"

#include "core/base/math.hpp"
#include "core/base/rng.hpp"
#include "core/ngram.hpp"

namespace motley {

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
  ConstView1<ShapingParams> params;
  ConstView1<PartitionParams> partition_params;
  std::uint32_t step;
  ConstView3<Scalar> quality;
  ConstView3<int> cluster_size;
  ConstView4<float> pair_score;
  ConstView4<int> token;
  ConstView3<int> length;
  ConstView4<float> log_prob;
  View3<Scalar> diversity, reward;
  View3<int> used;
  int B, G;

  KOKKOS_INLINE_FUNCTION int correct(int r, int b) const {
    int count = 0;
    for (int g = 0; g < G; ++g) count += quality(r, b, g) > Scalar(0) ? 1 : 0;
    return count;
  }

  /// (n - |C|) / (n - 1), or 1 - mean_{j != i} P_ij where the linkage is soft.
  KOKKOS_INLINE_FUNCTION Scalar partition_diversity(int r, int b, int g) const {
    if (G < 2) return Scalar(0);
    if (partition_params(r).linkage == Linkage::soft) {
      double sum = 0;
      for (int j = 0; j < G; ++j)
        if (j != g) sum += pair_score(r, b, g, j);
      return static_cast<Scalar>(1.0 - sum / (G - 1));
    }
    return Scalar(G - cluster_size(r, b, g)) / Scalar(G - 1);
  }

  /// Share of n-grams found in no other completion of the group.
  KOKKOS_INLINE_FUNCTION Scalar ngram_diversity(int r, int b, int g, int n) const {
    const int* text = &token(r, b, g, 0);
    const int count = length(r, b, g) - n + 1;
    int unique = 0;
    for (int i = 0; i < count; ++i) {
      bool found = !first_occurrence(text, i, n);
      for (int j = 0; j < G && !found; ++j)
        found = j != g && contains_ngram(&token(r, b, j, 0), length(r, b, j), text + i, n);
      if (!found) ++unique;
    }
    return Scalar(unique) / Scalar(count > 1 ? count : 1);
  }

  KOKKOS_INLINE_FUNCTION double mean_log_prob(int r, int b, int g) const {
    double sum = 0;
    for (int t = 0; t < length(r, b, g); ++t) sum += log_prob(r, b, g, t);
    return length(r, b, g) > 0 ? sum / length(r, b, g) : 0.0;
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
    const DrawKey key{params(r).seed, Stream::permute, step};
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
    const ShapingParams& p = params(r);
    const int c = correct(r, b);
    switch (p.shaping) {
      case Shaping::unlikelihood: fill_unlikelihood(r, b); return;
      case Shaping::multiplicative_correct:
        for (int g = 0; g < G; ++g) {
          const bool counts = c > 1 && quality(r, b, g) > Scalar(0);
          diversity(r, b, g) =
              counts ? Scalar(c - cluster_size(r, b, g)) / Scalar(c - 1) : Scalar(0);
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

  /// Mean and population deviation of f(g) over the group, in double.
  template <class F>
  KOKKOS_INLINE_FUNCTION void moments(const F& f, double& mean, double& deviation) const {
    mean = 0;
    for (int g = 0; g < G; ++g) mean += f(g);
    mean /= G;
    double square = 0;
    for (int g = 0; g < G; ++g) square += (f(g) - mean) * (f(g) - mean);
    deviation = Kokkos::sqrt(square / G);
  }

  KOKKOS_INLINE_FUNCTION Scalar floored(int r, int b, int g) const {
    const Scalar floor = static_cast<Scalar>(params(r).floor);
    return diversity(r, b, g) > floor ? diversity(r, b, g) : floor;
  }

  KOKKOS_INLINE_FUNCTION void additive(int r, int b, bool normalised) const {
    const ShapingParams& p = params(r);
    double q_mean = 0, q_std = 1, d_mean = 0, d_std = 1;
    if (normalised) {
      moments([&](int g) { return double(quality(r, b, g)); }, q_mean, q_std);
      moments([&](int g) { return double(floored(r, b, g)); }, d_mean, d_std);
    }
    const auto z = [&](double x, double mean, double deviation) {
      if (!normalised) return x;
      return deviation > 1e-12 ? (x - mean) / (deviation + 1e-6) : 0.0;
    };
    for (int g = 0; g < G; ++g)
      reward(r, b, g) =
          static_cast<Scalar>(p.quality_weight * z(double(quality(r, b, g)), q_mean, q_std) +
                              p.diversity_weight * z(double(floored(r, b, g)), d_mean, d_std));
  }

  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int b = job % B;
    const int r = job / B;
    const ShapingParams& p = params(r);
    fill_diversity(r, b);
    for (int g = 0; g < G; ++g) used(r, b, g) = 1;
    if (p.shaping == Shaping::additive || p.shaping == Shaping::additive_norm) {
      additive(r, b, p.shaping == Shaping::additive_norm);
      return;
    }
    Scalar lowest = quality(r, b, 0);
    for (int g = 1; g < G; ++g) lowest = quality(r, b, g) < lowest ? quality(r, b, g) : lowest;
    for (int g = 0; g < G; ++g) {
      Scalar q = quality(r, b, g);
      Scalar factor = 1;
      switch (p.shaping) {
        case Shaping::none: break;
        case Shaping::ngram:
        case Shaping::unlikelihood: factor = diversity(r, b, g); break;
        case Shaping::multiplicative_sigmoid: factor = sigmoid(floored(r, b, g)); break;
        default: factor = floored(r, b, g);
      }
      if (p.shaping != Shaping::none) {
        if (p.reward_bias == RewardBias::group_min) q -= lowest;
        if (p.reward_bias == RewardBias::sigmoid) q = sigmoid(q);
      }
      reward(r, b, g) = q * factor;
    }
  }
};

template <class Scalar>
void shape_reward(const Exec& exec, const ConstView1<ShapingParams>& params,
                  const ConstView1<PartitionParams>& partition_params, std::uint32_t step,
                  const ConstView3<Scalar>& quality, const ConstView3<int>& cluster_size,
                  const ConstView4<float>& pair_score, const ConstView4<int>& token,
                  const ConstView3<int>& length, const ConstView4<float>& log_prob,
                  const View3<Scalar>& diversity, const View3<Scalar>& reward,
                  const View3<int>& used) {
  const int R = static_cast<int>(quality.extent(0));
  const int B = static_cast<int>(quality.extent(1));
  const int G = static_cast<int>(quality.extent(2));
  require_extents(cluster_size, "shape_reward", "cluster_size", "[R,B,G]", R, B, G);
  require_extents(reward, "shape_reward", "reward", "[R,B,G]", R, B, G);
  const ShapeKernel<Scalar> kernel{
      params, partition_params, step,      quality, cluster_size, pair_score, token,
      length, log_prob,         diversity, reward,  used,         B,          G};
  Kokkos::parallel_for("motley::shaping::shape_reward", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
                       kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                                \
  template void shape_reward<Scalar>(                                                             \
      const Exec&, const ConstView1<ShapingParams>&, const ConstView1<PartitionParams>&,          \
      std::uint32_t, const ConstView3<Scalar>&, const ConstView3<int>&, const ConstView4<float>&, \
      const ConstView4<int>&, const ConstView3<int>&, const ConstView4<float>&,                   \
      const View3<Scalar>&, const View3<Scalar>&, const View3<int>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
