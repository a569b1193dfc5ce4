#include "models/enumerate.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "core/eval_metrics.hpp"
#include "tests/models/llama_oracle.hpp"
#include "tests/oracle/enumerate.hpp"
#include "tests/oracle/scratchpad.hpp"

namespace motley::test {
namespace {

constexpr int kModulus = 2, kDigits = 2, kQ = 3, kT = 4;
const std::vector<std::uint64_t> kSeeds = {21, 22};
const std::vector<double> kTemperature = {1.0, 0.6};

TaskConfig small_task(int digits = kDigits, int eval_prompts = kQ - 1) {
  TaskConfig c;
  c.modulus = kModulus;
  c.digits = digits;
  c.train_prompts = 1;
  c.eval_prompts = eval_prompts;  // rounded to whole answers below
  return c;
}

/// A random policy whose head favours texts that parse, so that every class has some mass.
template <class Scalar>
struct Setting {
  std::vector<std::uint64_t> seeds;
  std::unique_ptr<Task> task;
  TransformerConfig config;
  PolicyFixture<Scalar> policy;

  explicit Setting(std::vector<std::uint64_t> seed_list = kSeeds,
                   TaskConfig task_config = small_task())
      : seeds(std::move(seed_list)),
        task(make_task(task_config, seeds)),
        config(small_config(task->vocabulary().size(), task->max_prompt() + kT)),
        policy({.R = static_cast<int>(seeds.size()),
                .B = task->prompts().num_eval,
                .G = 3000,
                .P = task->max_prompt(),
                .T = kT,
                .V = task->vocabulary().size()},
               config, seeds, 4.0) {}

