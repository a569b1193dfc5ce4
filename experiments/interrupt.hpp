#pragma once
/// Stopping at the next step: signals, time limit, stop file.

#include <filesystem>
#include <stdexcept>

namespace motley {

/// SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 ask for a stop; a second SIGINT ends the process at once.
void install_stop_signals();
/// Asks for a stop so many seconds from now; 0 = never.
void stop_after(double seconds);
/// What is left of that time, at least a millisecond; 0 = no limit.
double seconds_to_stop();
/// A signal came, or the time is over.
bool stop_asked();
/// The same, or the run's folder holds `stop_now` (which is removed).
bool stop_asked(const std::filesystem::path& folder);

/// Asked to stop before the first step: exit 75, nothing is lost.
struct Stopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// For work before the first step, which keeps nothing. \throws Stopped when a stop is asked for
void leave_if_stopped(const char* work);

/// hh:mm:ss, mm:ss or seconds. \throws Error(config)
double parse_duration(const std::string& text);

}  // namespace motley
