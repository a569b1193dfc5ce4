#pragma once
/// The hidden judge of the ideas task and the habits of its base policy: tables drawn from the
/// task's seed.
///
/// An idea is a value of 0..9 in each of four slots: character, place, event, twist. For a theme
/// (adjective a, noun b) of the prompt
///   raw = .7 sum_s (A[a][s][v_s] + B[b][s][v_s]) + .5 sum_(s,u) C_su[v_s][v_u],
/// A, B standard normal, C_su of rank 3 (a product of standard normal vectors, divided by sqrt 3),
/// pairs (s,u): character-event, place-event, event-twist, character-twist. z is raw standardised
/// over all 64 themes and 10^4 ideas, exactly. Then
///   Q = sigmoid(2 (z - 1.25))                        passes (Q > .5) one idea in ten,
///   with task.gem: Q = (sigmoid(...) + gem) / 2      passes gems alone: three plots (event, twist)
///                                                    of each of four groups of nouns, made of
///                                                    values that the habit ranks 5th to 8th.
/// The judge's utility, by which preference pairs are labelled, is z, and z + 2 for gems;
/// malformed texts have kMalformedUtility.

#include <vector>

#include "core/base/types.hpp"

namespace motley::ideas {

inline constexpr int kAdjectives = 8;
inline constexpr int kNouns = 8;
inline constexpr int kThemes = kAdjectives * kNouns;
inline constexpr int kSlots = 4;
inline constexpr int kValues = 10;
inline constexpr int kPlots = kValues * kValues;
inline constexpr int kPairs = 4;
inline constexpr int kGroups = 4;  ///< groups of nouns that share gems
inline constexpr int kGemsPerGroup = 3;
inline constexpr double kSharpness = 2.0;
inline constexpr double kShift = 1.25;
inline constexpr double kGemUtility = 2.0;
inline constexpr double kMalformedUtility = -4.0;

/// Slots of the four coherent pairs.
KOKKOS_INLINE_FUNCTION int first_of_pair(int pair) {
  return pair == 0 || pair == 3 ? 0 : pair;  // character, place, event, character
}
KOKKOS_INLINE_FUNCTION int second_of_pair(int pair) {
  return pair < 2 ? 2 : 3;  // event, event, twist, twist
}

/// Places in a row of the judge's table, already multiplied so that their sum is z.
KOKKOS_INLINE_FUNCTION int affinity(int adjective_or_noun, int slot, int value) {
  return (adjective_or_noun * kSlots + slot) * kValues + value;  // nouns follow adjectives
}
inline constexpr int kCoherence = (kAdjectives + kNouns) * kSlots * kValues;
KOKKOS_INLINE_FUNCTION int coherence(int pair, int value, int other) {
  return kCoherence + (pair * kValues + value) * kValues + other;
}
inline constexpr int kOffset = kCoherence + kPairs * kPlots;  ///< minus the mean
inline constexpr int kJudgeSize = kOffset + 1;

/// The tables of one replica.
struct Tables {
  const double* z;     ///< [kJudgeSize]
  const int* gem;      ///< [kGroups * kPlots] 1 where the plot is a gem of the group
  const int* ranking;  ///< [(1 + kAdjectives) * kSlots * kValues] values by rank: of all
                       ///< adjectives, then by adjective
  bool gems;           ///< task.gem

  KOKKOS_INLINE_FUNCTION double standing(int adjective, int noun, const int* idea) const {
    double sum = z[kOffset];
    for (int s = 0; s < kSlots; ++s)
      sum += z[affinity(adjective, s, idea[s])] + z[affinity(kAdjectives + noun, s, idea[s])];
    for (int p = 0; p < kPairs; ++p)
      sum += z[coherence(p, idea[first_of_pair(p)], idea[second_of_pair(p)])];
    return sum;
  }
  KOKKOS_INLINE_FUNCTION bool is_gem(int noun, const int* idea) const {
    return gems && gem[noun * kGroups / kNouns * kPlots + idea[2] * kValues + idea[3]] != 0;
  }
  KOKKOS_INLINE_FUNCTION double quality(int adjective, int noun, const int* idea) const {
    const double smooth =
        1.0 / (1.0 + Kokkos::exp(-kSharpness * (standing(adjective, noun, idea) - kShift)));
    return gems ? 0.5 * (smooth + (is_gem(noun, idea) ? 1.0 : 0.0)) : smooth;
  }
  KOKKOS_INLINE_FUNCTION double utility(int adjective, int noun, const int* idea) const {
    return standing(adjective, noun, idea) + (is_gem(noun, idea) ? kGemUtility : 0.0);
  }
  KOKKOS_INLINE_FUNCTION int ranked(int order, int slot, int rank) const {
    return ranking[(order * kSlots + slot) * kValues + rank];
  }
};

/// The tables of all replicas on the device.
struct Judge {
  View2<double> z;     ///< [R,*] as in Tables
  View2<int> gem;      ///< [R,*]
  View2<int> ranking;  ///< [R,*]
  bool gems = false;

  KOKKOS_INLINE_FUNCTION Tables of(int r) const {
    return {&z(r, 0), &gem(r, 0), &ranking(r, 0), gems};
  }
};

/// Draws the tables of replicas with these seeds (Stream::task).
/// \param passing out, [R][themes] number of ideas with Q > .5; of plots that have one if `plots`
Judge make_judge(const std::vector<std::uint64_t>& seeds, bool gems, bool plots,
                 std::vector<std::vector<int>>& passing);

}  // namespace motley::ideas
