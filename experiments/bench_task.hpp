#pragma once
/// Work of fixed size in the form of a task: random prompts, a random half of each group passes.

#include "models/tasks/task.hpp"

namespace motley {

/// V tokens of no meaning; prompts of exactly P random tokens. Completion g has quality g % 2, so
/// that every group has a gradient, and the class of its first two tokens. It has no corpus and is
/// registered nowhere: only motley bench trains on it.
class FixedLengthTask final : public Task {
 public:
  /// \throws Error(config) unless V >= 4 and P >= 1
  FixedLengthTask(int vocab, int prompt_tokens, int max_tokens,
                  const std::vector<std::uint64_t>& seeds);

  std::string class_name(int class_id) const override { return std::to_string(class_id); }
  int family_of(int) const override { return 0; }
  void score(const Exec& exec, const ConstView2<int>& prompt_id, const ConstView4<int>& token,
             const ConstView3<int>& length, const View3<int>& finish, const View3<float>& quality,
             const View3<int>& class_id) const override;
  /// \throws Error(internal): nothing is pretrained here
  void corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
              std::uint32_t step, bool held_out, int same_prompt,
              const CorpusBatch& batch) const override;
  CorpusParams skill_corpus() const override { return {}; }
  CorpusParams classifier_corpus() const override { return {}; }
};

}  // namespace motley
