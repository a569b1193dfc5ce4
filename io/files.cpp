#include "io/files.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.hpp"
#include "io/fault.hpp"

namespace motley {
namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  int get() const { return file_; }
  /// Closes now and says whether that worked: a full disk may show only here.
  bool close() {
    const int file = file_;
    file_ = -1;
    return ::close(file) == 0;
  }

 private:
  int file_;
};

[[noreturn]] void fail(ErrorKind kind, const std::filesystem::path& path, const char* what) {
  throw Error(kind, concat(path.string(), ": cannot ", what, ", got ", std::strerror(errno)));
}

bool write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(ErrorKind::input, path, "open it");
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail(ErrorKind::input, path, "look at it");
  if (!S_ISREG(info.st_mode))
    throw Error(ErrorKind::input, concat(path.string(), ": not a regular file"));
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::input, path, "read it");
    if (n == 0) break;  // became shorter while we read
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

void sync_file(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 || ::fsync(file.get()) != 0) fail(ErrorKind::io, path, "sync it");
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) fail(ErrorKind::io, path, "open the folder");
  // Some file systems cannot fsync a folder and say EINVAL: nothing more can be done there.
  if (::fsync(folder.get()) != 0 && errno != EINVAL) fail(ErrorKind::io, path, "sync the folder");
}

void replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.get() < 0) fail(ErrorKind::io, temporary, "create it");
  const std::size_t half = bytes.size() / 2;
  const bool written = [&] {
    if (!write_all(file.get(), bytes.first(half))) return false;
    reach_fault_point(FaultPoint::mid_checkpoint);
    return write_all(file.get(), bytes.subspan(half)) && ::fsync(file.get()) == 0;
  }();
  const int cause = errno;
  if (!file.close() || !written) {
    if (!written) errno = cause;
    const Error error(ErrorKind::io, concat(temporary.string(), ": cannot write ", bytes.size(),
                                            " bytes, got ", std::strerror(errno)));
    ::unlink(temporary.c_str());
    throw error;
  }
  reach_fault_point(FaultPoint::before_rename);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail(ErrorKind::io, path, "rename to it");
  sync_directory(path.parent_path());
  reach_fault_point(FaultPoint::after_rename);
}

}  // namespace motley
