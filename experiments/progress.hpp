#pragma once
/// Progress for people and for programs, always on stderr (JSON lines on stdout).

#include <chrono>
#include <cstdint>
#include <string>

namespace motley {

enum class ProgressMode { automatic, plain, json, off };
/// \throws Error(config) for another word
ProgressMode parse_progress(const std::string& word);

/// What one line says.
struct ProgressNote {
  std::int64_t step = 0, steps = 0;
  int runs = 1;
  double quality = 0, diversity = 0, entropy = 0, clusters = 0;  ///< means over the runs
  double tokens = 0;                                             ///< sampled since the last note
  std::int64_t checkpoint = -1;
};

/// On a terminal one status line, at most ten times a second; elsewhere a full line every 30
/// seconds without carriage returns or escapes; as JSON one object per step. NO_COLOR and TERM=dumb
/// make a terminal plain.
class Progress {
 public:
  explicit Progress(ProgressMode mode);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// \param memory  planned bytes of the process
  void begin(const std::string& what, std::int64_t first_step, std::size_t memory);
  void note(const ProgressNote& note);
  /// A line of its own, e.g. an evaluation.
  void say(const std::string& line);
  void end(const std::string& status, const std::string& digest);

 private:
  using Clock = std::chrono::steady_clock;
  void clear_line();

  ProgressMode mode_;
  bool terminal_;
  bool line_open_ = false;
  double interval_;
  Clock::time_point start_, last_;
  std::int64_t first_step_ = 0;
  double tokens_ = 0;
};

/// "3m12s"
std::string duration_text(double seconds);

}  // namespace motley
