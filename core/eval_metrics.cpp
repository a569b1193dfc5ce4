#include "core/eval_metrics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/rng.hpp"

namespace motley {

namespace {

int samples_of(const std::vector<VotingClass>& classes) {
  int n = 0;
  for (const VotingClass& c : classes) n += c.members;
  return n;
}

/// C(n, x) for x = 0..n.
std::vector<double> binomials(int n) {
  std::vector<double> row(static_cast<std::size_t>(n + 1), 1.0);
  for (int x = 1; x <= n; ++x)
    row[static_cast<std::size_t>(x)] = row[static_cast<std::size_t>(x - 1)] * (n - x + 1) / x;
  return row;
}

/// Share of the vote that the correct ones among the most frequent classes get.
double vote(const std::vector<VotingClass>& classes, const std::vector<int>& drawn) {
  const int top = *std::max_element(drawn.begin(), drawn.end());
  int ties = 0, correct = 0;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    if (drawn[c] != top) continue;
    ++ties;
    correct += classes[c].correct ? 1 : 0;
  }
  return double(correct) / ties;
}

/// Sum over the subsets of k whose largest class has j members of (correct winners / winners).
double votes_at_height(const std::vector<VotingClass>& classes,
                       const std::vector<std::vector<double>>& choose, int k, int j) {
  const int most = k / j;  // winners there can be
  const auto at = [&](int drawn, int ties) {
    return static_cast<std::size_t>(drawn * (most + 1) + ties);
  };
  // Over the classes so far: subsets by (drawn, winners), and their number of correct winners.
  std::vector<double> ways(at(k, most) + 1, 0.0), right = ways;
  ways[0] = 1.0;
  int reached = 0;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const int limit = std::min(j, classes[c].members);
    std::vector<double> next(ways.size(), 0.0), next_right(ways.size(), 0.0);
    for (int drawn = 0; drawn <= reached; ++drawn)
      for (int ties = 0; ties <= std::min(most, drawn / j); ++ties) {
        const double w = ways[at(drawn, ties)], u = right[at(drawn, ties)];
        if (w == 0.0) continue;
        for (int x = 0; x <= limit && drawn + x <= k; ++x) {
          const double take = choose[c][static_cast<std::size_t>(x)];
          const std::size_t to = at(drawn + x, ties + (x == j ? 1 : 0));
          next[to] += w * take;
          next_right[to] += (u + (x == j && classes[c].correct ? w : 0.0)) * take;
        }
      }
    ways.swap(next);
    right.swap(next_right);
    reached = std::min(k, reached + limit);
  }
  double sum = 0;
  for (int ties = 1; ties <= most; ++ties) sum += right[at(k, ties)] / ties;
  return sum;
}

}  // namespace

double pass_at_k(int n, int c, int k) {
  MOTLEY_REQUIRE(n >= 1 && c >= 0 && c <= n && k >= 1 && k <= n, ErrorKind::internal, "pass_at_k(",
                 n, ", ", c, ", ", k, ")");
  if (n - c < k) return 1.0;
  double miss = 1.0;
  for (int j = n - c + 1; j <= n; ++j) miss *= 1.0 - double(k) / j;
  return 1.0 - miss;
}

double all_pass_at_k(int n, int c, int k) {
  MOTLEY_REQUIRE(n >= 1 && c >= 0 && c <= n && k >= 1 && k <= n, ErrorKind::internal,
                 "all_pass_at_k(", n, ", ", c, ", ", k, ")");
  double all = 1.0;
  for (int i = 0; i < k; ++i) all *= c > i ? double(c - i) / (n - i) : 0.0;
  return all;
}

double exact_pass_at_k(double p, double k) {
  MOTLEY_REQUIRE(p >= 0 && p <= 1 && k >= 0, ErrorKind::internal, "exact_pass_at_k(", p, ", ", k,
                 ")");
  return p == 1.0 ? (k > 0 ? 1.0 : 0.0) : -std::expm1(k * std::log1p(-p));
}

double max_at_k(std::vector<double> quality, int k) {
  const int n = static_cast<int>(quality.size());
  MOTLEY_REQUIRE(k >= 1 && k <= n, ErrorKind::internal, "max_at_k: k = ", k, " of ", n);
  std::sort(quality.begin(), quality.end());
  // From the best down: share(n) = C(n-1,k-1)/C(n,k) = k/n, then C(i-2,k-1)/C(i-1,k-1).
  double sum = 0, share = double(k) / n;
  for (int i = n; i >= k; --i) {
    sum += quality[static_cast<std::size_t>(i - 1)] * share;
    if (i > k) share *= double(i - k) / (i - 1);
  }
  return sum;
}

