#pragma once
/// Clusterings of a few points by the plainest means. Includes nothing of motley.

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include <Eigen/Dense>

#include "tests/oracle/partition.hpp"

namespace oracle {

using Points = std::vector<std::vector<double>>;
using Set = std::vector<int>;

/// 1 - cosine of unit vectors.
inline Matrix cosine_distances(const Points& x) {
  Matrix d(x.size(), std::vector<double>(x.size(), 0));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < x.size(); ++j) {
      double dot = 0;
      for (std::size_t k = 0; k < x[i].size(); ++k) dot += x[i][k] * x[j][k];
      d[i][j] = i == j ? 0 : 1 - dot;
    }
  return d;
}

/// What correlation clustering minimises: cut attraction and joined repulsion.
inline double correlation_cost(const Matrix& score, double threshold, const Labels& label) {
  const auto log_odds = [](double p) {
    p = std::min(std::max(p, 1e-6), 1 - 1e-6);
    return std::log(p) - std::log1p(-p);
  };
  double cost = 0;
  for (std::size_t i = 0; i < label.size(); ++i)
    for (std::size_t j = i + 1; j < label.size(); ++j) {
      if (label[i] < 0 || label[j] < 0) continue;
      const double w = log_odds(score[i][j]) - log_odds(threshold);
      cost += label[i] == label[j] ? std::max(0.0, -w) : std::max(0.0, w);
    }
  return cost;
}

/// Every partition of the members, each once.
inline void for_each_partition(const std::vector<int>& member,
                               const std::function<void(const Labels&)>& visit) {
  Labels label(member.size(), -1);
  const std::function<void(std::size_t, int)> place = [&](std::size_t i, int used) {
    if (i == member.size()) return visit(label);
    if (!member[i]) return place(i + 1, used);
    for (int c = 0; c <= used; ++c) {
      label[i] = c;
      place(i + 1, std::max(used, c + 1));
    }
    label[i] = -1;
  };
  place(0, 0);
}

/// Merges the closest two while at most `threshold` apart; 0 single, 1 complete, 2 average, always
/// from the distances of the points.
inline Labels agglomerative(const Matrix& d, int merge, double threshold) {
  std::vector<Set> clusters;
  for (int i = 0; i < static_cast<int>(d.size()); ++i) clusters.push_back({i});
  const auto apart = [&](const Set& a, const Set& b) {
    double least = 1e300, most = -1e300, sum = 0;
    for (const int i : a)
      for (const int j : b) {
        least = std::min(least, d[i][j]);
        most = std::max(most, d[i][j]);
        sum += d[i][j];
      }
    return merge == 0 ? least : merge == 1 ? most : sum / double(a.size() * b.size());
  };
  while (clusters.size() > 1) {
    std::size_t x = 0, y = 1;
    for (std::size_t i = 0; i < clusters.size(); ++i)
      for (std::size_t j = i + 1; j < clusters.size(); ++j)
        if (apart(clusters[i], clusters[j]) < apart(clusters[x], clusters[y])) {
          x = i;
          y = j;
        }
    if (apart(clusters[x], clusters[y]) > threshold) break;
    clusters[x].insert(clusters[x].end(), clusters[y].begin(), clusters[y].end());
    clusters.erase(clusters.begin() + static_cast<long>(y));
  }
  Labels label(d.size());
  for (std::size_t c = 0; c < clusters.size(); ++c)
    for (const int i : clusters[c]) label[i] = static_cast<int>(c);
  return canonical(label);
}

