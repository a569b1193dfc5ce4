#include "experiments/progress.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/ioctl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"

namespace motley {

ProgressMode parse_progress(const std::string& word) {
  if (word == "auto") return ProgressMode::automatic;
  if (word == "plain") return ProgressMode::plain;
  if (word == "json") return ProgressMode::json;
  if (word == "off") return ProgressMode::off;
  throw Error(ErrorKind::config, concat("--progress: unknown mode, got \"", word,
                                        "\"; allowed: auto, plain, json, off",
                                        did_you_mean(word, {"auto", "plain", "json", "off"})));
}

std::string duration_text(double seconds) {
  const auto s = static_cast<long>(std::lround(seconds));
  char text[64];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%ldh%02ldm", s / 3600, s / 60 % 60);
  else if (s >= 60)
    std::snprintf(text, sizeof text, "%ldm%02lds", s / 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%lds", s);
  return text;
}

Progress::Progress(ProgressMode mode) : mode_(mode), start_(Clock::now()), last_(start_) {
  const char* term = std::getenv("TERM");
  const bool dumb =
      term == nullptr || std::strcmp(term, "dumb") == 0 || std::getenv("NO_COLOR") != nullptr;
  terminal_ = mode == ProgressMode::automatic && isatty(STDERR_FILENO) != 0 && !dumb;
  interval_ = terminal_ ? 0.1 : 30.0;
}

Progress::~Progress() {
  clear_line();
}

void Progress::clear_line() {
  if (line_open_) std::fputs("\r\x1b[K", stderr);
  line_open_ = false;
}

void Progress::begin(const std::string& what, std::int64_t first_step, std::size_t memory) {
  first_step_ = first_step;
  start_ = last_ = Clock::now();
  if (mode_ == ProgressMode::json)
    std::printf("%s\n", nlohmann::json{{"event", "start"},
                                       {"schema", 1},
                                       {"what", what},
                                       {"step", first_step},
                                       {"memory_bytes", memory}}
                            .dump()
                            .c_str());
  else
    say(what);
}

void Progress::note(const ProgressNote& n) {
  tokens_ += n.tokens;
  if (mode_ == ProgressMode::off) return;
  if (mode_ == ProgressMode::json) {
    std::printf("%s\n", nlohmann::json{{"event", "update"},
                                       {"step", n.step},
                                       {"quality", n.quality},
                                       {"diversity", n.diversity},
                                       {"entropy", n.entropy},
                                       {"num_clusters", n.clusters}}
                            .dump()
                            .c_str());
    std::fflush(stdout);  // who follows a run line by line wants each at its time
    return;
  }
  const Clock::time_point now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (since < interval_ && n.step < n.steps) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double rate = tokens_ / std::max(1e-9, elapsed);
  const double left =
      double(n.steps - n.step) * elapsed / std::max<double>(1.0, double(n.step - first_step_));
  char text[256];
  std::snprintf(text, sizeof text,
                "[%5lld/%lld] quality %.3f div %.3f H %.3f clus %.2f | %.0fk tok/s | ETA %s",
                static_cast<long long>(n.step), static_cast<long long>(n.steps), n.quality,
                n.diversity, n.entropy, n.clusters, rate / 1e3, duration_text(left).c_str());
  std::string line = text;
  if (n.runs > 1) line += " | " + std::to_string(n.runs) + " runs";
  if (n.checkpoint >= 0) line += " | ckpt " + std::to_string(n.checkpoint);
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && line.size() >= size.ws_col)
    line.resize(size.ws_col - 1U);
  std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
  std::fflush(stderr);
  line_open_ = true;
}

void Progress::say(const std::string& line) {
  if (mode_ == ProgressMode::off || mode_ == ProgressMode::json) return;
  clear_line();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::end(const std::string& status, const std::string& digest) {
  clear_line();
  if (mode_ == ProgressMode::json)
    std::printf(
        "%s\n",
        nlohmann::json{{"event", "end"}, {"status", status}, {"digest", digest}}.dump().c_str());
}

}  // namespace motley
