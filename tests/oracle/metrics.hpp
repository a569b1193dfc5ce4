#pragma once
/// Metrics of a set by enumeration and by the textbook formula. Includes nothing of motley.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace oracle {

using Strings = std::vector<std::vector<int>>;

/// Mean of f over all subsets of k of n, each in increasing order.
inline double mean_over_subsets(int n, int k,
                                const std::function<double(const std::vector<int>&)>& f) {
  std::vector<int> pick(static_cast<std::size_t>(k));
  double sum = 0;
  long count = 0;
  const std::function<void(int, int)> go = [&](int place, int first) {
    if (place == k) {
      sum += f(pick);
      ++count;
      return;
    }
    for (int i = first; i < n; ++i) {
      pick[static_cast<std::size_t>(place)] = i;
      go(place + 1, i + 1);
    }
  };
  go(0, 0);
  return sum / static_cast<double>(count);
}

/// Mean of f over all ordered selections of k of n.
inline double mean_over_orders(int n, int k,
                               const std::function<double(const std::vector<int>&)>& f) {
  return mean_over_subsets(n, k, [&](const std::vector<int>& pick) {
    std::vector<int> order = pick;
    double sum = 0, count = 0;
    do {
      sum += f(order);
      ++count;
    } while (std::next_permutation(order.begin(), order.end()));
    return sum / count;
  });
}

/// Share of the vote of a subset that goes to correct classes; a class is correct where any of its
/// members in the whole set is.
inline double vote(const std::vector<int>& label, const std::vector<bool>& correct,
                   const std::vector<int>& pick) {
  std::map<int, int> votes;
  for (const int i : pick) ++votes[label[static_cast<std::size_t>(i)]];
  int top = 0, winners = 0, right = 0;
  for (const auto& [id, n] : votes) top = std::max(top, n);
  for (const auto& [id, n] : votes) {
    if (n < top) continue;
    ++winners;
    bool any = false;
    for (std::size_t i = 0; i < label.size(); ++i) any = any || (label[i] == id && correct[i]);
    right += any ? 1 : 0;
  }
  return double(right) / winners;
}

inline std::map<std::vector<int>, int> grams(const std::vector<int>& s, std::size_t n) {
  std::map<std::vector<int>, int> out;
  for (std::size_t i = 0; i + n <= s.size(); ++i)
    ++out[{s.begin() + static_cast<std::ptrdiff_t>(i),
           s.begin() + static_cast<std::ptrdiff_t>(i + n)}];
  return out;
}

/// BLEU-4 with add-one smoothing for n > 1, references looked at one by one.
inline double bleu(const std::vector<int>& y, const Strings& references) {
  if (y.empty()) return 0;
  double product = 1;
  for (std::size_t n = 1; n <= 4; ++n) {
    double matched = n > 1 ? 1 : 0, total = matched;
    for (const auto& [gram, times] : grams(y, n)) {
      int most = 0;
      for (const auto& reference : references) {
        const auto theirs = grams(reference, n);
        if (theirs.count(gram) > 0) most = std::max(most, theirs.at(gram));
      }
      matched += std::min(times, most);
      total += times;
    }
    product *= matched / total;
  }
  double closest = 1e9;
  const double c = double(y.size());
  for (const auto& reference : references) {
    const double r = double(reference.size());
    if (std::abs(r - c) < std::abs(closest - c) ||
        (std::abs(r - c) == std::abs(closest - c) && r < closest))
      closest = r;
  }
  return std::pow(product, 0.25) * (c > closest ? 1.0 : std::exp(1 - closest / c));
}

inline double self_bleu(const Strings& strings) {
  double sum = 0;
  for (std::size_t i = 0; i < strings.size(); ++i) {
    Strings others = strings;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    sum += bleu(strings[i], others);
  }
  return sum / double(strings.size());
}

inline double distinct_n(const Strings& strings, std::size_t n) {
  std::set<std::vector<int>> unique;
  double total = 0;
  for (const auto& s : strings)
    for (const auto& [gram, times] : grams(s, n)) {
      unique.insert(gram);
      total += times;
    }
  return total > 0 ? double(unique.size()) / total : 0;
}

/// Eigenvalues by cyclic Jacobi rotations, ascending.
inline std::vector<double> jacobi(std::vector<double> a, int n) {
  const auto at = [&](int i, int j) -> double& { return a[std::size_t(i * n + j)]; };
  for (int sweep = 0; sweep < 100; ++sweep)
    for (int p = 0; p < n; ++p)
      for (int q = p + 1; q < n; ++q) {
        if (at(p, q) == 0) continue;
        const double angle = 0.5 * std::atan2(2 * at(p, q), at(q, q) - at(p, p));
        const double c = std::cos(angle), s = std::sin(angle);
        for (int k = 0; k < n; ++k) {
          const double x = at(k, p), y = at(k, q);
          at(k, p) = c * x - s * y;
          at(k, q) = s * x + c * y;
        }
        for (int k = 0; k < n; ++k) {
          const double x = at(p, k), y = at(q, k);
          at(p, k) = c * x - s * y;
          at(q, k) = s * x + c * y;
        }
      }
  std::vector<double> out;
  for (int i = 0; i < n; ++i) out.push_back(at(i, i));
  std::sort(out.begin(), out.end());
  return out;
}

/// Slope and intercept of y over x by the normal equations in raw sums, long double.
inline std::pair<double, double> line_through(const std::vector<double>& x,
                                              const std::vector<double>& y) {
  long double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    n += 1;
    sx += x[i];
    sy += y[i];
    sxx += static_cast<long double>(x[i]) * x[i];
    sxy += static_cast<long double>(x[i]) * y[i];
  }
  const long double slope = (n * sxy - sx * sy) / (n * sxx - sx * sx);
  return {double(slope), double((sy - slope * sx) / n)};
}

}  // namespace oracle
