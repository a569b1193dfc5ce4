#pragma once
/// The command line: one table of subcommands.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "experiments/options.hpp"
#include "experiments/progress.hpp"

namespace motley {

/// Whoever reads run files does it in a child process (guard.hpp).
enum class RunAccess {
  none,
  look,     ///< says how a run stands, or checks it itself
  believe,  ///< results follow from the file: a closed one must be as it was sealed
};

/// A subcommand: one object in its own file, one line in main.cpp.
struct Command {
  const char* name;
  const char* usage;     ///< after "motley NAME"
  const char* text;      ///< one sentence
  const char* examples;  ///< shown first in the help
  std::vector<FlagSpec> flags;
  bool needs_kokkos;
  int (*run)(const CommandLine&);
  /// How this line reads run files; nullptr = not at all.
  RunAccess (*run_access)(const CommandLine&) = nullptr;
};
inline RunAccess looks(const CommandLine&) {
  return RunAccess::look;
}
inline RunAccess believes(const CommandLine&) {
  return RunAccess::believe;
}

extern const Command kBench, kConfig, kInfo, kPretrain, kTrain, kEval, kSweep, kCompare, kInspect,
    kDigest, kVerify, kRepair, kPartition, kReshape, kReplay, kImport, kExport;

/// Finds the subcommand, parses its flags, runs it between Kokkos' start and stop.
/// \return the exit code of contract 2.1; prints one line per fault on stderr
int run_cli(int argc, char** argv, const std::vector<const Command*>& commands);

// --- shared by the subcommands ---

/// -c files, key=value words: the layers of a run. Adds faults, does not throw.
std::vector<Layer> layers_of(const CommandLine& line, Faults& faults);
/// The configuration of the command line; throws all faults at once.
Configured configured_by(const CommandLine& line);
ProgressMode progress_of(const CommandLine& line);
/// RUN may be a folder or its run.h5.
std::string run_file_of(const std::string& run);
/// Throws Error(config) unless there are between `least` and `most` positional words.
void require_words(const CommandLine& line, const char* command, std::size_t least,
                   std::size_t most, const char* what);

/// --FLAG N, a whole number of [least, most]; `otherwise` where it is not given. \throws
/// Error(config)
std::int64_t count_flag(const CommandLine& line, const std::string& flag, std::int64_t otherwise,
                        std::int64_t least = 1,
                        std::int64_t most = std::numeric_limits<std::int64_t>::max());

/// A table with aligned columns; the first column left, the others right.
std::string table(const std::vector<std::vector<std::string>>& rows);
std::string fixed(double value, int digits);

}  // namespace motley
