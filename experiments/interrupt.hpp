#pragma once
/// Stopping at the next step: signals, time limit, stop file.

#include <chrono>
#include <filesystem>
#include <stdexcept>

namespace motley {

/// SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 ask for a stop; a second SIGINT ends the process at once.
void install_stop_signals();
bool stop_signalled();

/// Asked to stop before the first step: exit 75, nothing is lost.
struct Stopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// For work before the first step, which keeps nothing. \throws Stopped when a signal came
void leave_if_stopped(const char* work);

/// When a batch of runs should stop or write a checkpoint.
class StopRule {
 public:
  /// \param max_seconds 0 = no limit
  explicit StopRule(double max_seconds);
  /// A signal came, the time is over, or the folder holds `stop_now` (which is removed).
  bool should_stop(const std::filesystem::path& folder) const;

 private:
  std::chrono::steady_clock::time_point start_;
  double max_seconds_;
};

/// hh:mm:ss, mm:ss or seconds. \throws Error(config)
double parse_duration(const std::string& text);

}  // namespace motley
