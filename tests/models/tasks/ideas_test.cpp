#include "tests/oracle/ideas.hpp"

#include <cmath>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "models/tasks/ideas_judge.hpp"
#include "tests/models/tasks/corpus_fixture.hpp"

namespace motley::test {
namespace {

TaskConfig config_of(bool gem = false, const std::string& key = "full") {
  TaskConfig config;
  config.name = "ideas";
  config.gem = gem;
  config.key = key;
  return config;
}

double normal_draw(std::uint64_t seed, std::uint32_t step, int i) {
  const Philox4 x = draw_bits({seed, Stream::task, step}, static_cast<std::uint32_t>(i), 0);
  return std::sqrt(-2 * std::log(1 - x.x[0] / 4294967296.0)) *
         std::cos(2 * 3.14159265358979323846 * (x.x[1] / 4294967296.0));
}

/// The judge as the header words it, from the same draws.
oracle::IdeaJudge judge_of(std::uint64_t seed) {
  oracle::IdeaJudge j;
  int i = 0;
  for (auto* table : {&j.adjective, &j.noun}) {
    table->assign(8, std::vector<std::vector<double>>(4, std::vector<double>(10)));
    for (auto& who : *table)
      for (auto& slot : who)
        for (double& x : slot) x = 0.7 * normal_draw(seed, 2, i++);
  }
  j.pair.assign(4, std::vector<std::vector<double>>(10, std::vector<double>(10)));
  for (int p = 0; p < 4; ++p)
    for (int v = 0; v < 10; ++v)
      for (int w = 0; w < 10; ++w)
        for (int k = 0; k < 3; ++k)
          j.pair[static_cast<std::size_t>(p)][static_cast<std::size_t>(v)]
                [static_cast<std::size_t>(w)] +=
              0.5 / std::sqrt(3.0) * normal_draw(seed, 3, ((2 * p) * 10 + v) * 3 + k) *
              normal_draw(seed, 3, ((2 * p + 1) * 10 + w) * 3 + k);
  j.standardise();
  return j;
}

TEST(Ideas, ScoreAgreesWithAReaderAndAJudge) {
  const auto task = make_task(config_of(), {11});
  const auto judge = judge_of(11);
  const int B = 16, G = 200;
  CorpusParams params = task->classifier_corpus();
  params.malformed = 0.3;
  const CorpusBatch texts = draw_corpus(*task, B * G, params, {11}, true, 1);
  Scored x(*task, B, G);
  const auto token = on_host(x.token);
  const auto length = on_host(x.length);
  const auto corpus = on_host(texts.token);
  const auto corpus_length = on_host(texts.length);
  std::mt19937 engine(4);
  for (int b = 0; b < B; ++b)
    for (int g = 0; g < G; ++g) {
      const int n = b * G + g;
      length(0, b, g) = corpus_length(0, n) - 2;
      for (int p = 0; p < length(0, b, g); ++p) token(0, b, g, p) = corpus(0, n, 2 + p);
      if (g % 4 == 0)
        token(0, b, g, static_cast<int>(engine() % static_cast<unsigned>(length(0, b, g)))) =
            static_cast<int>(engine() % 142u);
    }
  Kokkos::deep_copy(x.token, token);
  Kokkos::deep_copy(x.length, length);
  x.score(*task);
  const auto quality = on_host(x.quality);
  const auto class_id = on_host(x.class_id);
  const auto finish = on_host(x.finish);
  const auto prompts = on_host(task->prompts().token);
  int valid = 0, invalid = 0;
  for (int b = 0; b < B; ++b) {
    const int row = task->prompts().num_train + b;
    for (int g = 0; g < G; ++g) {
      bool ended = false;
      const std::string text = words_of(*task, &token(0, b, g, 0), length(0, b, g), ended);
      const auto idea = oracle::read_idea(text, ended);
      ++(idea.empty() ? invalid : valid);
      ASSERT_EQ(finish(0, b, g), static_cast<int>(idea.empty() ? Finish::invalid : Finish::eos))
          << text;
      if (idea.empty()) {
        ASSERT_EQ(quality(0, b, g), 0.0f) << text;
        ASSERT_EQ(class_id(0, b, g), 10000);
        continue;
      }
      ASSERT_EQ(class_id(0, b, g), idea[0] * 1000 + idea[1] * 100 + idea[2] * 10 + idea[3]);
      // float quality of a double formula: rounding 6e-8, summation order 1e-13.
      ASSERT_NEAR(quality(0, b, g),
                  judge.quality(prompts(0, row, 0) - 2, prompts(0, row, 1) - 10, idea), 1e-7);
    }
  }
  EXPECT_GT(valid, 1500);
  EXPECT_GT(invalid, 500);
}

TEST(Ideas, PassingIdeasAreCountedAndRare) {
  const auto task = make_task(config_of(), {6});
  const auto judge = judge_of(6);
  const auto prompts = on_host(task->prompts().token);
  double all = 0;
  for (int n = 0; n < task->prompts().size(); ++n) {
    int passing = 0;
    for (int i = 0; i < 10000; ++i)
      passing += judge.quality(prompts(0, n, 0) - 2, prompts(0, n, 1) - 10,
                               {i / 1000, i / 100 % 10, i / 10 % 10, i % 10}) > 0.5;
    ASSERT_EQ(task->prompts().num_classes[0][static_cast<std::size_t>(n)], passing);
    all += passing / 640000.0;
  }
  EXPECT_GT(all, 0.05);  // a standard normal is above 1.25 with probability .106
  EXPECT_LT(all, 0.16);
}

TEST(Ideas, GemsAloneArePassed) {
  const auto task = make_task(config_of(true, "plot"), {6});
  const auto prompts = on_host(task->prompts().token);
  std::map<int, std::set<int>> gems;  // by group of nouns
  for (int n = 0; n < task->prompts().size(); ++n)
    EXPECT_EQ(task->prompts().num_classes[0][static_cast<std::size_t>(n)], 3);
  const int B = 16, G = 100;
  Scored x(*task, B, G);
  const auto token = on_host(x.token);
  const auto length = on_host(x.length);
  for (int b = 0; b < B; ++b)
    for (int g = 0; g < G; ++g) {
      const int text[] = {18 + 3 * 5, 48 + 3 * 5, 78 + 3 * (g / 10), 108 + 3 * (g % 10), kEos};
      for (int t = 0; t < 5; ++t) token(0, b, g, t) = text[t];
      length(0, b, g) = 5;
    }
  Kokkos::deep_copy(x.token, token);
  Kokkos::deep_copy(x.length, length);
  x.score(*task);
  const auto quality = on_host(x.quality);
  const auto class_id = on_host(x.class_id);
  for (int b = 0; b < B; ++b) {
    const int group = (prompts(0, task->prompts().num_train + b, 1) - 10) / 2;
    std::set<int> mine;
    for (int g = 0; g < G; ++g) {
      ASSERT_EQ(class_id(0, b, g), g);  // the plot
      if (double(quality(0, b, g)) > task->pass_above()) mine.insert(g);
    }
    EXPECT_EQ(mine.size(), 3u);
    const auto [at, fresh] = gems.emplace(group, mine);
    EXPECT_EQ(at->second, mine);  // the group's, whatever the theme
  }
}

TEST(Ideas, CorpusKeepsHabitSynonymsAndHeldOutThemes) {
  const auto task = make_task(config_of(), {8});
  const int N = 20000;
  const CorpusBatch batch = draw_corpus(*task, N, task->skill_corpus(), {8}, false, 1);
  const auto token = on_host(batch.token);
  const auto length = on_host(batch.length);
  const auto class_id = on_host(batch.class_id);
  const auto prompts = on_host(task->prompts().token);
  std::set<std::pair<int, int>> held_out, seen;
  for (int n = task->prompts().num_train; n < task->prompts().size(); ++n)
    held_out.insert({prompts(0, n, 0), prompts(0, n, 1)});
  ASSERT_EQ(held_out.size(), 16u);
  double synonym[3] = {0, 0, 0}, fillers = 0;
  std::map<int, double> character;
  for (int n = 0; n < N; ++n) {
    ASSERT_GE(task->family_of(class_id(0, n)), 0);
    ASSERT_EQ(held_out.count({token(0, n, 0), token(0, n, 1)}), 0u);
    seen.insert({token(0, n, 0), token(0, n, 1)});
    for (int t = 2; t < length(0, n) - 1; ++t) {
      const int place = token(0, n, t) - 18;
      if (place >= 120)
        fillers += 1.0 / (4.0 * N);
      else
        synonym[place % 3] += 1.0 / (4.0 * N);
    }
    character[class_id(0, n) / 1000] += 1.0 / N;
  }
  EXPECT_EQ(seen.size(), 48u);
  const double bound = 5.5 * 0.5 / std::sqrt(4.0 * N);
  EXPECT_NEAR(synonym[0], 0.7, bound);
  EXPECT_NEAR(synonym[1], 0.2, bound);
  EXPECT_NEAR(synonym[2], 0.1, bound);
  EXPECT_NEAR(fillers, 0.1, bound);
  // The favourite of the common ranking: .9 * .6 / H + .1 / 10 at least, H = sum k^-1.6 = 2.0 of
  // ten terms, and .9 * .4 / H more where an adjective shares it.
  double harmonic = 0, most = 0;
  for (int k = 1; k <= 10; ++k) harmonic += std::pow(k, -1.6);
  for (const auto& [value, share] : character) most = std::max(most, share);
  EXPECT_GT(most, 0.54 / harmonic + 0.01 - bound * 2);
}

TEST(Ideas, UtilityOrdersTextsAsQualityDoes) {
  const auto task = make_task(config_of(), {8});
  const auto judge = judge_of(8);
  CorpusParams params = task->preference_corpus();
  params.malformed = 0.2;
  const CorpusBatch batch = draw_corpus(*task, 2000, params, {8}, true, 2, true);
  const auto token = on_host(batch.token);
  const auto length = on_host(batch.length);
  const auto utility = on_host(batch.utility);
  int malformed = 0;
  for (int n = 0; n < 2000; ++n) {
    ASSERT_EQ(token(0, n, 0), token(0, n / 2 * 2, 0));  // pairs share their theme
    ASSERT_EQ(token(0, n, 1), token(0, n / 2 * 2, 1));
    bool ended = false;
    const std::string text = words_of(*task, &token(0, n, 2), length(0, n) - 2, ended);
    const auto idea = oracle::read_idea(text, ended);
    if (idea.empty()) {
      ++malformed;
      ASSERT_EQ(utility(0, n), -4.0f);
      continue;
    }
    const double z =
        (judge.raw(token(0, n, 0) - 2, token(0, n, 1) - 10, idea) - judge.mean) / judge.deviation;
    ASSERT_NEAR(utility(0, n), z, 1e-6);
  }
  EXPECT_GT(malformed, 300);
}

TEST(Ideas, TablesAndTextsDependOnTheirAddressAlone) {
  const auto both = make_task(config_of(), {3, 4});
  const auto alone = make_task(config_of(), {4});
  const auto x = on_host(draw_corpus(*both, 64, both->classifier_corpus(), {3, 4}, false, 8).token);
  const auto y = on_host(draw_corpus(*alone, 64, alone->classifier_corpus(), {4}, false, 8).token);
  for (int n = 0; n < 64; ++n)
    for (int s = 0; s < 11; ++s) ASSERT_EQ(x(1, n, s), y(0, n, s));
  EXPECT_EQ(both->prompts().num_classes[1], alone->prompts().num_classes[0]);
  EXPECT_NE(both->prompts().num_classes[0], both->prompts().num_classes[1]);
  EXPECT_EQ(alone->class_name(4321), "who4 where3 what2 twist1");
  EXPECT_EQ(alone->class_name(10000), "invalid");
  TaskConfig config = config_of();
  config.train_prompts = 60;
  EXPECT_THROW(make_task(config, {1}), Error);
}

}  // namespace
}  // namespace motley::test
