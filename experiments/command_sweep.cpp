/// motley sweep list | run | status | emit | collect

#include <algorithm>
#include <cstdio>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/disk_plan.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/run_status.hpp"
#include "experiments/sweep_config.hpp"
#include "experiments/sweep_emit.hpp"
#include "experiments/sweep_plan.hpp"
#include "experiments/sweep_run.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

fs::path sweep_folder(const CommandLine& line, const SweepConfig& sweep) {
  return fs::path(line.get("output", "runs")) / sweep.name;
}

std::vector<std::size_t> chosen_cells(const CommandLine& line, const SweepConfig& sweep) {
  return select_cells({line.get("index", ""), line.get("cells", ""), line.get("shard", "")},
                      sweep.cells.size());
}

/// What is left, in words: "6 cells, 2 done; ..."
std::string outlook(const std::vector<CellEstimate>& estimates,
                    const std::vector<CellState>& states, const std::vector<std::size_t>& chosen) {
  double bytes = 0, seconds = 0;
  std::size_t done = 0, timed = 0;
  bool measured = true;
  for (const std::size_t i : chosen) {
    if (states[i] == CellState::complete) {
      ++done;
      continue;
    }
    bytes += estimates[i].disk_bytes;
    measured = measured && estimates[i].disk_measured;
    seconds += estimates[i].seconds.value_or(0);
    timed += estimates[i].seconds ? 1 : 0;
  }
  const std::size_t open = chosen.size() - done;
  std::string out = concat(chosen.size(), " cells, ", done, " done");
  if (open == 0) return out;
  out += concat("; to do: disk ", measured ? "about " : "at most ", size_text(bytes));
  if (timed == open)
    out += ", time about " + duration_text(seconds) +
           " as packed so far (base policies and evaluation come on top)";
  else
    out += concat(", time unknown for ", open - timed, " cells until one of their shape has run");
  return out;
}

