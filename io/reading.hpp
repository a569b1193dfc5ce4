#pragma once
/// Which run file this process is reading, noted where a process that guards it can see it.
///
/// HDF5 1.10 may crash or hang on damaged metadata. Whoever reads for a user does so in a child
/// (experiments/guard.hpp); the parent looks here to say which file ended it.

#include <atomic>
#include <cstdint>
#include <filesystem>

namespace motley {

/// Lies in memory that both processes share.
struct ReadingBoard {
  std::atomic<int> calls;           ///< HDF5 calls under way, nested ones included
  std::atomic<std::int64_t> since;  ///< processor time, ns, when the outermost began; 0 = none is
  std::atomic<double> most;         ///< seconds it may take at most
  char file[4096];                  ///< last opened; "" = none
};

/// From now on this process notes its reading there; nullptr = nobody looks.
void watch_reading(ReadingBoard* board);
/// What `watch_reading` was given last.
ReadingBoard* reading_board();
/// A RunReader of this process refuses closed files whose seal is broken (io/seal.hpp).
void require_seals();
bool seals_required();

void note_file(const std::filesystem::path& path);

/// One call into HDF5, or a few that read little.
class Reading {
 public:
  static constexpr double kLittle = 5, kRows = 120;
  /// \param most seconds of processor time, after which a guard takes it for hung
  explicit Reading(double most = kLittle);
  ~Reading();
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
};

}  // namespace motley
