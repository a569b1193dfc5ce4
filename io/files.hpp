#pragma once
/// Whole files: read, and replaced in one step.

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace motley {

/// All bytes of a regular file. \throws Error(input)
std::vector<std::byte> read_file(const std::filesystem::path& path);

/// Writes PATH.tmp, fsyncs it, renames it to PATH and fsyncs the folder: at every moment PATH is
/// absent, the old file or the new one, also after a power cut. \throws Error(io); the temporary
/// file is removed then.
void replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Makes the contents of a file durable. \throws Error(io)
void sync_file(const std::filesystem::path& path);

/// Makes a rename or a removal inside the folder durable. \throws Error(io)
void sync_directory(const std::filesystem::path& directory);

}  // namespace motley
