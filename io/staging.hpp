#pragma once
/// Turns the fields of a StepRecord into rows of the file's own types.

#include <cstddef>

#include "core/record.hpp"
#include "io/schema.hpp"

namespace motley {

/// Writes one row of a dataset: the part of `record` that belongs to `replica`.
using RowWriter = void (*)(const StepRecord& record, int replica, const DatasetSpec& spec,
                           std::byte* out);

/// The writer of a dataset whose source is `metric`, `diagnostic` or `rollout`. Positions at and
/// after the completion's length become NaN in log_prob, kept_mass and entropy; every NaN gets the
/// same bits.
RowWriter row_writer(const DatasetSpec& spec);
/// The same, null for a dataset that no step fills.
RowWriter find_row_writer(const DatasetSpec& spec);

}  // namespace motley
