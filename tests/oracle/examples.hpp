#pragma once
/// What the methods of docs/examples compute, in the plainest way. Includes nothing of motley.

#include <algorithm>
#include <cmath>
#include <vector>

namespace oracle {

/// Factors of shortest_first: sort each meaning's texts by length, stably; the k-th has decay^k.
inline std::vector<double> shortest_first(const std::vector<int>& length,
                                          const std::vector<int>& cluster,
                                          const std::vector<double>& quality, double decay,
                                          bool among_correct) {
  std::vector<int> order(length.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return length[static_cast<std::size_t>(a)] < length[static_cast<std::size_t>(b)];
  });
  std::vector<double> factor(length.size());
  std::vector<int> seen(length.size(), 0);  // by label
  for (const int i : order) {
    const auto g = static_cast<std::size_t>(i);
    int& before = seen[static_cast<std::size_t>(cluster[g])];
    factor[g] = std::pow(decay, before);
    if (!among_correct || quality[g] > 0) ++before;
  }
  return factor;
}

/// Score of common_start.
inline double common_start(std::vector<int> a, std::vector<int> b, std::size_t skip) {
  a.erase(a.begin(), a.begin() + static_cast<long>(std::min(skip, a.size())));
  b.erase(b.begin(), b.begin() + static_cast<long>(std::min(skip, b.size())));
  const std::size_t longer = std::max(a.size(), b.size());
  if (longer == 0) return 1;
  a.resize(longer, -1);
  b.resize(longer, -2);
  return static_cast<double>(std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin()) /
         static_cast<double>(longer);
}

}  // namespace oracle
