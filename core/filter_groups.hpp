#pragma once
/// Dynamic sampling: groups without a signal are drawn again with fresh prompts (DAPO, arXiv
/// 2503.14476, section 3.2).

#include "core/base/describe.hpp"
#include "core/reward_terms.hpp"
#include "core/rollout.hpp"

namespace motley {

enum class FilterMetric : int { none, acc, shaped };
template <>
struct EnumNames<FilterMetric> {
  static constexpr std::array<std::string_view, 3> names = {"none", "acc", "shaped"};
};

struct FilterParams {
  FilterMetric metric = FilterMetric::none;
  int max_batches = 10;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, FilterParams> {
  v("filter_groups.metric", c.metric, any_value, "1",
    "groups drawn again with fresh prompts: none; acc: all completions correct or none; shaped: all shaped rewards equal");
  v("filter_groups.max_batches", c.max_batches, between(1, 1e4), "1",
    "generation batches of a step at most; groups still without a signal then do not count in the loss");
}

/// What dynamic sampling knows of the groups of a step. A slot (r, b) keeps its group once it is
/// good; the others are drawn again in the next generation batch.
struct FilterState {
  View2<int> good;        ///< [R,B] 1 = the group has a signal
  View2<int> slots;       ///< [R,B] the refused slots of a replica in increasing order
  View1<int> num_slots;   ///< [R] how many of them are drawn again
  View1<int> pending;     ///< [R] 1 where num_slots > 0
  View1<int> batches;     ///< [R] generation batches used
  View1<double> redrawn;  ///< [R] counted tokens of the completions that were drawn again
};
FilterState make_filter_state(int R, int B);

/// Start of a step, and all there is to it where no replica filters: every group is good.
void accept_groups(const Exec& exec, const FilterState& state);

/// Judges the groups that generation batch `attempt` (0 = the first) has drawn, and lists those to
/// be drawn again: none for replicas with metric none or attempt + 1 = max_batches. Everything of a
/// replica depends on its own past in this step alone. One thread per group, lists in order of b.
/// \param quality, reward, length [R,B,G]
void judge_groups(const Exec& exec, const ConstView1<FilterParams>& params, int attempt,
                  const ConstView3<float>& quality, const ConstView3<float>& reward,
                  const ConstView3<int>& length, const FilterState& state);

/// used = 0 where the group has no signal, and for completions cut at the longest length where
/// overlong.filter is on. \param finish [R,B,G]   \param used [R,B,G] out
void mark_used(const Exec& exec, const ConstView2<int>& good,
               const ConstView1<OverlongParams>& overlong, const ConstView3<int>& finish,
               const View3<int>& used);

}  // namespace motley
