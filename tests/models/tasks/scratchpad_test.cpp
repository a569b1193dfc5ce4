#include "tests/oracle/scratchpad.hpp"

#include <cmath>
#include <cstring>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "core/rollout.hpp"
#include "models/tasks/task.hpp"
#include "tests/models/fixture.hpp"

namespace motley::test {
namespace {

struct Case {
  int m, n, train, eval;
};

TaskConfig config_of(const Case& c) {
  TaskConfig config;
  config.modulus = c.m;
  config.digits = c.n;
  return config;
}

CorpusBatch corpus_of(const Task& task, int R, int N, const CorpusParams& params,
                      const std::vector<std::uint64_t>& seeds, bool held_out, int same) {
  CorpusBatch b{View3<int>("motley::test::token", R, N, task.max_prompt() + task.max_completion()),
                View2<int>("motley::test::prompt_length", R, N),
                View2<int>("motley::test::length", R, N),
                View2<int>("motley::test::class", R, N),
                {}};
  std::vector<CorpusParams> table(static_cast<std::size_t>(R), params);
  for (std::size_t r = 0; r < table.size(); ++r) table[r].seed = seeds[r];
  task.corpus(Exec(), device(table), Stream::corpus, 5, held_out, same, b);
  return b;
}

TEST(Scratchpad, ScoreAgreesWithAReaderOfTheText) {
  for (const Case& c : {Case{2, 8, 120, 64}, Case{5, 5, 600, 65}}) {
    const auto task = make_task(config_of(c), {11});
    const int B = 50, G = 400, T = task->max_completion();
    CorpusParams params = task->classifier_corpus();
    params.malformed = 0.3;
    const CorpusBatch texts = corpus_of(*task, 1, B * G, params, {11}, true, 1);
    View4<int> token("motley::test::token", 1, B, G, T);
    View3<int> length("motley::test::length", 1, B, G), finish("motley::test::finish", 1, B, G),
        class_id("motley::test::class", 1, B, G);
    View3<float> quality("motley::test::quality", 1, B, G);
    View2<int> prompt_id("motley::test::prompt_id", 1, B);
    auto t = on_host(token);
    auto l = on_host(length);
    auto id = on_host(prompt_id);
    const auto corpus = on_host(texts.token);
    const auto corpus_length = on_host(texts.length);
    std::mt19937 engine(1);
    const int V = task->vocabulary().size();
    for (int b = 0; b < B; ++b) {
      id(0, b) = task->prompts().num_train + b;
      for (int g = 0; g < G; ++g) {
        const int n = b * G + g;
        l(0, b, g) = corpus_length(0, n) - c.n;
        for (int p = 0; p < l(0, b, g); ++p) t(0, b, g, p) = corpus(0, n, c.n + p);
        // A third is mutated in one token, some are random altogether.
        if (g % 3 == 0)
          t(0, b, g, static_cast<int>(engine() % static_cast<unsigned>(l(0, b, g)))) =
              static_cast<int>(engine() % static_cast<unsigned>(V));
        if (g % 10 == 1) {
          l(0, b, g) = 1 + static_cast<int>(engine() % static_cast<unsigned>(T));
          for (int p = 0; p < l(0, b, g); ++p)
            t(0, b, g, p) = 1 + static_cast<int>(engine() % static_cast<unsigned>(V - 1));
        }
      }
    }
    Kokkos::deep_copy(token, t);
    Kokkos::deep_copy(length, l);
    Kokkos::deep_copy(prompt_id, id);
    task->score(Exec(), prompt_id, token, length, finish, quality, class_id);
    const auto q = on_host(quality);
    const auto k = on_host(class_id);
    const auto f = on_host(finish);
    const auto prompts = on_host(task->prompts().token);
    std::vector<int> seen(static_cast<std::size_t>(4 * c.m + 1), 0);
    for (int b = 0; b < B; ++b) {
      int sum = 0;
      for (int d = 0; d < c.n; ++d) sum += prompts(0, id(0, b), d) - 2;
      for (int g = 0; g < G; ++g) {
        std::string text;
        bool ended = false, broken = false;
        for (int p = 0; p < l(0, b, g); ++p) {
          const int x = t(0, b, g, p);
          if (ended || x == kPad) broken = true;  // something behind the end, or a pad inside
          if (x == kEos) ended = true;
          if (x > kEos) text += task->vocabulary().token[static_cast<std::size_t>(x)] + " ";
        }
        oracle::Reading want = oracle::read_scratchpad(text, ended, c.m, c.n);
        if (broken) want = {};
        const int meaning = want.family < 0 ? 4 * c.m : want.family * c.m + want.answer;
        ASSERT_EQ(k(0, b, g), meaning) << text;
        ASSERT_EQ(q(0, b, g), want.family >= 0 && want.answer == sum % c.m ? 1.0f : 0.0f) << text;
        ASSERT_EQ(f(0, b, g), static_cast<int>(want.family < 0 ? Finish::invalid : Finish::eos));
        ++seen[static_cast<std::size_t>(meaning)];
      }
    }
    for (const int count : seen) EXPECT_GT(count, 0);  // every class and "invalid" occurred
  }
}

TEST(Scratchpad, PoolsAreDisjointSkewedAndBalanced) {
  for (const Case& c : {Case{2, 8, 120, 64}, Case{5, 5, 600, 65}}) {
    const auto task = make_task(config_of(c), {3, 4});
    const PromptTable& table = task->prompts();
    ASSERT_EQ(table.num_train, c.train);
    ASSERT_EQ(table.num_eval, c.eval);
    const auto token = on_host(table.token);
    for (int r = 0; r < 2; ++r) {
      std::set<std::vector<int>> all;
      std::vector<int> eval(static_cast<std::size_t>(c.m), 0);
      int zeros = 0;
      for (int i = 0; i < table.size(); ++i) {
        std::vector<int> digits;
        int sum = 0;
        for (int d = 0; d < c.n; ++d) {
          digits.push_back(token(r, i, d));
          sum += token(r, i, d) - 2;
        }
        all.insert(digits);
        if (i < table.num_train)
          zeros += sum % c.m == 0 ? 1 : 0;
        else
          ++eval[static_cast<std::size_t>(sum % c.m)];
      }
      EXPECT_EQ(all.size(), static_cast<std::size_t>(table.size()));
      EXPECT_EQ(zeros, std::lround(0.6 * c.train));
      for (const int count : eval) EXPECT_EQ(count, c.eval / c.m);
    }
    EXPECT_NE(0, std::memcmp(&token(0, 0, 0), &token(1, 0, 0),
                             sizeof(int) * static_cast<std::size_t>(table.size() * c.n)));
  }
}

TEST(Scratchpad, CorpusHasTheSharesItIsAskedForAndKeepsHeldOutPromptsOut) {
  const auto task = make_task(config_of({5, 5, 600, 65}), {8});
  const int N = 20000;
  const CorpusBatch batch = corpus_of(*task, 1, N, task->habit_corpus(0.1), {8}, false, 1);
  const auto class_id = on_host(batch.class_id);
  const auto token = on_host(batch.token);
  const auto prompts = on_host(task->prompts().token);
  std::set<std::vector<int>> held_out;
  for (int i = task->prompts().num_train; i < task->prompts().size(); ++i)
    held_out.insert({&prompts(0, i, 0), &prompts(0, i, 0) + 5});
  std::vector<double> share(4, 0.0);
  double zeros = 0;
  for (int n = 0; n < N; ++n) {
    const int family = task->family_of(class_id(0, n));
    ASSERT_GE(family, 0);
    share[static_cast<std::size_t>(family)] += 1.0 / N;
    if (family == 0 && class_id(0, n) % 5 == 0) zeros += 1;
    EXPECT_EQ(held_out.count({&token(0, n, 0), &token(0, n, 0) + 5}), 0u);
  }
  // 5.5 binomial deviations: a false alarm has probability below 1e-7 per share.
  const double bound = 5.5 * std::sqrt(0.25 / N);
  EXPECT_NEAR(share[0], 0.7, bound);
  for (int f = 1; f < 4; ++f) EXPECT_NEAR(share[static_cast<std::size_t>(f)], 0.1, bound);
  EXPECT_NEAR(zeros / (share[0] * N), 0.8 + 0.2 / 5,
              2 * bound);  // the habit guesses 0, else anything
}

TEST(Scratchpad, TextsDependOnTheirAddressAlone) {
  const TaskConfig config = config_of({2, 8, 120, 64});
  const auto both = make_task(config, {3, 4});
  const auto alone = make_task(config, {4});
  const CorpusBatch a = corpus_of(*both, 2, 64, both->classifier_corpus(), {3, 4}, true, 8);
  const CorpusBatch b = corpus_of(*alone, 1, 64, alone->classifier_corpus(), {4}, true, 8);
  const auto x = on_host(a.token);
  const auto y = on_host(b.token);
  EXPECT_EQ(0, std::memcmp(&x(1, 0, 0), y.data(), y.span() * sizeof(int)));
  for (int n = 0; n < 64; ++n)
    for (int d = 0; d < 8; ++d)
      EXPECT_EQ(y(0, n, d), y(0, n / 8 * 8, d));  // runs of 8 share a prompt
}

TEST(Scratchpad, RefusesTooFewPrompts) {
  TaskConfig config = config_of({2, 4, 0, 0});
  EXPECT_THROW(make_task(config, {1}), Error);
  config.name = "scratchpat";
  try {
    make_task(config, {1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(
        std::string(error.what()),
        "task.name: unknown task \"scratchpat\"; allowed: scratchpad, countdown, ideas; did you mean \"scratchpad\"?");
  }
}

TEST(SamplePrompts, EveryEpochVisitsEveryPromptOnce) {
  for (const int n : {1, 2, 3, 17, 120, 600}) {
    PromptTable table;
    table.num_train = n;
    table.token = View3<int>("motley::test::token", 2, n, 1);
    table.length = View2<int>("motley::test::length", 2, n);
    const int B = n;
    View3<int> prompt("motley::test::prompt", 2, B, 1);
    View2<int> length("motley::test::prompt_length", 2, B), id("motley::test::id", 2, B);
    std::vector<int> first;
    for (const std::uint32_t step : {0u, 1u}) {
      sample_prompts(Exec(), table, device(std::vector<std::uint64_t>{7, 8}), step, prompt, length,
                     id);
      const auto host = on_host(id);
      std::vector<int> order;
      for (int r = 0; r < 2; ++r) {
        std::set<int> seen;
        for (int b = 0; b < B; ++b) {
          seen.insert(host(r, b));
          if (r == 0) order.push_back(host(r, b));
        }
        EXPECT_EQ(seen.size(), static_cast<std::size_t>(n));
        EXPECT_EQ(*seen.rbegin(), n - 1);
      }
      if (step == 0)
        first = order;
      else if (n > 16)
        EXPECT_NE(first, order);  // another epoch, another order
    }
  }
}

/// Prompts of the later batches of a step: a slot's prompt depends on its address alone, and no two
/// of the first n draws of a step are the same prompt.
TEST(ResamplePrompts, AreFreshAndDependOnTheAddressAlone) {
  const int n = 40, B = 10;
  PromptTable table;
  table.num_train = n;
  table.token = View3<int>("motley::test::token", 2, n, 2);
  table.length = View2<int>("motley::test::length", 2, n);
  auto token = on_host(table.token);
  for (int r = 0; r < 2; ++r)
    for (int i = 0; i < n; ++i) token(r, i, 0) = 100 * r + i;
  Kokkos::deep_copy(table.token, token);
  const auto draw = [&](std::uint32_t step, std::uint32_t attempt, const std::vector<int>& some) {
    View3<int> prompt("motley::test::prompt", 2, B, 2);
    View2<int> length("motley::test::prompt_length", 2, B), id("motley::test::id", 2, B),
        slots("motley::test::slots", 2, B);
    Kokkos::deep_copy(id, -1);
    auto list = on_host(slots);
    for (int r = 0; r < 2; ++r)
      for (std::size_t i = 0; i < some.size(); ++i) list(r, i) = some[i];
    Kokkos::deep_copy(slots, list);
    // Replica 1 draws nothing.
    resample_prompts(Exec(), table, device(std::vector<std::uint64_t>{7, 7}), step, attempt, slots,
                     device(std::vector<int>{static_cast<int>(some.size()), 0}), prompt, length,
                     id);
    const auto host = on_host(id);
    const auto text = on_host(prompt);
    std::vector<int> out;
    for (int b = 0; b < B; ++b) {
      EXPECT_EQ(host(1, b), -1);
      out.push_back(host(0, b));
      if (host(0, b) >= 0) EXPECT_EQ(text(0, b, 0), host(0, b));
    }
    return out;
  };
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::set<int> seen;
  for (const std::uint32_t attempt : {4u, 5u, 6u, 7u})  // places 40 to 79: one epoch of the pool
    for (const int id : draw(5, attempt, all)) seen.insert(id);
  EXPECT_EQ(seen.size(), 40u);
  EXPECT_EQ(*seen.begin(), 0);
  const std::vector<int> whole = draw(5, 2, all), part = draw(5, 2, {1, 7});
  for (int b = 0; b < B; ++b) EXPECT_EQ(part[b], b == 1 || b == 7 ? whole[b] : -1);
  EXPECT_NE(whole, draw(6, 2, all));
  EXPECT_NE(whole, draw(5, 3, all));
}

/// The tokens behind the first ANS of the written-out text; none where it states no answer.
TEST(Scratchpad, AnAnswerStartsBehindItsMarker) {
  const auto task = make_task(config_of({5, 5, 600, 65}), {11});
  const int G = 500, T = task->max_completion();
  CorpusParams params = task->classifier_corpus();
  params.malformed = 0.4;
  const CorpusBatch texts = corpus_of(*task, 1, G, params, {11}, true, 1);
  const View4<int> token("motley::test::token", 1, 1, G, T);
  const View3<int> length("motley::test::length", 1, 1, G), start("motley::test::start", 1, 1, G);
  const auto t = on_host(token);
  const auto l = on_host(length);
  const auto corpus = on_host(texts.token);
  const auto corpus_length = on_host(texts.length);
  for (int g = 0; g < G; ++g) {
    l(0, 0, g) = corpus_length(0, g) - 5;
    for (int p = 0; p < T; ++p)  // what follows the end is not read
      t(0, 0, g, p) = p < l(0, 0, g) ? corpus(0, g, 5 + p) : 2 + 5 + 4;
  }
  Kokkos::deep_copy(token, t);
  Kokkos::deep_copy(length, l);
  Kokkos::deep_copy(start, -1);
  task->answer_start(Exec(), token, length, start);
  int answers = 0, without = 0, direct = 0;
  for (int g = 0; g < G; ++g) {
    int wanted = l(0, 0, g);
    for (int p = l(0, 0, g) - 1; p >= 0; --p)
      if (task->vocabulary().token[static_cast<std::size_t>(t(0, 0, g, p))] == "ANS")
        wanted = p + 1;
    EXPECT_EQ(on_host(start)(0, 0, g), wanted) << g;
    answers += wanted < l(0, 0, g);
    without += wanted == l(0, 0, g);
    direct += wanted == 1;
  }
  EXPECT_GT(answers, 200);
  EXPECT_GT(without, 50);
  EXPECT_GT(direct, 20);
  // Completions of one piece state nothing apart.
  TaskConfig ideas;
  ideas.name = "ideas";
  make_task(ideas, {11})->answer_start(Exec(), token, length, start);
  for (int g = 0; g < G; ++g) EXPECT_EQ(on_host(start)(0, 0, g), l(0, 0, g));
}

}  // namespace
}  // namespace motley::test
