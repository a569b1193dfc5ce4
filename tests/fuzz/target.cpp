#include "target.hpp"

#include <sstream>
#include <sys/mman.h>
#include <unistd.h>

namespace motley::fuzz {

std::vector<TargetEntry>& targets() {
  static std::vector<TargetEntry> all;
  return all;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

MemoryFile::MemoryFile(const void* data, std::size_t size)
    : file_(memfd_create("fuzz", MFD_CLOEXEC)) {
  const auto* bytes = static_cast<const char*>(data);
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = write(file_, bytes + done, size - done);
    MOTLEY_REQUIRE(n > 0, ErrorKind::internal, "fuzz: no memory file");
    done += static_cast<std::size_t>(n);
  }
}

MemoryFile::~MemoryFile() {
  close(file_);
}

std::string MemoryFile::path() const {
  return concat("/proc/self/fd/", file_);
}

}  // namespace motley::fuzz
