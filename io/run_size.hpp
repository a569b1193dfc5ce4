#pragma once
/// What a run file will take on disk, and in memory while it is written.

#include <cstddef>
#include <cstdint>

#include "io/run_header.hpp"

namespace motley {

/// Bytes of a whole run file of this header before compression: an upper bound.
/// \param evals evaluations \param checkpoints rows of /checkpoints
double planned_bytes(const RunHeader& header, std::int64_t evals, std::int64_t checkpoints);

/// Bytes of memory in which an open run file keeps rows that are not yet written.
std::size_t buffered_bytes(const RunHeader& header);

}  // namespace motley
