#pragma once
/// Partitions of a small group by the plainest means. Includes nothing of motley.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace oracle {

using Matrix = std::vector<std::vector<double>>;

/// Labels, -1 where left out: the smallest index of the cluster.
using Labels = std::vector<int>;

/// Connected components of {score > threshold} among the members, by repeated relabelling.
inline Labels components(const Matrix& score, double threshold, const std::vector<int>& member) {
  const int n = static_cast<int>(member.size());
  Labels label(member.size(), -1);
  for (int i = 0; i < n; ++i)
    if (member[i]) label[i] = i;
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < n; ++i)
      for (int j = i + 1; j < n; ++j) {
        if (!member[i] || !member[j] || !(score[i][j] > threshold) || label[i] == label[j])
          continue;
        label[i] = label[j] = std::min(label[i], label[j]);
        changed = true;
      }
  }
  return label;
}

/// Canonical form of any labelling: -1 stays, the others become their smallest index.
inline Labels canonical(const Labels& label) {
  Labels out(label.size(), -1);
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] < 0) continue;
    std::size_t first = i;
    for (std::size_t j = 0; j < i; ++j)
      if (label[j] == label[i]) first = std::min(first, j);
    out[i] = static_cast<int>(first);
  }
  return out;
}

/// Classes as lists; a completion joins the first class whose first member matches it.
inline Labels greedy_first(const Matrix& score, double threshold, const std::vector<int>& member) {
  std::vector<std::vector<int>> classes;
  Labels label(member.size(), -1);
  for (int i = 0; i < static_cast<int>(member.size()); ++i) {
    if (!member[i]) continue;
    std::size_t c = 0;
    while (c < classes.size() && !(score[classes[c][0]][i] > threshold)) ++c;
    if (c == classes.size()) classes.emplace_back();
    classes[c].push_back(i);
    label[i] = static_cast<int>(c);
  }
  return canonical(label);
}

/// get_semantic_ids (Kuhn et al. 2023): an unassigned completion opens a class and takes every
/// later match, whether assigned before or not.
inline Labels greedy_last(const Matrix& score, double threshold, const std::vector<int>& member) {
  Labels label(member.size(), -1);
  int next = 0;
  for (int i = 0; i < static_cast<int>(member.size()); ++i) {
    if (!member[i] || label[i] >= 0) continue;
    label[i] = next;
    for (int j = i + 1; j < static_cast<int>(member.size()); ++j)
      if (member[j] && score[i][j] > threshold) label[j] = next;
    ++next;
  }
  return canonical(label);
}

inline std::vector<int> sizes(const Labels& label) {
  std::vector<int> out;
  for (const int l : label)
    out.push_back(l < 0 ? 0 : static_cast<int>(std::count(label.begin(), label.end(), l)));
  return out;
}

inline int count(const Labels& label) {
  std::set<int> kinds(label.begin(), label.end());
  kinds.erase(-1);
  return static_cast<int>(kinds.size());
}

/// |A & B| / |A | B| of the sets of n-grams; equal strings where either is shorter than n.
inline double jaccard(const std::vector<int>& a, const std::vector<int>& b, int n) {
  const auto grams = [n](const std::vector<int>& text) {
    std::set<std::vector<int>> out;
    for (std::size_t i = 0; i + static_cast<std::size_t>(n) <= text.size(); ++i)
      out.insert({text.begin() + static_cast<long>(i), text.begin() + static_cast<long>(i) + n});
    return out;
  };
  const auto x = grams(a), y = grams(b);
  if (x.empty() || y.empty()) return a == b ? 1.0 : 0.0;
  double common = 0;
  for (const auto& gram : x) common += static_cast<double>(y.count(gram));
  return common / (static_cast<double>(x.size() + y.size()) - common);
}

}  // namespace oracle
