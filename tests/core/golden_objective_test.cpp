/// Token losses, KL estimators and entropy of the official DARLING code (its verl).

#include <algorithm>

#include "core/objective.hpp"
#include "tests/core/golden.hpp"
#include "tests/core/views.hpp"

namespace motley::test {
namespace {

/// [B, L] case as one replica of B prompts with one completion each.
template <class Scalar>
struct TokenCase {
  int B, L;
  View3<int> length, used;
  View3<Scalar> weight, advantage;
  View4<Scalar> loss, gradient;
  View2<double> sums;

  explicit TokenCase(const json& c)
      : B(c["B"]),
        L(c["L"]),
        length(device_as<View3<int>>(c["lengths"].get<Ints>(), 1, B, 1)),
        used("motley::test::used", 1, B, 1),
        weight("motley::test::weight", 1, B, 1),
        advantage("motley::test::advantage", 1, B, 1),
        loss("motley::test::loss", 1, B, 1, L),
        gradient("motley::test::gradient", 1, B, 1, L),
        sums("motley::test::sums", 1, kUpdateSums) {
    Kokkos::deep_copy(used, 1);
  }
  View4<Scalar> tokens(const json& values) const {
    return device_as<View4<Scalar>>(values.get<Doubles>(), 1, B, 1, L);
  }
  double sum(UpdateSum which) const { return values_of(sums)[static_cast<std::size_t>(which)]; }
};

/// The official denominators: token-mean adds 1e-8 to the count, and -norm divides by L, not S * L.
double official_scale(const std::string& agg, double tokens, double sequences) {
  if (agg == "token-mean") return tokens / (tokens + 1e-8);
  if (agg == "seq-mean-token-sum-norm") return sequences;
  return 1.0;
}

LossAgg agg_of(const std::string& name) {
  const auto& names = EnumNames<LossAgg>::names;
  return static_cast<LossAgg>(std::find(names.begin(), names.end(), name) - names.begin());
}

template <class Scalar>
void check_policy_loss(const char* precision) {
  for (const json& c : cases("policy_loss.json")) {
    const json& e = c["expected"][precision];
    const Doubles advantages = c["advantages"].get<Doubles>();
    for (const char* agg :
         {"token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"}) {
      const std::string what = "case " + c["id"].dump() + " " + agg + " " + precision;
      TokenCase<Scalar> t(c);
      const LossParams params{.clip_ratio_low = c["clip_ratio_low"],
                              .clip_ratio_high = c["clip_ratio_high"],
                              .clip_ratio_c = c["clip_ratio_c"],
                              .agg = agg_of(agg)};
      token_weights<Scalar>(Exec(), device<LossParams>({params}), t.length, t.used, t.L, 0, t.B,
                            t.weight);
      // The case has an advantage per token, motley's kernel one per completion: one call per
      // position, keeping that position of the answer.
      const auto length = on_host(t.length);
      Doubles gradient(static_cast<std::size_t>(t.B * t.L), 0.0);
      double loss = 0, tokens = 0, low_or_high = 0, dual = 0, kl = 0;
      const auto weight = on_host(t.weight);
      for (int b = 0; b < t.B; ++b) tokens += length(0, b, 0);
      for (int l = 0; l < t.L; ++l) {
        auto advantage = on_host(t.advantage);
        for (int b = 0; b < t.B; ++b)
          advantage(0, b, 0) =
              static_cast<Scalar>(advantages[static_cast<std::size_t>(b * t.L + l)]);
        Kokkos::deep_copy(t.advantage, advantage);
        const auto ref = t.tokens(c["log_prob"]);
        token_losses<Scalar>(Exec(), device<LossParams>({params}), t.tokens(c["log_prob"]),
                             t.tokens(c["old_log_prob"]), ref, t.advantage, t.length, t.weight,
                             t.loss, t.gradient, t.sums);
        const auto g = on_host(t.gradient);
        const auto x = on_host(t.loss);
        for (int b = 0; b < t.B; ++b) {
          gradient[static_cast<std::size_t>(b * t.L + l)] = g(0, b, 0, l);
          if (l < length(0, b, 0)) loss += double(weight(0, b, 0)) * double(x(0, b, 0, l));
        }
        // Fractions token by token: the device function says which bound is active.
        for (int b = 0; b < t.B; ++b) {
          if (l >= length(0, b, 0)) continue;
          const auto k = static_cast<std::size_t>(b * t.L + l);
          const Scalar fresh = static_cast<Scalar>(c["log_prob"][k].get<double>());
          const Scalar old = static_cast<Scalar>(c["old_log_prob"][k].get<double>());
          const auto token =
              token_loss<Scalar>(params, fresh, old, fresh, static_cast<Scalar>(advantages[k]));
          low_or_high += token.clipped_low || token.clipped_high ? 1 : 0;
          dual += token.clipped_dual ? 1 : 0;
          kl += double(old) - double(fresh);
        }
      }
      const double scale = official_scale(agg, tokens, t.B);
      const double want = e[agg]["pg_loss"];
      EXPECT_NEAR(loss * scale, want, bound<Scalar>(want)) << what;
      expect_near(
          [&] {
            Doubles out = gradient;
            for (double& x : out) x *= scale;
            return out;
          }(),
          e[agg]["grad_log_prob"].get<Doubles>(), sizeof(Scalar) == 8 ? 2e-9 : 1e-4, what);
      const double mean = tokens / (tokens + 1e-8);
      EXPECT_NEAR(low_or_high / tokens * mean, e["pg_clipfrac"].get<double>(), 1e-6) << what;
      EXPECT_NEAR(dual / tokens * mean, e["pg_clipfrac_lower"].get<double>(), 1e-6) << what;
      EXPECT_NEAR(kl / tokens * mean, e["ppo_kl"].get<double>(), sizeof(Scalar) == 8 ? 2e-9 : 2e-5)
          << what;
    }
  }
}
TEST(Golden, PolicyLossInDouble) {
  check_policy_loss<double>("f64");
}
TEST(Golden, PolicyLossInFloat) {
  check_policy_loss<float>("f32");
}

template <class Scalar>
void check_kl(const char* precision) {
  const std::map<std::string, KlEstimator> kinds = {{"kl", KlEstimator::k1},
                                                    {"abs", KlEstimator::abs},
                                                    {"mse", KlEstimator::k2},
                                                    {"low_var_kl", KlEstimator::k3}};
  for (const json& c : cases("kl.json")) {
    for (const auto& [kind, estimator] : kinds) {
      const std::string what = "case " + c["id"].dump() + " " + kind + " " + precision;
      const std::string agg = c["loss_agg_mode"];
      const json& e = c["expected"][precision][kind];
      TokenCase<Scalar> t(c);
      // Advantage 0 leaves the divergence alone; every position counts for the matrix.
      const LossParams params{.policy = PolicyLoss::reinforce,
                              .agg = agg_of(agg),
                              .kl_coef = 1.0,
                              .kl_estimator = estimator};
      token_weights<Scalar>(Exec(), device<LossParams>({params}), t.length, t.used, t.L, 0, t.B,
                            t.weight);
      const auto fresh = t.tokens(c["log_prob"]);
      token_losses<Scalar>(Exec(), device<LossParams>({params}), fresh, fresh,
                           t.tokens(c["ref_log_prob"]), t.advantage, t.length, t.weight, t.loss,
                           t.gradient, t.sums);
      double tokens = 0;
      for (const int n : c["lengths"].get<Ints>()) tokens += n;
      const double scale = official_scale(agg, tokens, t.B);
      EXPECT_NEAR(t.sum(UpdateSum::loss) * scale, e["loss"].get<double>(),
                  bound<Scalar>(e["loss"].get<double>()))
          << what;
      const auto gradient = values_of(t.gradient);
      const Doubles want = e["grad_log_prob"].get<Doubles>();
      for (std::size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(double(gradient[i]) * scale, want[i], 2 * bound<Scalar>(want[i])) << what;
      Kokkos::deep_copy(t.length, t.L);
      token_losses<Scalar>(Exec(), device<LossParams>({params}), fresh, fresh,
                           t.tokens(c["ref_log_prob"]), t.advantage, t.length, t.weight, t.loss,
                           t.gradient, t.sums);
      const auto matrix = values_of(t.loss);
      const Doubles want_matrix = e["matrix"].get<Doubles>();
      for (std::size_t i = 0; i < want_matrix.size(); ++i)
        EXPECT_NEAR(double(matrix[i]), want_matrix[i], bound<Scalar>(want_matrix[i])) << what;
    }
  }
}
TEST(Golden, KlInDouble) {
  check_kl<double>("f64");
}
TEST(Golden, KlInFloat) {
  check_kl<float>("f32");
}

template <class Scalar>
void check_entropy(const char* precision) {
  for (const json& c : cases("entropy.json")) {
    const std::string what = "case " + c["id"].dump() + " " + precision;
    const int rows = c["B"].get<int>() * c["L"].get<int>();
    const int V = c["V"];
    const json& e = c["expected"][precision];
    const View2<Scalar> logits = device_as<View2<Scalar>>(c["logits"].get<Doubles>(), rows, V);
    const View1<int> token("motley::test::token", rows);
    const View1<Scalar> log_prob("motley::test::log_prob", rows),
        entropy("motley::test::entropy", rows);
    const View1<float> kept("motley::test::kept", rows), u("motley::test::u", rows);
    sample_rows<Scalar>(Exec(), SamplingParams{}, logits, u, token, log_prob, entropy, kept);
    const auto h = values_of(entropy);
    const Ints lengths = c["lengths"].get<Ints>();
    double sum = 0, tokens = 0;
    for (int i = 0; i < rows; ++i) {
      const auto k = static_cast<std::size_t>(i);
      const double want = e["entropy"][k];
      EXPECT_NEAR(double(h[k]), want, bound<Scalar>(want)) << what;
      Doubles row;
      for (int v = 0; v < V; ++v)
        row.push_back(c["logits"][k * static_cast<std::size_t>(V) + static_cast<std::size_t>(v)]);
      std::vector<Scalar> scaled(row.begin(), row.end());
      const auto softmax = scale_and_normalise(scaled.data(), V, Scalar(1));
      const double want_lp = e["log_prob"][k];
      EXPECT_NEAR(double(softmax.log_prob(scaled[c["labels"][k].get<std::size_t>()])), want_lp,
                  bound<Scalar>(want_lp))
          << what;
      const int b = i / c["L"].get<int>();
      if (i % c["L"].get<int>() < lengths[static_cast<std::size_t>(b)]) {
        sum += double(h[k]);
        tokens += 1;
      }
    }
    EXPECT_NEAR(sum / (tokens + 1e-8), e["mean_entropy_token_mean"].get<double>(),
                bound<Scalar>(1.0))
        << what;
  }
}
TEST(Golden, EntropyInDouble) {
  check_entropy<double>("f64");
}
TEST(Golden, EntropyInFloat) {
  check_entropy<float>("f32");
}

}  // namespace
}  // namespace motley::test
