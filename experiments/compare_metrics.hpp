#pragma once
/// What `motley compare` reads of one run.

#include <optional>
#include <string>

#include "experiments/compare.hpp"
#include "io/run_reader.hpp"

namespace motley {

/// A run while it is read: what several metrics need.
struct OpenRun {
  explicit OpenRun(const std::string& file) : name(file), reader(file) {}
  /// \throws Error(input) where nothing is evaluated
  const EvalTable& evaluations();
  std::string name;
  RunReader reader;
  std::optional<EvalTable> eval;
  std::int64_t steps = -1;  ///< only so many count; -1 = all
};

/// Tokens a run has sampled in all its steps.
double tokens_of(const OpenRun& run);
/// Steps a run had done when it had sampled at most so many tokens.
std::int64_t steps_within(const OpenRun& run, double tokens);

/// Puts a metric's value into the row: at the last evaluation (and in `base` at the first); over
/// the last tenth of the steps or of the rows of diagnostics; of the fitted entropy law.
///   eval.pass_at_16, eval.coverage_at_4, eval.num_distinct_correct, metrics.entropy,
///   diagnostics.gradient_noise_ratio, law.a, base.classifier_f1
/// \throws Error(config|input)
void read_metric(OpenRun& run, const std::string& metric, CompareRow& row);

}  // namespace motley