bool exact_vote_feasible(int n, int k) {
  return n <= 1000 && double(k) * k * n * (1 + std::log(double(k))) < 1e8;
}

double maj_at_k(const std::vector<VotingClass>& classes, int k) {
  const int n = samples_of(classes);
  MOTLEY_REQUIRE(k >= 1 && k <= n && n <= 1000, ErrorKind::internal, "maj_at_k: k = ", k, " of ",
                 n);
  int largest = 0;
  std::vector<int> members;
  std::vector<std::vector<double>> choose;
  for (const VotingClass& c : classes) {
    members.push_back(c.members);
    choose.push_back(binomials(c.members));
    largest = std::max(largest, c.members);
  }
  if (k == n) return vote(classes, members);
  if (largest == n)
    return classes.size() == 1 ? (classes[0].correct ? 1.0 : 0.0) : vote(classes, members);
  double sum = 0;
  for (int j = 1; j <= std::min(k, largest); ++j) sum += votes_at_height(classes, choose, k, j);
  return sum / binomials(n)[static_cast<std::size_t>(k)];
}

double drawn_maj_at_k(const std::vector<VotingClass>& classes, int k, int draws, std::uint64_t seed,
                      std::uint32_t step, std::uint32_t item) {
  const int n = samples_of(classes);
  MOTLEY_REQUIRE(k >= 1 && k <= n && draws >= 1, ErrorKind::internal, "drawn_maj_at_k: k = ", k,
                 " of ", n, ", draws ", draws);
  std::vector<std::size_t> class_of;
  for (std::size_t c = 0; c < classes.size(); ++c)
    class_of.insert(class_of.end(), static_cast<std::size_t>(classes[c].members), c);
  const DrawKey key{seed, Stream::set_draw, step};
  double sum = 0;
  for (int d = 0; d < draws; ++d) {
    std::vector<std::size_t> deck = class_of;
    std::vector<int> drawn(classes.size(), 0);
    for (int i = 0; i < k; ++i) {
      const std::uint32_t left = static_cast<std::uint32_t>(n - i);
      const std::uint32_t bits = draw_bits(key, item, static_cast<std::uint32_t>(d * k + i)).x[0];
      std::swap(deck[static_cast<std::size_t>(i)],
                deck[static_cast<std::size_t>(i) + uniform_below(bits, left)]);
      ++drawn[deck[static_cast<std::size_t>(i)]];
    }
    sum += vote(classes, drawn);
  }
  return sum / draws;
}

std::vector<ComputePoint> compute_curve(const std::vector<int>& k, const std::vector<double>& value,
                                        double mean_tokens) {
  MOTLEY_REQUIRE(k.size() == value.size(), ErrorKind::internal,
                 "compute_curve: lists differ in length");
  std::vector<ComputePoint> curve;
  for (std::size_t i = 0; i < k.size(); ++i) curve.push_back({k[i], k[i] * mean_tokens, value[i]});
  return curve;
}

ComputePoint best_within(const std::vector<ComputePoint>& curve, double budget) {
  ComputePoint best;
  for (const ComputePoint& p : curve) {
    if (p.tokens > budget) continue;
    if (best.k == 0 || p.value > best.value || (p.value == best.value && p.tokens < best.tokens))
      best = p;
  }
  return best;
}

bool is_dominated(const std::vector<FrontPoint>& points, std::size_t i) {
  const FrontPoint& own = points[i];
  for (const FrontPoint& p : points)
    if (p.quality >= own.quality && p.diversity >= own.diversity &&
        (p.quality > own.quality || p.diversity > own.diversity))
      return true;
  return false;
}

double hypervolume(std::vector<FrontPoint> points, const FrontPoint& reference) {
  std::sort(points.begin(), points.end(), [](const FrontPoint& a, const FrontPoint& b) {
    return a.quality != b.quality ? a.quality > b.quality : a.diversity > b.diversity;
  });
  double area = 0, height = reference.diversity;
  for (const FrontPoint& p : points) {
    if (p.quality <= reference.quality || p.diversity <= height) continue;
    area += (p.quality - reference.quality) * (p.diversity - height);
    height = p.diversity;
  }
  return area;
}

}  // namespace motley
