/// A run file, read in a child as every command does: whatever HDF5 does there, the reader's parent
/// gets an answer or a refusal.

#include "experiments/guard.hpp"
#include "io/run_reader.hpp"
#include "io/run_verify.hpp"
#include "target.hpp"

namespace motley::fuzz {
namespace {

void run(const std::uint8_t* data, std::size_t size) {
  const MemoryFile file(data, size);
  may_refuse([&] {
    read_in_child(file.path(), [&] {
      verify_run(file.path());
      const RunReader reader(file.path());
      reader.config();
      reader.vocab();
      reader.prompts();
      for (const std::string& name : reader.columns()) reader.column(name);
      for (const std::int64_t step : reader.rollout_steps()) reader.rollouts(step);
      if (reader.has_eval()) reader.eval();
      return std::string();
    });
  });
}

const Registration registration("run_file", run);

}  // namespace
}  // namespace motley::fuzz