int list_cells(const CommandLine& line, const SweepConfig& sweep) {
  const fs::path folder = sweep_folder(line, sweep);
  const std::vector<std::size_t> chosen = chosen_cells(line, sweep);
  std::vector<CellState> states;
  for (const SweepCell& cell : sweep.cells) states.push_back(cell_state(folder / cell.folder));
  if (line.has("commands")) {
    for (const std::size_t i : chosen)
      if (states[i] != CellState::complete)
        std::printf("%s\n", cell_command(sweep, sweep.cells[i], folder).c_str());
    return 0;
  }
  const std::vector<CellEstimate> estimates = estimate_cells(sweep, folder);
  if (line.has("json")) {
    nlohmann::json out = nlohmann::json::array();
    for (const std::size_t i : chosen) {
      const SweepCell& cell = sweep.cells[i];
      nlohmann::json one{{"cell", i},
                         {"arm", cell.arm},
                         {"seed", cell.config.run.seed},
                         {"steps", cell.config.run.steps},
                         {"state", name_of(states[i])},
                         {"folder", (folder / cell.folder).string()},
                         {"config_sha256", config_sha256(cell.config)},
                         {"disk_bytes", estimates[i].disk_bytes},
                         {"disk_measured", estimates[i].disk_measured},
                         {"seconds", nullptr},
                         {"words", words_of(sweep, cell)}};
      if (estimates[i].seconds) one["seconds"] = *estimates[i].seconds;
      out.push_back(one);
    }
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {
      {"cell", "arm", "seed", "steps", "state", "disk", "time", "folder"}};
  for (const std::size_t i : chosen) {
    const SweepCell& cell = sweep.cells[i];
    const CellEstimate& e = estimates[i];
    rows.push_back({std::to_string(i), cell.arm, std::to_string(cell.config.run.seed),
                    std::to_string(cell.config.run.steps), name_of(states[i]),
                    (e.disk_measured ? "" : "<= ") + size_text(e.disk_bytes),
                    e.seconds ? duration_text(*e.seconds) : "unknown",
                    (folder / cell.folder).string()});
  }
  std::printf("%s%s\n", table(rows).c_str(), outlook(estimates, states, chosen).c_str());
  return 0;
}

/// Room for what is not done yet, less what an interrupted cell has on disk already.
void require_disk_for(const SweepConfig& sweep, const fs::path& folder,
                      const std::vector<std::size_t>& chosen) {
  const std::vector<CellEstimate> estimates = estimate_cells(sweep, folder);
  double bytes = 0;
  for (const std::size_t i : chosen) {
    const fs::path cell = folder / sweep.cells[i].folder;
    if (cell_state(cell) != CellState::complete)
      bytes += std::max(0.0, estimates[i].disk_bytes - folder_bytes(cell));
  }
  require_disk(folder, bytes);
}

int run_cells(const CommandLine& line, const SweepConfig& sweep) {
  SweepRunOptions options;
  options.folder = sweep_folder(line, sweep);
  options.train.progress = progress_of(line);
  if (line.has("max-time")) stop_after(parse_duration(line.get("max-time", "")));
  options.processes = count_flag(line, "jobs", 1, 1, 4096);
  std::int64_t threads = 0;
  if (parse_integer(line.get("threads", "0"), threads)) options.threads = static_cast<int>(threads);
  if (const char* set = std::getenv("OMP_NUM_THREADS");
      options.threads == 0 && set != nullptr && parse_integer(set, threads))
    options.threads = static_cast<int>(threads);
  const std::vector<std::size_t> chosen = chosen_cells(line, sweep);
  const std::size_t most = line.has("pack") ? count_flag(line, "pack", 1, 1, 1000000) : 0;
  if (!line.has("any-disk")) require_disk_for(sweep, options.folder, chosen);
  freeze_sweep(options.folder, sweep);
  const SweepPlan plan = plan_sweep(sweep, options.folder, chosen, most, options.processes);
  const bool quiet = line.has("quiet");
  if (plan.done > 0 && !quiet)
    std::fprintf(stderr, "%zu of %zu cells are done already\n", plan.done, plan.chosen);
  const int code =
      options.processes > 1 ? spawn_packs(sweep, plan, options) : run_packs(sweep, plan, options);
  if (code != 0) return code;
  if (options.train.progress != ProgressMode::json && !quiet)
    std::printf("%zu runs in %s\nnext: motley compare %s\n", plan.chosen, options.folder.c_str(),
                options.folder.c_str());
  return 0;
}

int show_status(const CommandLine& line, const SweepConfig& sweep) {
  const fs::path folder = sweep_folder(line, sweep);
  const std::vector<std::size_t> chosen = chosen_cells(line, sweep);
  const auto make = [&] {
    std::vector<RunReport> reports;
    for (const std::size_t i : chosen)
      reports.push_back(report_of(folder / sweep.cells[i].folder, sweep.cells[i].config.run.steps));
    return reports;
  };
  return show_reports(make, watch_seconds(line.get("watch", "")), line.has("json"));
}

int emit(const CommandLine& line, const SweepConfig& sweep) {
  const fs::path folder = sweep_folder(line, sweep);
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  const std::string program = line.get("program", failed ? "motley" : self.string());
  MOTLEY_REQUIRE(line.has("slurm") != line.has("snakemake"), ErrorKind::config,
                 "motley sweep emit: for whom?; allowed: one of --slurm, --snakemake");
  if (line.has("snakemake")) {
    std::fputs(snakefile(sweep, folder, program).c_str(), stdout);
    return 0;
  }
  SlurmOptions options;
  options.time = line.get("time", options.time);
  options.partition = line.get("partition", "");
  options.cpus = static_cast<int>(count_flag(line, "cpus", 1, 1, 4096));
  options.tasks = line.has("tasks") ? count_flag(line, "tasks", 1, 1, 1000000) : 0;
  options.at_once = line.has("at-once") ? count_flag(line, "at-once", 1, 1, 1000000) : 0;
  // Slurm puts the tasks' output there and does not make the folder.
  freeze_sweep(folder, sweep);
  std::fputs(slurm_script(sweep, folder, program, options).c_str(), stdout);
  return 0;
}

int collect(const CommandLine& line, const SweepConfig& sweep) {
  const fs::path folder = sweep_folder(line, sweep);
  const std::size_t runs = collect_cells(sweep, folder);
  if (line.has("json"))
    std::printf("%s\n", nlohmann::json{{"file", (folder / "index.h5").string()},
                                       {"runs", runs},
                                       {"cells", sweep.cells.size()}}
                            .dump()
                            .c_str());
  else
    std::printf("%zu of %zu cells in %s\n", runs, sweep.cells.size(),
                (folder / "index.h5").c_str());
  return 0;
}

int run_sweep(const CommandLine& line) {
  require_words(line, "sweep", 2, 2, "list, run, status, emit or collect, and SWEEP.ini");
  struct Verb {
    const char* name;
    int (*run)(const CommandLine&, const SweepConfig&);
  };
  static constexpr Verb kVerbs[] = {{"list", list_cells},
                                    {"run", run_cells},
                                    {"status", show_status},
                                    {"emit", emit},
                                    {"collect", collect}};
  const std::string& what = line.positional[0];
  std::vector<std::string> words;
  for (const Verb& verb : kVerbs) {
    words.emplace_back(verb.name);
    if (what != verb.name) continue;
    const SweepConfig sweep = read_sweep(line.positional[1], line.overrides);
    for (const std::string& warning : sweep.warnings)
      if (!line.has("quiet")) std::fprintf(stderr, "%s\n", warning.c_str());
    return verb.run(line, sweep);
  }
  throw Error(ErrorKind::config, concat("motley sweep: unknown word, got \"", what,
                                        "\"; allowed: ", join(words), did_you_mean(what, words)));
}

}  // namespace

