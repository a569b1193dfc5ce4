#include "core/partition_quality.hpp"

#include <cmath>
#include <map>
#include <vector>

#include "core/base/error.hpp"

namespace motley {

namespace {

/// Labels with every left-out element in a cluster of its own.
std::vector<int> distinct_where_left_out(std::span<const int> labels) {
  std::vector<int> out;
  int next = -1;
  for (const int label : labels) out.push_back(label >= 0 ? label : next--);
  return out;
}

/// n_uv, a_u, b_v of two partitions of n elements.
struct Contingency {
  std::map<std::pair<int, int>, double> both;
  std::map<int, double> a, b;
  double n = 0;
};

Contingency contingency(std::span<const int> left, std::span<const int> right) {
  MOTLEY_REQUIRE(!left.empty() && left.size() == right.size(), ErrorKind::shape,
                 "partition quality: ", left.size(), " and ", right.size(), " labels");
  const std::vector<int> u = distinct_where_left_out(left), v = distinct_where_left_out(right);
  Contingency c;
  for (std::size_t i = 0; i < u.size(); ++i) {
    c.both[{u[i], v[i]}] += 1;
    c.a[u[i]] += 1;
    c.b[v[i]] += 1;
  }
  c.n = static_cast<double>(u.size());
  return c;
}

double pairs(double count) {
  return count * (count - 1) / 2;
}

template <class Counts>
double pairs_in(const Counts& counts) {
  double sum = 0;
  for (const auto& [label, count] : counts) sum += pairs(count);
  return sum;
}

template <class Counts>
double entropy(const Counts& counts, double n) {
  double sum = 0;
  for (const auto& [label, count] : counts) sum -= count / n * std::log(count / n);
  return sum;
}

double ratio_or(double numerator, double denominator, double otherwise) {
  return denominator > 0 ? numerator / denominator : otherwise;
}

}  // namespace

PairCounts& PairCounts::operator+=(const PairCounts& other) {
  total += other.total;
  truth += other.truth;
  predicted += other.predicted;
  both += other.both;
  return *this;
}

double PairCounts::precision() const {
  return ratio_or(double(both), double(predicted), 1);
}
double PairCounts::recall() const {
  return ratio_or(double(both), double(truth), 1);
}
double PairCounts::f1() const {
  return ratio_or(2.0 * double(both), double(predicted + truth), 1);
}
double PairCounts::false_merge() const {
  return ratio_or(double(predicted - both), double(total - truth), 0);
}
double PairCounts::false_split() const {
  return ratio_or(double(truth - both), double(truth), 0);
}

PairCounts count_pairs(std::span<const int> truth, std::span<const int> predicted) {
  const Contingency c = contingency(truth, predicted);
  return {std::llround(pairs(c.n)), std::llround(pairs_in(c.a)), std::llround(pairs_in(c.b)),
          std::llround(pairs_in(c.both))};
}

double adjusted_rand_index(std::span<const int> a, std::span<const int> b) {
  const Contingency c = contingency(a, b);
  if (c.n < 2) return 1;
  const double expected = pairs_in(c.a) * pairs_in(c.b) / pairs(c.n);
  const double most = 0.5 * (pairs_in(c.a) + pairs_in(c.b));
  return most == expected ? 1.0 : (pairs_in(c.both) - expected) / (most - expected);
}

VMeasure v_measure(std::span<const int> truth, std::span<const int> predicted) {
  const Contingency c = contingency(truth, predicted);
  const double h_truth = entropy(c.a, c.n), h_predicted = entropy(c.b, c.n);
  const double information = h_truth + h_predicted - entropy(c.both, c.n);
  VMeasure out;
  out.homogeneity = ratio_or(information, h_truth, 1);
  out.completeness = ratio_or(information, h_predicted, 1);
  out.v = ratio_or(2 * out.homogeneity * out.completeness, out.homogeneity + out.completeness, 0);
  return out;
}

double largest_share(std::span<const int> labels) {
  const Contingency c = contingency(labels, labels);
  double most = 0;
  for (const auto& [label, count] : c.a) most = std::max(most, count);
  return most / c.n;
}

MergedPairs merged_pairs(std::span<const int> labels, std::span<const float> score,
                         double threshold) {
  MergedPairs out;
  const std::size_t n = labels.size();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j) {
      if (labels[i] < 0 || labels[i] != labels[j]) continue;
      ++out.together;
      out.against_decision += double(score[i * n + j]) > threshold ? 0 : 1;
    }
  return out;
}

}  // namespace motley
