/// Expected gradients of the divergence estimators on a three-way softmax.

#include <cmath>

#include "core/objective.hpp"
#include "tests/core/modes.hpp"

namespace motley::test {
namespace {

/// pi = (.7,.2,.1), ref = (.5,.3,.2): expected loss gradients of the estimators, methods of section
/// E.
TEST(KlGradients, EstimatorsAscendWhatTheyShould) {
  const Doubles pi = {0.7, 0.2, 0.1}, ref = {0.5, 0.3, 0.2};
  const auto gradient = [&](KlEstimator estimator) {
    const LossParams params{
        .policy = PolicyLoss::reinforce, .kl_coef = 1.0, .kl_estimator = estimator};
    Doubles sum(3, 0.0);
    for (int token = 0; token < 3; ++token) {
      const auto k = static_cast<std::size_t>(token);
      double row[3], ref_row[3];
      for (int v = 0; v < 3; ++v) {
        row[v] = std::log(pi[static_cast<std::size_t>(v)]);
        ref_row[v] = std::log(ref[static_cast<std::size_t>(v)]);
      }
      const auto s = scale_and_normalise(row, 3, 1.0);
      const auto rs = scale_and_normalise(ref_row, 3, 1.0);
      const bool exact = estimator == KlEstimator::exact;
      const auto loss = token_loss(params, std::log(pi[k]), std::log(pi[k]), std::log(ref[k]), 0.0);
      const double kl = row_kl(row, s, ref_row, rs, 3);
      EXPECT_NEAR(kl, 0.0851228, 6e-8);
      row_loss_gradient(params, row, 3, s, token, loss.d_log_prob, row_entropy(row, 3, s),
                        exact ? ref_row : nullptr, rs, kl, 1.0);
      for (std::size_t v = 0; v < 3; ++v) sum[v] += pi[k] * row[v];
    }
    return sum;
  };
  const Doubles reverse = {0.175945, -0.098118, -0.077827};
  expect(gradient(KlEstimator::exact), reverse);
  expect(gradient(KlEstimator::k2), reverse);
  expect(gradient(KlEstimator::k1), {0, 0, 0});
  expect(gradient(KlEstimator::k3), {0.2, -0.1, -0.1});  // forward KL
}

}  // namespace
}  // namespace motley::test
