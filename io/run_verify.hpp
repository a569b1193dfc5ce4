#pragma once
/// Is a run file what its writer wrote?

#include <filesystem>
#include <string>

#include "io/run_header.hpp"

namespace motley {

struct RunVerdict {
  RunStatus status = RunStatus::running;
  std::int64_t committed = 0;
  bool sealed = false;  ///< every byte is covered
  std::string digest;   ///< content digest of a complete run, "" otherwise
  /// Steps whose rows are covered; those after it a resume writes anew.
  std::int64_t covered = 0;
};

/// A closed file: its seal (where it has one), and every dataset against /integrity. One that is
/// being written or was killed: datasets fixed at creation against /integrity, rows against the
/// hashes in the newest whole checkpoint beside it (DIR/checkpoints).
/// \throws Error(input) naming the first thing that is not what was written
RunVerdict verify_run(const std::filesystem::path& path);

/// For those who read a closed file to believe it: checks the seal, once per process and file.
/// Files without one pass. \throws Error(input)
void require_whole(const std::filesystem::path& path);

/// A side file of `motley partition` or `motley reshape`: everything in it can be read, and its
/// checksums hold. \throws Error(input)
void verify_side_file(const std::filesystem::path& path);

/// "format" of an HDF5 file: "motley-run", "motley-side", ...; "" where it has none.
/// \throws Error(input)
std::string format_of(const std::filesystem::path& path);

}  // namespace motley
