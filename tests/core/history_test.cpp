/// Classes kept across steps against a plain book of texts and classes.

#include "core/history.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/core/views.hpp"

namespace motley::test {
namespace {

using Ints = std::vector<int>;

struct Step {
  Ints prompt, token, length, class_id, cluster;  // [R,B], [R,B,G,2], [R,B,G] ...
};

/// A table and what runs on it.
struct Memory {
  int R, B, G, N;
  std::vector<PartitionParams> params;
  View2<double> table;

  Memory(int replicas, int prompts, int group, int pool)
      : R(replicas),
        B(prompts),
        G(group),
        N(pool),
        params(static_cast<std::size_t>(replicas)),
        table("motley::test::table", replicas, pool * kHistorySize) {
    for (PartitionParams& p : params) {
      p.method = PartitionMethod::exact;
      p.across_steps = true;
    }
  }
  /// History of the step, then the step is remembered.
  Ints look_and_remember(const Step& x, std::uint32_t step) {
    const View3<int> history("motley::test::history", R, B, G);
    Kokkos::deep_copy(history, 77);
    const auto prompt = device_as<View2<int>>(x.prompt, R, B);
    const auto token = device_as<View4<int>>(x.token, R, B, G, 2);
    const auto length = device_as<View3<int>>(x.length, R, B, G);
    const auto class_id = device_as<View3<int>>(x.class_id, R, B, G);
    const auto cluster = device_as<View3<int>>(x.cluster, R, B, G);
    const auto p = device<PartitionParams>(params);
    class_history(Exec(), p, table, prompt, token, length, class_id, cluster, history);
    remember_classes(Exec(), p, step, prompt, token, length, class_id, cluster, table);
    return values_of(history);
  }
};

/// Texts (word, 1), clustered by `meaning(word)`.
template <class Meaning>
Step draw_step(const Memory& m, std::mt19937& random, int words, const Meaning& meaning) {
  Step x;
  for (int i = 0; i < m.R * m.B; ++i) {
    x.prompt.push_back(static_cast<int>(random() % static_cast<unsigned>(m.N)));
    Ints word;
    for (int g = 0; g < m.G; ++g) {
      word.push_back(static_cast<int>(random() % static_cast<unsigned>(words)));
      x.token.insert(x.token.end(), {word.back() + 5, 1});
      x.length.push_back(2);
      x.class_id.push_back(meaning(word.back()));
      int first = 0;
      while (meaning(word[static_cast<std::size_t>(first)]) != meaning(word.back())) ++first;
      x.cluster.push_back(first);
    }
  }
  return x;
}

/// Where the partition is the true one and fits the table, history counts the earlier completions
/// of the class; a prompt that stands twice in a step sees earlier steps only.
void check_against_counts(PartitionMethod method) {
  Memory m(2, 5, 6, 3);
  for (PartitionParams& p : m.params) p.method = method;
  std::mt19937 random(3);
  std::map<std::array<int, 3>, int> seen;  // replica, prompt, class
  const auto meaning = [](int word) { return word / 3; };
  for (std::uint32_t step = 0; step < 12; ++step) {
    const Step x = draw_step(m, random, 30, meaning);
    const Ints history = m.look_and_remember(x, step);
    const auto key = [&](std::size_t i) {
      const std::size_t rb = i / static_cast<std::size_t>(m.G);
      return std::array<int, 3>{static_cast<int>(rb) / m.B, x.prompt[rb], x.class_id[i]};
    };
    for (std::size_t i = 0; i < history.size(); ++i) {
      // With texts for keys a class is known from the first text of the cluster that was seen.
      if (method == PartitionMethod::oracle)
        EXPECT_EQ(history[i], seen[key(i)]) << "step " << step << " completion " << i;
      else
        EXPECT_LE(history[i], seen[key(i)]);
    }
    for (std::size_t i = 0; i < history.size(); ++i) ++seen[key(i)];
  }
}
TEST(History, OracleCountsEarlierCompletionsOfTheClass) {
  check_against_counts(PartitionMethod::oracle);
}
TEST(History, TextsNeverCountMoreThanTheirClass) {
  check_against_counts(PartitionMethod::classifier);
}

/// A cluster continues the class of its first known text and teaches it its other texts.
TEST(History, ClustersCarryTextsIntoTheirClass) {
  Memory m(1, 1, 3, 1);
  const auto texts = [](const Ints& word, const Ints& cluster) {
    Step x{{0}, {}, {2, 2, 2}, {-1, -1, -1}, cluster};
    for (const int w : word) x.token.insert(x.token.end(), {w, 1});
    return x;
  };
  EXPECT_EQ(m.look_and_remember(texts({5, 5, 6}, {0, 0, 2}), 0), (Ints{0, 0, 0}));
  EXPECT_EQ(m.look_and_remember(texts({7, 5, 6}, {0, 0, 2}), 1), (Ints{2, 2, 1}));
  // 7 was never alone, but stood with 5; 8 is new and its own class.
  EXPECT_EQ(m.look_and_remember(texts({7, 8, 6}, {0, 1, 2}), 2), (Ints{4, 0, 2}));
  // Out of every cluster: by its own text.
  EXPECT_EQ(m.look_and_remember(texts({5, 9, 8}, {-1, -1, -1}), 3), (Ints{5, 0, 1}));
}

/// More texts than slots: the rarest makes room, the common one keeps its count.
TEST(History, TheRarestTextMakesRoom) {
  Memory m(1, 1, 2, 1);
  for (int step = 0; step < 200; ++step) {
    const Step x{{0}, {5, 1, 100 + step, 1}, {2, 2}, {-1, -1}, {0, 1}};
    EXPECT_EQ(m.look_and_remember(x, static_cast<std::uint32_t>(step)), (Ints{step, 0}));
  }
  // 63 slots beside the common text: the last 63 are still known, those before are not.
  EXPECT_EQ(m.look_and_remember({{0}, {299, 1, 237, 1}, {2, 2}, {-1, -1}, {0, 1}}, 200),
            (Ints{1, 1}));
  EXPECT_EQ(m.look_and_remember({{0}, {236, 1, 5, 1}, {2, 2}, {-1, -1}, {0, 1}}, 201),
            (Ints{0, 200}));
}

/// A replica's numbers are its own: alone and beside others; without the option nothing is counted.
TEST(History, ReplicasAreIndependent) {
  Memory both(2, 4, 5, 3), alone(1, 4, 5, 3);
  both.params[0].across_steps = false;
  std::mt19937 random(9);
  for (std::uint32_t step = 0; step < 6; ++step) {
    const Step x = draw_step(both, random, 12, [](int word) { return word; });
    const Ints got = both.look_and_remember(x, step);
    const auto half = [](const Ints& v) { return Ints(v.begin() + long(v.size() / 2), v.end()); };
    const Ints want = alone.look_and_remember(
        {half(x.prompt), half(x.token), half(x.length), half(x.class_id), half(x.cluster)}, step);
    EXPECT_EQ(half(got), want);
    EXPECT_EQ(Ints(got.begin(), got.begin() + 20), Ints(20, 0));
  }
  const auto values = values_of(both.table);
  EXPECT_EQ(std::count(values.begin(), values.begin() + long(values.size() / 2), 0.0),
            long(values.size() / 2));
}

}  // namespace
}  // namespace motley::test
