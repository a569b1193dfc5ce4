#pragma once
/// One writer per run folder.
///
/// HDF5 gives its own lock up when a file turns to SWMR, and a second program could then truncate
/// the live file. So a run holds flock(2) on DIR/.lock from before run.h5 is touched until it is
/// closed. The kernel drops the lock when the process dies, however it dies.

#include <filesystem>
#include <string>

namespace motley {

class RunLock {
 public:
  /// Takes DIR/.lock and writes this process' id into it.
  /// \throws Error(refused) naming the holder's pid when the folder is taken, or when the folder
  /// cannot be written to.
  explicit RunLock(const std::filesystem::path& directory);
  ~RunLock();
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&& other) noexcept;

 private:
  int file_ = -1;
};

/// Process id of the writer of a run folder, "" where nobody writes. Looks for an instant only: a
/// writer that starts in it tries again.
std::string writer_of(const std::filesystem::path& directory);

/// A turn at making something that several processes want: waits until the others are through.
/// Where the file system knows no locks, or the folder cannot be written to, it does not wait.
class TurnLock {
 public:
  explicit TurnLock(const std::filesystem::path& directory);
  ~TurnLock();
  TurnLock(TurnLock&& other) noexcept;
  TurnLock(const TurnLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace motley
