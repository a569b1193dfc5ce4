#pragma once
/// Advantages of a batch of groups in plain double, sets by enumeration. Includes nothing of
/// motley.

#include "tests/oracle/shaping.hpp"

namespace oracle {

struct AdvantageKnobs {
  std::string estimator = "dr_grpo", baseline = "mean", norm = "none";
  double eps = 1e-6;
  int k = 4;
  std::string pkpo = "sloo_minus_one";
  double positive_weight = 0.1;
};

inline double largest(const Doubles& r, const Ints& set, int skip) {
  double out = -1e300;
  for (const int j : set)
    if (j != skip) out = std::max(out, r[static_cast<std::size_t>(j)]);
  return out;
}

/// (1/C(n,k)) sum over the k-sets S that hold i of f(S).
inline double per_set(int n, int k, int i, const std::function<double(const Ints&)>& f) {
  double total = 0, sets = 0;
  for_each_set(n, k, [&](const Ints& set) {
    ++sets;
    if (std::count(set.begin(), set.end(), i)) total += f(set);
  });
  return total / sets;
}

inline Doubles pkpo(const Doubles& r, int k, const std::string& form) {
  const int n = static_cast<int>(r.size());
  k = std::min(k, n);
  Doubles out;
  for (int i = 0; i < n; ++i) {
    const double own = r[static_cast<std::size_t>(i)];
    Doubles others = r;
    others.erase(others.begin() + i);
    double value = per_set(n, k, i, [&](const Ints& set) { return largest(r, set, -1); });
    if (form == "sloo_minus_one" && k > 1)
      value = per_set(n, k, i,
                      [&](const Ints& set) { return largest(r, set, -1) - largest(r, set, i); });
    else if (form == "sloo_minus_one" && n > 1)
      value = (own - mean(others)) / n;
    else if (form == "sloo" && k < n)
      for (int j = 0; j < n - 1; ++j)
        value -= per_set(n - 1, k, j, [&](const Ints& set) { return largest(others, set, -1); }) /
                 (n - 1);
    out.push_back(value);
  }
  return out;
}

/// P(some member of a random k-set is correct) among n with these flags, by counting the sets.
inline double pass_rate(const Ints& correct, int k) {
  double sets = 0, pass = 0;
  for_each_set(static_cast<int>(correct.size()), k, [&](const Ints& set) {
    ++sets;
    bool any = false;
    for (const int j : set) any = any || correct[static_cast<std::size_t>(j)] != 0;
    pass += any ? 1 : 0;
  });
  return pass / sets;
}

/// R over all k-sets, the share of them with i in it: A = (E[pass | i in S] - R) / s.
inline Doubles pass_at_k_training(const Ints& correct, int k, double eps) {
  const int n = static_cast<int>(correct.size());
  k = std::min(k, n);
  const double R = pass_rate(correct, k), s = std::sqrt(R * (1 - R));
  Doubles out;
  for (int i = 0; i < n; ++i) {
    Ints others = correct;
    others.erase(others.begin() + i);
    const double with = correct[static_cast<std::size_t>(i)] != 0 ? 1
                        : k > 1                                   ? pass_rate(others, k - 1)
                                                                  : 0;
    out.push_back(s == 0 ? 0 : (with - R) / (s + eps));
  }
  return out;
}

inline Doubles credits(const GroupOfCompletions& x, const ShapedGroup& shaped,
                       const ShapingKnobs& s, const AdvantageKnobs& a) {
  const Doubles& r = shaped.reward;
  const std::size_t n = r.size();
  Ints correct;
  for (const double q : x.quality) correct.push_back(q > 0 ? 1 : 0);
  Doubles u = r;
  if (a.estimator == "psr")
    for (std::size_t i = 0; i < n; ++i) u[i] = correct[i];
  if (a.estimator == "nsr")
    for (std::size_t i = 0; i < n; ++i) u[i] = correct[i] - 1;
  if (a.estimator == "w_reinforce")
    for (std::size_t i = 0; i < n; ++i) u[i] = correct[i] != 0 ? a.positive_weight : -1;
  if (a.estimator == "passk") u = pass_at_k_training(correct, a.k, a.eps);
  if (a.estimator == "pkpo") u = pkpo(r, a.k, a.pkpo);
  const double centre = n > 1 ? mean(r) : 0;
  if (a.estimator == "maxrl")
    for (double& v : u) v = centre > 0 && !all_equal(r) ? (v - centre) / (centre + a.eps) : 0;
  if (a.estimator == "grpo_passk") {
    Doubles sorted = r;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const auto best = std::max_element(r.begin(), r.end()) - r.begin();
    for (std::size_t i = 0; i < n; ++i)
      u[i] = n > 1 && static_cast<long>(i) == best ? sorted[0] - sorted[1] : 0;
  }
  if (a.estimator == "opo") {
    double weight = 0, total = 0;
    for (std::size_t i = 0; i < n; ++i) {
      weight += static_cast<double>(x.text[i].size());
      total += static_cast<double>(x.text[i].size()) * r[i];
    }
    for (std::size_t i = 0; i < n; ++i)
      u[i] = all_equal(r) ? 0 : r[i] - (weight > 0 ? total / weight : centre);
  }
  if (a.estimator == "gdpo")
    for (std::size_t i = 0; i < n; ++i) {
      const auto z = [&](const Doubles& v) {
        return n < 2 || all_equal(v) ? 0 : (v[i] - mean(v)) / (deviation(v, 1) + a.eps);
      };
      u[i] = s.quality_weight * z(x.quality) + s.diversity_weight * z(shaped.diversity);
    }
  return u;
}

/// The group without one completion; sizes counted anew from the labels.
inline GroupOfCompletions group_without(const GroupOfCompletions& x, std::size_t drop) {
  GroupOfCompletions out = x;
  const auto at = static_cast<long>(drop);
  const auto cut = [&](auto& v) {
    if (!v.empty()) v.erase(v.begin() + at);
  };
  cut(out.quality);
  cut(out.text);
  cut(out.log_prob);
  cut(out.label);
  cut(out.invalid);
  cut(out.history);
  out.pair_score = without(x.pair_score, drop);
  out.cluster_size.clear();
  for (const int l : out.label)
    out.cluster_size.push_back(static_cast<int>(std::count(out.label.begin(), out.label.end(), l)));
  return out;
}

inline Doubles centred(const GroupOfCompletions& x, const Doubles& u, const ShapingKnobs& s,
                       const std::string& baseline) {
  const std::size_t n = u.size();
  Doubles out = u;
  if (n < 2 || baseline == "none") return out;
  for (std::size_t i = 0; i < n; ++i) {
    Doubles others = u;
    others.erase(others.begin() + static_cast<long>(i));
    if (baseline == "mean") out[i] = u[i] - mean(u);
    if (baseline == "loo") out[i] = u[i] - mean(others);
    if (baseline == "loo_partition") out[i] = u[i] - mean(shape(group_without(x, i), s).reward);
    if (baseline != "loo_partition" && all_equal(u)) out[i] = 0;
  }
  return out;
}

inline Doubles bonuses(const GroupOfCompletions& x, const ShapingKnobs& s) {
  const std::size_t n = x.quality.size();
  Doubles b;
  for (std::size_t i = 0; i < n; ++i) {
    const int count = x.history[i] + (s.including ? x.cluster_size[i] : 0);
    b.push_back(std::min(1.0, 1 / std::sqrt(count)));  // 1/0 is infinite: the bonus is 1
    if (s.shaping == "batch") {
      b[i] = 0;
      for (std::size_t j = 0; j < n; ++j)
        b[i] -= j != i && x.label[j] == x.label[i] ? 1.0 / static_cast<double>(n) : 0;
    }
  }
  const Doubles plain = b;
  for (std::size_t i = 0; i < n; ++i) {
    if (s.shaping == "ucb_con") b[i] -= s.b0;
    if (s.shaping == "ucb_mean" && n > 1)
      b[i] -= (sum(plain) - plain[i]) / (static_cast<double>(n) - 1);
  }
  return b;
}

/// Advantages of all groups of a replica. Groups with used = 0 get 0 and count for nothing.
inline std::vector<Doubles> advantages(const std::vector<GroupOfCompletions>& groups,
                                       const std::vector<ShapedGroup>& shaped, const Ints& used,
                                       const ShapingKnobs& s, const AdvantageKnobs& a) {
  std::vector<Doubles> out, u;
  Doubles batch;
  for (std::size_t b = 0; b < groups.size(); ++b) {
    u.push_back(credits(groups[b], shaped[b], s, a));
    if (used[b] != 0) batch.insert(batch.end(), u[b].begin(), u[b].end());
  }
  for (std::size_t b = 0; b < groups.size(); ++b) {
    const GroupOfCompletions& x = groups[b];
    const Doubles& r = shaped[b].reward;
    const std::size_t n = r.size();
    Doubles v = centred(x, u[b], s, a.baseline);
    for (std::size_t i = 0; i < n; ++i) {
      double scale = 1;
      Doubles others = r;
      others.erase(others.begin() + static_cast<long>(i));
      if (a.norm == "group") scale = (n < 2 ? 1.0 : all_equal(r) ? 0.0 : deviation(r, 1)) + a.eps;
      if (a.norm == "batch") scale = (batch.size() > 1 ? deviation(batch, 1) : 1.0) + a.eps;
      if (a.norm == "loo" && n > 2 && !all_equal(others)) scale = deviation(others, 1) + a.eps;
      v[i] = v[i] == 0 ? 0 : v[i] / scale;
      if (s.shaping == "uniqueness") v[i] /= std::pow(x.cluster_size[i], s.uniqueness_alpha);
    }
    const bool unsolved =
        std::any_of(x.quality.begin(), x.quality.end(), [](double q) { return q <= 0; });
    if (acts_on_advantage(s.shaping) && s.shaping != "uniqueness" && unsolved) {
      const Doubles bonus = bonuses(x, s);
      for (std::size_t i = 0; i < n; ++i) v[i] += s.bonus * bonus[i];
    }
    out.push_back(used[b] != 0 ? v : Doubles(n, 0.0));
  }
  return out;
}

}  // namespace oracle
