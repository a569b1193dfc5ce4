#include "core/base/gemm.hpp"

#include <cstring>
#include <random>
#include <vector>

#include <Eigen/Dense>
#include <gtest/gtest.h>

#include "core/base/math.hpp"

namespace motley::test {
namespace {

template <class Scalar>
std::vector<Scalar> numbers(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<Scalar> out(n);
  for (Scalar& x : out) x = static_cast<Scalar>(normal(engine));
  return out;
}

/// Against Eigen in double. Float: K products of size about 1, so 1e-6 * K bounds the rounding.
template <class Scalar>
void compare(int M, int N, int K, bool transposed, bool accumulate) {
  const auto a = numbers<Scalar>(std::size_t(M) * K, 1);
  const auto b = numbers<Scalar>(std::size_t(K) * N, 2);
  auto c = numbers<Scalar>(std::size_t(M) * N, 3);
  Eigen::MatrixXd want(M, N);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      double sum = accumulate ? double(c[std::size_t(m * N + n)]) : 0.0;
      for (int k = 0; k < K; ++k)
        sum += double(a[std::size_t(transposed ? k * M + m : m * K + k)]) *
               double(b[std::size_t(k * N + n)]);
      want(m, n) = sum;
    }
  host_gemm<Scalar>(M, N, K, a.data(), transposed ? 1 : K, transposed ? M : 1, b.data(), N,
                    c.data(), N, accumulate);
  const double bound = (sizeof(Scalar) == 4 ? 1e-6 : 1e-14) * (K + 1);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n)
      ASSERT_NEAR(double(c[std::size_t(m * N + n)]), want(m, n), bound)
          << M << " " << N << " " << K;
}

TEST(Gemm, MatchesThePlainSum) {
  for (const int M : {1, 2, 3, 5, 6, 7, 13, 64})
    for (const int N : {1, 7, 15, 16, 17, 31, 64, 67, 192})
      for (const int K : {1, 2, 16, 33, 129})
        for (const bool transposed : {false, true})
          for (const bool accumulate : {false, true}) {
            compare<float>(M, N, K, transposed, accumulate);
            compare<double>(M, N, K, transposed, accumulate);
          }
}

/// Every output is one chain of sums, fused where the machine can, by whatever block it is
/// computed.
template <class Scalar>
void expect_chains(int M, int N, int K, bool accumulate) {
  const auto a = numbers<Scalar>(std::size_t(M) * K, 7);
  const auto b = numbers<Scalar>(std::size_t(K) * N, 8);
  const auto before = numbers<Scalar>(std::size_t(M) * N, 9);
  auto c = before;
  host_gemm<Scalar>(M, N, K, a.data(), K, 1, b.data(), N, c.data(), N, accumulate);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      Scalar sum = accumulate ? before[std::size_t(m * N + n)] : Scalar(0);
      for (int k = 0; k < K; ++k)
        sum = multiply_add(a[std::size_t(m * K + k)], b[std::size_t(k * N + n)], sum);
      ASSERT_EQ(c[std::size_t(m * N + n)], sum) << M << " " << N << " " << K;
    }
}

TEST(Gemm, EveryOutputIsOneChainOfSums) {
  for (const int M : {1, 2, 5, 6, 7, 13})
    for (const int N : {1, 3, 4, 5, 8, 12, 13, 16, 24, 32, 44, 64, 79})
      for (const int K : {1, 2, 3, 7, 16, 33})
        for (const bool accumulate : {false, true}) {
          expect_chains<float>(M, N, K, accumulate);
          expect_chains<double>(M, N, K, accumulate);
        }
}

/// Shapes whose panels of B are copied, in one piece and in several.
TEST(Gemm, CopiedPanelsGoOnWithTheChains) {
  for (const int M : {48, 53})
    for (const int N : {256, 331})
      for (const int K : {128, 129, 300})
        for (const bool accumulate : {false, true}) {
          expect_chains<float>(M, N, K, accumulate);
          expect_chains<double>(M, N, K, accumulate);
          compare<float>(M, N, K, true, accumulate);
        }
}

TEST(Gemm, BitsOfARowDoNotDependOnTheOthers) {
  for (const int K : {1, 16, 64, 191})
    for (const int N : {12, 16, 48, 64, 100, 192}) {
      const auto row = numbers<float>(std::size_t(K), 4);
      const auto b = numbers<float>(std::size_t(K) * N, 5);
      std::vector<float> alone(std::size_t(N), 0.0f);
      host_gemm<float>(1, N, K, row.data(), K, 1, b.data(), N, alone.data(), N, false);
      for (int M = 1; M <= 40; ++M) {
        auto a = numbers<float>(std::size_t(M) * K, 6);
        const int place = (M * 7) % M == 0 ? M / 2 : (M * 7) % M;
        std::memcpy(&a[std::size_t(place) * K], row.data(), sizeof(float) * std::size_t(K));
        std::vector<float> c(std::size_t(M) * N);
        host_gemm<float>(M, N, K, a.data(), K, 1, b.data(), N, c.data(), N, false);
        ASSERT_EQ(0, std::memcmp(&c[std::size_t(place) * N], alone.data(),
                                 sizeof(float) * std::size_t(N)))
            << M << " " << N << " " << K;
        // The same matrix given column by column.
        std::vector<float> columns(a.size());
        for (int m = 0; m < M; ++m)
          for (int k = 0; k < K; ++k) columns[std::size_t(k) * M + m] = a[std::size_t(m) * K + k];
        host_gemm<float>(M, N, K, columns.data(), 1, M, b.data(), N, c.data(), N, false);
        ASSERT_EQ(0, std::memcmp(&c[std::size_t(place) * N], alone.data(),
                                 sizeof(float) * std::size_t(N)));
      }
    }
}

}  // namespace
}  // namespace motley::test
