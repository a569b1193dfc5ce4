#include "io/stream_file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/error.hpp"
#include "io/files.hpp"

namespace motley {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 20;

[[noreturn]] void fail(ErrorKind kind, const std::filesystem::path& path, const char* what) {
  throw Error(kind, concat(path.string(), ": cannot ", what, ", got ", std::strerror(errno)));
}

}  // namespace

StreamFile::StreamFile(std::filesystem::path path)
    : path_(std::move(path)), temporary_(path_.string() + ".tmp") {
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail(ErrorKind::refused, temporary_, "create it");
  buffer_.reserve(kBuffer);
}

StreamFile::~StreamFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

void StreamFile::write(std::span<const std::byte> bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), kBuffer - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    bytes = bytes.subspan(n);
    if (buffer_.size() == kBuffer) flush();
  }
}

void StreamFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void StreamFile::flush() {
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(file_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::io, temporary_, "write it");
    done += static_cast<std::size_t>(n);
  }
  buffer_.clear();
}

void StreamFile::finish() {
  flush();
  if (::fsync(file_) != 0) fail(ErrorKind::io, temporary_, "sync it");
  const int file = file_;
  file_ = -1;
  if (::close(file) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int fault = errno;
    ::unlink(temporary_.c_str());
    errno = fault;
    fail(ErrorKind::io, path_, "finish it");
  }
  sync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
}

}  // namespace motley
