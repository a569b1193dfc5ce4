#pragma once
/// Checkpoints: one safetensors file each, sealed by a SHA-256 over every byte.
///
/// A checkpoint is written under a temporary name, fsynced, renamed, and the folder fsynced, so a
/// name is either absent or whole. The hash in `__metadata__` covers the whole file (computed with
/// the hash's own digits as zeros): a cut file or any changed byte is refused when read.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/digest.hpp"
#include "io/safetensors.hpp"

namespace motley {

struct Checkpoint {
  std::int64_t step = 0;  ///< steps done
  std::map<std::string, std::string>
      meta;  ///< free texts; the keys `step`, `format` and `payload_sha256` are taken
  std::vector<Tensor> tensors;  ///< weights, moments, RunFile::buffered_rows() per replica, ...

  /// \throws Error(input) when there is no such tensor.
  const Tensor& tensor(std::string_view name) const;
  /// \throws Error(input) when there is no such text.
  const std::string& text(const std::string& key) const;
};

struct SavedCheckpoint {
  std::string file;  ///< name inside the folder, "step-00000050.safetensors"
  Digest sha256;     ///< of the payload, as in the file: goes to /checkpoints
};

/// Writes DIR/step-<step>.safetensors (making DIR when needed) and removes all but the newest
/// `keep` (>= 1). \throws Error(io)
SavedCheckpoint save_checkpoint(const std::filesystem::path& directory,
                                const Checkpoint& checkpoint, int keep = 2);

/// One checkpoint, verified. \throws Error(input)
Checkpoint load_checkpoint(const std::filesystem::path& path);

struct CheckpointEntry {
  std::int64_t step = 0;
  std::filesystem::path path;
};
/// The checkpoints of a folder by their names, newest first, unverified; none when it is missing.
std::vector<CheckpointEntry> list_checkpoints(const std::filesystem::path& directory);

struct LoadedCheckpoint {
  Checkpoint checkpoint;
  std::string file;      ///< name inside the folder
  std::string warnings;  ///< one line per damaged checkpoint that was passed over; "" when none
};

/// The newest whole checkpoint of a folder; damaged ones are passed over and named in `warnings`.
/// Nothing when the folder is missing or holds no checkpoint at all.
/// \throws Error(input) when there are checkpoints and every one is damaged.
std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::filesystem::path& directory);

}  // namespace motley
