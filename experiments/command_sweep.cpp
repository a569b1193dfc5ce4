/// motley sweep list | run

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/machine.hpp"
#include "experiments/sweep_config.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

fs::path sweep_folder(const CommandLine& line, const SweepConfig& sweep) {
  return fs::path(line.get("output", "runs")) / sweep.name;
}

const char* state_text(const FolderState& state) {
  switch (state.kind) {
    case FolderState::Kind::empty: return "to do";
    case FolderState::Kind::resumable: return "interrupted";
    default: return "done";
  }
}

int list_cells(const CommandLine& line, const SweepConfig& sweep) {
  const fs::path folder = sweep_folder(line, sweep);
  std::vector<std::vector<std::string>> rows = {
      {"cell", "arm", "seed", "steps", "state", "folder"}};
  for (const SweepCell& cell : sweep.cells)
    rows.push_back({std::to_string(cell.index), cell.arm, std::to_string(cell.config.run.seed),
                    std::to_string(cell.config.run.steps),
                    state_text(inspect_folder(folder / cell.folder)),
                    (folder / cell.folder).string()});
  std::printf("%s%zu cells\n", table(rows).c_str(), sweep.cells.size());
  return 0;
}

/// A sweep keeps the cells it began with.
void freeze(const fs::path& folder, const SweepConfig& sweep) {
  const std::string manifest = manifest_of(sweep);
  std::error_code failed;
  fs::create_directories(folder, failed);
  MOTLEY_REQUIRE(!failed, ErrorKind::refused, folder.string(),
                 ": the sweep's folder cannot be made: ", failed.message());
  const fs::path file = folder / "manifest.ini";
  if (fs::exists(file)) {
    std::ifstream in(file);
    std::ostringstream old;
    old << in.rdbuf();
    MOTLEY_REQUIRE(
        old.str() == manifest, ErrorKind::refused, file.string(),
        ": the sweep began with other cells; give it another sweep.name, or remove the folder");
    return;
  }
  std::ofstream out(file);
  out << manifest;
  MOTLEY_REQUIRE(out.good(), ErrorKind::refused, file.string(), ": cannot be written");
}

/// Runs that can share one batch.
struct Pack {
  std::vector<RunRequest> runs;
  std::int64_t start = 0;
  bool resume = false;
};

/// Replicas that fit into half of the free memory, measured on one.
std::size_t most_replicas(const RunConfig& config) {
  const auto task = make_task(config.task, {config.base_seed()});
  const std::size_t bytes = training_bytes(make_training_state({config}, *task));
  const std::size_t memory = available_memory();
  return memory == 0 ? 64 : std::max<std::size_t>(1, memory / 2 / std::max<std::size_t>(1, bytes));
}

std::vector<Pack> pack(const SweepConfig& sweep, const fs::path& folder, std::size_t limit,
                       std::size_t& done) {
  std::vector<Pack> packs;
  for (const SweepCell& cell : sweep.cells) {
    const RunRequest request{cell.config, folder / cell.folder};
    const FolderState state = inspect_folder(request.folder);
    if (state.kind == FolderState::Kind::complete) {
      ++done;
      continue;
    }
    const bool resume = state.kind == FolderState::Kind::resumable;
    const auto fits = [&](const Pack& p) {
      return p.start == state.step && p.resume == resume && p.runs.size() < limit &&
             same_shape(p.runs.front().config, request.config);
    };
    const auto found = std::find_if(packs.begin(), packs.end(), fits);
    if (found != packs.end())
      found->runs.push_back(request);
    else
      packs.push_back({{request}, state.step, resume});
  }
  return packs;
}

int run_cells(const CommandLine& line, const SweepConfig& sweep) {
  const fs::path folder = sweep_folder(line, sweep);
  freeze(folder, sweep);
  std::int64_t limit = 0;
  if (line.has("pack"))
    MOTLEY_REQUIRE(parse_integer(line.get("pack", ""), limit) && limit > 0, ErrorKind::config,
                   "--pack: not a count, got \"", line.get("pack", ""), "\"");
  const std::size_t most =
      limit > 0 ? static_cast<std::size_t>(limit) : most_replicas(sweep.cells.front().config);
  std::size_t done = 0;
  const std::vector<Pack> packs = pack(sweep, folder, most, done);
  if (done > 0)
    std::fprintf(stderr, "%zu of %zu cells are done already\n", done, sweep.cells.size());
  TrainOptions options;
  options.progress = progress_of(line);
  options.max_seconds = line.has("max-time") ? parse_duration(line.get("max-time", "")) : 0;
  for (const Pack& p : packs) {
    const std::vector<RunOutcome> outcomes = train_batch(p.runs, p.start, p.resume, options);
    if (outcomes.front().status == RunStatus::interrupted) {
      std::fprintf(stderr, "stopped at step %lld; the same command goes on\n",
                   static_cast<long long>(outcomes.front().step));
      return 75;
    }
  }
  if (options.progress != ProgressMode::json)
    std::printf("%zu runs in %s\nnext: motley compare %s\n", sweep.cells.size(), folder.c_str(),
                folder.c_str());
  return 0;
}

int run_sweep(const CommandLine& line) {
  require_words(line, "sweep", 2, 2, "list or run, and SWEEP.ini");
  const std::string& what = line.positional[0];
  const std::vector<std::string> words = {"list", "run"};
  MOTLEY_REQUIRE(what == "list" || what == "run", ErrorKind::config,
                 "motley sweep: unknown word, got \"", what, "\"; allowed: ", join(words),
                 did_you_mean(what, words));
  const SweepConfig sweep = read_sweep(line.positional[1], line.overrides);
  return what == "list" ? list_cells(line, sweep) : run_cells(line, sweep);
}

}  // namespace

const Command kSweep = {
    "sweep",
    "list|run SWEEP.ini [key=value ...] [-o DIR]",
    "runs a grid of arms and seeds, packed as replicas",
    "  motley sweep list experiments/quickstart.ini\n  motley sweep run experiments/quickstart.ini      # skips what is done, resumes what was killed\n",
    {{"output", 'o', 0, "DIR", "parent of the sweep's folder; default runs"},
     {"pack", 0, 0, "N", "most runs in one batch; default what fits in half of the free memory"},
     {"max-time", 't', 0, "TIME", "stops after hh:mm:ss with exit 75, resumable"}},
    true,
    run_sweep};

}  // namespace motley