/// DBSCAN as in its paper: scan, expand from cores by a queue, noise stays alone.
inline Labels dbscan(const Matrix& d, int min_points, double eps) {
  const int n = static_cast<int>(d.size());
  const auto around = [&](int i) {
    Set out;
    for (int j = 0; j < n; ++j)
      if (d[i][j] <= eps) out.push_back(j);
    return out;
  };
  const int kNew = -1, kNoise = -2;
  Labels label(d.size(), kNew);
  int next = 0;
  for (int i = 0; i < n; ++i) {
    if (label[i] != kNew) continue;
    const Set first = around(i);
    if (static_cast<int>(first.size()) < min_points) {
      label[i] = kNoise;
      continue;
    }
    label[i] = next;
    std::deque<int> queue(first.begin(), first.end());
    for (; !queue.empty(); queue.pop_front()) {
      const int j = queue.front();
      if (label[j] == kNoise) label[j] = next;
      if (label[j] != kNew) continue;
      label[j] = next;
      const Set more = around(j);
      if (static_cast<int>(more.size()) >= min_points)
        queue.insert(queue.end(), more.begin(), more.end());
    }
    ++next;
  }
  for (int& l : label)
    if (l == kNoise) l = next++;
  return canonical(label);
}

/// k-means++ and Lloyd. draw(c) in [0,1) chooses centre c; the first by floor(draw * n).
inline Labels kmeans(const Points& x, int k, const std::function<double(int)>& draw) {
  const auto apart = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t d = 0; d < a.size(); ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
    return sum;
  };
  Points centre = {x[static_cast<std::size_t>(draw(0) * double(x.size()))]};
  while (static_cast<int>(centre.size()) < k) {
    std::vector<double> near;
    double total = 0;
    for (const auto& point : x) {
      double least = 1e300;
      for (const auto& c : centre) least = std::min(least, apart(point, c));
      near.push_back(least);
      total += least;
    }
    if (total < 1e-12) break;
    const double target = draw(static_cast<int>(centre.size())) * total;
    std::size_t i = 0;
    for (double sum = near[0]; sum <= target && i + 1 < x.size();) sum += near[++i];
    centre.push_back(x[i]);
  }
  Labels label(x.size(), -1);
  for (;;) {
    Labels next;
    for (const auto& point : x) {
      std::size_t best = 0;
      for (std::size_t c = 1; c < centre.size(); ++c)
        if (apart(point, centre[c]) < apart(point, centre[best])) best = c;
      next.push_back(static_cast<int>(best));
    }
    if (next == label) return label;
    label = next;
    for (std::size_t c = 0; c < centre.size(); ++c) {
      std::vector<double> sum(x[0].size(), 0);
      double count = 0;
      for (std::size_t i = 0; i < x.size(); ++i)
        if (label[i] == static_cast<int>(c)) {
          ++count;
          for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += x[i][d];
        }
      if (count == 0) continue;
      for (double& v : sum) v /= count;
      centre[c] = sum;
    }
  }
}

inline double silhouette(const Matrix& d, const Labels& label) {
  double total = 0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    std::map<int, std::pair<double, double>> to;  // cluster -> sum, count
    for (std::size_t j = 0; j < label.size(); ++j)
      if (j != i) {
        to[label[j]].first += d[i][j];
        to[label[j]].second += 1;
      }
    if (to[label[i]].second == 0) continue;
    const double a = to[label[i]].first / to[label[i]].second;
    double b = std::numeric_limits<double>::infinity();
    for (const auto& [c, s] : to)
      if (c != label[i]) b = std::min(b, s.first / s.second);
    if (std::isfinite(b) && std::max(a, b) > 0) total += (b - a) / std::max(a, b);
  }
  return total / double(label.size());
}

