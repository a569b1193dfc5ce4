#include "io/reading.hpp"

#include <cstring>
#include <ctime>

namespace motley {
namespace {

ReadingBoard* board = nullptr;
bool seals = false;

}  // namespace

void watch_reading(ReadingBoard* shared) {
  board = shared;
}

ReadingBoard* reading_board() {
  return board;
}

void require_seals() {
  seals = true;
}

bool seals_required() {
  return seals;
}

void note_file(const std::filesystem::path& path) {
  if (board == nullptr) return;
  const std::string text = path.string();
  std::strncpy(board->file, text.c_str(), sizeof board->file - 1);
}

Reading::Reading(double most) {
  if (board == nullptr) return;
  if (board->calls++ > 0) {
    if (most > board->most) board->most = most;
    return;
  }
  board->most = most;
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  board->since = std::int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

Reading::~Reading() {
  if (board != nullptr && --board->calls == 0) board->since = 0;
}

}  // namespace motley
