#include "experiments/sweep_plan.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>
#include <unistd.h>

#include "core/base/error.hpp"
#include "experiments/disk_plan.hpp"
#include "experiments/guard.hpp"
#include "experiments/memory_limit.hpp"
#include "experiments/memory_plan.hpp"
#include "experiments/sweep_axis.hpp"
#include "experiments/training_step.hpp"
#include "io/lock.hpp"
#include "io/run_reader.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

/// A count from the environment; -1 where there is none.
std::int64_t environment_count(const char* name) {
  const char* text = std::getenv(name);
  std::int64_t value = -1;
  return text != nullptr && parse_integer(text, value) && value >= 0 ? value : -1;
}

/// Part and number of parts of a shard.
std::pair<std::int64_t, std::int64_t> shard_of(const std::string& text) {
  if (text == "auto") {
    const char* const kNames[][2] = {{"SLURM_PROCID", "SLURM_NTASKS"},
                                     {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}};
    for (const auto& name : kNames) {
      const std::int64_t part = environment_count(name[0]), parts = environment_count(name[1]);
      if (part >= 0 && parts > part) return {part, parts};
    }
    throw Error(ErrorKind::config,
                "--shard auto: neither SLURM_PROCID and SLURM_NTASKS nor OMPI_COMM_WORLD_RANK and "
                "OMPI_COMM_WORLD_SIZE are set; allowed: under srun or mpirun, or --shard I/N");
  }
  const auto slash = text.find('/');
  std::int64_t part = 0, parts = 0;
  MOTLEY_REQUIRE(slash != std::string::npos && parse_integer(text.substr(0, slash), part) &&
                     parse_integer(text.substr(slash + 1), parts) && part >= 0 && parts > part,
                 ErrorKind::config, "--shard: got \"", text,
                 "\"; allowed: I/N with 0 <= I < N, or auto");
  return {part, parts};
}

std::vector<std::size_t> listed_cells(const std::string& flag, const std::string& text,
                                      std::size_t cells) {
  std::set<std::size_t> out;
  for (const std::string& item : split_list(text)) {
    const auto dash = item.find('-', 1);
    std::int64_t first = 0, last = 0;
    const bool good = parse_integer(item.substr(0, dash), first) &&
                      parse_integer(dash == std::string::npos ? item : item.substr(dash + 1), last);
    MOTLEY_REQUIRE(good && first >= 0 && first <= last && static_cast<std::size_t>(last) < cells,
                   ErrorKind::config, flag, ": got \"", text, "\"; allowed: cells of [0, ",
                   cells - 1, "], which motley sweep list shows");
    for (std::int64_t i = first; i <= last; ++i) out.insert(static_cast<std::size_t>(i));
  }
  return {out.begin(), out.end()};
}

/// Runs of these arms that fit into a process' share of the memory. Arms that need a reference
/// policy or a classifier make all of their pack carry one, so they are planned together.
std::size_t most_replicas(const std::vector<const RunConfig*>& arms, std::size_t processes) {
  const std::size_t memory = free_memory().bytes / std::max<std::size_t>(1, processes);
  if (memory == 0) return 64;
  std::vector<RunConfig> all;
  for (const RunConfig* arm : arms) all.push_back(*arm);
  const std::size_t bytes = std::max<std::size_t>(1, plan_memory(all).per_run());
  return std::max<std::size_t>(1, memory / 2 / bytes);
}

/// Cells of one shape.
struct ShapeGroup {
  const RunConfig* first = nullptr;
  std::vector<std::size_t> cells;
};

std::vector<ShapeGroup> by_shape(const SweepConfig& sweep, const std::vector<std::size_t>& cells) {
  std::vector<ShapeGroup> groups;
  for (const std::size_t i : cells) {
    const RunConfig& config = sweep.cells[i].config;
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const ShapeGroup& g) { return same_shape(*g.first, config); });
    if (found == groups.end()) found = groups.insert(groups.end(), ShapeGroup{&config, {}});
    found->cells.push_back(i);
  }
  return groups;
}

