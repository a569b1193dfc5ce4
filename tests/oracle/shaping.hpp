#pragma once
/// Diversity and shaped reward of one group in plain double. Includes nothing of motley.

#include "tests/oracle/shaping_methods.hpp"

namespace oracle {

/// z-scores of a group, ddof 0, 0 where all are equal.
inline Doubles z_scores(const Doubles& x) {
  Doubles out;
  for (const double value : x)
    out.push_back(deviation(x, 0) > 1e-12 ? (value - mean(x)) / (deviation(x, 0) + 1e-6) : 0.0);
  return out;
}

/// Share of a text's n-grams that are in no other text (unique ones over all positions).
inline Doubles own_ngrams(const std::vector<std::vector<int>>& text, int n) {
  std::vector<std::set<std::vector<int>>> grams;
  for (const auto& words : text) {
    grams.emplace_back();
    for (int i = 0; i + n <= static_cast<int>(words.size()); ++i)
      grams.back().insert({words.begin() + i, words.begin() + i + n});
  }
  Doubles out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int own = 0;
    for (const auto& gram : grams[i]) {
      bool shared = false;
      for (std::size_t j = 0; j < text.size(); ++j)
        shared = shared || (j != i && grams[j].count(gram));
      own += shared ? 0 : 1;
    }
    out.push_back(own / std::max(1.0, static_cast<double>(text[i].size()) - n + 1));
  }
  return out;
}

inline Doubles diversity_of(const GroupOfCompletions& x, const ShapingKnobs& k) {
  const double n = static_cast<double>(x.quality.size());
  const double correct = static_cast<double>(
      std::count_if(x.quality.begin(), x.quality.end(), [](double q) { return q > 0; }));
  Doubles out(x.quality.size(), 0.0);
  if (k.shaping == "ngram") return own_ngrams(x.text, k.ngram);
  if (k.shaping == "unlikelihood") {
    Doubles l;
    for (const auto& tokens : x.log_prob) l.push_back(tokens.empty() ? 0.0 : mean(tokens));
    const double low = *std::min_element(l.begin(), l.end());
    const double high = *std::max_element(l.begin(), l.end());
    for (std::size_t i = 0; i < l.size(); ++i)
      out[i] = high > low ? 1 - (l[i] - low) / (high - low) : 0.5;
    return out;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (k.shaping == "multiplicative_correct")
      out[i] = correct > 1 && x.quality[i] > 0 ? (correct - x.cluster_size[i]) / (correct - 1) : 0;
    else if (k.shaping == "difficulty")
      out[i] = n > 1 ? (n - correct) / (n - 1) : 0;
    else if (n > 1 && x.soft)
      out[i] = 1 - (sum(x.pair_score[i]) - x.pair_score[i][i]) / (n - 1);
    else if (n > 1)
      out[i] = (n - x.cluster_size[i]) / (n - 1);
  }
  return out;
}

/// Every shaping but `permuted`, whose draws are motley's own.
inline ShapedGroup shape(const GroupOfCompletions& x, const ShapingKnobs& k) {
  ShapedGroup out{diversity_of(x, k), {}};
  Doubles floored, q = x.quality;
  for (const double d : out.diversity) floored.push_back(std::max(d, k.floor));
  if (k.shaping == "additive" || k.shaping == "additive_norm") {
    if (k.shaping == "additive_norm") {
      q = z_scores(q);
      floored = z_scores(floored);
    }
    for (std::size_t i = 0; i < q.size(); ++i)
      out.reward.push_back(k.quality_weight * q[i] + k.diversity_weight * floored[i]);
    return out;
  }
  const double low = *std::min_element(q.begin(), q.end());
  for (std::size_t i = 0; i < q.size(); ++i) {
    if (!multiplies(k.shaping)) continue;
    if (k.bias == "group_min") q[i] -= low;
    if (k.bias == "sigmoid") q[i] = 1 / (1 + std::exp(-q[i]));
  }
  if (k.shaping == "none" || acts_on_advantage(k.shaping)) return {out.diversity, q};
  if (is_method(k.shaping)) return {out.diversity, method_rewards(x, k, q)};
  for (std::size_t i = 0; i < q.size(); ++i) {
    double factor = floored[i];
    if (k.shaping == "ngram" || k.shaping == "unlikelihood") factor = out.diversity[i];
    if (k.shaping == "multiplicative_sigmoid") factor = 1 / (1 + std::exp(-floored[i]));
    out.reward.push_back(q[i] * factor);
  }
  return out;
}

}  // namespace oracle
