#pragma once
/// One evaluation of one replica, and the table of its columns.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace motley {

/// Q eval prompts, K values of k, M samples per prompt.
struct EvalRecord {
  std::int64_t step = 0;
  // [Q]
  std::vector<int> num_samples, num_correct, num_distinct, num_distinct_correct, num_distinct_wrong;
  std::vector<float> mean_quality, class_entropy, class_entropy_correct, class_entropy_wrong,
      semantic_entropy, vendi, distinct_n, ead, self_bleu, length, truncated_frac;
  // [K]
  std::vector<double> pass_at_k, maj_at_k, distinct_at_k, coverage_at_k, utility_at_k, maxg_at_k;
  // eval.exact: [Q], NaN beyond eval.exact_prompts, and [K]; else empty
  std::vector<double> exact_pass_at_1, exact_class_entropy, exact_quality, exact_mass,
      exact_pass_at_k;
  // log.eval_samples: [Q,M,T], [Q,M]; else empty
  std::vector<int> token, class_id, cluster;
  std::vector<float> quality;
};

/// What a column of /eval is over, beside the evaluation.
enum class EvalAxes { prompt, k, exact_prompt, exact_k, sample, token };
/// Columns that exist with log.eval_samples only.
constexpr bool is_sample(EvalAxes axes) {
  return axes == EvalAxes::sample || axes == EvalAxes::token;
}
/// Columns that exist with eval.exact only.
constexpr bool is_exact(EvalAxes axes) {
  return axes == EvalAxes::exact_prompt || axes == EvalAxes::exact_k;
}
constexpr bool is_over_k(EvalAxes axes) {
  return axes == EvalAxes::k || axes == EvalAxes::exact_k;
}
/// Does a file with, or without, samples and exact figures hold such a column?
constexpr bool is_held(EvalAxes axes, bool samples, bool exact) {
  return (samples || !is_sample(axes)) && (exact || !is_exact(axes));
}
/// Numbers of one evaluation in such a column.
constexpr std::size_t eval_count(EvalAxes axes, std::size_t Q, std::size_t K, std::size_t M,
                                 std::size_t T) {
  if (is_over_k(axes)) return K;
  return axes == EvalAxes::sample ? Q * M : axes == EvalAxes::token ? Q * M * T : Q;
}

/// Calls f(name, values, axes, unit, text) for every column of /eval, in file order. The single
/// table behind the file, its schema and the check of docs/metrics.md.
template <class Record, class F>
void for_each_eval_column(Record& e, F&& f) {
  const auto prompt = EvalAxes::prompt, k = EvalAxes::k, sample = EvalAxes::sample;
  f("num_samples", e.num_samples, prompt, "1", "completions drawn");
  f("num_correct", e.num_correct, prompt, "1", "correct completions");
  f("num_distinct", e.num_distinct, prompt, "1", "distinct classes among all completions");
  f("num_distinct_correct", e.num_distinct_correct, prompt, "1",
    "distinct classes among the correct completions");
  f("num_distinct_wrong", e.num_distinct_wrong, prompt, "1",
    "distinct classes among the wrong completions");
  f("pass_at_k", e.pass_at_k, k, "1", "unbiased pass@k, mean over the prompts");
  f("maj_at_k", e.maj_at_k, k, "1",
    "probability that the most frequent class of k draws is correct, ties shared, mean over the prompts");
  f("distinct_at_k", e.distinct_at_k, k, "1",
    "unbiased expected number of distinct classes among k draws, mean over the prompts");
  f("coverage_at_k", e.coverage_at_k, k, "1",
    "expected number of the prompt's correct classes seen in k draws, mean over the prompts");
  f("utility_at_k", e.utility_at_k, k, "1",
    "expected NoveltyBench utility of k draws (patience 0.8, scores 10 * quality), mean over the prompts");
  f("maxg_at_k", e.maxg_at_k, k, "1", "expected best quality of k draws, mean over the prompts");
  f("mean_quality", e.mean_quality, prompt, "1",
    "mean of the task's own quality, never a reward model's");
  f("class_entropy", e.class_entropy, prompt, "nat", "entropy of the classes of the completions");
  f("class_entropy_correct", e.class_entropy_correct, prompt, "nat",
    "the same among the correct completions; NaN where none");
  f("class_entropy_wrong", e.class_entropy_wrong, prompt, "nat",
    "the same among the wrong completions; NaN where none");
  f("semantic_entropy", e.semantic_entropy, prompt, "nat",
    "entropy of the classes weighted with the completions' probabilities");
  f("vendi", e.vendi, prompt, "1", "Vendi score of the completions' 1- and 2-gram similarity");
  f("distinct_n", e.distinct_n, prompt, "1",
    "unique n-grams over n-grams of all completions, n = eval.ngram_n");
  f("ead", e.ead, prompt, "1", "expectation-adjusted distinct tokens");
  f("self_bleu", e.self_bleu, prompt, "1",
    "mean BLEU-4 of a completion against the others; lower is more diverse");
  f("length", e.length, prompt, "token", "mean completion length");
  f("truncated_frac", e.truncated_frac, prompt, "1", "share of completions that ended by length");
  const auto exact = EvalAxes::exact_prompt;
  f("exact_pass_at_1", e.exact_pass_at_1, exact, "1",
    "probability of a correct completion by enumeration; too small by at most 1 - exact_mass; NaN beyond eval.exact_prompts");
  f("exact_class_entropy", e.exact_class_entropy, exact, "nat",
    "entropy of the task's classes by enumeration, among the completions that were reached");
  f("exact_quality", e.exact_quality, exact, "1",
    "expected quality by enumeration, over the completions that were reached");
  f("exact_mass", e.exact_mass, exact, "1",
    "probability of the completions that were reached; what is missing bounds the exact figures");
  f("exact_pass_at_k", e.exact_pass_at_k, EvalAxes::exact_k, "1",
    "1 - (1 - exact_pass_at_1)^k, mean over the enumerated prompts");
  f("token", e.token, EvalAxes::token, "token", "completion token ids; 0 after the end");
  f("quality", e.quality, sample, "1", "the task's raw score");
  f("class_id", e.class_id, sample, "1", "ground-truth semantic class, -1 where unknown");
  f("cluster", e.cluster, sample, "1",
    "class by eval.partition: smallest sample index in the class");
}

}  // namespace motley
