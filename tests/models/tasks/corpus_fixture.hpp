#pragma once
/// Texts of a task's corpus and their scores, on the host.

#include "core/rollout.hpp"
#include "models/tasks/task.hpp"
#include "tests/models/fixture.hpp"

namespace motley::test {

inline CorpusBatch draw_corpus(const Task& task, int N, const CorpusParams& params,
                               const std::vector<std::uint64_t>& seeds, bool held_out, int same,
                               bool judged = false) {
  const auto R = seeds.size();
  CorpusBatch b{View3<int>("motley::test::token", R, N, task.max_prompt() + task.max_completion()),
                View2<int>("motley::test::prompt_length", R, N),
                View2<int>("motley::test::length", R, N),
                View2<int>("motley::test::class", R, N),
                {}};
  if (judged) b.utility = View2<float>("motley::test::utility", R, N);
  std::vector<CorpusParams> table(R, params);
  for (std::size_t r = 0; r < R; ++r) table[r].seed = seeds[r];
  task.corpus(Exec(), device(table), Stream::corpus, 5, held_out, same, b);
  return b;
}

/// Completions [1,B,G,T] of held-out prompts 0..B-1 and what the task says of them.
struct Scored {
  View2<int> prompt_id;
  View4<int> token;
  View3<int> length, finish, class_id;
  View3<float> quality;

  Scored(const Task& task, int B, int G)
      : prompt_id("motley::test::prompt_id", 1, B),
        token("motley::test::token", 1, B, G, task.max_completion()),
        length("motley::test::length", 1, B, G),
        finish("motley::test::finish", 1, B, G),
        class_id("motley::test::class", 1, B, G),
        quality("motley::test::quality", 1, B, G) {
    const auto id = on_host(prompt_id);
    for (int b = 0; b < B; ++b) id(0, b) = task.prompts().num_train + b;
    Kokkos::deep_copy(prompt_id, id);
  }
  void score(const Task& task) {
    task.score(Exec(), prompt_id, token, length, finish, quality, class_id);
    Exec().fence();
  }
};

/// The words of a completion; `ended` = the end token is there, last, and once.
inline std::string words_of(const Task& task, const int* ids, int length, bool& ended) {
  std::string text;
  ended = length > 0 && ids[length - 1] == kEos;
  for (int t = 0; t < length; ++t) {
    if (ids[t] <= kEos && t + 1 < length) ended = false;
    if (ids[t] > kEos) text += task.vocabulary().token[static_cast<std::size_t>(ids[t])] + " ";
  }
  return text;
}

}  // namespace motley::test
