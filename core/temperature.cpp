#include "core/temperature.hpp"

#include <charconv>

#include "core/base/shape.hpp"

namespace motley {

bool parse_temperature_schedule(const std::string& text, TemperatureSchedule& schedule) {
  if (text == "constant") {
    schedule.course = TemperatureCourse::constant;
    return true;
  }
  const auto colon = text.find(':');
  const std::string course = text.substr(0, colon);
  if (colon == std::string::npos || (course != "linear" && course != "cosine")) return false;
  double end = 0;
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  const auto [stop, error] = std::from_chars(first, last, end);
  if (error != std::errc{} || stop != last || !(end > 0) || end > 100) return false;
  schedule.course = course == "linear" ? TemperatureCourse::linear : TemperatureCourse::cosine;
  schedule.end = end;
  return true;
}

void set_temperature(const Exec& exec, const ConstView1<TemperatureSchedule>& schedule,
                     std::uint32_t step, const View1<SamplingParams>& sampling,
                     const View1<LossParams>& loss) {
  require_extents(sampling, "set_temperature", "sampling", "[R]", schedule.extent(0));
  require_extents(loss, "set_temperature", "loss", "[R]", schedule.extent(0));
  Kokkos::parallel_for(
      "motley::temperature::set_temperature",
      Kokkos::RangePolicy<Exec>(exec, 0, schedule.extent(0)), KOKKOS_LAMBDA(const int r) {
        if (schedule(r).course == TemperatureCourse::constant) return;
        sampling(r).temperature = scheduled_temperature(schedule(r), step);
        loss(r).inv_temperature = inverse_temperature(sampling(r));
      });
}

}  // namespace motley
