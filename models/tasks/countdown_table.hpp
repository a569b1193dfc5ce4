#pragma once
/// All problems of Countdown with all their meanings and texts, by enumeration.
///
/// 495 multisets of four numbers of 1..9. A meaning (canonical tree) belongs to one multiset, so it
/// has a number for life: the class of a completion. Meanings of a multiset stand together, sorted
/// by hash; a problem is a multiset and a target that some meaning reaches.

#include <array>
#include <string>
#include <vector>

#include "models/tasks/countdown_rules.hpp"

namespace motley::countdown {

struct Problem {
  int multiset = 0;
  int target = 0;
  bool hard = false;       ///< no meaning of + and - alone reaches it
  int first_solution = 0;  ///< in Table::solution
  int num_solutions = 0;   ///< meanings that reach the target
};

struct Table {
  std::vector<std::array<int, kNumbers>> multiset;  ///< ascending numbers
  std::vector<int> multiset_of;                     ///< [9^4] multiset of four numbers in any order
  std::vector<int> first_meaning;                   ///< [multisets + 1]
  std::vector<std::uint64_t> hash;                  ///< [meanings], ascending inside a multiset
  std::vector<int> value;                           ///< [meanings] what it comes to
  std::vector<char> multiplies;                     ///< [meanings] 1 where it has x or /
  std::vector<int> first_text;                      ///< [meanings + 1]
  std::vector<std::uint32_t> text;  ///< slots and operators over the ascending numbers
  std::vector<Problem> problem;     ///< by multiset, then target
  std::vector<int> problem_of;      ///< [multisets * 41] problem of (multiset, target), or -1
  std::vector<int> solution;        ///< meanings by problem

  int meanings() const { return static_cast<int>(hash.size()); }
  /// "(6 + 4) x 10", terms and factors in a fixed order.
  std::string name(int meaning) const;
};

/// Index of four numbers in `multiset_of`.
KOKKOS_INLINE_FUNCTION int number_index(int a, int b, int c, int d) {
  return ((a - 1) * kLargestNumber + b - 1) * kLargestNumber * kLargestNumber +
         (c - 1) * kLargestNumber + d - 1;
}

/// The table, made at the first call (a fifth of a second). That meanings and canonical texts are
/// one to one is tested over the whole of it.
const Table& table();

}  // namespace motley::countdown
