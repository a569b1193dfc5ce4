#pragma once
/// One file over many runs: virtual datasets that read the run files in place.
///
///     f = h5py.File("runs/quickstart/index.h5"); f["metrics/entropy"][run, step]
///
/// The index copies no numbers but who the runs are. It reads as long as the run files stay where
/// they are, seen from it (move the sweep's folder as a whole). Rows a run lacks read as NaN
/// (integers -1).

#include <filesystem>
#include <string>
#include <vector>

#include "io/run_header.hpp"

namespace motley {

inline constexpr const char* kIndexFormat = "motley-index";

struct IndexedRun {
  std::filesystem::path file;  ///< closed run files only: complete or interrupted
  std::string arm;
  std::uint64_t seed = 0;
  std::vector<Attribute> config;  ///< options that differ between the runs, the same keys in all
};

/// Writes `path` (beside its final name, then renamed): /runs with file, arm, seed, rows and
/// config_sha256 and one column per option that differs; /metrics and /timing [run,step] and /eval
/// [run,eval,...] as virtual datasets. A column that not all runs have with the same shape beyond
/// its first axis is left out. Replaces an index, refuses to replace anything else. \throws
/// Error(input|io|refused)
void write_index(const std::filesystem::path& path, const std::string& title,
                 const std::vector<IndexedRun>& runs);

}  // namespace motley
