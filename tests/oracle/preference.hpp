#pragma once
/// SimKO's surrogate and DivPO's pairs in plain doubles. Includes nothing of motley.

#include <algorithm>
#include <cmath>
#include <vector>

namespace oracle {

/// Quantile with linear interpolation between order statistics, as torch.quantile.
inline double quantile(std::vector<double> x, double q) {
  std::sort(x.begin(), x.end());
  const double place = q * static_cast<double>(x.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const auto above = static_cast<std::size_t>(std::ceil(place));
  return x[below] + (place - std::floor(place)) * (x[above] - x[below]);
}

/// The k largest places of a row, largest first, the lower of equal ones first.
inline std::vector<int> top_places(const std::vector<double>& row, int k) {
  std::vector<int> order(row.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(k));
  return order;
}

struct SimkoToken {
  std::vector<double> log_prob;  ///< [V] where the surrogate is evaluated
  std::vector<double> here;      ///< [V] where the stopped gradients are
  std::vector<int> top;          ///< of the old policy
  int token = 0;
  double old_log_prob = 0, advantage = 0;
  bool uncertain = false;
};

/// max(-A rho', -A clip(rho')), arXiv 2510.14807: rho' = (1 - alpha w) rho + (alpha w / K) sum_k
/// sg(rho / rho_k) rho_k for positive advantages; negative ones of an uncertain argmax weigh more.
inline double simko(const SimkoToken& x, double alpha, double wrong_weight, double low,
                    double high) {
  const auto at = [](const std::vector<double>& row, int v) {
    return row[static_cast<std::size_t>(v)];
  };
  double a = x.advantage;
  const double rho = std::exp(at(x.log_prob, x.token) - x.old_log_prob);
  double mixed = rho;
  if (x.uncertain && a > 0) {
    const double frozen = std::exp(at(x.here, x.token) - x.old_log_prob);
    mixed = (1 - alpha) * rho;
    // rho_k's old log-probability cancels: sg(rho / rho_k) rho_k = sg(rho) pi_k / sg(pi_k).
    for (const int k : x.top)
      mixed += alpha / static_cast<double>(x.top.size()) * frozen *
               std::exp(at(x.log_prob, k) - at(x.here, k));
  }
  if (x.uncertain && a < 0 && x.top.front() == x.token) a *= wrong_weight;
  const double clipped = std::min(std::max(mixed, 1 - low), 1 + high);
  return std::max(-a * mixed, -a * clipped);
}

struct Candidate {
  double quality = 0, diversity = 0;
  double gain = 0;  ///< sum of new - reference log-probability
  bool counted = true;
};
struct Pair {
  int chosen = -1, rejected = -1;
  double loss = 0;
};

/// Among the candidates in the upper band of quality the most diverse, in the lower the least
/// diverse (arXiv 2501.18101); the loss of arXiv 2305.18290.
inline Pair divpo(const std::vector<Candidate>& group, double beta, double band) {
  std::vector<double> quality;
  for (const Candidate& c : group)
    if (c.counted) quality.push_back(c.quality);
  if (quality.empty()) return {};
  const auto [least, most] = std::minmax_element(quality.begin(), quality.end());
  if (*least == *most) return {};
  const double width = band * (*most - *least);
  std::vector<int> good, bad;
  for (int g = 0; g < static_cast<int>(group.size()); ++g) {
    const Candidate& c = group[static_cast<std::size_t>(g)];
    if (c.counted && c.quality >= *most - width) good.push_back(g);
    if (c.counted && c.quality <= *least + width) bad.push_back(g);
  }
  const auto rarer = [&](int a, int b) {
    return group[static_cast<std::size_t>(a)].diversity <
           group[static_cast<std::size_t>(b)].diversity;
  };
  Pair out;
  out.chosen = *std::max_element(good.begin(), good.end(), rarer);
  out.rejected = *std::min_element(bad.begin(), bad.end(), rarer);
  const double margin = beta * (group[static_cast<std::size_t>(out.chosen)].gain -
                                group[static_cast<std::size_t>(out.rejected)].gain);
  out.loss = -std::log(1 / (1 + std::exp(-margin)));
  return out;
}

}  // namespace oracle
