#pragma once
/// Makes every object of a run file (schema 1.0) and fills what is known at the start.

#include <filesystem>

#include "io/h5.hpp"
#include "io/run_header.hpp"

namespace motley {

/// The open file, not yet in SWMR mode. Its /status is `running`. \throws Error(io)
h5::Handle create_run(const std::filesystem::path& path, const RunHeader& header);

}  // namespace motley
