/// A checkpoint as it lies there, and once more with its hash set right, so that what stands behind
/// the hash is reached.

#include "io/checkpoint.hpp"

#include <algorithm>
#include <cstring>

#include "io/digest.hpp"
#include "io/run_file.hpp"
#include "target.hpp"

namespace motley::fuzz {
namespace {

void read(const void* data, std::size_t size) {
  const MemoryFile file(data, size);
  may_refuse([&] {
    const Checkpoint checkpoint = load_checkpoint(file.path());
    checkpoint.text("updates");
  });
  may_refuse([&] {
    const Checkpoint checkpoint = load_checkpoint(file.path());
    read_buffered_rows(checkpoint.tensor("run.rows").data, "fuzz");
  });
}

void run(const std::uint8_t* data, std::size_t size) {
  read(data, size);
  may_refuse([&] { read_buffered_rows(std::as_bytes(std::span(data, size)), "fuzz"); });
  std::string text = text_of(data, size);
  const std::string key = "\"payload_sha256\":\"";
  const auto at = text.find(key);
  if (at == std::string::npos || text.size() - at - key.size() < 64) return;
  std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(at + key.size()), 64, '0');
  const std::string seal = hex(sha256(text));
  std::copy(seal.begin(), seal.end(), text.begin() + static_cast<std::ptrdiff_t>(at + key.size()));
  read(text.data(), text.size());
}

const Registration registration("checkpoint", run);

}  // namespace
}  // namespace motley::fuzz
