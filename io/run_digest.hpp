#pragma once
/// Content digest of a run, and the hashes it is made of.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/digest.hpp"

namespace motley {

/// One row of /integrity.
struct DatasetHash {
  std::string path;
  std::string type;  ///< element type and inner extents, "f4[8,4,16]"
  std::int64_t rows = 0;
  Digest sha256{};
};

/// SHA-256 over path (bytes and a zero), rows (i8, little-endian) and sha256 of all non-volatile
/// datasets (not /timing, /provenance, /resumes, /status, /checkpoints), ordered by path.
Digest content_digest(std::vector<DatasetHash> hashes);

/// /integrity of a complete run, in file order.
/// \throws Error(input) when the run is not complete (resume it) or is no run file
std::vector<DatasetHash> hashes_of_run(const std::filesystem::path& path);

/// Content digest of a complete run from its /integrity: 64 hexadecimal digits. \throws
/// Error(input)
std::string digest_of_run(const std::filesystem::path& path);

/// Two runs over the non-volatile datasets that both hold with the same type; of rollouts and
/// diagnostics, where they are logged at other steps, over the steps that both hold.
struct CommonDigest {
  std::string first, second;           ///< hexadecimal; equal when the runs agree
  std::vector<std::string> different;  ///< paths of common datasets that differ
};
CommonDigest digest_common(const std::filesystem::path& first, const std::filesystem::path& second);

}  // namespace motley
