#pragma once
/// Rules that keep cells of a sweep or leave them out.
///
///     exclude = run.method=grpo|dr_grpo & partition.method!=oracle
///     include.small = optim.lr<1e-3 & arm=darling
///
/// Terms are joined by `&`; a term is a key, one of = != < <= > >=, and a value; after = and !=
/// several values are parted by `|` (any of them). Keys are options or `arm`. Numbers are compared
/// as numbers.

#include <string>
#include <vector>

#include "experiments/options.hpp"

namespace motley {

struct RuleTerm {
  std::string key, op;
  std::vector<std::string> values;
};

struct SweepRule {
  std::string name;  ///< "sweep.exclude.small (sweep.ini:9)"
  bool include = false;
  std::vector<RuleTerm> terms;
};

/// Adds a fault for every broken term and unknown key.
SweepRule read_rule(const Assignment& assignment, bool include, Faults& faults);

/// Do all terms hold?
bool holds(const SweepRule& rule, const std::vector<OptionEntry>& options, const std::string& arm);

}  // namespace motley
