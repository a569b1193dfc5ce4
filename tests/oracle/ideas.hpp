#pragma once
/// Reads an idea as text and judges it. Includes nothing of motley.

#include <cmath>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace oracle {

/// Values of who, where, what, twist; empty where the text is malformed.
inline std::vector<int> read_idea(const std::string& text, bool ended) {
  const std::vector<std::string> slots = {"who", "where", "what", "twist"};
  const std::set<std::string> fillers = {"well", "so", "hmm", "then"};
  std::vector<int> idea;
  std::istringstream in(text);
  for (std::string w; in >> w;) {
    if (fillers.count(w) > 0) continue;
    if (idea.size() == slots.size()) return {};
    const std::string& slot = slots[idea.size()];
    if (w.rfind(slot, 0) != 0) return {};
    idea.push_back(w[slot.size()] - '0');
  }
  return ended && idea.size() == slots.size() ? idea : std::vector<int>{};
}

/// The judge from unscaled tables, standardised by brute force over 64 themes and 10^4 ideas.
struct IdeaJudge {
  // [adjective][slot][value], [noun][slot][value], [pair][value][value]
  std::vector<std::vector<std::vector<double>>> adjective, noun, pair;
  double mean = 0, deviation = 1;

  double raw(int a, int b, const std::vector<int>& v) const {
    const auto at = [](int i) { return static_cast<std::size_t>(i); };
    double sum = 0;
    for (std::size_t s = 0; s < 4; ++s)
      sum += adjective[at(a)][s][at(v[s])] + noun[at(b)][s][at(v[s])];
    // character-event, place-event, event-twist, character-twist
    sum += pair[0][at(v[0])][at(v[2])] + pair[1][at(v[1])][at(v[2])] + pair[2][at(v[2])][at(v[3])] +
           pair[3][at(v[0])][at(v[3])];
    return sum;
  }
  double quality(int a, int b, const std::vector<int>& v) const {
    return 1.0 / (1.0 + std::exp(-2.0 * ((raw(a, b, v) - mean) / deviation - 1.25)));
  }
  void standardise() {
    double sum = 0, squares = 0, n = 0;
    for (int a = 0; a < 8; ++a)
      for (int b = 0; b < 8; ++b)
        for (int i = 0; i < 10000; ++i) {
          const double x = raw(a, b, {i / 1000, i / 100 % 10, i / 10 % 10, i % 10});
          sum += x;
          squares += x * x;
          n += 1;
        }
    mean = sum / n;
    deviation = std::sqrt(squares / n - mean * mean);
  }
};

}  // namespace oracle
