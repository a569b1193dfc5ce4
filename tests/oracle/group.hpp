#pragma once
/// One group of completions and its elementary statistics. Includes nothing of motley.

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

namespace oracle {

using Doubles = std::vector<double>;
using Ints = std::vector<int>;

struct GroupOfCompletions {
  Doubles quality;
  std::vector<int> cluster_size;
  std::vector<Doubles> pair_score;
  std::vector<std::vector<int>> text;  ///< counted tokens
  std::vector<Doubles> log_prob;       ///< of the counted tokens
  bool soft = false;
  Ints label;    ///< equal iff in one cluster
  Ints invalid;  ///< 1 = malformed
  Ints history;  ///< earlier completions of the class
};

struct ShapingKnobs {
  std::string shaping, bias;
  double floor = 0.1, quality_weight = 1, diversity_weight = 1;
  int ngram = 4;
  double rank_penalty = 0.25, ips_alpha = 1, ips_eps = 1e-6, uniqueness_alpha = 0.5;
  double bonus = 1, b0 = 0.5;
  bool including = false, mmr_std = false, gapo_correct = false;
  double mmr_lambda = 0.7;
  int gapo_modes = 5, coverage_k = 4, set_k = 4;
  double coverage_lambda = 0.5, logdet_alpha = 1, entropy_alpha = 0.1;
};

struct ShapedGroup {
  Doubles diversity, reward;
};

inline double sum(const Doubles& x) {
  return std::accumulate(x.begin(), x.end(), 0.0);
}
inline double mean(const Doubles& x) {
  return sum(x) / static_cast<double>(x.size());
}
inline double deviation(const Doubles& x, int ddof) {
  double square = 0;
  for (const double value : x) square += (value - mean(x)) * (value - mean(x));
  return std::sqrt(square / (static_cast<double>(x.size()) - ddof));
}
inline bool all_equal(const Doubles& x) {
  return std::all_of(x.begin(), x.end(), [&](double v) { return v == x[0]; });
}

/// Calls f(set) for every set of k of 0..n-1, ascending.
inline void for_each_set(int n, int k, const std::function<void(const Ints&)>& f) {
  Ints set;
  const std::function<void(int)> extend = [&](int from) {
    if (static_cast<int>(set.size()) == k) return f(set);
    for (int i = from; i < n; ++i) {
      set.push_back(i);
      extend(i + 1);
      set.pop_back();
    }
  };
  extend(0);
}

}  // namespace oracle
