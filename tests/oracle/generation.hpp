#pragma once
/// Length penalty, divergence in the reward, importance weights and dynamic sampling, written as
/// the papers say them.

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace oracle {

/// DAPO's soft overlong punishment.
inline double overlong(int length, int max_length, int cache) {
  if (max_length == 0) return 0;
  if (length <= max_length - cache) return 0;
  if (length <= max_length) return static_cast<double>((max_length - cache) - length) / cache;
  return -1;
}

/// Divergence of a completion, summed over its tokens.
inline double divergence(const std::string& estimator, const std::vector<double>& old_log_prob,
                         const std::vector<double>& ref_log_prob) {
  double sum = 0;
  for (std::size_t t = 0; t < old_log_prob.size(); ++t) {
    const double d = old_log_prob[t] - ref_log_prob[t];
    if (estimator == "k1") sum += d;
    if (estimator == "k2") sum += d * d / 2;
    if (estimator == "abs") sum += std::abs(d);
    if (estimator == "k3") {
      const double x = std::clamp(-d, -20.0, 20.0);
      sum += std::min(std::exp(x) - x - 1, 10.0);
    }
  }
  return sum;
}

/// Weight of token t of a completion.
inline double importance(const std::string& correction, const std::string& level, double cap,
                         const std::vector<double>& old_log_prob,
                         const std::vector<double>& sampler_log_prob, std::size_t t) {
  if (correction == "none") return 1;
  double x = 0;
  if (level == "token") {
    x = old_log_prob[t] - sampler_log_prob[t];
  } else {
    for (std::size_t i = 0; i < old_log_prob.size(); ++i)
      x += old_log_prob[i] - sampler_log_prob[i];
    if (level == "geometric") x /= static_cast<double>(old_log_prob.size());
  }
  const double w = std::exp(std::clamp(x, -20.0, 20.0));
  if (correction == "tis") return std::min(w, cap);
  return w < 1 / cap || w > cap ? 0 : w;
}

/// One replica's step of dynamic sampling: `group(attempt, b)` draws the group of a slot and says
/// whether it is good and how many tokens it has.
struct Drawn {
  bool good;
  double tokens;
};
struct Filtered {
  std::vector<int> attempt_of;  ///< [B] whose group the slot holds in the end
  std::vector<int> good;        ///< [B]
  int batches = 1;
  double redrawn = 0;
};
inline Filtered filter(int B, int max_batches, const std::function<Drawn(int, int)>& group) {
  Filtered out;
  for (int b = 0; b < B; ++b) {
    int attempt = 0;
    Drawn drawn = group(0, b);
    while (!drawn.good && attempt + 1 < max_batches) {
      out.redrawn += drawn.tokens;
      drawn = group(++attempt, b);
    }
    out.attempt_of.push_back(attempt);
    out.good.push_back(drawn.good ? 1 : 0);
    out.batches = std::max(out.batches, attempt + 1);
  }
  return out;
}

}  // namespace oracle
