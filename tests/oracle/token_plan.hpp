#pragma once
/// Which tokens a loss leaves out or penalises, in plain doubles: everything is sorted.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace motley::oracle {

/// One counted token of a minibatch, in the order (prompt, completion, position).
struct PlanToken {
  double advantage, new_log_prob, old_log_prob, entropy;
  std::uint32_t draw;  ///< of Clip-Cov
};

/// (A - mean A) (ln pi - mean ln pi), arXiv 2505.22617 eq. 10.
inline std::vector<double> covariances(const std::vector<PlanToken>& tokens) {
  double a = 0, l = 0;
  for (const PlanToken& t : tokens) {
    a += t.advantage;
    l += t.new_log_prob;
  }
  const double n = static_cast<double>(tokens.size());
  std::vector<double> out;
  for (const PlanToken& t : tokens) out.push_back((t.advantage - a / n) * (t.new_log_prob - l / n));
  return out;
}

/// The first `count` of `candidates` in falling order of value; the earlier of equals first.
template <class Value>
std::vector<int> first_of(std::vector<int> candidates, const std::vector<Value>& value,
                          std::size_t count) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](int i, int j) { return value[i] > value[j]; });
  candidates.resize(std::min(count, candidates.size()));
  return candidates;
}

inline std::vector<int> all_of(const std::vector<PlanToken>& tokens) {
  std::vector<int> out(tokens.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int>(i);
  return out;
}

inline std::vector<int> kl_cov(const std::vector<PlanToken>& tokens, double fraction) {
  std::vector<float> value;
  for (const double c : covariances(tokens)) value.push_back(static_cast<float>(c));
  const double count = std::floor(static_cast<double>(tokens.size()) * fraction);
  return first_of(all_of(tokens), value, static_cast<std::size_t>(std::max(1.0, count)));
}

inline std::vector<int> clip_cov(const std::vector<PlanToken>& tokens, double ratio, double lower,
                                 double upper, double clip_low, double clip_high) {
  const std::vector<double> c = covariances(tokens);
  std::vector<int> candidates;
  std::vector<std::uint32_t> draw;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const PlanToken& t = tokens[i];
    draw.push_back(t.draw);
    const double rho = std::exp(t.new_log_prob - t.old_log_prob);
    const bool clipped =
        (t.advantage > 0 && rho > 1 + clip_high) || (t.advantage < 0 && rho < 1 - clip_low);
    if (c[i] > lower && c[i] < upper && !clipped) candidates.push_back(static_cast<int>(i));
  }
  const double count = std::round(ratio * static_cast<double>(tokens.size()));
  return first_of(candidates, draw, static_cast<std::size_t>(std::max(1.0, count)));
}

/// The tokens that keep their loss.
inline std::vector<int> top_entropy(const std::vector<PlanToken>& tokens, int kept) {
  std::vector<double> value;
  for (const PlanToken& t : tokens) value.push_back(t.entropy);
  return first_of(all_of(tokens), value, static_cast<std::size_t>(kept));
}

}  // namespace motley::oracle
