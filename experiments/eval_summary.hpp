#pragma once
/// From the samples of one held-out prompt to its row of /eval.

#include <cstdint>
#include <vector>

#include "core/eval_record.hpp"
#include "core/text_metrics.hpp"

namespace motley {

/// Patience of utility_at_k (NoveltyBench) and the utility of a quality of 1: u = 10 * quality,
/// quality in [0,1], on NoveltyBench's scale of 1 to 10.
inline constexpr double kPatience = 0.8;
inline constexpr double kUtilityScale = 10.0;

/// M samples of a prompt on the host.
struct PromptSamples {
  std::vector<TokenString> token;  ///< counted tokens, end token included
  std::vector<double> log_prob;    ///< ln pi of the whole sample, at the evaluation's temperature
  std::vector<double> quality;     ///< the task's own; above EvalSettings::pass_above = correct
  std::vector<int> cluster;        ///< class by eval.partition
  std::vector<bool> truncated;
};

struct EvalSettings {
  std::vector<int> k;
  int ngram_n = 4;
  int vocab = 0;
  std::uint64_t seed = 0;  ///< of drawn votes, where the exact mean costs too much
  double pass_above = 0;   ///< the task's bar: a quality above it is correct
};

/// Sets the columns of prompt q: appends to those over prompts and adds 1/Q of the prompt's value
/// to those over k, which must hold k.size() numbers.
void add_prompt(const EvalSettings& settings, const PromptSamples& samples, int q, int Q,
                EvalRecord& record);

/// Canonical labels of the ground-truth classes: smallest sample index of the class; a negative
/// class is like nothing but itself.
std::vector<int> canonical_classes(const std::vector<int>& class_id);

}  // namespace motley