/// Rows of the first k eigenvectors of the normalised Laplacian, and k by the widest gap where 0.
inline Points spectral_rows(const Matrix& d, int& k) {
  const auto n = static_cast<Eigen::Index>(d.size());
  Eigen::MatrixXd S(n, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index j = 0; j < n; ++j) S(i, j) = std::max(0.0, 1 - d[i][j]);
  const Eigen::VectorXd scale = S.rowwise().sum().cwiseSqrt().cwiseInverse();
  const Eigen::MatrixXd L =
      Eigen::MatrixXd::Identity(n, n) - scale.asDiagonal() * S * scale.asDiagonal();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(L);
  if (k == 0) {
    double widest = -1;
    for (Eigen::Index i = 0; i < n; ++i) {
      const double gap = (i + 1 < n ? solver.eigenvalues()(i + 1) : 1.0) - solver.eigenvalues()(i);
      if (gap > widest + 1e-9) {
        widest = gap;
        k = static_cast<int>(i) + 1;
      }
    }
  }
  Points rows;
  for (Eigen::Index i = 0; i < n; ++i) {
    const Eigen::VectorXd row = solver.eigenvectors().row(i).head(k).normalized();
    rows.emplace_back(row.data(), row.data() + k);
  }
  return rows;
}

/// HDBSCAN on the whole graph of mutual reachability, a cluster at a time.
class Hdbscan {
 public:
  Hdbscan(const Matrix& d, int min_points, double threshold) : least_(std::max(2, min_points)) {
    const std::size_t n = d.size();
    std::vector<double> core;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> row = d[i];
      std::sort(row.begin(), row.end());
      core.push_back(row[std::min(n, static_cast<std::size_t>(min_points)) - 1]);
    }
    reach_ = d;
    Set all;
    for (std::size_t i = 0; i < n; ++i) {
      all.push_back(static_cast<int>(i));
      for (std::size_t j = 0; j < n; ++j)
        if (i != j) reach_[i][j] = std::max({core[i], core[j], d[i][j]});
    }
    label.resize(n);
    for (std::size_t i = 0; i < n; ++i) label[i] = static_cast<int>(i);
    if (static_cast<int>(n) < least_) return;
    const bool together = components(all, std::nextafter(threshold, 9.0)).size() == 1;
    std::vector<Set> chosen;
    best(all, 0, together, chosen);
    for (std::size_t c = 0; c < chosen.size(); ++c)
      for (const int i : chosen[c]) label[i] = static_cast<int>(n + c);
    label = canonical(label);
  }
  Labels label;

 private:
  /// Connected by edges shorter than `limit`.
  std::vector<Set> components(const Set& points, double limit) const {
    std::vector<Set> out;
    std::set<int> left(points.begin(), points.end());
    while (!left.empty()) {
      Set part = {*left.begin()};
      left.erase(left.begin());
      for (std::size_t k = 0; k < part.size(); ++k)
        for (const int j : Set(left.begin(), left.end()))
          if (reach_[part[k]][j] < limit) {
            part.push_back(j);
            left.erase(j);
          }
      out.push_back(part);
    }
    return out;
  }

  /// The clusters of largest stability among this one and what it falls into; their stability.
  double best(const Set& points, double birth, bool allowed, std::vector<Set>& chosen) const {
    std::set<double, std::greater<>> lengths;
    for (const int i : points)
      for (const int j : points)
        if (i != j) lengths.insert(reach_[i][j]);
    Set alive = points;
    double stability = 0;
    for (const double length : lengths) {
      const double density = 1 / std::max(length, 1e-6);
      std::vector<Set> large;
      Set next;
      for (const Set& part : components(alive, length)) {
        if (static_cast<int>(part.size()) >= least_) {
          large.push_back(part);
          next.insert(next.end(), part.begin(), part.end());
        } else {
          stability += double(part.size()) * (density - birth);
        }
      }
      alive = next;
      if (large.size() < 2) continue;
      stability += double(alive.size()) * (density - birth);
      double below = 0;
      std::vector<Set> their;
      for (const Set& part : large) below += best(part, density, true, their);
      if (!allowed || stability < below) {
        chosen.insert(chosen.end(), their.begin(), their.end());
        return below;
      }
      break;
    }
    if (allowed) chosen.push_back(points);
    return allowed ? stability : 0;
  }

  int least_;
  Matrix reach_;
};

}  // namespace oracle
