#pragma once
/// A sweep: arms x grid x seeds, expanded to cells.
///
///     [sweep]
///     name = entropy-collapse
///     base = base.ini              ; relative to the sweep's file
///     method = grid                ; grid | zip: how the lists of [grid] combine
///     seeds = 0:10                 ; run.seed = 0..9, or a list 1,2,5
///     exclude = run.method=grpo & partition.method!=oracle
///     [grid]
///     optim.lr = log(1e-4, 1e-3, 3)
///     [arm.darling-oracle]         ; named arms; without any, the grid alone makes the cells
///     run.method = darling
///     partition.method = oracle

#include <string>
#include <vector>

#include "experiments/options.hpp"

namespace motley {

struct SweepCell {
  int index = 0;
  std::string arm;                      ///< name of the arm, or its grid values
  std::vector<Assignment> assignments;  ///< over the base
  RunConfig config;                     ///< run.name = arm
  std::string folder;                   ///< <arm>-s<seed>-<hash8>, inside the sweep's folder
};

struct SweepConfig {
  std::string name;
  std::vector<SweepCell> cells;
};

/// \throws Error(config) with all faults and their places
SweepConfig read_sweep(const std::string& path, const std::vector<std::string>& overrides);

/// The frozen list of cells, as manifest.ini holds it.
std::string manifest_of(const SweepConfig& sweep);

}  // namespace motley
