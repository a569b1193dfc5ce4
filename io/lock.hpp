#pragma once
/// One writer per run folder.
///
/// HDF5 gives its own lock up when a file turns to SWMR, and a second program could then truncate
/// the live file. So a run holds flock(2) on DIR/.lock from before run.h5 is touched until it is
/// closed. The kernel drops the lock when the process dies, however it dies.

#include <filesystem>

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

}  // namespace motley
