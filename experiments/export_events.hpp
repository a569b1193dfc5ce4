#pragma once
/// A run's scalars for TensorBoard.

#include <filesystem>

#include "io/run_reader.hpp"

namespace motley {

/// Writes DIR/events.out.tfevents.<created>.motley: every column of /metrics, /timing and
/// /diagnostics as `<group>/<name>`, evaluations as `eval/<name>` (the mean over held-out prompts)
/// and `eval/<name>/<k>`, and the names of TRL (`train/...`) and verl beside the columns that are
/// the same quantities. Wall time is the run's own: created + the steps' total_s.
/// \return number of events
std::int64_t write_events(const RunReader& reader, const std::filesystem::path& directory);

}  // namespace motley
