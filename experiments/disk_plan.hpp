#pragma once
/// What run folders take on disk, and whether there is room for them.

#include <filesystem>
#include <optional>

#include "experiments/run_config.hpp"

namespace motley {

/// Upper bound of a run folder: the run file before compression, the checkpoints that are kept, and
/// the copy of either that is written before it takes the old one's place.
double planned_folder_bytes(const RunConfig& config);

/// Bytes of the files below a folder; 0 where there is none.
double folder_bytes(const std::filesystem::path& folder);

/// Bytes this user may still write where `path` is or will be; nothing where that is unknown.
std::optional<double> free_disk(const std::filesystem::path& path);

/// Refuses what does not fit. \param bytes still to be written below `path`
/// \throws Error(refused)
void require_disk(const std::filesystem::path& path, double bytes);

/// "12.5 MB", "3.20 GB"
std::string size_text(double bytes);

}  // namespace motley
