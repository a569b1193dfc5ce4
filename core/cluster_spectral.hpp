#pragma once
/// Eigenvectors of a small symmetric matrix and the spectral embedding of one group. Device code.

#include "core/base/types.hpp"

namespace motley {

/// Cyclic Jacobi rotations until nothing off the diagonal is left: eigenvalues on the diagonal of
/// a, eigenvectors in the columns of v. Sound for any symmetric matrix of this size, in double.
/// \param a [n,n] in and out   \param v [n,n] out
KOKKOS_INLINE_FUNCTION void jacobi_eigen(double* a, int n, double* v) {
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) v[i * n + j] = i == j ? 1.0 : 0.0;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0;
    for (int p = 0; p < n; ++p)
      for (int q = p + 1; q < n; ++q) off += a[p * n + q] * a[p * n + q];
    if (off < 1e-26 * n) return;
    for (int p = 0; p < n; ++p)
      for (int q = p + 1; q < n; ++q) {
        const double apq = a[p * n + q];
        if (apq == 0) continue;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
        const double root = Kokkos::sqrt(theta * theta + 1);
        const double t = theta < 0 ? 1 / (theta - root) : 1 / (theta + root);
        const double cosine = 1 / Kokkos::sqrt(t * t + 1), sine = t * cosine;
        for (int k = 0; k < n; ++k) {
          const double kp = a[k * n + p], kq = a[k * n + q];
          a[k * n + p] = cosine * kp - sine * kq;
          a[k * n + q] = sine * kp + cosine * kq;
        }
        for (int k = 0; k < n; ++k) {
          const double pk = a[p * n + k], qk = a[q * n + k];
          a[p * n + k] = cosine * pk - sine * qk;
          a[q * n + k] = sine * pk + cosine * qk;
          const double kp = v[k * n + p], kq = v[k * n + q];
          v[k * n + p] = cosine * kp - sine * kq;
          v[k * n + q] = sine * kp + cosine * kq;
        }
      }
  }
}

/// Order of the diagonal of a, ascending, ties by index.
KOKKOS_INLINE_FUNCTION void order_diagonal(const double* a, int n, int* order) {
  for (int i = 0; i < n; ++i) {
    int at = i;
    for (; at > 0 && a[order[at - 1] * (n + 1)] > a[i * (n + 1)]; --at) order[at] = order[at - 1];
    order[at] = i;
  }
}

/// Normalised Laplacian I - D^-1/2 S D^-1/2 of the similarities S = max(0, 1 - distance), in place.
/// \param degree [n] scratch
KOKKOS_INLINE_FUNCTION void normalised_laplacian(double* distance, int n, double* degree) {
  for (int i = 0; i < n; ++i) {
    degree[i] = 0;
    for (int j = 0; j < n; ++j) {
      double& s = distance[i * n + j];
      s = s < 1.0 ? 1.0 - s : 0.0;
      degree[i] += s;
    }
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j)
      distance[i * n + j] =
          (i == j ? 1.0 : 0.0) - distance[i * n + j] / Kokkos::sqrt(degree[i] * degree[j]);
}

/// The number of clusters before the widest gap between consecutive eigenvalues, the first of equal
/// ones (to 1e-9). After the last eigenvalue stands 1, that of a completion linked to all others
/// alike: completions without any links have as many zeros as there are completions.
KOKKOS_INLINE_FUNCTION int eigengap(const double* a, int n, const int* order) {
  int k = 1;
  double widest = -1;
  for (int i = 0; i < n; ++i) {
    const double next = i + 1 < n ? a[order[i + 1] * (n + 1)] : 1.0;
    const double gap = next - a[order[i] * (n + 1)];
    if (gap > widest + 1e-9) {
      widest = gap;
      k = i + 1;
    }
  }
  return k;
}

/// Rows of the first k eigenvectors, each to length 1. \param point [n,k] out
KOKKOS_INLINE_FUNCTION void spectral_points(const double* v, int n, const int* order, int k,
                                            double* point) {
  for (int i = 0; i < n; ++i) {
    double square = 0;
    for (int c = 0; c < k; ++c) {
      point[i * k + c] = v[i * n + order[c]];
      square += point[i * k + c] * point[i * k + c];
    }
    const double scale = square > 1e-24 ? 1 / Kokkos::sqrt(square) : 0;
    for (int c = 0; c < k; ++c) point[i * k + c] *= scale;
  }
}

}  // namespace motley
