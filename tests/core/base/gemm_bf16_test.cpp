#include "core/base/gemm_bf16.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace motley::test {
namespace {

std::vector<float> numbers(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(n);
  for (float& x : out) x = normal(engine);
  return out;
}

float round_to_bf16(float x) {
  return std::bit_cast<float>(bf16_bits(x) << 16);
}

/// The nearest number of 8 bits, ties to the even one, by arithmetic on the value.
double rounded(double x) {
  if (x == 0) return x;
  const double unit = std::ldexp(1.0, std::ilogb(x) - 7);
  return std::nearbyint(x / unit) * unit;
}

TEST(GemmBf16, RoundsToNearestEven) {
  for (const float x : numbers(20000, 7)) {
    EXPECT_EQ(double(round_to_bf16(x)), rounded(x));
    EXPECT_EQ(double(round_to_bf16(x * 1e20f)), rounded(double(x * 1e20f)));
  }
  EXPECT_EQ(round_to_bf16(1.00390625f), 1.0f);       // half way, 1 is even
  EXPECT_EQ(round_to_bf16(1.01171875f), 1.015625f);  // half way, upwards
  EXPECT_EQ(round_to_bf16(std::numeric_limits<float>::infinity()),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(round_to_bf16(std::numeric_limits<float>::quiet_NaN())));
}

/// B as the forward pass has it (an image made before) or as the backward pass does.
std::vector<float> product(int M, int N, int K, const std::vector<float>& a, bool transposed,
                           const std::vector<float>& b, bool image, std::vector<float> c,
                           bool accumulate) {
  const int a_row = transposed ? 1 : K, a_col = transposed ? M : 1;
  if (image) {
    const int ld = (N + 15) / 16 * 16;
    std::vector<std::uint32_t> pairs(std::size_t((K + 1) / 2) * ld, 0xffffffffu);
    pack_bf16(K, N, b.data(), N, pairs.data(), ld);
    host_gemm_bf16(M, N, K, a.data(), a_row, a_col, pairs.data(), ld, c.data(), N, accumulate);
  } else {
    host_gemm_bf16(M, N, K, a.data(), a_row, a_col, b.data(), N, c.data(), N, accumulate);
  }
  return c;
}

/// Against the sum in double of the rounded numbers: K float additions of about 1.
TEST(GemmBf16, MatchesThePlainSumOfRoundedNumbers) {
  for (const int M : {1, 2, 5, 6, 7, 17, 64})
    for (const int N : {1, 7, 16, 17, 64, 67, 192})
      for (const int K : {1, 2, 16, 33, 129, 256, 257, 600})
        for (const bool transposed : {false, true})
          for (const bool accumulate : {false, true}) {
            const auto a = numbers(std::size_t(M) * K, 1), b = numbers(std::size_t(K) * N, 2);
            const auto c = numbers(std::size_t(M) * N, 3);
            const auto got = product(M, N, K, a, transposed, b, false, c, accumulate);
            const auto by_image = product(M, N, K, a, transposed, b, true, c, accumulate);
            ASSERT_EQ(0, std::memcmp(got.data(), by_image.data(), got.size() * sizeof(float)))
                << M << " " << N << " " << K;
            for (int m = 0; m < M; ++m)
              for (int n = 0; n < N; ++n) {
                double want = accumulate ? double(c[std::size_t(m * N + n)]) : 0.0;
                for (int k = 0; k < K; ++k)
                  want += rounded(a[std::size_t(transposed ? k * M + m : m * K + k)]) *
                          rounded(b[std::size_t(k * N + n)]);
                ASSERT_NEAR(double(got[std::size_t(m * N + n)]), want, 1e-6 * (K + 1))
                    << M << " " << N << " " << K << " " << transposed << accumulate;
              }
          }
}

TEST(GemmBf16, BitsOfARowDoNotDependOnTheOthers) {
  for (const int K : {1, 16, 191, 300})
    for (const int N : {12, 48, 64, 100}) {
      const auto row = numbers(std::size_t(K), 4), b = numbers(std::size_t(K) * N, 5);
      const auto alone = product(1, N, K, row, false, b, true, std::vector<float>(N), false);
      for (int M = 1; M <= 30; ++M) {
        auto a = numbers(std::size_t(M) * K, 6);
        const int place = (M * 7) % M == 0 ? M / 2 : (M * 7) % M;
        std::memcpy(&a[std::size_t(place) * K], row.data(), sizeof(float) * row.size());
        std::vector<float> columns(a.size());
        for (int m = 0; m < M; ++m)
          for (int k = 0; k < K; ++k) columns[std::size_t(k) * M + m] = a[std::size_t(m) * K + k];
        for (const bool transposed : {false, true}) {
          const auto c = product(M, N, K, transposed ? columns : a, transposed, b, false,
                                 std::vector<float>(std::size_t(M) * N), false);
          ASSERT_EQ(0, std::memcmp(&c[std::size_t(place) * N], alone.data(),
                                   sizeof(float) * std::size_t(N)))
              << M << " " << N << " " << K << " " << transposed;
        }
      }
    }
}

}  // namespace
}  // namespace motley::test
