#pragma once
/// One update as a function of the parameters: log-probabilities, plan, loss and gradient in
/// double, for central differences.

#include <cmath>
#include <functional>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "core/token_plan.hpp"
#include "tests/models/fixture.hpp"

namespace motley::test {

/// Log-probabilities, plan, gradient: an update as a function of the parameters.
struct Update {
  static constexpr int kTopTokens = 3;
  Shape shape{.R = 1, .B = 2, .G = 3, .P = 3, .T = 5, .V = 7};
  PolicyFixture<double> f;
  PolicyWorkspace<double> workspace;
  TokenPlan<double> plan;
  View4<double> fresh;
  View3<double> weight;
  View2<double> gradient, sums;
  View1<double> ratio_max;

  Update()
      : f(shape, small_config(shape.V, shape.P + shape.T), {11}, 10.0),
        workspace(f.workspace(true)),
        plan(make_token_plan<double>(1, shape.B, shape.G, shape.T, kTopTokens)),
        fresh("motley::test::fresh", 1, shape.B, shape.G, shape.T),
        weight("motley::test::weight", 1, shape.B, shape.G),
        gradient("motley::test::gradient", 1, f.layout.net.size),
        sums("motley::test::sums", 1, kUpdateSums),
        ratio_max("motley::test::ratio_max", 1) {
    f.sample();
    Kokkos::deep_copy(f.buffer.used, 1);
  }

  /// Old log-probabilities `near` or `far` from the new ones, so that ratios lie inside and outside
  /// of the bounds and none within 1e-3 of one.
  void set(const LossParams& params, double near, double far) {
    auto loss = on_host(f.loss);
    loss(0) = params;
    Kokkos::deep_copy(f.loss, loss);
    auto old_log_prob = on_host(f.buffer.old_log_prob);
    auto ref_log_prob = on_host(f.buffer.ref_log_prob);
    auto advantage = on_host(f.buffer.advantage);
    const auto sampled = on_host(f.buffer.sampler_log_prob);
    std::mt19937 engine(3);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) {
        advantage(0, b, g) = static_cast<float>(uniform(engine));
        for (int t = 0; t < shape.T; ++t) {
          const double shift = (g % 2 == 0 ? near : far) * (t % 2 == 0 ? 1 : -1);
          old_log_prob(0, b, g, t) = sampled(0, b, g, t) + static_cast<float>(shift);
          ref_log_prob(0, b, g, t) =
              sampled(0, b, g, t) + static_cast<float>(0.3 * uniform(engine));
        }
      }
    Kokkos::deep_copy(f.buffer.old_log_prob, old_log_prob);
    Kokkos::deep_copy(f.buffer.ref_log_prob, ref_log_prob);
    Kokkos::deep_copy(f.buffer.advantage, advantage);
    // Of every group a pair: quality and diversity differ.
    auto quality = on_host(f.buffer.quality);
    auto diversity = on_host(f.buffer.diversity);
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) {
        quality(0, b, g) = static_cast<float>((b + g) % 2);
        diversity(0, b, g) = static_cast<float>(uniform(engine));
      }
    Kokkos::deep_copy(f.buffer.quality, quality);
    Kokkos::deep_copy(f.buffer.diversity, diversity);
    score_tokens(Exec(), f.layout.net, f.weights, workspace, f.loss, f.buffer, f.active, fresh,
                 ScoreExtras{plan.top, {}, {}});
    token_weights<double>(Exec(), f.loss, f.buffer.length, f.buffer.used, shape.T, 0, shape.B,
                          weight);
  }

  double operator()() {
    const Exec exec;
    pack_weights(exec, f.layout.net, f.weights);
    score_tokens(exec, f.layout.net, f.weights, workspace, f.loss, f.buffer, f.active, fresh);
    token_plan<double>(exec, f.loss, {f.seeds, 3, 0}, fresh, f.buffer, 0, shape.B, plan);
    if (on_host(f.loss)(0).policy == PolicyLoss::divpo)
      token_weights<double>(exec, f.loss, f.buffer.length, f.buffer.used, shape.T, 0, shape.B,
                            weight, plan);
    policy_gradient<double>(exec, f.layout.net, f.weights, f.reference, workspace, f.loss, f.buffer,
                            weight, {0, shape.B, 1}, gradient, sums, ratio_max, f.status,
                            ConstView4<float>(), plan);
    return on_host(sums)(0, static_cast<int>(UpdateSum::loss));
  }

  double sum(UpdateSum which) const { return on_host(sums)(0, static_cast<int>(which)); }

  /// Along a direction that is half the gradient, half random: its slope is of the gradient's size.
  /// \param objective  what is differenced; empty = the update's own loss
  void check(std::mt19937& engine, const std::string& what,
             const std::function<double()>& objective = {}) {
    (*this)();
    const auto g = on_host(gradient);
    const auto base = on_host(f.weights.params);
    const std::int64_t N = f.layout.net.size;
    double norm = 0;
    for (std::int64_t n = 0; n < N; ++n) norm += g(0, n) * g(0, n);
    norm = std::sqrt(norm);
    ASSERT_GT(norm, 1e-4) << what;
    std::normal_distribution<double> normal(0, 1 / std::sqrt(double(N)));
    std::vector<double> direction(static_cast<std::size_t>(N), 0.0);
    double length = 0, analytic = 0;
    for (const TensorSpec& t : f.layout.tensors.tensors())
      for (std::int64_t i = t.offset; i < t.offset + t.size(); ++i) {
        const auto k = static_cast<std::size_t>(i);
        direction[k] = 0.5 * g(0, i) / norm + normal(engine);
        length += direction[k] * direction[k];
      }
    for (std::int64_t n = 0; n < N; ++n)
      analytic += g(0, n) * (direction[static_cast<std::size_t>(n)] /= std::sqrt(length));
    const double h = 1e-4;
    double value[2];
    for (int side = 0; side < 2; ++side) {
      auto moved = Kokkos::create_mirror(f.weights.params);
      for (std::int64_t n = 0; n < N; ++n)
        moved(0, n) = base(0, n) + (side == 0 ? h : -h) * direction[static_cast<std::size_t>(n)];
      Kokkos::deep_copy(f.weights.params, moved);
      value[side] = objective ? objective() : (*this)();
    }
    Kokkos::deep_copy(f.weights.params, base);
    const double numeric = (value[0] - value[1]) / (2 * h);
    // rtol 1e-6 of the gradient's own size: the truncation error of h = 1e-4 is about 1e-7 of it.
    EXPECT_NEAR(numeric, analytic, 1e-6 * norm) << what;
    EXPECT_NE(numeric, analytic) << what;
  }
};

}  // namespace motley::test
