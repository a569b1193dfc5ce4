#include "core/filter_groups.hpp"

namespace motley {

FilterState make_filter_state(int R, int B) {
  FilterState s;
  s.good = View2<int>("motley::filter::good", R, B);
  s.slots = View2<int>("motley::filter::slots", R, B);
  s.num_slots = View1<int>("motley::filter::num_slots", R);
  s.pending = View1<int>("motley::filter::pending", R);
  s.batches = View1<int>("motley::filter::batches", R);
  s.redrawn = View1<double>("motley::filter::redrawn", R);
  return s;
}

void accept_groups(const Exec& exec, const FilterState& state) {
  Kokkos::deep_copy(exec, state.good, 1);
  Kokkos::deep_copy(exec, state.num_slots, 0);
  Kokkos::deep_copy(exec, state.pending, 0);
  Kokkos::deep_copy(exec, state.batches, 1);
  Kokkos::deep_copy(exec, state.redrawn, 0.0);
}

namespace {

/// Does the group tell its completions apart?
struct GroupSignal {
  ConstView3<float> quality, reward;

  KOKKOS_INLINE_FUNCTION bool operator()(FilterMetric metric, int r, int b) const {
    const int G = static_cast<int>(quality.extent(2));
    if (metric == FilterMetric::acc) {
      int correct = 0;
      for (int g = 0; g < G; ++g) correct += quality(r, b, g) > 0.0f ? 1 : 0;
      return correct > 0 && correct < G;
    }
    for (int g = 1; g < G; ++g)
      if (reward(r, b, g) != reward(r, b, 0)) return true;
    return metric == FilterMetric::none;
  }
};

}  // namespace

void judge_groups(const Exec& exec, const ConstView1<FilterParams>& params, int attempt,
                  const ConstView3<float>& quality, const ConstView3<float>& reward,
                  const ConstView3<int>& length, const FilterState& state) {
  const int R = static_cast<int>(quality.extent(0));
  const int B = static_cast<int>(quality.extent(1));
  const int G = static_cast<int>(quality.extent(2));
  require_extents(reward, "judge_groups", "reward", "[R,B,G]", R, B, G);
  require_extents(length, "judge_groups", "length", "[R,B,G]", R, B, G);
  require_extents(state.good, "judge_groups", "good", "[R,B]", R, B);
  const FilterState s = state;
  const GroupSignal signal{quality, reward};
  Kokkos::parallel_for(
      "motley::filter_groups::judge", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / B;
        const int b = job % B;
        // A kept group is not judged again: its slot is out of the game.
        if (attempt == 0 || (s.pending(r) != 0 && s.good(r, b) == 0))
          s.good(r, b) = signal(params(r).metric, r, b) ? 1 : 0;
      });
  Kokkos::parallel_for(
      "motley::filter_groups::list", Kokkos::RangePolicy<Exec>(exec, 0, R),
      KOKKOS_LAMBDA(const int r) {
        if (attempt > 0 && s.pending(r) == 0) return;
        s.batches(r) = attempt + 1;
        int count = 0;
        double tokens = 0.0;
        for (int b = 0; b < B; ++b) {
          if (s.good(r, b) != 0) continue;
          s.slots(r, count++) = b;
          for (int g = 0; g < G; ++g) tokens += length(r, b, g);
        }
        if (attempt + 1 >= params(r).max_batches) count = 0;
        if (count > 0) s.redrawn(r) += tokens;
        s.num_slots(r) = count;
        s.pending(r) = count > 0 ? 1 : 0;
      });
}

void mark_used(const Exec& exec, const ConstView2<int>& good,
               const ConstView1<OverlongParams>& overlong, const ConstView3<int>& finish,
               const View3<int>& used) {
  const int R = static_cast<int>(used.extent(0));
  const int B = static_cast<int>(used.extent(1));
  const int G = static_cast<int>(used.extent(2));
  require_extents(finish, "mark_used", "finish", "[R,B,G]", R, B, G);
  require_extents(good, "mark_used", "good", "[R,B]", R, B);
  Kokkos::parallel_for(
      "motley::filter_groups::mark_used", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const bool cut = overlong(r).filter && finish(r, b, g) == static_cast<int>(Finish::length);
        used(r, b, g) = good(r, b) != 0 && !cut ? 1 : 0;
      });
}

}  // namespace motley
