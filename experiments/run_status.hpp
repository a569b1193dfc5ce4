#pragma once
/// How runs stand, read from their files while they are written.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "experiments/sweep_plan.hpp"

namespace motley {

struct Command;
extern const Command kStatus;  ///< motley status

struct RunReport {
  std::string name;  ///< the folder
  CellState state = CellState::to_do;
  std::int64_t step = 0, steps = 0;
  double steps_per_s = 0;  ///< over the last 50 steps; 0 = unknown
  double tokens_per_s = 0;
  double quality = 0, diversity = 0, entropy = 0;  ///< of the last step; NaN before it
  std::int64_t checkpoint = -1;                    ///< step of the newest, -1 = none
  /// Seconds to go at that rate, NaN unless the run is under way.
  double seconds_left() const;
};

/// \param steps planned, for a run that is not begun
RunReport report_of(const std::filesystem::path& folder, std::int64_t steps = 0);

/// Run folders under the words: run folders, run files, or folders of run folders.
std::vector<std::filesystem::path> run_folders(const std::vector<std::string>& words);

/// One line per run and a last line that counts them; JSON as one object.
std::string reports_text(const std::vector<RunReport>& reports);
std::string reports_json(const std::vector<RunReport>& reports);

/// Prints what `make` says, again every `seconds` until nothing is running or to do, or a signal
/// comes; on a terminal each time in place of the last. 0 = once.
int show_reports(const std::function<std::vector<RunReport>()>& make, double seconds, bool json);

/// --watch [SECONDS] of a command line; 0 where it is not given. \throws Error(config)
double watch_seconds(const std::string& text);

}  // namespace motley
