#pragma once
/// What is to be done of a sweep: which cells, in which state, packed how, and what it will take.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/sweep_config.hpp"
#include "experiments/trainer.hpp"

namespace motley {

/// Which cells a command is about. At most one of the three.
struct SweepSelection {
  std::string index;  ///< --index I: the cell I
  std::string cells;  ///< --cells 0,3,5-8
  std::string
      shard;  ///< --shard I/N, 0 <= I < N, or auto: the task of Slurm or the rank of Open MPI
};

/// Numbers of the chosen cells, ascending. Shards are runs of neighbours of nearly equal length:
/// cells of one seed stand together, so that a base policy is mostly trained by one shard only.
/// \throws Error(config)
std::vector<std::size_t> select_cells(const SweepSelection& selection, std::size_t cells);

/// Writes DIR/manifest.ini, or checks that it says the same. Safe where many processes begin at
/// once. \throws Error(refused)
void freeze_sweep(const std::filesystem::path& folder, const SweepConfig& sweep);

/// Runs that share one batch.
struct SweepPack {
  std::vector<std::size_t> cells;
  std::int64_t start = 0;
  bool resume = false;
};

struct SweepPlan {
  std::vector<SweepPack> packs;
  std::size_t done = 0;  ///< chosen cells that are complete
  std::size_t chosen = 0;
};

/// Packs the chosen cells that are not complete: one shape, one starting step, at most `most` runs
/// a batch (0: what fits into half of the free memory shared by `processes`).
SweepPlan plan_sweep(const SweepConfig& sweep, const std::filesystem::path& folder,
                     const std::vector<std::size_t>& chosen, std::size_t most,
                     std::size_t processes);

/// What a cell takes.
struct CellEstimate {
  double disk_bytes = 0;
  bool disk_measured =
      false;  ///< mean of finished cells of its shape, else the schema's upper bound
  std::optional<double> seconds;  ///< of training, from the timing of cells of its shape
};
std::vector<CellEstimate> estimate_cells(const SweepConfig& sweep,
                                         const std::filesystem::path& folder);

/// State of a cell's folder, where an unreadable run file is a state and no error.
enum class CellState { to_do, interrupted, running, complete, unreadable };
CellState cell_state(const std::filesystem::path& folder);
const char* name_of(CellState state);

}  // namespace motley
