#pragma once
/// Rewards of the methods that are no product with Div, by enumeration wherever a set is meant.
/// Includes nothing of motley.

#include "tests/oracle/group.hpp"

namespace oracle {

inline bool one_of(const std::string& x, const std::set<std::string>& names) {
  return names.count(x) > 0;
}
inline bool acts_on_advantage(const std::string& shaping) {
  return one_of(shaping, {"uniqueness", "ucb", "ucb_mean", "ucb_con", "batch"});
}
inline bool is_method(const std::string& shaping) {
  return one_of(shaping, {"unlikeliness", "ips", "dra", "mmr", "gapo", "coverage", "set_rl",
                          "logdet", "outcome_entropy"});
}
/// The shapings that take a biased quality.
inline bool multiplies(const std::string& shaping) {
  return !acts_on_advantage(shaping) &&
         !one_of(shaping, {"none", "mmr", "gapo", "logdet", "outcome_entropy"});
}

/// Determinant by elimination with pivots.
inline double determinant(std::vector<Doubles> m) {
  double out = 1;
  for (std::size_t c = 0; c < m.size(); ++c) {
    std::size_t p = c;
    for (std::size_t i = c; i < m.size(); ++i)
      if (std::abs(m[i][c]) > std::abs(m[p][c])) p = i;
    if (m[p][c] == 0) return 0;
    if (p != c) out = -out;
    std::swap(m[p], m[c]);
    out *= m[c][c];
    for (std::size_t i = c + 1; i < m.size(); ++i) {
      const double f = m[i][c] / m[c][c];
      for (std::size_t j = c; j < m.size(); ++j) m[i][j] -= f * m[c][j];
    }
  }
  return out;
}

/// The matrix without one row and column; size() = with all.
inline std::vector<Doubles> without(const std::vector<Doubles>& m, std::size_t drop) {
  std::vector<Doubles> out;
  for (std::size_t i = 0; i < m.size(); ++i) {
    if (i == drop) continue;
    out.emplace_back();
    for (std::size_t j = 0; j < m.size(); ++j)
      if (j != drop) out.back().push_back(m[i][j]);
  }
  return out;
}

/// Sylvester: every leading minor is positive.
inline bool positive_definite(const std::vector<Doubles>& m) {
  for (std::size_t n = 1; n <= m.size(); ++n) {
    std::vector<Doubles> lead;
    for (std::size_t i = 0; i < n; ++i)
      lead.emplace_back(m[i].begin(), m[i].begin() + static_cast<long>(n));
    if (determinant(lead) <= 0) return false;
  }
  return true;
}

inline Doubles logdet_credits(const std::vector<Doubles>& similarity) {
  const std::size_t n = similarity.size();
  std::vector<Doubles> m;
  for (int eighth = 0; eighth <= 8; ++eighth) {
    m = similarity;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) m[i][j] = i == j ? 2 : m[i][j] * (1 - eighth / 8.0);
    if (positive_definite(m)) break;
  }
  Doubles out;
  for (std::size_t i = 0; i < n; ++i)
    out.push_back(std::log(determinant(m)) - std::log(n > 1 ? determinant(without(m, i)) : 1.0));
  return out;
}

inline Doubles relevance(const GroupOfCompletions& x, const ShapingKnobs& k, const Doubles& q) {
  const double spread = deviation(q, 0);
  double lambda = k.mmr_lambda;
  if (k.mmr_std) lambda = 1 - 1 / (1 + spread / (std::abs(mean(q)) + 1e-8));
  std::vector<std::size_t> chosen;
  Doubles out(q.size());
  while (chosen.size() < q.size()) {
    std::size_t best = q.size();
    double best_score = 0;
    for (std::size_t i = 0; i < q.size(); ++i) {
      if (std::count(chosen.begin(), chosen.end(), i)) continue;
      double nearest = -1, score = q[i];
      for (const std::size_t j : chosen) nearest = std::max(nearest, x.pair_score[i][j]);
      if (!chosen.empty()) score = lambda * q[i] - (1 - lambda) * nearest;
      if (best == q.size() || score > best_score) {
        best = i;
        best_score = score;
      }
    }
    chosen.push_back(best);
    out[best] = best_score;
  }
  if (k.mmr_std) {
    const double m = mean(out), s = deviation(out, 0);
    for (double& r : out) r = s > 1e-12 ? (r - m) / s * spread + mean(q) : mean(q);
  }
  return out;
}

