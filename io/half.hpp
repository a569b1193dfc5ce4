#pragma once
/// IEEE binary16, for the f2 datasets: HDF5's own conversion is slow and has no type in memory.

#include <cstdint>

namespace motley {

/// Round to nearest even; NaN becomes the quiet NaN of the same sign.
std::uint16_t half_from_float(float value);
/// Exact.
float float_from_half(std::uint16_t half);

}  // namespace motley
