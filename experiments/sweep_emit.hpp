#pragma once
/// A sweep handed to other runners: shell commands, a Slurm job script, a Snakefile, an index.

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/sweep_config.hpp"

namespace motley {

/// A word as a POSIX shell reads it back.
std::string shell_quoted(const std::string& word);

/// `motley train ... -r FOLDER`: runs the cell, or goes on with it; nothing to do where it is
/// complete.
std::string cell_command(const SweepConfig& sweep, const SweepCell& cell,
                         const std::filesystem::path& folder);

struct SlurmOptions {
  std::string time = "01:00:00", partition;
  std::size_t tasks = 0;    ///< array tasks, each a shard; 0 = one per cell
  std::size_t at_once = 0;  ///< %N of the array; 0 = no limit
  int cpus = 1;
};
/// A job array that stops its run 120 s before the time limit and queues itself again until it is
/// done. \param motley the program \param folder of the sweep
std::string slurm_script(const SweepConfig& sweep, const std::filesystem::path& folder,
                         const std::string& motley, const SlurmOptions& options);

/// One rule per cell, a marker file as its output (the runner removes outputs of rules that fail; a
/// run file must stay to be resumed).
std::string snakefile(const SweepConfig& sweep, const std::filesystem::path& folder,
                      const std::string& motley);

/// DIR/index.h5 over the cells whose files are closed. \return how many; \throws
/// Error(input|io|refused)
std::size_t collect_cells(const SweepConfig& sweep, const std::filesystem::path& folder);

}  // namespace motley
