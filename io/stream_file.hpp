#pragma once
/// A file that appears whole: written piece by piece under a temporary name, then renamed.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace motley {

class StreamFile {
 public:
  /// Opens PATH.tmp. \throws Error(refused) when it cannot be made
  explicit StreamFile(std::filesystem::path path);
  ~StreamFile();  ///< removes PATH.tmp unless `finish` was called
  StreamFile(const StreamFile&) = delete;
  StreamFile& operator=(const StreamFile&) = delete;

  /// Appends; at most 1 MiB waits in memory. \throws Error(io)
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Bytes given to `write` so far.
  std::uint64_t size() const { return size_; }
  /// Flushes, fsyncs, renames to PATH and fsyncs the folder. \throws Error(io)
  void finish();

 private:
  void flush();

  std::filesystem::path path_, temporary_;
  std::vector<std::byte> buffer_;
  std::uint64_t size_ = 0;
  int file_ = -1;
};

}  // namespace motley
