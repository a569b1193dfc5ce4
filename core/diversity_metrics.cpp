#include "core/diversity_metrics.hpp"

#include <algorithm>
#include <map>

#include "core/base/error.hpp"
#include "core/eval_metrics.hpp"

namespace motley {

namespace {

double logarithm_term(double p) {
  return p > 0 ? -p * std::log(p) : 0.0;
}

int total_of(const std::vector<int>& counts) {
  int n = 0;
  for (const int count : counts) n += count;
  return n;
}

/// ln sum exp(x).
double log_sum(const std::vector<double>& x) {
  const double top = *std::max_element(x.begin(), x.end());
  if (!(top > -kInfiniteOrder)) return top;
  double sum = 0;
  for (const double value : x) sum += std::exp(value - top);
  return top + std::log(sum);
}

}  // namespace

std::vector<int> class_counts(const std::vector<int>& label) {
  std::map<int, std::size_t> place;
  std::vector<int> counts;
  for (const int id : label) {
    const auto [at, added] = place.try_emplace(id, counts.size());
    if (added) counts.push_back(0);
    ++counts[at->second];
  }
  return counts;
}

int distinct_k(const std::vector<int>& label, int k) {
  MOTLEY_REQUIRE(k >= 0 && k <= static_cast<int>(label.size()), ErrorKind::internal,
                 "distinct_k: k = ", k, " of ", label.size());
  return static_cast<int>(class_counts({label.begin(), label.begin() + k}).size());
}

double distinct_at_k(const std::vector<int>& counts, int n, int k) {
  double sum = 0.0;
  for (const int count : counts)
    if (count > 0) sum += pass_at_k(n, count, k);
  return sum;
}

double class_entropy(const std::vector<int>& counts) {
  const double n = total_of(counts);
  double entropy = 0.0;
  for (const int count : counts) entropy += logarithm_term(n > 0 ? count / n : 0.0);
  return entropy;
}

ClassDiversity class_diversity(const std::vector<int>& counts) {
  const double n = total_of(counts);
  MOTLEY_REQUIRE(n > 0, ErrorKind::internal, "class_diversity: no members");
  ClassDiversity d;
  double squares = 0, largest = 0;
  int classes = 0;
  for (const int count : counts) {
    const double p = count / n;
    squares += p * p;
    largest = std::max(largest, p);
    classes += count > 0 ? 1 : 0;
  }
  d.entropy = class_entropy(counts);
  d.effective = std::exp(d.entropy);
  d.miller_madow = d.entropy + (classes - 1) / (2 * n);
  d.inverse_simpson = 1 / squares;
  d.collision = 1 - squares;
  d.inverse_max = 1 / largest;
  return d;
}

double novelty_utility(const std::vector<double>& score, const std::vector<int>& label,
                       double patience) {
  double sum = 0, norm = 0, weight = 1;
  for (std::size_t i = 0; i < score.size(); ++i) {
    bool fresh = true;
    for (std::size_t j = 0; j < i; ++j) fresh = fresh && label[j] != label[i];
    if (fresh) sum += weight * score[i];
    norm += weight;
    weight *= patience;
  }
  return norm > 0 ? sum / norm : 0.0;
}

double utility_at_k(const std::vector<double>& score, const std::vector<int>& label, int k,
                    double patience) {
  const int n = static_cast<int>(score.size());
  MOTLEY_REQUIRE(score.size() == label.size() && k >= 1 && k <= n, ErrorKind::internal,
                 "utility_at_k: k = ", k, " of ", n);
  std::map<int, int> members;
  std::map<int, double> total;  // of the scores, by class
  for (int s = 0; s < n; ++s) {
    ++members[label[static_cast<std::size_t>(s)]];
    total[label[static_cast<std::size_t>(s)]] += score[static_cast<std::size_t>(s)];
  }
  double norm = 0, weight = 1;
  for (int i = 0; i < k; ++i, weight *= patience) norm += weight;
  double sum = 0;
  for (const auto& [id, count] : members) {
    double fresh = 1, expected = 0;  // fresh = C(n - count, i) / C(n - 1, i)
    weight = 1;
    for (int i = 0; i < k && fresh > 0; ++i, weight *= patience) {
      expected += weight * fresh;
      if (i + 1 < k) fresh *= double(n - count - i) / double(n - 1 - i);
    }
    sum += total[id] * expected;
  }
  return sum / n / norm;
}

double semantic_entropy(const std::vector<double>& log_prob, const std::vector<int>& label,
                        const std::vector<int>& length) {
  MOTLEY_REQUIRE(!label.empty() && log_prob.size() == label.size() &&
                     (length.empty() || length.size() == label.size()),
                 ErrorKind::internal, "semantic_entropy: lists differ in length");
  std::map<int, std::vector<double>> classes;
  std::vector<double> all;
  for (std::size_t i = 0; i < label.size(); ++i) {
    all.push_back(length.empty() ? log_prob[i] : log_prob[i] / std::max(1, length[i]));
    classes[label[i]].push_back(all.back());
  }
  const double norm = log_sum(all);
  double entropy = 0;
  for (const auto& [id, members] : classes)
    entropy += logarithm_term(std::exp(log_sum(members) - norm));
  return entropy;
}

double vendi_score(const std::vector<double>& kernel, const std::vector<double>& weight,
                   double order) {
  const int n = static_cast<int>(std::lround(std::sqrt(static_cast<double>(kernel.size()))));
  const auto size = static_cast<std::size_t>(n);
  MOTLEY_REQUIRE(n >= 1 && size * size == kernel.size() && order > 0 &&
                     (weight.empty() || weight.size() == size),
                 ErrorKind::internal, "vendi_score: kernel of ", kernel.size(), " numbers, order ",
                 order);
  std::vector<double> scaled(kernel.size());
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j)
      scaled[i * size + j] =
          kernel[i * size + j] * (weight.empty() ? 1.0 / n : std::sqrt(weight[i] * weight[j]));
  const std::vector<double> eigenvalue = symmetric_eigenvalues(std::move(scaled), n);
  if (order == kInfiniteOrder) return 1 / eigenvalue.back();
  double sum = 0;
  for (const double l : eigenvalue)
    sum += order == 1.0 ? logarithm_term(l) : (l > 0 ? std::pow(l, order) : 0.0);
  return std::exp(order == 1.0 ? sum : std::log(sum) / (1 - order));
}