const Command kSweep = {
    "sweep",
    "list|run|status|emit|collect SWEEP.ini [key=value ...] [-o DIR] [-j N]",
    "runs a grid of arms and seeds, packed as replicas",
    "  motley sweep list experiments/quickstart.ini            # cells, disk and time; starts nothing\n"
    "  motley sweep run experiments/quickstart.ini             # skips what is done, resumes what was killed\n"
    "  motley sweep status experiments/quickstart.ini --watch 2\n"
    "  motley sweep list --commands experiments/quickstart.ini | parallel -j 8\n"
    "  motley sweep emit --slurm experiments/quickstart.ini > job.sh && sbatch job.sh\n"
    "  motley sweep collect experiments/quickstart.ini         # one index.h5 over all runs\n",
    {{"output", 'o', 0, "DIR", "parent of the sweep's folder; default runs"},
     {"jobs", 'j', 0, "N", "run: processes side by side, for packs of different shapes"},
     {"pack", 0, 0, "N",
      "run: most runs in one batch; default what fits in half of the free memory"},
     {"max-time", 't', 0, "TIME", "run: stops after hh:mm:ss with exit 75, resumable"},
     {"any-disk", 0, 0, "", "run: starts also where the disk may be too small"},
     {"index", 0, 0, "I", "only the cell I"},
     {"cells", 0, 0, "LIST", "only these cells: 0,3,5-8"},
     {"shard", 0, 0, "I/N", "only part I of N, 0 <= I < N; auto: task of Slurm, rank of Open MPI"},
     {"commands", 0, 0, "", "list: one motley train line per cell that is not done"},
     {"watch", 0, 0, "SECONDS", "status: shows it again and again until nothing runs"},
     {"slurm", 0, 0, "", "emit: a job script for sbatch"},
     {"snakemake", 0, 0, "", "emit: a Snakefile"},
     {"time", 0, 0, "TIME", "emit --slurm: time limit of a task; default 01:00:00"},
     {"partition", 0, 0, "NAME", "emit --slurm: partition"},
     {"cpus", 0, 0, "N", "emit --slurm: processors of a task; default 1"},
     {"tasks", 0, 0, "N", "emit --slurm: array tasks, each a shard; default one per cell"},
     {"at-once", 0, 0, "N", "emit --slurm: most tasks at a time"},
     {"program", 0, 0, "PATH", "emit: the program; default this one"}},
    true,
    run_sweep,
    [](const CommandLine& line) {
      const bool runs = !line.positional.empty() && line.positional[0] == "run";
      return runs ? RunAccess::none : RunAccess::look;
    }};

}  // namespace motley
