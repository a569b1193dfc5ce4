/// Axes and rules of a sweep, and whole sweep files.

#include "experiments/sweep_axis.hpp"
#include "experiments/sweep_config.hpp"
#include "experiments/sweep_rule.hpp"
#include "target.hpp"

namespace motley::fuzz {
namespace {

void run(const std::uint8_t* data, std::size_t size) {
  const std::string text = text_of(data, size);
  static const std::vector<OptionEntry> options = list_options(RunConfig{});
  for (const std::string& line : lines_of(text)) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const Assignment assignment{line.substr(0, equals), line.substr(equals + 1), "fuzz.ini:1"};
    may_refuse([&] {
      Faults faults;
      const SweepAxis axis = read_axis(assignment, faults);
      faults.raise();
      if (axis.kind != SweepAxis::Kind::list || !axis.values.empty()) draw_value(axis, 7, 3);
    });
    may_refuse([&] {
      Faults faults;
      const SweepRule rule = read_rule(assignment, false, faults);
      faults.raise();
      holds(rule, options, "arm");
    });
  }
  // Cells multiply: what a sweep may ask for is bounded by its seeds, so keep the text small.
  if (size > 400) return;
  const MemoryFile file(data, size);
  may_refuse([&] { read_sweep(file.path(), {}); });
}

const Registration registration("sweep", run);

}  // namespace
}  // namespace motley::fuzz
