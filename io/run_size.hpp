#pragma once
/// What a run file will take on disk.

#include <cstdint>

#include "io/run_header.hpp"

namespace motley {

/// Bytes of a whole run file of this header before compression: an upper bound.
/// \param evals evaluations \param checkpoints rows of /checkpoints
double planned_bytes(const RunHeader& header, std::int64_t evals, std::int64_t checkpoints);

}  // namespace motley
