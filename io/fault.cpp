#include "io/fault.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

#include "core/base/error.hpp"

namespace motley {
namespace {

/// In the order of the enumeration.
constexpr std::array kNames = {
    "config_written",  "header_created",   "resume_copied",  "resume_cut",         "before_live",
    "after_live",      "after_step",       "mid_data",       "after_data",         "after_flush",
    "after_commit",    "after_evaluation", "mid_evaluation", "mid_checkpoint",     "before_rename",
    "after_rename",    "before_removal",   "after_removal",  "mid_checkpoint_row", "before_close",
    "after_integrity", "after_status",     "after_close"};
static_assert(kNames.size() == static_cast<std::size_t>(FaultPoint::after_close) + 1);

constexpr int kNone = -1;
int armed = kNone;
std::atomic<long> visits_left{0};

}  // namespace

const char* name_of(FaultPoint point) {
  return kNames[static_cast<std::size_t>(point)];
}

void arm_fault_point(const char* text) {
  if (text == nullptr || *text == '\0') return;
  const std::string word = text;
  const std::size_t colon = word.find(':');
  const std::string name = word.substr(0, colon);
  long visits = 1;
  if (colon != std::string::npos) {
    const char* end = word.data() + word.size();
    const auto [rest, fault] = std::from_chars(word.data() + colon + 1, end, visits);
    MOTLEY_REQUIRE(fault == std::errc() && rest == end && visits >= 1, ErrorKind::config,
                   "MOTLEY_CRASH_AT: not a count, got \"", word,
                   "\"; allowed: POINT or POINT:N, N >= 1");
  }
  const std::vector<std::string> names(kNames.begin(), kNames.end());
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) armed = static_cast<int>(i);
  MOTLEY_REQUIRE(armed != kNone, ErrorKind::config, "MOTLEY_CRASH_AT: unknown point, got \"", name,
                 "\"; allowed: ", join(names), did_you_mean(name, names));
  visits_left = visits;
  std::fprintf(stderr, "MOTLEY_CRASH_AT: this process kills itself at %s, visit %ld\n",
               name.c_str(), visits);
}

void disarm_fault_point() {
  armed = kNone;
}

void reach_fault_point(FaultPoint point) {
  if (static_cast<int>(point) == armed && --visits_left == 0) ::kill(::getpid(), SIGKILL);
}

}  // namespace motley
