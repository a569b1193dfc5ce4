/// Eigenvalues of small symmetric matrices, without a linear-algebra library.

#include <algorithm>

#include "core/base/error.hpp"
#include "core/diversity_metrics.hpp"

namespace motley {

namespace {

/// Householder reduction to tridiagonal form: reflections I - v v^T / h from the last row up.
/// \param a [n,n], overwritten   \param diagonal [n], side [n] out, side[0] = 0
void tridiagonalise(std::vector<double>& a, int n, std::vector<double>& diagonal,
                    std::vector<double>& side) {
  const auto at = [&](int i, int j) -> double& { return a[static_cast<std::size_t>(i * n + j)]; };
  std::vector<double> p(static_cast<std::size_t>(n));
  for (int i = n - 1; i > 0; --i) {
    double norm2 = 0;
    for (int k = 0; k < i; ++k) norm2 += at(i, k) * at(i, k);
    const double last = at(i, i - 1);
    if (norm2 - last * last <= 0) {  // already tridiagonal here
      side[static_cast<std::size_t>(i)] = last;
      continue;
    }
    const double g = last >= 0 ? -std::sqrt(norm2) : std::sqrt(norm2);
    side[static_cast<std::size_t>(i)] = g;
    const double h = norm2 - last * g;
    at(i, i - 1) = last - g;  // row i now holds v
    double vp = 0;
    for (int j = 0; j < i; ++j) {
      double sum = 0;
      for (int k = 0; k <= j; ++k) sum += at(j, k) * at(i, k);
      for (int k = j + 1; k < i; ++k) sum += at(k, j) * at(i, k);
      p[static_cast<std::size_t>(j)] = sum / h;
      vp += p[static_cast<std::size_t>(j)] * at(i, j);
    }
    const double half = vp / (2 * h);
    for (int j = 0; j < i; ++j) p[static_cast<std::size_t>(j)] -= half * at(i, j);
    for (int j = 0; j < i; ++j)
      for (int k = 0; k <= j; ++k)
        at(j, k) -=
            at(i, j) * p[static_cast<std::size_t>(k)] + p[static_cast<std::size_t>(j)] * at(i, k);
  }
  for (int i = 0; i < n; ++i) diagonal[static_cast<std::size_t>(i)] = at(i, i);
}

/// Implicit QL with Wilkinson's shift. \param e [n] e[i] couples i and i + 1, the last is 0
void implicit_ql(std::vector<double>& d, std::vector<double>& e, int n) {
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
  const auto at = [](std::vector<double>& x, int i) -> double& {
    return x[static_cast<std::size_t>(i)];
  };
  for (int l = 0; l < n; ++l) {
    for (int rounds = 0;; ++rounds) {
      int m = l;
      while (m < n - 1 &&
             std::abs(at(e, m)) > kEpsilon * (std::abs(at(d, m)) + std::abs(at(d, m + 1))) &&
             std::abs(at(e, m)) > std::numeric_limits<double>::min())
        ++m;
      if (m == l) break;
      MOTLEY_REQUIRE(rounds < 60, ErrorKind::numeric,
                     "symmetric_eigenvalues: no convergence for a matrix of ", n);
      double g = (at(d, l + 1) - at(d, l)) / (2 * at(e, l));
      const double root = std::hypot(g, 1.0);
      g = at(d, m) - at(d, l) + at(e, l) / (g + std::copysign(root, g));
      double s = 1, c = 1, p = 0;
      int i = m - 1;
      for (; i >= l; --i) {
        const double f = s * at(e, i), b = c * at(e, i);
        const double r = std::hypot(f, g);
        at(e, i + 1) = r;
        if (r == 0) {
          at(d, i + 1) -= p;
          at(e, m) = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = at(d, i + 1) - p;
        const double t = (at(d, i) - g) * s + 2 * c * b;
        p = s * t;
        at(d, i + 1) = g + p;
        g = c * t - b;
      }
      if (i >= l) continue;
      at(d, l) -= p;
      at(e, l) = g;
      at(e, m) = 0;
    }
  }
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, int n) {
  const auto size = static_cast<std::size_t>(n);
  MOTLEY_REQUIRE(n >= 1 && matrix.size() == size * size, ErrorKind::internal,
                 "symmetric_eigenvalues: ", matrix.size(), " numbers for n = ", n);
  for (const double x : matrix)
    MOTLEY_REQUIRE(std::isfinite(x), ErrorKind::numeric,
                   "symmetric_eigenvalues: an entry is not finite");
  std::vector<double> diagonal(size), side(size);
  tridiagonalise(matrix, n, diagonal, side);
  side.erase(side.begin());
  side.push_back(0.0);
  implicit_ql(diagonal, side, n);
  std::sort(diagonal.begin(), diagonal.end());
  return diagonal;
}

}  // namespace motley