/// One configuration per arm of the group.
std::vector<const RunConfig*> arms_of(const SweepConfig& sweep, const ShapeGroup& group) {
  std::set<std::string> seen;
  std::vector<const RunConfig*> out;
  for (const std::size_t i : group.cells)
    if (seen.insert(sweep.cells[i].arm).second && out.size() < 32)
      out.push_back(&sweep.cells[i].config);
  return out;
}

}  // namespace

std::vector<std::size_t> select_cells(const SweepSelection& s, std::size_t cells) {
  MOTLEY_REQUIRE(int{!s.index.empty()} + int{!s.cells.empty()} + int{!s.shard.empty()} <= 1,
                 ErrorKind::config,
                 "motley sweep: several choices; allowed: one of --index, "
                 "--cells, --shard");
  if (!s.index.empty()) {
    std::int64_t i = 0;
    MOTLEY_REQUIRE(parse_integer(s.index, i) && i >= 0 && static_cast<std::size_t>(i) < cells,
                   ErrorKind::config, "--index: got \"", s.index, "\"; allowed: [0, ", cells - 1,
                   "], which motley sweep list shows");
    return {static_cast<std::size_t>(i)};
  }
  if (!s.cells.empty()) return listed_cells("--cells", s.cells, cells);
  std::vector<std::size_t> out(cells);
  std::iota(out.begin(), out.end(), std::size_t{0});
  if (s.shard.empty()) return out;
  const auto [part, parts] = shard_of(s.shard);
  const auto begin = [&, parts = parts](std::int64_t p) {
    return static_cast<std::ptrdiff_t>(static_cast<std::int64_t>(cells) * p / parts);
  };
  return {out.begin() + begin(part), out.begin() + begin(part + 1)};
}

void freeze_sweep(const fs::path& folder, const SweepConfig& sweep) {
  const std::string manifest = manifest_of(sweep);
  std::error_code failed;
  fs::create_directories(folder, failed);
  MOTLEY_REQUIRE(!failed, ErrorKind::refused, folder.string(),
                 ": the sweep's folder cannot be made: ", failed.message());
  const fs::path file = folder / "manifest.ini";
  if (!fs::exists(file)) {
    // Whole under its name at once: of many that begin together one makes it, the others find it.
    const fs::path mine = concat(file.string(), ".", ::getpid());
    std::ofstream out(mine);
    out << manifest;
    out.close();
    MOTLEY_REQUIRE(out.good(), ErrorKind::refused, file.string(), ": cannot be written");
    fs::create_hard_link(mine, file, failed);
    if (failed && !fs::exists(file)) fs::rename(mine, file, failed);
    std::error_code ignored;
    fs::remove(mine, ignored);
  }
  std::ifstream in(file);
  std::ostringstream old;
  old << in.rdbuf();
  MOTLEY_REQUIRE(
      in.good() && old.str() == manifest, ErrorKind::refused, file.string(),
      ": the sweep began with other cells; give it another sweep.name, or remove the folder");
}

