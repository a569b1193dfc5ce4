/// SimKO's gradient through the network, the bonus that leaves answers out, and what a scoring pass
/// leaves behind, against the plain transformer.

#include "tests/oracle/preference.hpp"

#include <algorithm>

#include "tests/models/llama_oracle.hpp"
#include "tests/models/update_fixture.hpp"

namespace motley::test {
namespace {

std::vector<int> text_of(const RolloutBuffer& buffer, int r, int b, int g, int length) {
  const auto prompt = on_host(buffer.prompt);
  const auto token = on_host(buffer.token);
  std::vector<int> text;
  for (int p = 0; p < on_host(buffer.prompt_length)(r, b); ++p) text.push_back(prompt(r, b, p));
  for (int t = 0; t < length; ++t) text.push_back(token(r, b, g, t));
  return text;
}

std::vector<double> row_of(const oracle::Matrix& m, Eigen::Index i) {
  std::vector<double> out(static_cast<std::size_t>(m.cols()));
  for (Eigen::Index v = 0; v < m.cols(); ++v) out[static_cast<std::size_t>(v)] = m(i, v);
  return out;
}

/// Every counted token of an update as the oracle sees it under the present weights.
std::vector<oracle::SimkoToken> tokens_of(const Update& u, double quantile,
                                          std::vector<double>& share) {
  const TransformerConfig config = small_config(u.shape.V, u.shape.P + u.shape.T);
  const oracle::Llama m = oracle_of(u.f, 0, config);
  const auto length = on_host(u.f.buffer.length);
  const auto token = on_host(u.f.buffer.token);
  const auto entropy = on_host(u.f.buffer.entropy);
  const auto old = on_host(u.f.buffer.old_log_prob);
  const auto advantage = on_host(u.f.buffer.advantage);
  const auto weight = on_host(u.weight);
  std::vector<oracle::SimkoToken> out;
  share.clear();
  for (int b = 0; b < u.shape.B; ++b)
    for (int g = 0; g < u.shape.G; ++g) {
      const int n = length(0, b, g);
      const std::vector<int> text = text_of(u.f.buffer, 0, b, g, n);
      const oracle::Matrix lp = oracle::log_probs(m, text);
      std::vector<double> own;
      for (int t = 0; t < n; ++t) own.push_back(entropy(0, b, g, t));
      for (int t = 0; t < n; ++t) {
        oracle::SimkoToken x;
        x.log_prob = x.here = row_of(lp, static_cast<Eigen::Index>(text.size()) - n + t - 1);
        x.top = oracle::top_places(x.here, Update::kTopTokens);
        x.token = token(0, b, g, t);
        x.old_log_prob = old(0, b, g, t);
        x.advantage = advantage(0, b, g);
        x.uncertain = entropy(0, b, g, t) > oracle::quantile(own, quantile);
        out.push_back(x);
        share.push_back(weight(0, b, g));
      }
    }
  return out;
}

TEST(Simko, GradientIsThatOfTheSurrogateWithStoppedRatios) {
  Update update;
  std::mt19937 engine(37);
  int mixed = 0, heavier = 0;
  for (const double alpha : {0.0, 0.3, 1.0, -1.0}) {
    // The last round has the signs of the third turned over.
    const double sign = alpha < 0 ? -1 : 1;
    for (const double quantile : {0.0, 0.4}) {
      const LossParams p{.policy = PolicyLoss::simko,
                         .simko_top_k = Update::kTopTokens,
                         .simko_alpha = std::abs(alpha),
                         .simko_quantile = quantile,
                         .simko_wrong_weight = 1.7};
      update.set(p, 0.05, 0.6);
      auto advantage = on_host(update.f.buffer.advantage);
      for (int b = 0; b < update.shape.B; ++b)
        for (int g = 0; g < update.shape.G; ++g)
          advantage(0, b, g) = static_cast<float>(sign * ((b + g) % 2 == 0 ? 0.7 : -0.9));
      Kokkos::deep_copy(update.f.buffer.advantage, advantage);
      std::vector<double> share;
      const std::vector<oracle::SimkoToken> here = tokens_of(update, quantile, share);
      for (const oracle::SimkoToken& x : here) {
        mixed += x.uncertain && x.advantage > 0;
        heavier += x.uncertain && x.advantage < 0 && x.top.front() == x.token;
      }
      const auto surrogate = [&] {
        std::vector<double> unused;
        const auto moved = tokens_of(update, quantile, unused);
        double sum = 0;
        for (std::size_t i = 0; i < here.size(); ++i) {
          oracle::SimkoToken x = here[i];
          x.log_prob = moved[i].log_prob;
          sum +=
              share[i] * oracle::simko(x, p.simko_alpha, 1.7, p.clip_ratio_low, p.clip_ratio_high);
        }
        return sum;
      };
      EXPECT_NEAR(update(), surrogate(), 1e-12);
      update.check(engine, std::to_string(alpha) + " " + std::to_string(quantile), surrogate);
    }
  }
  EXPECT_GT(mixed, 5);
  EXPECT_GT(heavier, 2);
}

TEST(AnswerTokens, ReceiveTheirOwnAdvantage) {
  Update update;
  std::mt19937 engine(39);
  update.f.buffer.allocate_answers();
  auto start = on_host(update.f.buffer.answer_start);
  auto answer = on_host(update.f.buffer.answer_advantage);
  for (const PolicyLoss policy : {PolicyLoss::ppo, PolicyLoss::reinforce, PolicyLoss::kl_cov,
                                  PolicyLoss::gspo, PolicyLoss::sapo}) {
    const LossParams p{.policy = policy, .agg = LossAgg::token_sum, .kl_cov_fraction = 0.3};
    update.set(p, 0.05, 0.6);
    // Nothing is an answer: the bits of a buffer without.
    Kokkos::deep_copy(update.f.buffer.answer_start, update.shape.T);
    const double without = update();
    for (int b = 0; b < update.shape.B; ++b)
      for (int g = 0; g < update.shape.G; ++g) {
        start(0, b, g) = (b + 2 * g) % update.shape.T;
        answer(0, b, g) = static_cast<float>(0.4 * g - 0.3 - 0.2 * b);
      }
    Kokkos::deep_copy(update.f.buffer.answer_start, start);
    Kokkos::deep_copy(update.f.buffer.answer_advantage, answer);
    EXPECT_NE(update(), without);
    // gspo's slope is that of every token's own ratio, not of the value where advantages differ.
    if (policy != PolicyLoss::gspo) update.check(engine, std::string(name_of(policy)));
  }
  // By hand: reinforce is the sum of -A ln pi with each token's own A.
  update.set({.policy = PolicyLoss::reinforce, .agg = LossAgg::token_sum}, 0.05, 0.6);
  const double loss = update();
  const auto advantage = on_host(update.f.buffer.advantage);
  const auto length = on_host(update.f.buffer.length);
  const auto fresh = on_host(update.fresh);
  double wanted = 0;
  int answers = 0;
  for (int b = 0; b < update.shape.B; ++b)
    for (int g = 0; g < update.shape.G; ++g)
      for (int t = 0; t < length(0, b, g); ++t) {
        const bool is_answer = t >= start(0, b, g);
        answers += is_answer;
        wanted -= double(is_answer ? answer(0, b, g) : advantage(0, b, g)) * fresh(0, b, g, t);
      }
  EXPECT_GT(answers, 3);
  EXPECT_NEAR(loss, wanted, 1e-12);
}

TEST(ScoreExtras, TopTokensAndMeanStatesMatchTheOracle) {
  const Shape shape{.R = 3, .B = 3, .G = 7, .P = 5, .T = 9, .V = 13};
  const TransformerConfig config = small_config(shape.V, shape.P + shape.T);
  PolicyFixture<double> f(shape, config, {7, 8, 9});
  f.sample();
  auto length = on_host(f.buffer.length);
  auto token = on_host(f.buffer.token);
  length(0, 1, 2) = 1;  // read by no row of its own
  length(0, 1, 5) = length(0, 1, 3);
  for (int t = 0; t < shape.T; ++t) token(0, 1, 5, t) = token(0, 1, 3, t);
  Kokkos::deep_copy(f.buffer.length, length);
  Kokkos::deep_copy(f.buffer.token, token);
  auto loss = on_host(f.loss);
  loss(0).policy = loss(1).policy = PolicyLoss::simko;
  Kokkos::deep_copy(f.loss, loss);
  std::vector<PartitionParams> partition(3);
  partition[0] = {.method = PartitionMethod::kmeans, .embedding = EmbeddingKind::policy};
  partition[1] = {.method = PartitionMethod::classifier, .embedding = EmbeddingKind::policy};
  partition[2] = {.method = PartitionMethod::dbscan, .embedding = EmbeddingKind::ngram};
  constexpr int K = 4, E = 30;
  const View4<int> top("motley::test::top", shape.R, shape.B, shape.G, shape.T * K);
  const View4<float> embedding("motley::test::embedding", shape.R, shape.B, shape.G, E);
  const View4<double> log_prob("motley::test::lp", shape.R, shape.B, shape.G, shape.T);
  Kokkos::deep_copy(top, -7);
  Kokkos::deep_copy(embedding, 5.0f);
  score_tokens(Exec(), f.layout.net, f.weights, f.workspace(), f.loss, f.buffer, f.active, log_prob,
               ScoreExtras{top, device(partition), embedding});
  const auto places = on_host(top);
  const auto point = on_host(embedding);
  for (int r = 0; r < shape.R; ++r) {
    const oracle::Llama m = oracle_of(f, r, config);
    for (int b = 0; b < shape.B; ++b)
      for (int g = 0; g < shape.G; ++g) {
        const int n = length(r, b, g);
        const std::vector<int> text = text_of(f.buffer, r, b, g, n);
        const auto P = static_cast<Eigen::Index>(text.size()) - n;
        const oracle::Matrix lp = oracle::log_probs(m, text);
        for (int t = 0; t < shape.T; ++t) {
          const bool written = r < 2 && t < n;
          const auto want =
              t < n ? oracle::top_places(row_of(lp, P + t - 1), K) : std::vector<int>(K, -7);
          for (int k = 0; k < K; ++k)
            EXPECT_EQ(places(r, b, g, t * K + k), written ? want[static_cast<std::size_t>(k)] : -7);
        }
        const oracle::Matrix states = oracle::hidden_states(m, text);
        const oracle::Vector mean = states.middleRows(n > 1 ? P : P - 1, n > 1 ? n - 1 : 1)
                                        .colwise()
                                        .mean()
                                        .transpose()
                                        .normalized();
        // Stored as float: components of unit vectors are rounded at 6e-8.
        for (int e = 0; e < E; ++e)
          EXPECT_NEAR(double(point(r, b, g, e)), r > 0 ? 5.0 : (e < config.width ? mean[e] : 0.0),
                      2e-7)
              << r << " " << b << " " << g << " " << e;
      }
  }
  for (int e = 0; e < E; ++e) EXPECT_EQ(point(0, 1, 3, e), point(0, 1, 5, e)) << "equal texts";
}

}  // namespace
}  // namespace motley::test
