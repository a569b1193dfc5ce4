#pragma once
/// Classes that live on: what each training prompt was answered in earlier steps.
///
/// A prompt remembers up to 64 texts, each with the class it belongs to, how many completions were
/// this text, and the last step that saw it. The text of method oracle is the true class itself, so
/// that a class is one entry; of the other methods it is the token string. A cluster continues the
/// class of its first member that is remembered, else it is a new class; its other texts are then
/// remembered as that class, and a text keeps the class it has. Completions outside any cluster
/// stand for themselves. Where 64 are not enough, the text seen least often makes room (ties: the
/// one not seen for longest, then the first slot), and its completions are no longer counted.

#include "core/partition.hpp"

namespace motley {

inline constexpr int kHistorySlots = 64;
inline constexpr int kHistoryFields =
    4;  ///< key (0 = empty slot), class, completions, last step + 1

/// Doubles per prompt; whole numbers below 2^53 all of them.
inline constexpr int kHistorySize = kHistorySlots * kHistoryFields;

/// Counts earlier completions of the prompt whose class is the completion's own; 0 for all replicas
/// without partition.across_steps. Reads the table as earlier steps left it, so a prompt that
/// stands twice in a step does not see itself. \param table [R,N * kHistorySize], row = prompt
/// \param prompt_id [R,B] \param cluster [R,B,G] canonical   \param history [R,B,G] out
void class_history(const Exec& exec, const ConstView1<PartitionParams>& params,
                   const ConstView2<double>& table, const ConstView2<int>& prompt_id,
                   const ConstView4<int>& token, const ConstView3<int>& length,
                   const ConstView3<int>& class_id, const ConstView3<int>& cluster,
                   const View3<int>& history);

/// Adds the step's completions to the table, once per step. Groups of one prompt in order of b.
void remember_classes(const Exec& exec, const ConstView1<PartitionParams>& params,
                      std::uint32_t step, const ConstView2<int>& prompt_id,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const ConstView3<int>& class_id, const ConstView3<int>& cluster,
                      const View2<double>& table);

}  // namespace motley
