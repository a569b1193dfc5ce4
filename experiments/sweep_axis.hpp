#pragma once
/// An axis of a sweep: what stands behind `key =` in [grid].
///
///     0.1, 0.2, off       a list; commas inside parentheses do not part it
///     *                   every value of a choice (run.method, diversity.shaping, ...)
///     log(a, b, n)        n values from a to b, equal ratios
///     range(a, b[, step]) a, a + step, ... below b
///     log(a, b)           random sweeps: log-uniform in [a, b)
///     uniform(a, b)       random sweeps: uniform in [a, b)

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/options.hpp"

namespace motley {

struct SweepAxis {
  enum class Kind { list, uniform, log_uniform };
  std::string key, place;
  Kind kind = Kind::list;
  std::vector<std::string> values;  ///< of a list
  double low = 0, high = 0;         ///< of a distribution
};

/// Splits at commas outside parentheses and trims.
std::vector<std::string> split_list(const std::string& text);
std::string trimmed(const std::string& text);

/// Adds a fault and returns an axis without values where the text is none of the forms above.
SweepAxis read_axis(const Assignment& assignment, Faults& faults);

/// Value of an axis in sample `sample` of a random sweep: a function of (seed, key, sample) alone,
/// so more samples add cells and change none, and so do more axes. Of a list every value is as
/// likely.
std::string draw_value(const SweepAxis& axis, std::uint64_t seed, std::uint32_t sample);

}  // namespace motley