DiversityByCorrectness diversity_by_correctness(const std::vector<int>& label,
                                                const std::vector<bool>& correct) {
  std::vector<int> right, wrong;
  for (std::size_t i = 0; i < label.size(); ++i) (correct[i] ? right : wrong).push_back(label[i]);
  const std::vector<int> all = class_counts(label), good = class_counts(right),
                         bad = class_counts(wrong);
  DiversityByCorrectness d;
  d.distinct = static_cast<int>(all.size());
  d.distinct_correct = static_cast<int>(good.size());
  d.distinct_wrong = static_cast<int>(bad.size());
  d.entropy = class_entropy(all);
  if (!good.empty()) d.entropy_correct = class_entropy(good);
  if (!bad.empty()) d.entropy_wrong = class_entropy(bad);
  return d;
}

SolvedSplit split_by_solved(const std::vector<double>& value, const std::vector<int>& num_correct) {
  MOTLEY_REQUIRE(value.size() == num_correct.size(), ErrorKind::internal,
                 "split_by_solved: lists differ in length");
  SolvedSplit split;
  double solved = 0, unsolved = 0;
  for (std::size_t q = 0; q < value.size(); ++q) {
    (num_correct[q] > 0 ? solved : unsolved) += value[q];
    split.num_solved += num_correct[q] > 0 ? 1 : 0;
  }
  const int rest = static_cast<int>(value.size()) - split.num_solved;
  if (split.num_solved > 0) split.solved = solved / split.num_solved;
  if (rest > 0) split.unsolved = unsolved / rest;
  return split;
}

Survival mode_survival(const std::vector<std::vector<double>>& share, double threshold) {
  Survival s;
  if (share.empty()) return s;
  const int times = static_cast<int>(share.size());
  for (std::size_t m = 0; m < share[0].size(); ++m) {
    const auto above = [&](int t) { return share[static_cast<std::size_t>(t)][m] > threshold; };
    if (!above(0)) {
      s.lost_at.push_back(-2);
      continue;
    }
    ++s.reachable;
    int t = times;
    while (!above(t - 1)) --t;
    s.lost_at.push_back(t == times ? -1 : t);
    s.surviving += t == times ? 1 : 0;
  }
  return s;
}

}  // namespace motley
