#pragma once
/// Device bodies of core/sampling.hpp.

#include "core/sampling.hpp"

namespace motley {

namespace detail {

/// The kept set of a row: everything above `value`, and the first `ties` tokens equal to it.
template <class Scalar>
struct Cut {
  Scalar value;
  int ties;
};

/// Descending order statistic by bisection on the values present: the largest value x such that
/// weight{z >= x} >= wanted, where weight counts `mass(v)`. Exact: `low` and `high` end at
/// neighbouring row values, because each probe is moved to a value of the row.
template <class Scalar, class Mass>
KOKKOS_INLINE_FUNCTION Cut<Scalar> cut_at(const Scalar* z, int V, const Cut<Scalar>& outer,
                                          Scalar wanted, const Mass& mass) {
  // Walk down the distinct values from the top; stop at the first whose running weight suffices.
  // The number of distinct values walked is the size of the kept set, small in practice.
  Scalar above = std::numeric_limits<Scalar>::infinity();
  Scalar running = 0;
  while (true) {
    Scalar value = -std::numeric_limits<Scalar>::infinity();
    for (int v = 0; v < V; ++v)
      if (z[v] < above && z[v] > value) value = z[v];
    if (!(value > -std::numeric_limits<Scalar>::infinity())) return outer;
    const int limit = value == outer.value ? outer.ties : V;
    int ties = 0;
    for (int v = 0; v < V && ties < limit; ++v) {
      if (z[v] != value) continue;
      ++ties;
      running += mass(v);
      if (running >= wanted) return {value, ties};
    }
    if (value <= outer.value) return outer;
    above = value;
  }
}

}  // namespace detail

template <class Scalar>
KOKKOS_INLINE_FUNCTION TokenDraw draw_token(const Scalar* scaled, int V,
                                            const RowSoftmax<Scalar>& s, const SamplingParams& p,
                                            float u) {
  if (p.temperature <= 0) {
    int best = 0;
    for (int v = 1; v < V; ++v)
      if (scaled[v] > scaled[best]) best = v;
    return {best, 1.0f};
  }
  const auto probability = [&](int v) { return exp_or_zero(s.log_prob(scaled[v])); };

  detail::Cut<Scalar> cut{-std::numeric_limits<Scalar>::infinity(), V};
  const bool cuts = (p.top_k > 0 && p.top_k < V) || p.top_p < 1.0 || p.min_p > 0.0;
  const auto kept = [&](int v, int& ties_seen) {
    if (scaled[v] > cut.value) return true;
    if (scaled[v] < cut.value) return false;
    return ties_seen++ < cut.ties;
  };
  const auto kept_mass = [&]() {
    Scalar mass = 0;
    int ties = 0;
    for (int v = 0; v < V; ++v)
      if (kept(v, ties)) mass += probability(v);
    return mass;
  };
  if (p.top_k > 0 && p.top_k < V)
    cut = detail::cut_at(scaled, V, cut, Scalar(p.top_k), [](int) { return Scalar(1); });
  if (p.top_p < 1.0)
    cut = detail::cut_at(scaled, V, cut, static_cast<Scalar>(p.top_p) * kept_mass(), probability);
  if (p.min_p > 0.0) {
    const Scalar bar = s.top + Kokkos::log(static_cast<Scalar>(p.min_p));
    if (bar > cut.value) {
      // The smallest row value at or above the bar, with all its ties.
      Scalar lowest = s.top;
      for (int v = 0; v < V; ++v)
        if (scaled[v] >= bar && scaled[v] < lowest) lowest = scaled[v];
      if (lowest > cut.value) cut = {lowest, V};
    }
  }

  // Kept mass, summed in token order, is also the last cumulative value.
  const Scalar total = kept_mass();
  const Scalar target = static_cast<Scalar>(u) * total;
  Scalar cumulative = 0;
  int last_positive = 0;
  int ties = 0;
  for (int v = 0; v < V; ++v) {
    if (!kept(v, ties)) continue;
    const Scalar mass = probability(v);
    if (!(mass > Scalar(0))) continue;
    cumulative += mass;
    last_positive = v;
    if (target < cumulative) break;
  }
  return {last_positive, cuts ? static_cast<float>(total) : 1.0f};
}

}  // namespace motley
