/// motley status: how runs stand, live.

#include "experiments/cli.hpp"
#include "experiments/run_status.hpp"

namespace motley {

namespace {

int run_status(const CommandLine& line) {
  require_words(line, "status", 1, 10000, "RUN or SWEEP");
  const auto make = [&] {
    std::vector<RunReport> reports;
    for (const auto& folder : run_folders(line.positional)) reports.push_back(report_of(folder));
    return reports;
  };
  return show_reports(make, watch_seconds(line.get("watch", "")), line.has("json"));
}

}  // namespace

const Command kStatus = {
    "status",
    "RUN|SWEEP ... [--watch SECONDS]",
    "shows step, rate, last numbers and time to go of runs, also while they run",
    "  motley status runs/first\n  motley status runs/quickstart --watch 2\n",
    {{"watch", 0, 0, "SECONDS", "shows it again and again until nothing runs"}},
    false,
    run_status,
    looks};

}  // namespace motley
