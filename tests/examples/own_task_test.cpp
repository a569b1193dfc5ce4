/// The task of docs/examples against a reader of its texts.

#include <cmath>
#include <sstream>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "models/tasks/registry.hpp"
#include "tests/models/tasks/corpus_fixture.hpp"

namespace motley::test {
namespace {

TaskConfig split_config() {
  TaskConfig c;
  c.name = "split";
  return c;
}

/// Quality and class by reading the words of prompt and completion.
TEST(OwnTask, ScoreAgreesWithAReaderOfTheText) {
  const auto task = make_task(split_config(), {11});
  const int B = task->prompts().num_eval, G = 60;
  ASSERT_EQ(B, 16);
  EXPECT_EQ(task->prompts().num_train, 48);
  CorpusParams params = task->classifier_corpus();
  params.malformed = 0.2;
  const auto texts = draw_corpus(*task, B * G, params, {11}, true, 1);
  Scored scored(*task, B, G);
  const auto token = on_host(scored.token);
  const auto length = on_host(scored.length);
  const auto source = on_host(texts.token);
  const auto source_length = on_host(texts.length);
  for (int i = 0; i < B * G; ++i) {
    length(0, i / G, i % G) = source_length(0, i) - 2;
    for (int t = 0; t < 3; ++t) token(0, i / G, i % G, t) = source(0, i, 2 + t);
  }
  // A text without its end, and one of prompt tokens alone.
  length(0, 0, 0) = 2;
  Kokkos::deep_copy(scored.token, token);
  Kokkos::deep_copy(scored.length, length);
  scored.score(*task);
  const auto quality = on_host(scored.quality);
  const auto class_id = on_host(scored.class_id);
  const auto finish = on_host(scored.finish);
  const auto prompts = on_host(task->prompts().token);
  int right = 0, wrong = 0, invalid = 0;
  for (int b = 0; b < B; ++b)
    for (int g = 0; g < G; ++g) {
      bool ended = false;
      std::istringstream words(words_of(*task, &token(0, b, g, 0), length(0, b, g), ended));
      std::istringstream asked(task->vocabulary().text(&prompts(0, 48 + b, 0), 2));
      int a = -1, c = -1, more = 0, x = 0, y = 0;
      asked >> x >> y;
      words >> a >> c;
      const bool valid = ended && a >= 0 && !words.fail() && !(words >> more);
      const bool correct = valid && (a + c) % 8 == (x + y) % 8;
      EXPECT_EQ(quality(0, b, g), correct ? 1.0f : 0.0f);
      EXPECT_EQ(task->class_name(class_id(0, b, g)),
                valid ? std::to_string(a) + " + " + std::to_string(c) : "invalid");
      EXPECT_EQ(task->family_of(class_id(0, b, g)), valid ? (a == 0 ? 0 : 1) : -1);
      EXPECT_EQ(finish(0, b, g), valid ? 0 : 2);
      right += correct ? 1 : 0;
      wrong += valid && !correct ? 1 : 0;
      invalid += valid ? 0 : 1;
    }
  EXPECT_GT(right, 100);
  EXPECT_GT(wrong, 100);
  EXPECT_GT(invalid, 100);
}

TEST(OwnTask, CorpusHasItsSharesAndReplicasAreIndependent) {
  const auto both = make_task(split_config(), {3, 4});
  const auto alone = make_task(split_config(), {4});
  const int N = 4000;
  const auto two = draw_corpus(*both, N, both->skill_corpus(), {3, 4}, false, 1);
  const auto one = draw_corpus(*alone, N, alone->skill_corpus(), {4}, false, 1);
  const auto ours = on_host(two.token), theirs = on_host(one.token);
  int habit = 0;
  for (int i = 0; i < N; ++i) {
    for (int s = 0; s < 5; ++s) ASSERT_EQ(ours(1, i, s), theirs(0, i, s));
    habit += theirs(0, i, 2) == 2 ? 1 : 0;
    EXPECT_EQ((theirs(0, i, 0) + theirs(0, i, 1) - theirs(0, i, 2) - theirs(0, i, 3)) % 8, 0);
  }
  // .9 + .1 / 8; five deviations of a share of 4000.
  EXPECT_NEAR(habit / double(N), 0.9125, 5 * std::sqrt(0.9125 * 0.0875 / N));
}

TEST(OwnTask, RefusesMorePromptsThanThereAre) {
  TaskConfig c = split_config();
  c.train_prompts = 60;
  c.eval_prompts = 5;
  EXPECT_THROW(make_task(c, {1}), Error);
  c.eval_prompts = 4;
  EXPECT_NO_THROW(make_task(c, {1}));
}

}  // namespace
}  // namespace motley::test
