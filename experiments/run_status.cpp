#include "experiments/run_status.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <thread>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/interrupt.hpp"
#include "io/run_reader.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kStates = 5;

double last_of(const RunReader& reader, const std::string& name, const std::string& group) {
  const std::vector<double> column = reader.column(name, group, true);
  return column.empty() ? std::nan("") : column.back();
}

/// Step of checkpoints/step-00000400.safetensors with the highest number.
std::int64_t newest_checkpoint(const fs::path& folder) {
  std::int64_t newest = -1;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", none)) {
    const std::string name = entry.path().stem().string();
    if (name.rfind("step-", 0) == 0 && entry.path().extension() == ".safetensors")
      newest = std::max<std::int64_t>(newest, std::strtoll(name.c_str() + 5, nullptr, 10));
  }
  return newest;
}

nlohmann::json number(double x) {
  return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(nullptr);
}

std::array<int, kStates> counts_of(const std::vector<RunReport>& reports) {
  std::array<int, kStates> counts{};
  for (const RunReport& r : reports) ++counts[static_cast<std::size_t>(r.state)];
  return counts;
}

}  // namespace

double RunReport::seconds_left() const {
  if (state != CellState::running || steps_per_s <= 0) return std::nan("");
  return static_cast<double>(steps - step) / steps_per_s;
}

RunReport report_of(const fs::path& folder, std::int64_t steps) {
  RunReport r;
  r.name = folder.string();
  r.steps = steps;
  r.quality = r.diversity = r.entropy = std::nan("");
  r.state = cell_state(folder);
  r.checkpoint = newest_checkpoint(folder);
  if (r.state == CellState::to_do || r.state == CellState::unreadable) return r;
  try {
    const RunReader reader(folder / "run.h5");
    r.steps = reader.steps_planned();
    std::vector<double> total = reader.column("total_s", "/timing", true);
    r.step = r.state == CellState::running ? static_cast<std::int64_t>(total.size())
                                           : reader.committed();
    if (total.size() > 50) total.erase(total.begin(), total.end() - 50);
    const double seconds = std::accumulate(total.begin(), total.end(), 0.0);
    r.steps_per_s = seconds > 0 ? static_cast<double>(total.size()) / seconds : 0;
    if (!total.empty()) r.tokens_per_s = last_of(reader, "tokens_per_s", "/timing");
    r.quality = last_of(reader, "quality", "/metrics");
    r.diversity = last_of(reader, "diversity", "/metrics");
    r.entropy = last_of(reader, "entropy", "/metrics");
  } catch (const Error&) {
    // A reader may fall between two writes of a live file; the next look will see it whole.
    if (r.state != CellState::running) r.state = CellState::unreadable;
  }
  return r;
}

std::vector<fs::path> run_folders(const std::vector<std::string>& words) {
  std::vector<fs::path> out;
  for (const std::string& word : words) {
    MOTLEY_REQUIRE(fs::exists(word), ErrorKind::input, word, ": no such run or sweep");
    if (!fs::is_directory(word)) {
      out.push_back(fs::path(word).parent_path());
    } else if (fs::exists(fs::path(word) / "run.h5")) {
      out.emplace_back(word);
    } else {
      const std::size_t before = out.size();
      for (const auto& entry : fs::directory_iterator(word))
        if (fs::exists(entry.path() / "run.h5")) out.push_back(entry.path());
      MOTLEY_REQUIRE(out.size() > before, ErrorKind::input, word, ": no run.h5 in there");
      std::sort(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    }
  }
  return out;
}

std::string reports_text(const std::vector<RunReport>& reports) {
  std::vector<std::vector<std::string>> rows = {
      {"run", "state", "step", "steps/s", "tok/s", "quality", "div", "H", "ckpt", "ETA"}};
  double left = 0;
  for (const RunReport& r : reports) {
    const bool seen = r.step > 0;
    const double mine = r.seconds_left();
    left = std::max(left, std::isnan(mine) ? 0 : mine);
    rows.push_back({r.name, name_of(r.state), concat(r.step, "/", r.steps),
                    seen ? fixed(r.steps_per_s, 2) : "-", seen ? fixed(r.tokens_per_s, 0) : "-",
                    seen ? fixed(r.quality, 3) : "-", seen ? fixed(r.diversity, 3) : "-",
                    seen ? fixed(r.entropy, 3) : "-",
                    r.checkpoint >= 0 ? std::to_string(r.checkpoint) : "-",
                    std::isnan(mine) ? "-" : duration_text(mine)});
  }
  std::string counts;
  const auto count = counts_of(reports);
  for (const CellState s : {CellState::complete, CellState::running, CellState::interrupted,
                            CellState::to_do, CellState::unreadable}) {
    const int n = count[static_cast<std::size_t>(s)];
    if (n > 0 || s == CellState::complete)
      counts += concat(counts.empty() ? "" : ", ", n, " ", name_of(s));
  }
  std::string out = concat(table(rows), reports.size(), " runs: ", counts);
  if (left > 0) out += "; running ones end in about " + duration_text(left);
  return out + "\n";
}

std::string reports_json(const std::vector<RunReport>& reports) {
  nlohmann::json out{{"runs", nlohmann::json::array()}};
  const auto count = counts_of(reports);
  for (std::size_t s = 0; s < kStates; ++s) {
    std::string key = name_of(static_cast<CellState>(s));
    std::replace(key.begin(), key.end(), ' ', '_');
    out[key] = count[s];
  }
  for (const RunReport& r : reports)
    out["runs"].push_back({{"run", r.name},
                           {"state", name_of(r.state)},
                           {"step", r.step},
                           {"steps", r.steps},
                           {"steps_per_s", r.steps_per_s},
                           {"tokens_per_s", number(r.tokens_per_s)},
                           {"quality", number(r.quality)},
                           {"diversity", number(r.diversity)},
                           {"entropy", number(r.entropy)},
                           {"checkpoint", r.checkpoint},
                           {"seconds_left", number(r.seconds_left())}});
  return out.dump();
}

int show_reports(const std::function<std::vector<RunReport>()>& make, double seconds, bool json) {
  const char* term = std::getenv("TERM");
  const bool redraw = isatty(STDOUT_FILENO) != 0 && term != nullptr &&
                      std::string(term) != "dumb" && std::getenv("NO_COLOR") == nullptr && !json &&
                      seconds > 0;
  for (;;) {
    const std::vector<RunReport> reports = make();
    if (redraw) std::fputs("\x1b[H\x1b[J", stdout);
    std::printf("%s%s", (json ? reports_json(reports) : reports_text(reports)).c_str(),
                json ? "\n" : "");
    std::fflush(stdout);
    const auto count = counts_of(reports);
    const bool more = count[static_cast<std::size_t>(CellState::running)] +
                          count[static_cast<std::size_t>(CellState::to_do)] >
                      0;
    if (seconds <= 0 || !more) return 0;
    for (double waited = 0; waited < seconds; waited += 0.1) {
      if (stop_asked()) return 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

double watch_seconds(const std::string& text) {
  double seconds = 0;
  MOTLEY_REQUIRE(text.empty() || (parse_number(text, seconds) && seconds > 0), ErrorKind::config,
                 "--watch: got \"", text, "\"; allowed: seconds above 0");
  return seconds;
}

}  // namespace motley
