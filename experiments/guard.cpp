#include "experiments/guard.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/error.hpp"
#include "experiments/memory_limit.hpp"
#include "io/reading.hpp"
#include "io/run_verify.hpp"

namespace motley {

namespace {

bool is_guarded = false;

/// Signals a parent passes on: everything that asks a command to stop or to look.
constexpr int kPassed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kPassed) sigaddset(&set, number);
  sigaddset(&set, SIGCHLD);
  return set;
}

/// Memory that a child shares with its parent.
ReadingBoard* make_board() {
  void* memory = mmap(nullptr, sizeof(ReadingBoard), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  MOTLEY_REQUIRE(memory != MAP_FAILED, ErrorKind::refused, "motley: no memory to share, got ",
                 std::strerror(errno));
  return new (memory) ReadingBoard{};
}

/// Is `number` how a process ends that broke, and not how others end it?
bool is_fault(int number) {
  for (const int fault : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP, SIGSYS})
    if (number == fault) return true;
  return false;
}

std::string signal_text(int number) {
  return concat("signal ", number, ", ", strsignal(number));
}

/// Has one call of the child taken more processor time than it may? Waiting for a slow disk takes
/// none.
bool hangs(pid_t child, const ReadingBoard& board) {
  const std::int64_t since = board.since;
  clockid_t clock{};
  timespec now{};
  if (since == 0 || clock_getcpuclockid(child, &clock) != 0 || clock_gettime(clock, &now) != 0)
    return false;
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec) - 1e-9 * double(since) > board.most;
}

/// Waits for the child and passes signals on to it. \return its wait status
int wait_for(pid_t child, const ReadingBoard& board, bool& hung) {
  const sigset_t watched = watched_signals();
  hung = false;
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    MOTLEY_REQUIRE(ended == 0 || errno == EINTR, ErrorKind::internal, "guard: lost its child, got ",
                   std::strerror(errno));
    if (hangs(child, board) && !hung) {
      hung = true;
      kill(child, SIGKILL);
    }
    siginfo_t info{};
    const timespec second{1, 0};
    const int number = sigtimedwait(&watched, &info, &second);
    // A terminal sends Ctrl-C to parent and child alike: passing it on would double it.
    if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL) kill(child, number);
  }
}

/// What a child does first.
void enter_child(pid_t parent, ReadingBoard* board) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(exit_code(ErrorKind::internal));
  // The parent tells what happened; a core of every damaged file helps nobody.
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  watch_reading(board);
}

/// What the C library says of a broken heap is no line of ours.
void silence_errors() {
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
}

std::string damage_line(const std::string& file, bool hung, int number) {
  if (hung)
    return concat(file, ": damaged: reading it came to no end (one call into HDF5 never returned)");
  return concat(file, ": damaged: reading it ended the reader (", signal_text(number), ")");
}

/// Ends this process as `number` ended the child.
[[noreturn]] void end_by(int number) {
  std::signal(number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);
  std::raise(number);
  _exit(128 + number);
}

/// The child broke outside of a call into HDF5: the file's fault only when it is damaged.
int judge(const std::string& file, int number) {
  std::string damage;
  try {
    read_in_child(file, [&] {
      require_whole(file);
      verify_run(file);
      return std::string();
    });
  } catch (const Error& error) {
    damage = error.what();
  }
  if (damage.empty()) {
    std::fprintf(
        stderr,
        "motley: internal fault (%s) while %s was open, which is whole; this is a bug of motley\n",
        signal_text(number).c_str(), file.c_str());
    return exit_code(ErrorKind::internal);
  }
  std::fprintf(stderr, "%s\n", damage.c_str());
  return exit_code(ErrorKind::input);
}

int exit_code_of(int status, bool hung, const ReadingBoard& board) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const int number = WTERMSIG(status);
  const std::string file = board.file;
  if (hung || (is_fault(number) && board.calls > 0)) {
    std::fprintf(stderr, "%s\n", damage_line(file, hung, number).c_str());
    return exit_code(ErrorKind::input);
  }
  if (!is_fault(number)) end_by(number);
  if (!file.empty()) return judge(file, number);
  std::fprintf(stderr, "motley: internal fault (%s); this is a bug of motley\n",
               signal_text(number).c_str());
  return exit_code(ErrorKind::internal);
}

