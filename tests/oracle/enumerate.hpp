#pragma once
/// All completions of a decoder by plain recursion in double. Includes nothing of motley.

#include <functional>
#include <vector>

#include "tests/oracle/transformer.hpp"

namespace oracle {

using Leaf = std::function<void(const std::vector<int>& completion, double probability)>;

/// Calls `leaf` for every completion of `prompt` of at most T tokens, ended by `eos` or by T, whose
/// prefixes are all at least `least` probable.
inline void enumerate(const Llama& m, const std::vector<int>& prompt, int T, int eos,
                      double temperature, double least, const Leaf& leaf) {
  std::vector<int> completion;
  const std::function<void(double)> visit = [&](double probability) {
    std::vector<int> text = prompt;
    text.insert(text.end(), completion.begin(), completion.end());
    const Matrix log_prob = log_probs(m, text, temperature);
    for (Eigen::Index v = 0; v < log_prob.cols(); ++v) {
      const double p = probability * std::exp(log_prob(log_prob.rows() - 1, v));
      if (p < least) continue;
      completion.push_back(static_cast<int>(v));
      if (v == eos || static_cast<int>(completion.size()) == T)
        leaf(completion, p);
      else
        visit(p);
      completion.pop_back();
    }
  };
  visit(1.0);
}

}  // namespace oracle
