#pragma once
/// Is a step that was made again the step in the file? Compares number by number, in the file's own
/// types.

#include <cstdint>
#include <string>
#include <vector>

#include "core/record.hpp"
#include "io/run_reader.hpp"

namespace motley {

/// Part of a step; negative = all of that axis. With a prompt, columns of the whole step (/metrics)
/// are left out.
struct StepAddress {
  int prompt = -1, rollout = -1;
};

/// A dataset whose numbers differ: the first of them, and how many there are.
struct FieldDifference {
  std::string path;
  int prompt = -1, rollout = -1, position = -1;  ///< -1 where the dataset has no such axis
  std::string logged, replayed;
  std::size_t count = 0, of = 0;
  /// "/rollouts/token differs at prompt 3, rollout 2, position 5: logged 7, replayed 9 (12 of 640)"
  std::string text() const;
};

struct StepComparison {
  std::vector<std::string> fields;  ///< datasets that were compared
  std::vector<FieldDifference> differences;
  bool equal() const { return differences.empty(); }
};

/// Compares what the file holds of record.step with `replica`'s part of the record: /rollouts and
/// /partition where that step is logged, /metrics and /diagnostics. tokens_total of the record
/// counts from the start of the run. \throws Error(input) when the step is not committed, or shapes
/// differ
StepComparison compare_step(const RunReader& reader, const StepRecord& record, int replica,
                            const StepAddress& address = {});

}  // namespace motley
