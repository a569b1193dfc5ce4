#include "io/lock.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "core/base/error.hpp"

namespace motley {
namespace {

/// What the holder wrote: its pid, or "unknown" when it has not written yet.
std::string holder(int file) {
  char text[32] = {};
  const ssize_t n = ::pread(file, text, sizeof text - 1, 0);
  std::string pid;
  for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; ++i) pid += text[i];
  return pid.empty() ? "unknown" : pid;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / ".lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0)
    throw Error(ErrorKind::refused, concat(directory.string(), ": cannot make the lock file, got ",
                                           std::strerror(errno),
                                           "; allowed: an existing folder that can be written to"));
  // `writer_of` may be looking; what still holds after a tenth of a second is a writer.
  bool taken = false;
  for (int attempt = 0; attempt < 6 && !taken; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    taken = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
    if (!taken && errno != EWOULDBLOCK) break;
  }
  if (!taken) {
    const int cause = errno;
    const std::string pid = holder(file_);
    ::close(std::exchange(file_, -1));
    if (cause != EWOULDBLOCK)
      throw Error(ErrorKind::refused,
                  concat(path.string(), ": cannot lock, got ", std::strerror(cause)));
    throw Error(ErrorKind::refused,
                concat(directory.string(), ": another motley is writing this run, got pid ", pid,
                       "; allowed: one writer per folder (wait for it, or choose another -o)"));
  }
  const std::string pid = std::to_string(::getpid()) + '\n';
  // The text only serves the other side's message; a full disk must not stop us here.
  if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, pid.data(), pid.size(), 0) < 0) return;
}

RunLock::~RunLock() {
  // The file stays: removing it would let a third process lock a name that a second one has open.
  if (file_ >= 0) ::close(file_);
}

RunLock::RunLock(RunLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}

std::string writer_of(const std::filesystem::path& directory) {
  const int file = ::open((directory / ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  const bool taken = ::flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  const std::string pid = taken ? holder(file) : "";
  ::close(file);
  return pid;
}

TurnLock::TurnLock(const std::filesystem::path& directory) {
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  file_ = ::open((directory / ".turn").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) return;
  while (::flock(file_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

TurnLock::~TurnLock() {
  if (file_ >= 0) ::close(file_);
}

TurnLock::TurnLock(TurnLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

}  // namespace motley
