#pragma once
/// The seal of a closed run file: SHA-256 over every byte of it, kept inside of it.
///
/// HDF5 checks its own metadata and deflated chunks; plain columns, texts of attributes and the
/// space between are covered by nothing. The hash is computed with the 32 bytes of the seal itself
/// (/integrity/seal) as zeros. A file that is being written, or was killed, has the open seal;
/// zeros are none, so that a block that was lost does not look like it.

#include <filesystem>

#include "io/digest.hpp"
#include "io/h5.hpp"

namespace motley {

inline constexpr const char* kSealPath = "/integrity/seal";
/// "not closed by its writer"
Digest open_seal();

/// Where the seal lies in the file; 0 in a file of an older version, which has none.
std::uint64_t seal_offset(hid_t file);

/// Seals a closed file and makes it durable. \throws Error(io)
void seal_file(const std::filesystem::path& path, std::uint64_t offset);

enum class Seal {
  absent,  ///< the file cannot have one
  open,    ///< not closed by its writer
  whole,   ///< every byte is as it was when the file was closed
};
/// \throws Error(input) when bytes have changed since the file was sealed
Seal check_seal(const std::filesystem::path& path, hid_t file);

}  // namespace motley
