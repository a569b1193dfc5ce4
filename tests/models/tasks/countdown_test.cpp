#include "tests/oracle/countdown.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "models/tasks/countdown_table.hpp"
#include "tests/models/tasks/corpus_fixture.hpp"

namespace motley::test {
namespace {

TaskConfig config_of(int train = 0, int eval = 0) {
  TaskConfig config;
  config.name = "countdown";
  config.train_prompts = train;
  config.eval_prompts = eval;
  return config;
}

std::vector<int> numbers_of(const int* prompt) {
  return {prompt[0] - 2, prompt[1] - 2, prompt[2] - 2, prompt[3] - 2};
}

/// Words of a text of the table over the ascending numbers of its multiset.
std::string words_of_text(const std::array<int, 4>& numbers, std::uint32_t text) {
  const char* words[] = {"+", "-", "x", "/"};
  std::vector<int> hand(numbers.begin(), numbers.end());
  std::string out;
  for (int s = 0; s < 3; ++s) {
    const std::uint32_t step = text >> (8 * s);
    const int a = hand[step & 7], b = hand[step >> 3 & 7];
    const std::uint32_t op = step >> 6 & 3;
    const int c = op == 0 ? a + b : op == 1 ? a - b : op == 2 ? a * b : a / b;
    out += std::to_string(a) + " " + words[op] + " " + std::to_string(b) + " " + std::to_string(c) +
           " ";
    hand.push_back(c);
  }
  return out;
}

TEST(Countdown, MeaningsAreTheCanonicalTreesOfAllTexts) {
  const countdown::Table& t = countdown::table();
  ASSERT_EQ(t.multiset.size(), 495u);
  std::set<std::string> names;
  // Every 7th multiset in full: each text of a meaning has its tree, no other meaning has it.
  for (std::size_t m = 0; m < t.multiset.size(); ++m) {
    std::set<std::string> trees;
    for (int k = t.first_meaning[m]; k < t.first_meaning[m + 1]; ++k) {
      const auto at = static_cast<std::size_t>(k);
      names.insert(t.name(k));
      if (m % 7 != 0) continue;
      std::string tree;
      for (int i = t.first_text[at]; i < t.first_text[at + 1]; ++i) {
        const auto reading = oracle::read_countdown(
            {t.multiset[m].begin(), t.multiset[m].end()},
            words_of_text(t.multiset[m], t.text[static_cast<std::size_t>(i)]), true);
        ASSERT_TRUE(reading.valid);
        ASSERT_EQ(reading.value, t.value[at]);
        ASSERT_EQ(reading.multiplies, t.multiplies[at] != 0);
        if (tree.empty()) tree = reading.meaning;
        ASSERT_EQ(tree, reading.meaning) << t.name(k);
      }
      ASSERT_TRUE(trees.insert(tree).second) << "two meanings, one tree: " << tree;
    }
  }
  EXPECT_EQ(names.size(), t.hash.size());  // one name each: no hash stands for two trees
}

/// Every text over the hand, as words, by value.
void all_texts(const std::vector<int>& hand, const std::string& words,
               std::vector<std::string>& out) {
  if (hand.size() == 1) {
    out.push_back(words);
    return;
  }
  for (std::size_t i = 0; i < hand.size(); ++i)
    for (std::size_t j = 0; j < hand.size(); ++j)
      for (const std::string op : {"+", "-", "x", "/"}) {
        const int a = hand[i], b = hand[j];
        if (i == j || (op == "/" && a % b != 0)) continue;
        const int c = op == "+" ? a + b : op == "-" ? a - b : op == "x" ? a * b : a / b;
        if (c < 1 || c > 60) continue;
        std::vector<int> rest = {c};
        for (std::size_t k = 0; k < hand.size(); ++k)
          if (k != i && k != j) rest.push_back(hand[k]);
        all_texts(rest,
                  words + std::to_string(a) + " " + op + " " + std::to_string(b) + " " +
                      std::to_string(c) + " ",
                  out);
      }
}

TEST(Countdown, NoMeaningIsMissing) {
  const countdown::Table& t = countdown::table();
  for (std::size_t m = 3; m < t.multiset.size(); m += 61) {
    const std::vector<int> numbers(t.multiset[m].begin(), t.multiset[m].end());
    std::vector<std::string> texts;
    all_texts(numbers, "", texts);
    std::map<std::string, int> value_of_tree;
    for (const std::string& text : texts) {
      const auto reading = oracle::read_countdown(numbers, text, true);
      ASSERT_TRUE(reading.valid) << text;
      value_of_tree[reading.meaning] = reading.value;
    }
    ASSERT_EQ(value_of_tree.size(),
              static_cast<std::size_t>(t.first_meaning[m + 1] - t.first_meaning[m]));
    std::map<int, int> solutions;
    for (const auto& [tree, value] : value_of_tree) ++solutions[value];
    for (const countdown::Problem& p : t.problem) {
      if (p.multiset == static_cast<int>(m)) {
        ASSERT_EQ(p.num_solutions, solutions[p.target]);
      }
    }
  }
}

TEST(Countdown, PoolHasAllProblems) {
  const countdown::Table& t = countdown::table();
  int easy = 0, hard = 0;
  for (const countdown::Problem& p : t.problem) {
    ++(p.hard ? hard : easy);
  }
  EXPECT_EQ(easy, 2350);
  EXPECT_EQ(hard, 10336);
  // Reachability by another way, on every 11th multiset.
  for (std::size_t m = 0; m < t.multiset.size(); m += 11) {
    const std::vector<int> numbers(t.multiset[m].begin(), t.multiset[m].end());
    std::map<int, bool> any, plain;
    oracle::reachable(numbers, true, any);
    oracle::reachable(numbers, false, plain);
    for (int target = 1; target <= 40; ++target) {
      const int id = t.problem_of[m * 41 + static_cast<std::size_t>(target)];
      const bool given = std::count(numbers.begin(), numbers.end(), target) > 0;
      ASSERT_EQ(id >= 0, any.count(target) > 0 && !given);
      if (id >= 0) {
        ASSERT_EQ(t.problem[static_cast<std::size_t>(id)].hard, plain.count(target) == 0);
      }
    }
  }
}

TEST(Countdown, ScoreAgreesWithAReaderOfTheText) {
  const auto task = make_task(config_of(), {11});
  const int B = 40, G = 100, T = task->max_completion();
  CorpusParams params = task->classifier_corpus();
  params.malformed = 0.2;
  const CorpusBatch texts = draw_corpus(*task, B * G, params, {11}, true, 1);
  Scored x(*task, B, G);
  const auto token = on_host(x.token);
  const auto length = on_host(x.length);
  const auto corpus = on_host(texts.token);
  const auto corpus_length = on_host(texts.length);
  const auto corpus_class = on_host(texts.class_id);
  const auto prompts = on_host(task->prompts().token);
  // A text answers the prompt it was made for; find that row.
  std::map<std::vector<int>, int> row_of;
  for (int n = task->prompts().num_train; n < task->prompts().size(); ++n)
    row_of[{&prompts(0, n, 0), &prompts(0, n, 0) + 5}] = n;
  const auto id = on_host(x.prompt_id);
  std::mt19937 engine(1);
  const auto below = [&](int n) { return static_cast<int>(engine() % static_cast<unsigned>(n)); };
  for (int b = 0; b < B; ++b) {
    id(0, b) = row_of.at({&corpus(0, b * G, 0), &corpus(0, b * G, 0) + 5});
    int n = 0;
    for (int g = 0; g < G; ++g) {
      // Texts of this very prompt as far as there are any, else of others (mostly malformed here).
      while (n < B * G && row_of.at({&corpus(0, n, 0), &corpus(0, n, 0) + 5}) != id(0, b)) ++n;
      const int from = n < B * G ? n++ : below(B * G);
      length(0, b, g) = corpus_length(0, from) - 5;
      for (int p = 0; p < length(0, b, g); ++p) token(0, b, g, p) = corpus(0, from, 5 + p);
      if (g % 5 == 4) token(0, b, g, below(length(0, b, g))) = below(71);
      if (g % 17 == 3)
        for (length(0, b, g) = 1 + below(T); const int p : {0, 1, 2, 3, 4})
          token(0, b, g, p) = 1 + below(70);
    }
  }
  Kokkos::deep_copy(x.token, token);
  Kokkos::deep_copy(x.length, length);
  Kokkos::deep_copy(x.prompt_id, id);
  x.score(*task);
  const auto quality = on_host(x.quality);
  const auto class_id = on_host(x.class_id);
  const auto finish = on_host(x.finish);
  std::map<std::string, int> class_of_tree;
  int valid = 0, right = 0, invalid = 0;
  for (int b = 0; b < B; ++b) {
    const int* prompt = &prompts(0, id(0, b), 0);
    std::vector<int> sorted = numbers_of(prompt);
    std::sort(sorted.begin(), sorted.end());
    for (int g = 0; g < G; ++g) {
      bool ended = false;
      const std::string text = words_of(*task, &token(0, b, g, 0), length(0, b, g), ended);
      const auto want = oracle::read_countdown(numbers_of(prompt), text, ended);
      const bool hit = want.valid && want.value == prompt[4] - 2;
      ASSERT_EQ(quality(0, b, g), hit ? 1.0f : 0.0f) << text;
      ASSERT_EQ(finish(0, b, g), static_cast<int>(want.valid ? Finish::eos : Finish::invalid));
      ASSERT_EQ(task->family_of(class_id(0, b, g)), want.valid ? (want.multiplies ? 1 : 0) : -1)
          << text;
      ASSERT_GE(class_id(0, b, g), 0);
      if (want.valid) {
        // Same tree, same class; the tree's leaves fix the multiset.
        const auto [at, fresh] = class_of_tree.emplace(want.meaning, class_id(0, b, g));
        ASSERT_EQ(at->second, class_id(0, b, g)) << text;
        ASSERT_EQ(countdown::table().value[static_cast<std::size_t>(class_id(0, b, g))],
                  want.value);
      } else {
        ASSERT_EQ(task->class_name(class_id(0, b, g)), "invalid");
      }
      ++(want.valid ? valid : invalid);
      right += hit ? 1 : 0;
    }
  }
  std::set<int> classes;
  for (const auto& [tree, c] : class_of_tree) classes.insert(c);
  EXPECT_EQ(classes.size(), class_of_tree.size());  // other trees, other classes
  EXPECT_GT(classes.size(), 50u);
  EXPECT_GT(valid, 200);
  EXPECT_GT(right, 50);
  EXPECT_GT(invalid, 500);
  EXPECT_LT(*classes.rbegin(), countdown::table().meanings());
  EXPECT_EQ(corpus_class.extent(1), static_cast<std::size_t>(B * G));
}

TEST(Countdown, PoolsAreDisjointAndHalfHard) {
  const auto task = make_task(config_of(), {3, 4});
  const PromptTable& table = task->prompts();
  ASSERT_EQ(table.num_train, 1000);
  ASSERT_EQ(table.num_eval, 192);
  const auto token = on_host(table.token);
  for (int r = 0; r < 2; ++r) {
    std::set<std::vector<int>> all;
    int hard[2] = {0, 0};
    for (int n = 0; n < table.size(); ++n) {
      std::vector<int> numbers = numbers_of(&token(r, n, 0));
      const int target = token(r, n, 4) - 2;
      const auto R = static_cast<std::size_t>(r);
      const auto N = static_cast<std::size_t>(n);
      if (n % 40 == 0) {
        std::map<int, bool> plain;
        oracle::reachable(numbers, false, plain);
        EXPECT_EQ(table.difficulty[R][N] > 0, plain.count(target) == 0);
      }
      EXPECT_GE(table.num_classes[R][N], 1);
      hard[n < table.num_train ? 0 : 1] += table.difficulty[R][N] > 0 ? 1 : 0;
      std::sort(numbers.begin(), numbers.end());
      numbers.push_back(target);
      all.insert(numbers);
    }
    EXPECT_EQ(all.size(), 1192u);  // as multisets: no problem twice in another order
    EXPECT_EQ(hard[0], 500);
    EXPECT_EQ(hard[1], 96);
  }
}

TEST(Countdown, CorpusIsRightKeepsItsSharesAndHeldOutProblemsOut) {
  const auto task = make_task(config_of(), {8});
  const int N = 20000;
  const CorpusBatch batch = draw_corpus(*task, N, task->skill_corpus(), {8}, false, 1);
  const auto token = on_host(batch.token);
  const auto class_id = on_host(batch.class_id);
  const auto length = on_host(batch.length);
  const auto prompts = on_host(task->prompts().token);
  std::set<std::vector<int>> held_out;
  for (int n = task->prompts().num_train; n < task->prompts().size(); ++n) {
    std::vector<int> problem = numbers_of(&prompts(0, n, 0));
    std::sort(problem.begin(), problem.end());
    problem.push_back(prompts(0, n, 4) - 2);
    held_out.insert(problem);
  }
  double hits = 0, common = 0, first_common = 0, op_share[4] = {0, 0, 0, 0};
  for (int n = 0; n < N; ++n) {
    bool ended = false;
    const std::string text = words_of(*task, &token(0, n, 5), length(0, n) - 5, ended);
    const auto reading = oracle::read_countdown(numbers_of(&token(0, n, 0)), text, ended);
    ASSERT_TRUE(reading.valid) << text;
    ASSERT_GE(class_id(0, n), 0);
    ASSERT_LT(class_id(0, n), countdown::table().meanings());
    std::vector<int> problem = numbers_of(&token(0, n, 0));
    std::sort(problem.begin(), problem.end());
    problem.push_back(token(0, n, 4) - 2);
    ASSERT_EQ(held_out.count(problem), 0u);
    hits += reading.value == token(0, n, 4) - 2 ? 1 : 0;
    for (int s = 0; s < 3; ++s) {
      const int op = token(0, n, 5 + 4 * s + 1) - 63;
      op_share[op / 2] += 1.0 / (3.0 * N);
      common += op % 2 == 0 ? 1.0 / (3.0 * N) : 0;
    }
    first_common += token(0, n, 6) % 2 == 1 ? 1.0 / N : 0;
  }
  // 30 % of targets are replaced by a uniform one of 40: .7 + .3 / 40 hit. Bounds: 5.5 binomial
  // deviations of at most .5 / sqrt N.
  const double bound = 5.5 * 0.5 / std::sqrt(double(N));
  EXPECT_NEAR(hits / N, 0.7 + 0.3 / 40, bound);
  EXPECT_NEAR(first_common, 0.8, bound);
  EXPECT_NEAR(common, 0.8, bound);
  // Operators are drawn until the step is allowed: + always is (nearly), so its share exceeds its
  // weight and that of / falls far below; the order is that of the weights.
  EXPECT_GT(op_share[0], 0.62 * 0.83);
  EXPECT_LT(op_share[3], 0.2 * 0.17);
  EXPECT_GT(op_share[1], op_share[2]);
  EXPECT_GT(op_share[2], op_share[3]);
  EXPECT_GT(op_share[3], 0.0);
}

TEST(Countdown, OperatorWeightsAreThoseAskedFor) {
  TaskConfig config = config_of();
  config.hard_prior = 0.5;
  const auto task = make_task(config, {8});
  const int N = 60000;
  const auto token = on_host(draw_corpus(*task, N, task->skill_corpus(), {8}, false, 1).token);
  // First steps on (a, b) with a = 2 b: all four operators are allowed, so none is drawn again and
  // their shares are the weights, but for the whole text being drawn again where it ends above 40.
  double share[4] = {0, 0, 0, 0}, n = 0;
  for (int i = 0; i < N; ++i) {
    const int a = token(0, i, 5) - 2, b = token(0, i, 7) - 2;
    if (a != 2 * b) continue;
    share[(token(0, i, 6) - 63) / 2] += 1;
    n += 1;
  }
  ASSERT_GT(n, 1000);
  // Weights .31, .19, .4, .1; products end above 40 more often.
  EXPECT_GT(share[0] / n, 0.25);
  EXPECT_NEAR(share[1] / share[0], 0.38 / 0.62, 0.12);
  EXPECT_GT(share[2] / n, 0.2);
  EXPECT_NEAR(share[3] / n, 0.1, 0.06);
}

TEST(Countdown, RetoldTextsAreOneMeaningInManyWords) {
  const auto task = make_task(config_of(), {5});
  CorpusParams params = task->classifier_corpus();
  params.retold = 1.0;
  params.malformed = 0.0;
  const int groups = 200;
  const CorpusBatch batch = draw_corpus(*task, groups * 8, params, {5}, false, 8);
  const auto class_id = on_host(batch.class_id);
  const auto token = on_host(batch.token);
  double same = 0, pairs = 0, other_words = 0;
  for (int b = 0; b < groups; ++b) {
    std::set<int> classes;
    for (int i = 0; i < 8; ++i) {
      classes.insert(class_id(0, b * 8 + i));
      for (int d = 0; d < 5; ++d) ASSERT_EQ(token(0, b * 8, d), token(0, b * 8 + i, d));
      for (int j = 0; j < i; ++j) {
        pairs += 1;
        if (class_id(0, b * 8 + i) != class_id(0, b * 8 + j)) continue;
        same += 1;
        for (int t = 5; t < 18; ++t)
          if (token(0, b * 8 + i, t) != token(0, b * 8 + j, t)) {
            other_words += 1;
            break;
          }
      }
    }
    ASSERT_LE(classes.size(), 2u);
  }
  // Two meanings with probability 1/2 each: half of the pairs agree (groups are independent, a
  // group's share has deviation below .2, so 5.5 * .2 / sqrt(200) = .08 is safe).
  EXPECT_NEAR(same / pairs, 0.5, 0.08);
  EXPECT_GT(other_words / same, 0.7);
}

TEST(Countdown, TextsAndPoolsDependOnTheirAddressAlone) {
  const auto both = make_task(config_of(), {3, 4});
  const auto alone = make_task(config_of(), {4});
  const auto x = on_host(draw_corpus(*both, 64, both->skill_corpus(), {3, 4}, false, 1).token);
  const auto y = on_host(draw_corpus(*alone, 64, alone->skill_corpus(), {4}, false, 1).token);
  for (int n = 0; n < 64; ++n)
    for (int s = 0; s < 18; ++s) ASSERT_EQ(x(1, n, s), y(0, n, s));
  const auto p = on_host(both->prompts().token);
  const auto q = on_host(alone->prompts().token);
  for (int n = 0; n < 1192; ++n)
    for (int s = 0; s < 5; ++s) ASSERT_EQ(p(1, n, s), q(0, n, s));
}

TEST(Countdown, RefusesMoreProblemsThanThereAre) {
  EXPECT_NO_THROW(make_task(config_of(4000, 700), {1}));
  EXPECT_THROW(make_task(config_of(4000, 701), {1}), Error);
}

}  // namespace
}  // namespace motley::test
