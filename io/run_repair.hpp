#pragma once
/// Makes the file of a killed run an ordinary closed one.

#include <filesystem>
#include <string>

namespace motley {

struct Repair {
  bool done = false;           ///< false: the file is closed and whole, nothing was to do
  std::int64_t committed = 0;  ///< steps that are complete in all groups
  std::string kept;            ///< where the file as it was is kept
};

/// Cuts a copy back to the rows that are committed or belong to the newest checkpoint, clears the
/// flags of the writer, fills /integrity, sets the status `interrupted`, seals it; the copy is read
/// again in full before it takes the file's place. The file as it was stays as
/// run.h5.before-repair. `motley train -r` goes on with either.
/// \throws Error(input) when rows that must be there are missing or changed: nothing is touched
/// then; Error(refused) when a run writes here or run.h5.before-repair exists; Error(io)
Repair repair_run(const std::filesystem::path& path);

}  // namespace motley
