#pragma once
/// A Llama-shaped forward pass as plain loops over Eigen matrices in double. Includes nothing of
/// motley: it is the oracle of models/pass.hpp.

#include <cmath>
#include <vector>

#include <Eigen/Dense>

namespace oracle {

using Matrix = Eigen::MatrixXd;  ///< [out,in] for weights
using Vector = Eigen::VectorXd;

struct Layer {
  Vector norm1, norm2;
  Matrix q, k, v, o, gate, up, down;
};
struct Llama {
  int heads, kv_heads;
  double eps, theta;
  bool causal;
  Matrix embed, head;
  Vector norm;
  std::vector<Layer> layers;
};

inline Vector rms_norm(const Vector& x, const Vector& w, double eps) {
  return x.cwiseProduct(w) / std::sqrt(x.squaredNorm() / static_cast<double>(x.size()) + eps);
}

inline Vector rotated(const Vector& head, int position, double theta) {
  const auto n = head.size();
  Vector out(n);
  for (Eigen::Index i = 0; i < n / 2; ++i) {
    const double angle =
        position * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(n));
    out[i] = head[i] * std::cos(angle) - head[n / 2 + i] * std::sin(angle);
    out[n / 2 + i] = head[n / 2 + i] * std::cos(angle) + head[i] * std::sin(angle);
  }
  return out;
}

/// Final normalised states of a whole sequence, [tokens, D].
inline Matrix hidden_states(const Llama& m, const std::vector<int>& tokens) {
  const int n = static_cast<int>(tokens.size());
  const auto D = m.embed.cols();
  const auto hd = D / m.heads;
  Matrix x(n, D);
  for (int i = 0; i < n; ++i) x.row(i) = m.embed.row(tokens[i]);
  for (const Layer& l : m.layers) {
    Matrix q(n, D), k(n, m.kv_heads * hd), v(n, m.kv_heads * hd);
    for (int i = 0; i < n; ++i) {
      const Vector h = rms_norm(x.row(i), l.norm1, m.eps);
      q.row(i) = l.q * h;
      k.row(i) = l.k * h;
      v.row(i) = l.v * h;
      for (int a = 0; a < m.heads; ++a)
        q.row(i).segment(a * hd, hd) = rotated(q.row(i).segment(a * hd, hd), i, m.theta);
      for (int a = 0; a < m.kv_heads; ++a)
        k.row(i).segment(a * hd, hd) = rotated(k.row(i).segment(a * hd, hd), i, m.theta);
    }
    for (int i = 0; i < n; ++i) {
      Vector attended(D);
      for (int a = 0; a < m.heads; ++a) {
        const auto kv = a / (m.heads / m.kv_heads) * hd;
        const int span = m.causal ? i + 1 : n;
        Vector w(span);
        for (int j = 0; j < span; ++j)
          w[j] = std::exp(q.row(i).segment(a * hd, hd).dot(k.row(j).segment(kv, hd)) /
                          std::sqrt(double(hd)));
        w /= w.sum();
        attended.segment(a * hd, hd).setZero();
        for (int j = 0; j < span; ++j)
          attended.segment(a * hd, hd) += w[j] * v.row(j).segment(kv, hd).transpose();
      }
      x.row(i) += (l.o * attended).transpose();
    }
    for (int i = 0; i < n; ++i) {
      const Vector h = rms_norm(x.row(i), l.norm2, m.eps);
      const Vector g = l.gate * h;
      const Vector act = (g.array() / (1 + (-g.array()).exp()) * (l.up * h).array()).matrix();
      x.row(i) += (l.down * act).transpose();
    }
  }
  for (int i = 0; i < n; ++i) x.row(i) = rms_norm(x.row(i), m.norm, m.eps);
  return x;
}

/// ln softmax(hidden W^T / temperature) [tokens, V]
inline Matrix log_probs(const Llama& m, const std::vector<int>& tokens, double temperature = 1.0) {
  Matrix z = hidden_states(m, tokens) * m.head.transpose() / temperature;
  for (Eigen::Index i = 0; i < z.rows(); ++i) {
    const double top = z.row(i).maxCoeff();
    z.row(i).array() -= top + std::log((z.row(i).array() - top).exp().sum());
  }
  return z;
}

}  // namespace oracle
