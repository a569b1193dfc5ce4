#pragma once
/// The sampling temperature as a function of the step.

#include <string>

#include "core/objective.hpp"
#include "core/sampling.hpp"

namespace motley {

enum class TemperatureCourse : int { constant, linear, cosine };

/// Temperature of a replica over its run, from `start` at step 0 to `end` at the last step.
struct TemperatureSchedule {
  TemperatureCourse course = TemperatureCourse::constant;
  double start = 1.0;
  double end = 1.0;
  int steps = 1;  ///< of the run
};

/// Reads "constant", "linear:END" or "cosine:END", 0 < END <= 100, into `course` and `end`; false
/// where the text is none of them, and then nothing is changed.
bool parse_temperature_schedule(const std::string& text, TemperatureSchedule& schedule);

/// f = step / (steps - 1), 0 for a run of one step:
///   constant  start      linear  start + (end - start) f
///   cosine    end + (start - end) (1 + cos(pi f)) / 2
KOKKOS_INLINE_FUNCTION double scheduled_temperature(const TemperatureSchedule& s,
                                                    std::uint32_t step) {
  const double f = s.steps > 1 ? double(step) / (s.steps - 1) : 0.0;
  switch (s.course) {
    case TemperatureCourse::linear: return s.start + (s.end - s.start) * f;
    case TemperatureCourse::cosine:
      return s.end + (s.start - s.end) * 0.5 * (1.0 + Kokkos::cos(3.141592653589793 * f));
    default: return s.start;
  }
}

/// Sets the temperature of the step: that of the sampler, and the inverse that the trainer divides
/// its logits by, so that ratios compare like with like. Replicas with a constant temperature are
/// left alone. \param schedule [R]   \param sampling, loss [R] one member of each is written
void set_temperature(const Exec& exec, const ConstView1<TemperatureSchedule>& schedule,
                     std::uint32_t step, const View1<SamplingParams>& sampling,
                     const View1<LossParams>& loss);

}  // namespace motley
