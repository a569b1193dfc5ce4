#pragma once
/// The distribution left by temperature, top-k, top-p and min-p, by sorting; and Philox with
/// Box-Muller, word by word.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace oracle {

struct Cuts {
  double temperature = 1, top_p = 1, min_p = 0;
  int top_k = 0;
};

struct Truncated {
  std::vector<double> p;     ///< renormalised over the kept tokens, 0 elsewhere
  std::vector<double> full;  ///< softmax of logits / temperature
  double kept_mass = 0;
};

inline std::vector<double> softmax(const std::vector<double>& logits, double temperature) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0;
  for (const double z : logits) p.push_back(std::exp((z - top) / temperature));
  for (const double x : p) sum += x;
  for (double& x : p) x /= sum;
  return p;
}

inline Truncated truncated(const std::vector<double>& logits, const Cuts& c) {
  Truncated out;
  const std::size_t n = logits.size();
  out.full = softmax(logits, c.temperature > 0 ? c.temperature : 1.0);
  out.p.assign(n, 0.0);
  // Likeliest first, smaller ids first among equals.
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (c.temperature == 0) {
    out.p[order[0]] = 1;
    out.kept_mass = 1;
    return out;
  }
  if (c.top_k > 0 && static_cast<std::size_t>(c.top_k) < n)
    order.resize(static_cast<std::size_t>(c.top_k));
  if (c.top_p < 1) {
    double mass = 0, running = 0;
    for (const std::size_t v : order) mass += out.full[v];
    std::size_t kept = 0;
    while (kept < order.size() && running < c.top_p * mass) running += out.full[order[kept++]];
    order.resize(kept);
  }
  std::vector<std::size_t> kept;
  for (const std::size_t v : order)
    if (out.full[v] >= c.min_p * out.full[order[0]]) kept.push_back(v);
  for (const std::size_t v : kept) out.kept_mass += out.full[v];
  for (const std::size_t v : kept) out.p[v] = out.full[v] / out.kept_mass;
  return out;
}

/// Philox4x32-10 of Salmon et al., written from the paper's figure.
inline void philox(std::uint32_t (&c)[4], std::uint64_t key) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const unsigned long long a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
    const std::uint32_t next[4] = {
        static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
    std::copy(next, next + 4, c);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// Normal variate at (seed, stream, step, item, position).
inline double normal(std::uint64_t seed, std::uint32_t stream, std::uint32_t step,
                     std::uint32_t item, std::uint32_t position) {
  std::uint32_t c[4] = {position, item, step, stream};
  philox(c, seed);
  const double u = (c[0] + 0.5) / 4294967296.0, angle = 2 * std::acos(-1.0) * c[1] / 4294967296.0;
  return std::sqrt(-2 * std::log(u)) * std::cos(angle);
}

}  // namespace oracle