void write_all(int to, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = write(to, text.data() + at, text.size() - at);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) at += static_cast<std::size_t>(n);
  }
}

/// Everything the child writes until it ends.
std::string read_answer(int from, pid_t child, const ReadingBoard& board, bool& hung) {
  std::string text;
  char block[4096];
  hung = false;
  for (;;) {
    pollfd wait{from, POLLIN, 0};
    const int ready = poll(&wait, 1, 500);
    if (hangs(child, board) && !hung) {
      hung = true;
      kill(child, SIGKILL);
    }
    if (ready <= 0) continue;
    const ssize_t n = read(from, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(block, static_cast<std::size_t>(n));
  }
}

/// First byte of a child's answer: 'y' and a text, or 'e', the kind and a message.
std::string answer_of(const std::function<std::string()>& read) {
  const auto refuse = [](ErrorKind kind, const std::string& what) {
    return concat('e', static_cast<char>(static_cast<int>(kind)), what);
  };
  try {
    return "y" + read();
  } catch (const Error& error) {
    return refuse(error.kind(), naming_file(error));
  } catch (const std::bad_alloc&) {
    return refuse(ErrorKind::input,
                  concat(reading_board()->file, ": damaged: reading it asks for absurd memory"));
  } catch (const std::exception& error) {
    return refuse(ErrorKind::internal, error.what());
  }
}

}  // namespace

bool guarded() {
  return is_guarded;
}

std::string naming_file(const Error& error) {
  const std::string what = error.what();
  const ReadingBoard* board = reading_board();
  if (error.kind() != ErrorKind::input || board == nullptr || board->file[0] == 0 ||
      what.find(board->file) != std::string::npos)
    return what;
  return concat(board->file, ": ", what);
}

std::optional<int> guard_command() {
  std::fflush(nullptr);
  ReadingBoard* const board = make_board();
  sigset_t before;
  const sigset_t watched = watched_signals();
  sigprocmask(SIG_BLOCK, &watched, &before);
  std::signal(SIGCHLD, SIG_DFL);
  const pid_t parent = getpid();
  const pid_t child = fork();
  MOTLEY_REQUIRE(child >= 0, ErrorKind::refused, "motley: no process, got ", std::strerror(errno));
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    enter_child(parent, board);
    is_guarded = true;
    limit_memory();
    return std::nullopt;
  }
  bool hung = false;
  const int status = wait_for(child, *board, hung);
  return exit_code_of(status, hung, *board);
}

std::string read_in_child(const std::filesystem::path& file,
                          const std::function<std::string()>& read) {
  std::fflush(nullptr);
  int ends[2];
  MOTLEY_REQUIRE(pipe2(ends, O_CLOEXEC) == 0, ErrorKind::refused, "motley: no pipe, got ",
                 std::strerror(errno));
  ReadingBoard* const board = make_board();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    enter_child(parent, board);
    silence_errors();
    note_file(file);
    write_all(ends[1], answer_of(read));
    // Nothing of the parent's state is to be flushed or destroyed twice.
    _exit(0);
  }
  close(ends[1]);
  bool hung = false;
  const std::string answer = child > 0 ? read_answer(ends[0], child, *board, hung) : "";
  close(ends[0]);
  munmap(board, sizeof(ReadingBoard));
  MOTLEY_REQUIRE(child > 0, ErrorKind::refused, "motley: no process, got ", std::strerror(errno));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (hung || WIFSIGNALED(status))
    throw Error(ErrorKind::input,
                damage_line(file.string(), hung, WIFSIGNALED(status) ? WTERMSIG(status) : 0));
  MOTLEY_REQUIRE(!answer.empty(), ErrorKind::internal, "guard: a reader gave no answer");
  if (answer[0] == 'y') return answer.substr(1);
  throw Error(static_cast<ErrorKind>(answer.at(1)), answer.substr(2));
}

}  // namespace motley
