#include "experiments/interrupt.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <unistd.h>

#include "core/base/error.hpp"
#include "experiments/options.hpp"

namespace motley {

namespace {

volatile std::sig_atomic_t stop_requested = 0;
volatile std::sig_atomic_t interrupts = 0;
std::optional<std::chrono::steady_clock::time_point> deadline;

extern "C" void on_signal(int number) {
  stop_requested = 1;
  if (number == SIGINT) {
    interrupts = interrupts + 1;
    if (interrupts > 1) _exit(75);
  }
}

}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) sigaction(number, &action, nullptr);
  // A file that may grow no further is a failed write, to be told like a full disk.
  action.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &action, nullptr);
}

void stop_after(double seconds) {
  using std::chrono::steady_clock;
  deadline.reset();
  if (seconds > 0)
    deadline = steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                         std::chrono::duration<double>(seconds));
}

double seconds_to_stop() {
  if (!deadline) return 0;
  const std::chrono::duration<double> left = *deadline - std::chrono::steady_clock::now();
  return std::max(0.001, left.count());
}

bool stop_asked() {
  return stop_requested != 0 || (deadline && std::chrono::steady_clock::now() >= *deadline);
}

bool stop_asked(const std::filesystem::path& folder) {
  if (stop_asked()) return true;
  std::error_code ignored;
  return std::filesystem::remove(folder / "stop_now", ignored);
}

void leave_if_stopped(const char* work) {
  if (stop_asked())
    throw Stopped(
        concat("stopped while ", work, ", before the first step; the same command begins again"));
}

double parse_duration(const std::string& text) {
  double total = 0;
  std::size_t at = 0;
  int parts = 0;
  while (at <= text.size()) {
    const auto colon = std::min(text.find(':', at), text.size());
    double part = 0;
    if (!parse_number(text.substr(at, colon - at), part) || part < 0 || ++parts > 3)
      throw Error(ErrorKind::config, concat("--max-time: not a duration, got \"", text,
                                            "\"; allowed: hh:mm:ss, mm:ss or seconds"));
    total = total * 60 + part;
    at = colon + 1;
  }
  return total;
}

}  // namespace motley
