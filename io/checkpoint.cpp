#include "io/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "core/base/error.hpp"
#include "io/fault.hpp"
#include "io/files.hpp"

namespace motley {
namespace {

constexpr std::string_view kFormat = "motley-checkpoint-1";
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kHashKey = "payload_sha256";

/// Where the 64 digits of the hash stand, or npos when they do not stand exactly once.
std::size_t find_hash(std::string_view file) {
  const std::string key = concat('"', kHashKey, "\":\"");
  const std::size_t at = file.find(key);
  if (at == std::string_view::npos || file.size() - at - key.size() < 64)
    return std::string_view::npos;
  return at + key.size();
}

/// Hash of the whole file with the hash's own digits as zeros.
Digest seal(std::span<std::byte> bytes, std::size_t at) {
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 64, std::byte{'0'});
  return sha256(bytes.data(), bytes.size());
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Step of "step-<digits>.safetensors", or -1.
std::int64_t step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return -1;
  const char* first = name.data() + kPrefix.size();
  const char* last = name.data() + name.size() - kSuffix.size();
  std::int64_t step = -1;
  const auto [end, fault] = std::from_chars(first, last, step);
  return fault == std::errc() && end == last && first != last ? step : -1;
}

}  // namespace

std::vector<CheckpointEntry> list_checkpoints(const std::filesystem::path& directory) {
  std::vector<CheckpointEntry> found;
  std::error_code fault;
  for (const auto& entry : std::filesystem::directory_iterator(directory, fault)) {
    const std::string name = entry.path().filename().string();
    if (const std::int64_t step = step_of(name); step >= 0) found.push_back({step, entry.path()});
  }
  std::sort(found.begin(), found.end(), [](const CheckpointEntry& a, const CheckpointEntry& b) {
    return a.step != b.step ? a.step > b.step : a.path > b.path;
  });
  return found;
}

const Tensor& Checkpoint::tensor(std::string_view name) const {
  for (const Tensor& t : tensors)
    if (t.name == name) return t;
  throw Error(ErrorKind::input, concat("checkpoint of step ", step, ": no tensor \"", name, "\""));
}

const std::string& Checkpoint::text(const std::string& key) const {
  const auto found = meta.find(key);
  if (found == meta.end())
    throw Error(ErrorKind::input, concat("checkpoint of step ", step, ": no entry \"", key, "\""));
  return found->second;
}

SavedCheckpoint save_checkpoint(const std::filesystem::path& directory,
                                const Checkpoint& checkpoint, int keep) {
  MOTLEY_REQUIRE(keep >= 1, ErrorKind::internal, "save_checkpoint: keep must be at least 1, got ",
                 keep);
  TensorFile file{checkpoint.meta, checkpoint.tensors};
  file.metadata["format"] = kFormat;
  file.metadata["step"] = std::to_string(checkpoint.step);
  file.metadata[std::string(kHashKey)] = std::string(64, '0');
  std::vector<std::byte> bytes = to_safetensors(file);
  const std::size_t at = find_hash(as_text(bytes));
  SavedCheckpoint saved;
  saved.sha256 = seal(bytes, at);
  const std::string digits = hex(saved.sha256);
  std::memcpy(bytes.data() + at, digits.data(), digits.size());

  std::error_code fault;
  std::filesystem::create_directories(directory, fault);
  if (fault)
    throw Error(ErrorKind::io,
                concat(directory.string(), ": cannot make the folder, got ", fault.message()));
  char name[64];
  std::snprintf(name, sizeof name, "step-%08lld.safetensors",
                static_cast<long long>(checkpoint.step));
  saved.file = name;
  replace_file(directory / name, bytes);

  const std::vector<CheckpointEntry> all = list_checkpoints(directory);
  reach_fault_point(FaultPoint::before_removal);
  bool removed = false;
  for (std::size_t i = static_cast<std::size_t>(keep); i < all.size(); ++i) {
    // The one just written stays even when steps beyond it lie around from an earlier run.
    if (all[i].path.filename() == saved.file) continue;
    removed |= std::filesystem::remove(all[i].path, fault);
  }
  if (removed) sync_directory(directory);
  reach_fault_point(FaultPoint::after_removal);
  return saved;
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  std::vector<std::byte> bytes = read_file(path);
  const std::size_t at = find_hash(as_text(bytes));
  if (at == std::string_view::npos)
    throw Error(ErrorKind::input,
                concat(path.string(), ": not a motley checkpoint, or cut short, got ", bytes.size(),
                       " bytes without ", kHashKey));
  const std::string stated(as_text(bytes).substr(at, 64));
  if (hex(seal(bytes, at)) != stated)
    throw Error(ErrorKind::input,
                concat(path.string(), ": damaged checkpoint: its bytes do not match its ", kHashKey,
                       ", got ", stated));
  TensorFile file = parse_safetensors(bytes, path.string());
  if (file.metadata["format"] != kFormat)
    throw Error(ErrorKind::input, concat(path.string(), ": unknown checkpoint format, got \"",
                                         file.metadata["format"], "\"; allowed: ", kFormat));
  Checkpoint checkpoint;
  const std::string step = file.metadata["step"];
  const auto [end, fault] =
      std::from_chars(step.data(), step.data() + step.size(), checkpoint.step);
  if (fault != std::errc() || end != step.data() + step.size())
    throw Error(ErrorKind::input, concat(path.string(), ": step is no number, got \"", step, "\""));
  file.metadata.erase("format");
  file.metadata.erase("step");
  file.metadata.erase(std::string(kHashKey));
  checkpoint.meta = std::move(file.metadata);
  checkpoint.tensors = std::move(file.tensors);
  return checkpoint;
}

std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::filesystem::path& directory) {
  const std::vector<CheckpointEntry> all = list_checkpoints(directory);
  std::string warnings;
  for (const auto& [step, path] : all) {
    try {
      return LoadedCheckpoint{load_checkpoint(path), path.filename().string(), warnings};
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input) throw;
      warnings += concat(warnings.empty() ? "" : "\n", error.what(), "; passed over");
    }
  }
  if (all.empty()) return std::nullopt;
  throw Error(ErrorKind::input, concat(directory.string(), ": no usable checkpoint, got ",
                                       all.size(), " damaged: ", warnings));
}

}  // namespace motley
