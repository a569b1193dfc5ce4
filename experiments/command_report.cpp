/// motley report: one page about a run or a sweep.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/report.hpp"
#include "io/files.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;
constexpr const char* kStart = "<!DOCTYPE html>";

/// The last folder or file of each word.
std::string title_of(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const std::string& word : words) {
    fs::path path = fs::absolute(word).lexically_normal();
    if (path.filename() == "run.h5" || !path.has_filename()) path = path.parent_path();
    names.push_back(path.filename().string());
  }
  return join(names, " + ");
}

/// A report may be replaced, and nothing else.
void require_replaceable(const fs::path& path) {
  if (!fs::exists(path)) return;
  MOTLEY_REQUIRE(!fs::is_directory(path), ErrorKind::config, "--output: is a folder, got \"",
                 path.string(), "\"; allowed: a file name, e.g. ", (path / "report.html").string());
  std::ifstream in(path, std::ios::binary);
  std::string start(std::string(kStart).size(), '\0');
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  MOTLEY_REQUIRE(start == kStart, ErrorKind::refused, path.string(),
                 ": exists and is no report; allowed: another --output");
}

int run_report(const CommandLine& line) {
  require_words(line, "report", 1, 10000, "RUN or SWEEP");
  const fs::path path = line.get("output", "report.html");
  require_replaceable(path);
  MOTLEY_REQUIRE(!path.has_parent_path() || fs::is_directory(path.parent_path()), ErrorKind::config,
                 "--output: there is no folder \"", path.parent_path().string(), "\"");
  ReportRequest request;
  request.files = find_runs(line.positional);
  request.title = line.get("title", title_of(line.positional));
  request.by = line.get("by", request.by);
  request.baseline = line.get("baseline", "");
  const Report report = load_report(request);
  const std::string page = report_html(report);
  replace_file(path, std::as_bytes(std::span(page.data(), page.size())));
  if (line.has("json"))
    std::printf("%s\n", nlohmann::json{{"file", path.string()},
                                       {"runs", report.runs.size()},
                                       {"arms", report.arms.size()},
                                       {"seeds", report.seeds()},
                                       {"bytes", page.size()}}
                            .dump()
                            .c_str());
  else
    std::printf("written: %s (%zu run%s, %zu arm%s, %zu KB; one file, opens in any browser)\n",
                path.string().c_str(), report.runs.size(), report.runs.size() == 1 ? "" : "s",
                report.arms.size(), report.arms.size() == 1 ? "" : "s", page.size() / 1024);
  return 0;
}

}  // namespace

const Command kReport = {
    "report",
    "RUN|SWEEP ... [-o report.html] [--by run.name] [--baseline grpo]",
    "writes one self-contained page: what was found, curves, rollouts, how to reproduce",
    "  motley report runs/quickstart -o report.html\n"
    "  motley report runs/first -o first.html          # one run, also while it trains\n"
    "  motley report runs/quickstart --by run.method --baseline run.method=grpo\n",
    {{"output", 'o', 0, "FILE", "the page; default report.html; replaces a report, nothing else"},
     {"by", 0, 0, "KEY", "option that names the arm; default run.name"},
     {"baseline", 0, 0, "ARM", "arm the others are compared with; default grpo"},
     {"title", 0, 0, "TEXT", "heading of the page; default the name of the folder"}},
    true,
    run_report,
    believes};

}  // namespace motley