SweepPlan plan_sweep(const SweepConfig& sweep, const fs::path& folder,
                     const std::vector<std::size_t>& chosen, std::size_t most,
                     std::size_t processes) {
  SweepPlan plan;
  plan.chosen = chosen.size();
  std::vector<std::size_t> open;
  std::vector<SweepPack> busy;
  std::vector<FolderState> states(sweep.cells.size());
  for (const std::size_t i : chosen) {
    // A cell that another process is training stands alone and last, so that its refusal keeps none
    // from running; its file, which may be between two writes, is not looked into.
    if (!writer_of(folder / sweep.cells[i].folder).empty()) {
      busy.push_back({{i}, 0, false});
      continue;
    }
    states[i] = inspect_folder(folder / sweep.cells[i].folder);
    if (states[i].kind == FolderState::Kind::complete)
      ++plan.done;
    else
      open.push_back(i);
  }
  for (const ShapeGroup& group : by_shape(sweep, open)) {
    const std::size_t limit = most > 0 ? most : most_replicas(arms_of(sweep, group), processes);
    const std::size_t first_pack = plan.packs.size();
    for (const std::size_t i : group.cells) {
      const bool resume = states[i].kind == FolderState::Kind::resumable;
      const auto fits = [&](const SweepPack& p) {
        return p.start == states[i].step && p.resume == resume && p.cells.size() < limit;
      };
      const auto found = std::find_if(plan.packs.begin() + static_cast<std::ptrdiff_t>(first_pack),
                                      plan.packs.end(), fits);
      if (found != plan.packs.end())
        found->cells.push_back(i);
      else
        plan.packs.push_back({{i}, states[i].step, resume});
    }
  }
  plan.packs.insert(plan.packs.end(), busy.begin(), busy.end());
  return plan;
}

CellState cell_state(const fs::path& folder) {
  if (!fs::exists(folder / "run.h5")) return CellState::to_do;
  try {
    const auto look = [&] { return std::string(name_of(RunReader(folder / "run.h5").status())); };
    // A sweep that runs is no child of a guard, and must outlive every cell's file.
    const std::string status = guarded() ? look() : read_in_child(folder / "run.h5", look);
    if (status == name_of(RunStatus::complete)) return CellState::complete;
  } catch (const Error&) {
    return writer_of(folder).empty() ? CellState::unreadable : CellState::running;
  }
  return writer_of(folder).empty() ? CellState::interrupted : CellState::running;
}

const char* name_of(CellState state) {
  switch (state) {
    case CellState::to_do: return "to do";
    case CellState::interrupted: return "interrupted";
    case CellState::running: return "running";
    case CellState::complete: return "done";
    case CellState::unreadable: return "unreadable";
  }
  return "";
}

namespace {

/// Seconds per step of one run, its share of the batch it was in; nothing where no step is done.
std::optional<double> seconds_per_step(const fs::path& folder) {
  try {
    const RunReader reader(folder / "run.h5");
    const std::vector<double> total = reader.column("total_s", "/timing");
    if (total.empty()) return std::nullopt;
    double replicas = 1;
    for (const Attribute& a : reader.provenance())
      if (a.key == "replicas" && std::holds_alternative<std::int64_t>(a.value))
        replicas = static_cast<double>(std::get<std::int64_t>(a.value));
    return std::accumulate(total.begin(), total.end(), 0.0) / double(total.size()) /
           std::max(1.0, replicas);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<CellEstimate> estimate_cells(const SweepConfig& sweep, const fs::path& folder) {
  std::vector<CellEstimate> out(sweep.cells.size());
  std::vector<std::size_t> all(sweep.cells.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  for (const ShapeGroup& group : by_shape(sweep, all)) {
    double bytes = 0, seconds = 0;
    int complete = 0, timed = 0;
    for (const std::size_t i : group.cells) {
      const fs::path cell = folder / sweep.cells[i].folder;
      const CellState state = cell_state(cell);
      if (state == CellState::to_do || state == CellState::unreadable) continue;
      if (state == CellState::complete) {
        bytes += folder_bytes(cell);
        ++complete;
      }
      if (const auto s = seconds_per_step(cell)) {
        seconds += *s;
        ++timed;
      }
    }
    const double planned = complete == 0 ? planned_folder_bytes(*group.first) : 0;
    for (const std::size_t i : group.cells) {
      out[i].disk_measured = complete > 0;
      out[i].disk_bytes = complete > 0 ? bytes / complete : planned;
      if (timed > 0) out[i].seconds = seconds / timed * sweep.cells[i].config.run.steps;
    }
  }
  return out;
}

}  // namespace motley