  std::vector<int> prompt(int r, int q) const {
    const auto token = on_host(task->prompts().token);
    std::vector<int> out;
    for (int p = 0; p < task->max_prompt(); ++p)
      out.push_back(token(r, task->prompts().num_train + q, p));
    return out;
  }
  std::vector<std::vector<Enumeration>> enumerate(const EnumerationLimits& limits,
                                                  std::vector<double> temperature = {}) {
    if (temperature.empty())
      temperature.assign(kTemperature.begin(),
                         kTemperature.begin() + static_cast<std::ptrdiff_t>(seeds.size()));
    Enumerator<Scalar> e(policy.layout.net, *task, policy.shape.R, kT, limits);
    return e.enumerate(Exec(), policy.weights, temperature);
  }
};

/// The same figures from the oracle's recursion and its reading of the text.
template <class Scalar>
Enumeration wanted(const Setting<Scalar>& s, int r, int q, double least) {
  const std::vector<int> prompt = s.prompt(r, q);
  int sum = 0;
  for (const int token : prompt)
    sum += std::stoi(s.task->vocabulary().token[static_cast<std::size_t>(token)]);
  Enumeration out;
  std::map<std::pair<int, int>, double> classes;
  oracle::enumerate(oracle_of(s.policy, r, s.config), prompt, kT, kEos,
                    kTemperature[static_cast<std::size_t>(r)], least,
                    [&](const std::vector<int>& text, double p) {
                      std::string words;
                      bool padded = false;
                      for (const int x : text) {
                        padded = padded || x == kPad;
                        if (x > kEos)
                          words += s.task->vocabulary().token[static_cast<std::size_t>(x)] + " ";
                      }
                      auto reading = oracle::read_scratchpad(words, text.back() == kEos, kModulus,
                                                             static_cast<int>(prompt.size()));
                      if (padded) reading = {};
                      const bool correct = reading.family >= 0 && reading.answer == sum % kModulus;
                      out.mass += p;
                      out.tokens += p * static_cast<double>(text.size());
                      out.correct += correct ? p : 0.0;
                      out.quality += correct ? p : 0.0;
                      ++out.completions;
                      classes[{reading.family, reading.answer}] += p;
                    });
  for (const auto& [meaning, p] : classes)
    if (p > 0) out.class_entropy -= p / out.mass * std::log(p / out.mass);
  return out;
}

TEST(Enumeration, EqualsARecursionOverTheOracle) {
  Setting<double> exact;
  Setting<float> single;
  for (const double least : {0.0, 1e-4}) {
    const EnumerationLimits limits{.prompts = 0, .prefixes = 1 << 20, .min_mass = least};
    const auto got = exact.enumerate(limits);
    const auto in_float = single.enumerate(limits);
    ASSERT_EQ(got.size(), kSeeds.size());
    for (int r = 0; r < 2; ++r) {
      ASSERT_EQ(static_cast<int>(got[r].size()), exact.task->prompts().num_eval);
      for (int q = 0; q < exact.task->prompts().num_eval; ++q) {
        const Enumeration want = wanted(exact, r, q, least);
        const Enumeration& have = got[r][q];
        // 12^4 products of probabilities in double: 1e-15 each.
        EXPECT_NEAR(have.mass, want.mass, 1e-11);
        EXPECT_NEAR(have.correct, want.correct, 1e-11);
        EXPECT_NEAR(have.quality, want.quality, 1e-11);
        EXPECT_NEAR(have.tokens, want.tokens, 1e-11);
        EXPECT_NEAR(have.class_entropy, want.class_entropy, 1e-11);
        EXPECT_EQ(have.completions, want.completions);
        EXPECT_GT(want.correct, 1e-6);
        if (least == 0.0) {
          EXPECT_NEAR(have.mass, 1.0, 1e-12);
          EXPECT_GT(have.completions, 10000);
          // Log-probabilities in float are good to 2e-5.
          EXPECT_NEAR(in_float[r][q].correct, want.correct, 1e-4 * want.correct);
          EXPECT_NEAR(in_float[r][q].mass, 1.0, 1e-12);
        } else {
          EXPECT_LT(have.mass, 0.999);
        }
      }
    }
  }
}

TEST(Enumeration, MissingMassBoundsTheFigures) {
  Setting<double> s;
  const auto whole = s.enumerate({.prompts = 0, .prefixes = 1 << 20, .min_mass = 0});
  double previous = 0;
  for (const int prefixes : {1, 7, 40, 400}) {
    const auto part = s.enumerate({.prompts = 2, .prefixes = prefixes, .min_mass = 0});
    ASSERT_EQ(part[0].size(), 2u);
    double total = 0;
    for (int r = 0; r < 2; ++r)
      for (int q = 0; q < 2; ++q) {
        const Enumeration& p = part[r][q];
        total += p.mass;
        EXPECT_LT(p.mass, 1.0);
        EXPECT_LE(p.correct, whole[r][q].correct + 1e-12);
        EXPECT_LE(whole[r][q].correct, p.correct + 1 - p.mass + 1e-12);
        // One prefix per position: its 12 children, of which one goes on and the end is always
        // there; at the last position all 12 are completions.
        if (prefixes == 1) {
          EXPECT_EQ(p.completions, kT - 1 + s.policy.shape.V);
        }
      }
    EXPECT_GT(total, previous);
    previous = total;
  }
}

/// More held-out prompts than are walked at a time: each has the figures of its own tree.
TEST(Enumeration, ManyPromptsAreWalkedInTurn) {
  Setting<double> s(kSeeds, small_task(6, 40));
  const int Q = s.task->prompts().num_eval;
  ASSERT_GT(Q, 33);
  const double least = 5e-3;
  const auto got = s.enumerate({.prompts = 0, .prefixes = 1 << 20, .min_mass = least});
  for (int r = 0; r < 2; ++r) {
    ASSERT_EQ(static_cast<int>(got[r].size()), Q);
    for (const int q : {0, 15, 16, 17, 32, Q - 1}) {
      const Enumeration want = wanted(s, r, q, least);
      EXPECT_NEAR(got[r][q].mass, want.mass, 1e-11) << r << " " << q;
      EXPECT_NEAR(got[r][q].tokens, want.tokens, 1e-11);
      EXPECT_EQ(got[r][q].completions, want.completions);
    }
  }
}

/// The tree with `most` prefixes kept of every position: {mass, tokens, completions}.
Enumeration kept_by_sorting(const oracle::Llama& m, const std::vector<int>& prompt, int r,
                            std::size_t most) {
  std::vector<std::pair<double, std::vector<int>>> open = {{1.0, {}}};
  Enumeration out;
  for (int t = 0; t < kT; ++t) {
    std::vector<std::pair<double, std::vector<int>>> longer;
    for (const auto& [mass, text] : open) {
      std::vector<int> whole = prompt;
      whole.insert(whole.end(), text.begin(), text.end());
      const auto log_prob = oracle::log_probs(m, whole, kTemperature[static_cast<std::size_t>(r)]);
      for (Eigen::Index v = 0; v < log_prob.cols(); ++v) {
        const double p = mass * std::exp(log_prob(log_prob.rows() - 1, v));
        if (v == kEos || t + 1 == kT) {
          out.mass += p;
          out.tokens += p * (t + 1);
          ++out.completions;
        } else {
          longer.push_back({p, text});
          longer.back().second.push_back(static_cast<int>(v));
        }
      }
    }
    std::sort(longer.rbegin(), longer.rend());
    longer.resize(std::min(longer.size(), most));
    open = std::move(longer);
  }
  return out;
}

TEST(Enumeration, FollowsTheHeaviestPrefixes) {
  Setting<double> s;
  // 5: several halvings of one position; 700: more completions at the end than wait at once.
  for (const int prefixes : {5, 60, 700}) {
    const auto got = s.enumerate({.prompts = 1, .prefixes = prefixes, .min_mass = 0});
    for (int r = 0; r < 2; ++r) {
      const Enumeration want = kept_by_sorting(oracle_of(s.policy, r, s.config), s.prompt(r, 0), r,
                                               static_cast<std::size_t>(prefixes));
      EXPECT_NEAR(got[r][0].mass, want.mass, 1e-11) << prefixes;
      EXPECT_NEAR(got[r][0].tokens, want.tokens, 1e-11);
      EXPECT_EQ(got[r][0].completions, want.completions);
    }
  }
}

/// A sample of 3000: every figure within 5 standard errors of its enumeration.
void samples_agree() {
  Setting<float> s;
  auto sampling = on_host(s.policy.sampling);
  for (int r = 0; r < 2; ++r) sampling(r).temperature = kTemperature[static_cast<std::size_t>(r)];
  Kokkos::deep_copy(s.policy.sampling, sampling);
  RolloutBuffer& b = s.policy.buffer;
  auto prompt = on_host(b.prompt);
  auto prompt_length = on_host(b.prompt_length);
  auto id = on_host(b.prompt_id);
  const int Q = s.policy.shape.B, G = s.policy.shape.G;
  for (int r = 0; r < 2; ++r)
    for (int q = 0; q < Q; ++q) {
      const auto text = s.prompt(r, q);
      for (int p = 0; p < kDigits; ++p) prompt(r, q, p) = text[static_cast<std::size_t>(p)];
      prompt_length(r, q) = kDigits;
      id(r, q) = s.task->prompts().num_train + q;
    }
  Kokkos::deep_copy(b.prompt, prompt);
  Kokkos::deep_copy(b.prompt_length, prompt_length);
  Kokkos::deep_copy(b.prompt_id, id);
  s.policy.sample();
  s.task->score(Exec(), b.prompt_id, b.token, b.length, b.finish, b.quality, b.class_id);
  const auto quality = on_host(b.quality);
  const auto length = on_host(b.length);
  const auto class_id = on_host(b.class_id);
  const auto got = s.enumerate({.prompts = 0, .prefixes = 1 << 20, .min_mass = 0});
  for (int r = 0; r < 2; ++r)
    for (int q = 0; q < Q; ++q) {
      double right = 0, tokens = 0, squares = 0, entropy = 0;
      std::map<int, double> classes;
      for (int g = 0; g < G; ++g) {
        right += double(quality(r, q, g)) / G;
        tokens += double(length(r, q, g)) / G;
        squares += double(length(r, q, g)) * length(r, q, g) / G;
        classes[class_id(r, q, g)] += 1.0 / G;
      }
      for (const auto& [label, p] : classes) entropy -= p * std::log(p);
      const Enumeration& e = got[r][q];
      EXPECT_NEAR(right, e.correct, 5 * std::sqrt(e.correct * (1 - e.correct) / G));
      EXPECT_NEAR(tokens, e.tokens, 5 * std::sqrt((squares - tokens * tokens) / G));
      // Var(-ln p) is at most ln^2 of the smallest mass seen; the bias (K-1)/2G is below 2e-3.
      EXPECT_NEAR(entropy, e.class_entropy, 5 * std::log(double(G)) / std::sqrt(double(G)) / 4);
    }
}

TEST(Enumeration, SamplesAgreeWithIt) {
  samples_agree();
}

TEST(Enumeration, PassAtKFollowsFromPassAtOne) {
  EXPECT_DOUBLE_EQ(exact_pass_at_k(0.25, 2), 1 - 0.75 * 0.75);
  // Unbiased pass@k over all outcomes of n draws is the exact value.
  const double p = 0.3;
  const int n = 6, k = 3;
  double expected = 0, ways = 1;
  for (int c = 0; c <= n; ++c) {
    expected += ways * std::pow(p, c) * std::pow(1 - p, n - c) * pass_at_k(n, c, k);
    ways = ways * (n - c) / (c + 1);
  }
  EXPECT_NEAR(exact_pass_at_k(p, k), expected, 1e-14);
}

TEST(Enumeration, GreedyIsOneCompletion) {
  Setting<float> s;
  for (const auto& replica : s.enumerate({}, {0.0, 0.0}))
    for (const Enumeration& e : replica) {
      EXPECT_EQ(e.completions, 1);
      EXPECT_EQ(e.mass, 1.0);
      EXPECT_EQ(e.class_entropy, 0.0);
    }
}

TEST(Enumeration, ReplicaAloneEqualsReplicaInABatch) {
  Setting<float> both, alone({22});
  const EnumerationLimits limits{.prompts = 0, .prefixes = 100, .min_mass = 1e-6};
  const auto a = both.enumerate(limits, {0.6, 1.0});
  const auto b = alone.enumerate(limits, {1.0});
  for (std::size_t q = 0; q < b[0].size(); ++q) {
    EXPECT_EQ(a[1][q].mass, b[0][q].mass);
    EXPECT_EQ(a[1][q].correct, b[0][q].correct);
    EXPECT_EQ(a[1][q].class_entropy, b[0][q].class_entropy);
    EXPECT_EQ(a[1][q].completions, b[0][q].completions);
    EXPECT_NE(a[0][q].mass, b[0][q].mass);
  }
}

}  // namespace
}  // namespace motley::test
