#include "models/logits.hpp"

#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"
#include "tests/models/llama_oracle.hpp"

namespace motley::test {
namespace {

template <class Scalar>
void compare_logits(const TransformerConfig& config, int N, int S, double tolerance) {
  const Shape shape{.R = 2, .B = 1, .G = 1, .P = S, .T = 1, .V = config.vocab};
  PolicyFixture<Scalar> f(shape, config, {3, 4});
  std::mt19937 engine(5);
  View3<int> token("motley::test::token", shape.R, N, S);
  View2<int> length("motley::test::length", shape.R, N);
  View4<Scalar> logits("motley::test::logits", shape.R, N, S, shape.V);
  Kokkos::deep_copy(logits, Scalar(7));  // what stood there must not matter
  auto text = on_host(token);
  auto count = on_host(length);
  for (int r = 0; r < shape.R; ++r)
    for (int n = 0; n < N; ++n) {
      count(r, n) = n == 0 ? S : 1 + static_cast<int>(engine() % static_cast<unsigned>(S));
      for (int s = 0; s < count(r, n); ++s)
        text(r, n, s) = static_cast<int>(engine() % static_cast<unsigned>(shape.V));
    }
  Kokkos::deep_copy(token, text);
  Kokkos::deep_copy(length, count);
  const auto workspace = make_logits_workspace<Scalar>(f.layout.net, shape.R, N, S);
  token_logits<Scalar>(Exec(), f.layout.net, f.weights, workspace, token, length, logits);
  const auto got = on_host(logits);
  for (int r = 0; r < shape.R; ++r) {
    const oracle::Llama m = oracle_of(f, r, config);
    for (int n = 0; n < N; ++n) {
      std::vector<int> ids;
      for (int s = 0; s < count(r, n); ++s) ids.push_back(text(r, n, s));
      const oracle::Matrix want = oracle::hidden_states(m, ids) * m.head.transpose();
      for (int s = 0; s < S; ++s)
        for (int v = 0; v < shape.V; ++v) {
          if (s < count(r, n))
            EXPECT_NEAR(got(r, n, s, v), want(s, v), tolerance) << r << n << s << v;
          else
            EXPECT_EQ(got(r, n, s, v), Scalar(0));
        }
    }
  }
}

// Logits are of order 10 here: 5e-5 in float is 2e-5 nats of STYLE.md with room for the head's sum.
TEST(Logits, MatchTheOracle) {
  for (const int kv_heads : {1, 2, 4})
    for (const bool tied : {false, true}) {
      compare_logits<double>(small_config(11, 7, kv_heads, tied), 3, 7, 1e-9);
      compare_logits<float>(small_config(11, 7, kv_heads, tied), 3, 7, 5e-5);
    }
  compare_logits<double>(small_config(5, 1), 1, 1, 1e-9);
  // More rows than a block of the head.
  compare_logits<double>(small_config(37, 71), 4, 71, 1e-9);
}

}  // namespace
}  // namespace motley::test
