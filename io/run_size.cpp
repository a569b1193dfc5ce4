#include "io/run_size.hpp"

#include <algorithm>

#include "io/run_file_state.hpp"
#include "io/schema.hpp"

namespace motley {

double planned_bytes(const RunHeader& header, std::int64_t evals, std::int64_t checkpoints) {
  const auto rounded = [](std::int64_t n, std::int64_t chunk) {
    return (n + chunk - 1) / chunk * chunk;
  };
  // HDF5's own: object header, scales, attributes and index of a dataset take 1.2 KiB on average.
  constexpr double kBookkeeping = 2048;
  double total = 0;
  for (const DatasetSpec& spec : run_schema(header)) {
    total += kBookkeeping;
    double elements = 1;
    for (const std::string& name : spec.axes) {
      const Axis axis = axis_of(header, spec, name);
      std::int64_t n = static_cast<std::int64_t>(axis.size);
      if (axis.unlimited) {
        const std::int64_t every = std::max(1, header.log.rollouts_every);
        n = name == "step" && spec.source == Source::rollout
                ? rounded((header.steps + every - 1) / every, chunk_steps(header))
            : name == "eval" || spec.source == Source::eval ? evals
            : name == "checkpoint"                          ? checkpoints
            : name == "step"                                ? header.steps
                                                            : 0;
        if (spec.axes.size() == 1) n = rounded(n, column_chunk(header, spec));
      }
      elements *= static_cast<double>(n);
    }
    total += elements * static_cast<double>(h5::size_of(spec.type));
  }
  for (const std::string& text : header.prompts.text) total += static_cast<double>(text.size());
  return total;
}

std::size_t buffered_bytes(const RunHeader& header) {
  // HDF5 keeps a chunk of up to 1 MiB of every dataset, and fills, shuffles and deflates one more.
  constexpr std::size_t kChunkCache = std::size_t{1} << 20;
  std::size_t total = 0, largest = 0;
  for (const DatasetSpec& spec : run_schema(header)) {
    const bool metric = spec.source == Source::metric, rollout = spec.source == Source::rollout;
    if (!metric && !rollout) continue;
    std::size_t row = h5::size_of(spec.type);
    for (std::size_t i = 1; i < spec.axes.size(); ++i)
      row *= static_cast<std::size_t>(axis_of(header, spec, spec.axes[i]).size);
    const std::size_t block =
        row * static_cast<std::size_t>(metric ? run_file::kColumnRows : chunk_steps(header));
    total += block;
    if (!rollout) continue;
    total += std::min(kChunkCache, block);
    largest = std::max(largest, block);
  }
  return total + 3 * largest;
}

}  // namespace motley
