#pragma once
/// The tables of a run file, for programs that do not read HDF5.

#include <functional>
#include <string>
#include <vector>

#include "io/run_reader.hpp"
#include "io/table.hpp"

namespace motley {

/// Name of a ground-truth class; "" for none.
using ClassName = std::function<std::string(int)>;

/// metrics and timing (a row per step), diagnostics (per due step), eval (per evaluation and k),
/// eval_prompts (per evaluation and held-out prompt), rollouts (per completion), prompts, and
/// columns: what each column of the others is. A table the file has nothing of is left out.
/// Rows go as far as `committed()`. The reader must outlive the tables; at most kTableBlock rows,
/// or one step's rollouts, are in memory.
std::vector<Table> run_tables(const RunReader& reader, const ClassName& class_name);

inline constexpr std::int64_t kTableBlock = 4096;

/// Rows of a group with a step column that belong to committed steps: step < committed, and
/// step <= committed for /eval, which counts the steps done.
std::int64_t committed_rows(const RunReader& reader, const std::string& group);

}  // namespace motley
