#pragma once
/// What a batch of runs will take of memory, found before it is taken: the arrays are made as they
/// will be, by the same functions, but without memory behind the large ones.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "experiments/run_config.hpp"

namespace motley {

/// Bytes of a batch; `peak()` is what VmHWM (the largest resident size) of the process will say.
struct MemoryPlan {
  int runs = 1;
  std::size_t program = 0;      ///< resident now, and what the libraries still add
  std::size_t pretraining = 0;  ///< arrays of pretraining; 0 where every base policy is there
  std::size_t training = 0;     ///< arrays of training, evaluation and logging, all at once
  std::size_t files = 0;        ///< buffers of the run files
  std::size_t bases = 0;        ///< host copies of the base policies
  std::size_t checkpoint = 0;   ///< while one is written
  /// Of `training`, by the struct that owns the arrays (second word of their labels).
  std::map<std::string, std::size_t> owners;

  std::size_t peak() const;
  /// Of one run more, about.
  std::size_t per_run() const { return (peak() - program) / static_cast<std::size_t>(runs); }
};

/// Plans a batch of one shape. Takes little memory and no file; the draws and numbers of a run
/// know nothing of it. \throws Error(refused) where not even the addresses are to be had
MemoryPlan plan_memory(const std::vector<RunConfig>& configs);

/// Throws Error(refused) naming the figure, what is free, and the keys to reduce, when the plan
/// does not fit into free_memory().
void require_memory(const MemoryPlan& plan);

}  // namespace motley
