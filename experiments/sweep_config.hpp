#pragma once
/// A sweep: arms x grid x seeds, expanded to cells. docs/sweeps.md is the page for users.
///
///     [sweep]
///     name = entropy-collapse
///     base = base.ini              ; relative to the sweep's file
///     method = grid                ; grid | zip | random: how the axes of [grid] combine
///     samples = 40                 ; random: combinations drawn, the same for every arm and seed
///     seed = 0                     ; random: of these draws
///     seeds = 0:10                 ; run.seed = 0..9, or a list 1,2,5
///     exclude = run.method=grpo & partition.method!=oracle
///     exclude.NAME = ...           ; as many rules as wanted; include and include.NAME as well
///     [grid]
///     optim.lr = log(1e-4, 1e-3, 3)
///     [arm.darling-oracle]         ; named arms; without any, the grid alone makes the cells
///     run.method = darling
///     partition.method = oracle
///
/// A cell stays when no exclude rule holds for it and, where there are include rules, one of them
/// does.

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
  std::string file;                    ///< the sweep's file
  std::string base_file;               ///< "" where there is no base
  std::vector<std::string> overrides;  ///< of the command line
  Layer base;
  std::vector<SweepCell> cells;
  std::vector<std::string> warnings;  ///< rules that hold for no cell
};

/// \throws Error(config) with all faults and their places
SweepConfig read_sweep(const std::string& path, const std::vector<std::string>& overrides);

/// The frozen list of cells, as manifest.ini holds it.
std::string manifest_of(const SweepConfig& sweep);

/// `key=value` words with which `motley train -c BASE` makes the same configuration, and so the
/// same digest, as the cell.
std::vector<std::string> words_of(const SweepConfig& sweep, const SweepCell& cell);

}  // namespace motley
