#pragma once
/// Running a sweep's packs: one after the other here, or several processes side by side.

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/sweep_plan.hpp"

namespace motley {

struct SweepRunOptions {
  std::filesystem::path folder;  ///< of the sweep
  TrainOptions train;
  std::size_t processes = 1;  ///< -j
  int threads = 0;            ///< host threads for all processes together; 0 = all
};

/// Trains the packs in this process. A pack that fails does not keep the next from running.
/// \return 0, 75 when stopped, else the exit code of the first failure
int run_packs(const SweepConfig& sweep, const SweepPlan& plan, const SweepRunOptions& options);

/// The same with `processes` processes at a time, each given one pack and its share of the threads.
/// They stop with this one, also when it is killed.
int spawn_packs(const SweepConfig& sweep, const SweepPlan& plan, const SweepRunOptions& options);

}  // namespace motley