/// P(no other member of i's cluster in a random k-set with i), by counting the sets.
inline double alone_in_a_set(const GroupOfCompletions& x, int i, int k) {
  double sets = 0, alone = 0;
  for_each_set(static_cast<int>(x.label.size()), k, [&](const Ints& set) {
    if (!std::count(set.begin(), set.end(), i)) return;
    ++sets;
    bool other = false;
    for (const int j : set)
      other = other || (j != i && x.label[static_cast<std::size_t>(j)] ==
                                      x.label[static_cast<std::size_t>(i)]);
    alone += other ? 0 : 1;
  });
  return alone / sets;
}

/// Mean of f(S) = mean quality x distinct share over the k-sets that hold i.
inline Doubles set_means(const GroupOfCompletions& x, const Doubles& q, int k) {
  Doubles total(q.size(), 0), times(q.size(), 0);
  for_each_set(static_cast<int>(q.size()), k, [&](const Ints& set) {
    std::set<int> distinct;
    double value = 0;
    for (const int j : set) {
      distinct.insert(x.label[static_cast<std::size_t>(j)]);
      value += q[static_cast<std::size_t>(j)] / k;
    }
    for (const int j : set) {
      total[static_cast<std::size_t>(j)] += value * static_cast<double>(distinct.size()) / k;
      times[static_cast<std::size_t>(j)] += 1;
    }
  });
  for (std::size_t i = 0; i < q.size(); ++i) total[i] /= times[i];
  return total;
}

/// \param q quality, biased where the method multiplies it
inline Doubles method_rewards(const GroupOfCompletions& x, const ShapingKnobs& k,
                              const Doubles& q) {
  const std::size_t count = q.size();
  const double n = static_cast<double>(count);
  Doubles out(count);
  if (k.shaping == "mmr") return relevance(x, k, q);
  if (k.shaping == "set_rl") return set_means(x, q, std::min(k.set_k, static_cast<int>(count)));
  if (k.shaping == "unlikeliness") {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < count; ++i)
      order.push_back({x.log_prob[i].empty() ? 0.0 : mean(x.log_prob[i]), i});
    std::sort(order.begin(), order.end());
    for (std::size_t rank = 0; rank < count; ++rank) {
      const std::size_t i = order[rank].second;
      out[i] = q[i] * (1 - k.rank_penalty * static_cast<double>(rank) / n);
    }
    return out;
  }
  const Doubles credit = k.shaping == "logdet" ? logdet_credits(x.pair_score) : Doubles(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double share = x.cluster_size[i] / n;
    const auto valid = [&](std::size_t j) { return k.gapo_correct ? q[j] > 0 : x.invalid[j] == 0; };
    if (k.shaping == "ips") out[i] = q[i] / std::max(std::pow(share, k.ips_alpha), k.ips_eps);
    if (k.shaping == "dra") out[i] = q[i] / (sum(x.pair_score[i]) + 1e-6);
    if (k.shaping == "logdet") out[i] = q[i] + k.logdet_alpha * credit[i];
    if (k.shaping == "outcome_entropy") out[i] = q[i] - k.entropy_alpha * std::log(share);
    if (k.shaping == "coverage") {
      const int size = std::min(k.coverage_k, static_cast<int>(count));
      out[i] = q[i] * (1 - k.coverage_lambda +
                       k.coverage_lambda * alone_in_a_set(x, static_cast<int>(i), size));
    }
    if (k.shaping == "gapo") {
      double mine = 0, all = 0;
      for (std::size_t j = 0; j < count; ++j) {
        all += valid(j) ? 1 : 0;
        mine += valid(j) && x.label[j] == x.label[i] ? 1 : 0;
      }
      out[i] = valid(i) ? 1 - mine / all + 1.0 / k.gapo_modes : -1;
    }
  }
  return out;
}

}  // namespace oracle
