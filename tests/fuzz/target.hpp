#pragma once
/// A fuzz target: takes any bytes, and may only refuse them by Error(config) or Error(input).
///
/// Under clang each target is a libFuzzer program of its own (preset fuzz, scripts/fuzz). In every
/// build all are linked into fuzz_corpus, which runs the kept corpora as ordinary tests.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/error.hpp"

namespace motley::fuzz {

using Target = void (*)(const std::uint8_t* data, std::size_t size);

struct TargetEntry {
  const char* name;
  Target run;
};
/// All targets of this program, by name.
std::vector<TargetEntry>& targets();

struct Registration {
  Registration(const char* name, Target run) { targets().push_back({name, run}); }
};

inline std::string text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Lines of the text.
std::vector<std::string> lines_of(const std::string& text);

/// Runs `read`; lets through whatever is not a refusal.
template <class Read>
void may_refuse(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::config && error.kind() != ErrorKind::input) throw;
    // A refusal says something.
    if (std::string(error.what()).empty()) throw;
  }
}

/// The bytes as a regular file that lives in memory, for readers of paths.
class MemoryFile {
 public:
  MemoryFile(const void* data, std::size_t size);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  std::string path() const;

 private:
  int file_;
};

}  // namespace motley::fuzz
