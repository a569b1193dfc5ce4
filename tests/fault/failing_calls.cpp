/// Preloaded into a program, makes one of its system calls on files fail.
///
///     LD_PRELOAD=libfailing_calls.so FAULT_FOLDER=/DIR FAULT_AT=17 FAULT_LOG=/tmp/calls motley
///     train ...
///
/// Counts, over all threads and forked children, the calls that make, write, sync, cut or rename
/// files below FAULT_FOLDER. The FAULT_AT-th of them fails with ENOSPC and is not carried out; 0 =
/// none. Each is written to FAULT_LOG as "NUMBER CALL PATH". strace can inject errors as well, but
/// counts each thread's calls apart, so that it cannot name every single one.

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <new>
#include <string>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

/// The next definition of a function, that of the C library.
template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

bool below(const std::string& path) {
  static const std::string folder = [] {
    const char* text = std::getenv("FAULT_FOLDER");
    return text == nullptr ? std::string() : std::string(text) + "/";
  }();
  return !folder.empty() && path.rfind(folder, 0) == 0;
}

std::string path_of(int file) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t n = ::readlink(link, path, sizeof path);
  return n < 0 ? "" : std::string(path, static_cast<std::size_t>(n));
}

std::string absolute(int folder, const char* path) {
  if (path == nullptr) return "";
  if (path[0] == '/') return path;
  char here[4096];
  if (folder != AT_FDCWD) return path_of(folder) + "/" + path;
  return ::getcwd(here, sizeof here) == nullptr ? "" : std::string(here) + "/" + path;
}

/// Calls so far: of this process and of the children it forks, which read run files for it.
std::atomic<long>* const shared_count =
    new (::mmap(nullptr, sizeof(std::atomic<long>), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<long>{0};

/// Counts a call on `path`; true when it is the one that fails.
bool fails(const char* call, const std::string& path) {
  if (!below(path)) return false;
  const int kept = errno;
  static const long at = [] {
    const char* text = std::getenv("FAULT_AT");
    return text == nullptr ? 0L : std::atol(text);
  }();
  static const int log = [] {
    const char* text = std::getenv("FAULT_LOG");
    return text == nullptr ? -1
                           : static_cast<int>(::syscall(SYS_openat, AT_FDCWD, text,
                                                        O_WRONLY | O_CREAT | O_APPEND, 0644));
  }();
  const long number = ++*shared_count;
  if (log >= 0) {
    const std::string line = std::to_string(number) + " " + call + " " + path + "\n";
    ::syscall(SYS_write, log, line.data(), line.size());
  }
  errno = number == at ? ENOSPC : kept;
  return number == at;
}

bool fails(const char* call, int file) {
  return fails(call, path_of(file));
}

/// An open that makes or writes a file; one that looks for a file that is not there fails anyway.
bool opens(int flags, const std::string& path) {
  if ((flags & O_CREAT) != 0) return true;
  return (flags & O_ACCMODE) != O_RDONLY && ::access(path.c_str(), F_OK) == 0;
}

mode_t mode_of(int flags, va_list rest) {
  return (flags & O_CREAT) != 0 ? static_cast<mode_t>(va_arg(rest, int)) : 0;
}

}  // namespace

// Pass a call on unless it is to fail; F is the type of the function.
#define PASS(name, ...) return next<decltype(&name)>(#name)(__VA_ARGS__)

extern "C" {

#define OPEN(name)                                                                         \
  int name(const char* path, int flags, ...) {                                             \
    va_list rest;                                                                          \
    va_start(rest, flags);                                                                 \
    const mode_t mode = mode_of(flags, rest);                                              \
    va_end(rest);                                                                          \
    if (opens(flags, absolute(AT_FDCWD, path)) && fails("open", absolute(AT_FDCWD, path))) \
      return -1;                                                                           \
    return next<int (*)(const char*, int, ...)>(#name)(path, flags, mode);                 \
  }
OPEN(open)
OPEN(open64)
#undef OPEN

#define OPENAT(name)                                                                              \
  int name(int folder, const char* path, int flags, ...) {                                        \
    va_list rest;                                                                                 \
    va_start(rest, flags);                                                                        \
    const mode_t mode = mode_of(flags, rest);                                                     \
    va_end(rest);                                                                                 \
    if (opens(flags, absolute(folder, path)) && fails("open", absolute(folder, path))) return -1; \
    return next<int (*)(int, const char*, int, ...)>(#name)(folder, path, flags, mode);           \
  }
OPENAT(openat)
OPENAT(openat64)
#undef OPENAT

#define FOPEN(name)                                                                      \
  FILE* name(const char* path, const char* mode) {                                       \
    if (std::strpbrk(mode, "wa+") != nullptr && fails("open", absolute(AT_FDCWD, path))) \
      return nullptr;                                                                    \
    PASS(name, path, mode);                                                              \
  }
FOPEN(fopen)
FOPEN(fopen64)
#undef FOPEN

ssize_t write(int file, const void* data, size_t size) {
  if (fails("write", file)) return -1;
  PASS(write, file, data, size);
}
ssize_t writev(int file, const iovec* pieces, int count) {
  if (fails("writev", file)) return -1;
  PASS(writev, file, pieces, count);
}
ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
  if (fails("pwrite64", file)) return -1;
  PASS(pwrite, file, data, size, at);
}
ssize_t pwrite64(int file, const void* data, size_t size, off64_t at) {
  if (fails("pwrite64", file)) return -1;
  PASS(pwrite64, file, data, size, at);
}
ssize_t sendfile(int to, int from, off_t* at, size_t size) {
  if (fails("sendfile", to)) return -1;
  return next<ssize_t (*)(int, int, off_t*, size_t)>("sendfile")(to, from, at, size);
}
ssize_t sendfile64(int to, int from, off64_t* at, size_t size) {
  if (fails("sendfile", to)) return -1;
  return next<ssize_t (*)(int, int, off64_t*, size_t)>("sendfile64")(to, from, at, size);
}
ssize_t copy_file_range(int from, off64_t* begin, int to, off64_t* at, size_t size,
                        unsigned flags) {
  if (fails("copy_file_range", to)) return -1;
  PASS(copy_file_range, from, begin, to, at, size, flags);
}
int fsync(int file) {
  if (fails("fsync", file)) return -1;
  PASS(fsync, file);
}
int fdatasync(int file) {
  if (fails("fdatasync", file)) return -1;
  PASS(fdatasync, file);
}
int ftruncate(int file, off_t size) noexcept {
  if (fails("ftruncate", file)) return -1;
  PASS(ftruncate, file, size);
}
int ftruncate64(int file, off64_t size) noexcept {
  if (fails("ftruncate", file)) return -1;
  PASS(ftruncate64, file, size);
}
int truncate(const char* path, off_t size) noexcept {
  if (fails("truncate", absolute(AT_FDCWD, path))) return -1;
  PASS(truncate, path, size);
}
int truncate64(const char* path, off64_t size) noexcept {
  if (fails("truncate", absolute(AT_FDCWD, path))) return -1;
  PASS(truncate64, path, size);
}
int rename(const char* from, const char* to) noexcept {
  if (fails("rename", absolute(AT_FDCWD, to))) return -1;
  PASS(rename, from, to);
}
int link(const char* from, const char* to) noexcept {
  if (fails("link", absolute(AT_FDCWD, to))) return -1;
  PASS(link, from, to);
}
int mkdir(const char* path, mode_t mode) noexcept {
  if (fails("mkdir", absolute(AT_FDCWD, path))) return -1;
  PASS(mkdir, path, mode);
}

}  // extern "C"
