#include "core/history.hpp"

#include "core/base/hash.hpp"

namespace motley {

namespace {

/// Groups whose completions are looked up.
struct HistoryGroups {
  ConstView1<PartitionParams> params;
  ConstView4<int> token;
  ConstView3<int> length, class_id, cluster;

  /// 53 bits, so that a double holds them; never 0.
  KOKKOS_INLINE_FUNCTION double key(int r, int b, int g) const {
    const bool true_class = params(r).method == PartitionMethod::oracle && class_id(r, b, g) >= 0;
    const std::uint64_t hash = true_class ? mix64(static_cast<std::uint64_t>(class_id(r, b, g)))
                                          : hash_tokens(&token(r, b, g, 0), length(r, b, g));
    return static_cast<double>((hash >> 11) | 1u);
  }

  /// Does j stand with the cluster that g opens?
  KOKKOS_INLINE_FUNCTION bool together(int r, int b, int g, int j) const {
    return j == g || (cluster(r, b, g) >= 0 && cluster(r, b, j) == g);
  }
  KOKKOS_INLINE_FUNCTION bool opens(int r, int b, int g) const {
    return cluster(r, b, g) == g || cluster(r, b, g) < 0;
  }

  KOKKOS_INLINE_FUNCTION static int find(const double* slots, double key) {
    for (int s = 0; s < kHistorySlots; ++s)
      if (slots[s * kHistoryFields] == key) return s;
    return -1;
  }

  /// Class of the cluster that g opens, or -1 where no member is remembered.
  KOKKOS_INLINE_FUNCTION double known_class(const double* slots, int r, int b, int g) const {
    const int G = static_cast<int>(cluster.extent(2));
    for (int j = g; j < G; ++j) {
      if (!together(r, b, g, j)) continue;
      const int s = find(slots, key(r, b, j));
      if (s >= 0) return slots[s * kHistoryFields + 1];
    }
    return -1;
  }
};

/// An empty slot, or the one that makes room.
KOKKOS_INLINE_FUNCTION int slot_for_new(const double* slots) {
  int out = 0;
  for (int s = 0; s < kHistorySlots; ++s) {
    const double* x = slots + s * kHistoryFields;
    const double* y = slots + out * kHistoryFields;
    if (x[0] == 0) return s;
    if (x[2] < y[2] || (x[2] == y[2] && x[3] < y[3])) out = s;
  }
  return out;
}

KOKKOS_INLINE_FUNCTION void remember_group(const HistoryGroups& groups, double* slots, int r, int b,
                                           double now) {
  const int G = static_cast<int>(groups.cluster.extent(2));
  for (int g = 0; g < G; ++g) {
    if (!groups.opens(r, b, g)) continue;
    double own = groups.known_class(slots, r, b, g);
    if (own < 0) {
      own = 0;
      for (int s = 0; s < kHistorySlots; ++s) {
        const double* x = slots + s * kHistoryFields;
        if (x[0] != 0 && x[1] >= own) own = x[1] + 1;
      }
    }
    for (int j = g; j < G; ++j) {
      if (!groups.together(r, b, g, j)) continue;
      const double key = groups.key(r, b, j);
      int s = HistoryGroups::find(slots, key);
      if (s < 0) {
        s = slot_for_new(slots);
        slots[s * kHistoryFields] = key;
        slots[s * kHistoryFields + 1] = own;
        slots[s * kHistoryFields + 2] = 0;
      }
      slots[s * kHistoryFields + 2] += 1;
      slots[s * kHistoryFields + 3] = now;
    }
  }
}

}  // namespace

void class_history(const Exec& exec, const ConstView1<PartitionParams>& params,
                   const ConstView2<double>& table, const ConstView2<int>& prompt_id,
                   const ConstView4<int>& token, const ConstView3<int>& length,
                   const ConstView3<int>& class_id, const ConstView3<int>& cluster,
                   const View3<int>& history) {
  const int B = static_cast<int>(history.extent(1));
  const int G = static_cast<int>(history.extent(2));
  const HistoryGroups groups{params, token, length, class_id, cluster};
  Kokkos::parallel_for(
      "motley::partition::class_history",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(history.extent(0)) * B),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / B;
        const int b = job % B;
        for (int g = 0; g < G; ++g) history(r, b, g) = 0;
        if (!groups.params(r).across_steps) return;
        const double* slots = &table(r, prompt_id(r, b) * kHistorySize);
        for (int g = 0; g < G; ++g) {
          if (!groups.opens(r, b, g)) continue;
          const double own = groups.known_class(slots, r, b, g);
          if (own < 0) continue;
          double count = 0;
          for (int s = 0; s < kHistorySlots; ++s) {
            const double* x = slots + s * kHistoryFields;
            if (x[0] != 0 && x[1] == own) count += x[2];
          }
          for (int j = g; j < G; ++j)
            if (groups.together(r, b, g, j)) history(r, b, j) = static_cast<int>(count);
        }
      });
}

void remember_classes(const Exec& exec, const ConstView1<PartitionParams>& params,
                      std::uint32_t step, const ConstView2<int>& prompt_id,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const ConstView3<int>& class_id, const ConstView3<int>& cluster,
                      const View2<double>& table) {
  const int B = static_cast<int>(prompt_id.extent(1));
  const HistoryGroups groups{params, token, length, class_id, cluster};
  Kokkos::parallel_for(
      "motley::partition::remember_classes",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(prompt_id.extent(0)) * B),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / B;
        const int b = job % B;
        if (!groups.params(r).across_steps) return;
        // The first group of a prompt speaks for all of them, in order.
        for (int other = 0; other < b; ++other)
          if (prompt_id(r, other) == prompt_id(r, b)) return;
        double* slots = &table(r, prompt_id(r, b) * kHistorySize);
        for (int other = b; other < B; ++other)
          if (prompt_id(r, other) == prompt_id(r, b))
            remember_group(groups, slots, r, other, double(step) + 1);
      });
}

}  // namespace motley
