#pragma once
/// Draws of one corpus text, and shuffles of a task's tables.

#include <vector>

#include "core/base/rng.hpp"

namespace motley {

/// Uniform draws of one text in the order they are asked for.
struct Draws {
  DrawKey key;
  std::uint32_t item;
  std::uint32_t next = 0;
  KOKKOS_INLINE_FUNCTION float uniform() { return draw_uniform(key, item, next++); }
  KOKKOS_INLINE_FUNCTION int below(int n) {
    return static_cast<int>(
        uniform_below(draw_bits(key, item, next++).x[0], static_cast<std::uint32_t>(n)));
  }
  KOKKOS_INLINE_FUNCTION bool happens(double probability) {
    return uniform() < static_cast<float>(probability);
  }
};

/// Draws that the texts of one run of `same_prompt` share.
KOKKOS_INLINE_FUNCTION Draws shared_draws(const DrawKey& key, int text, int same_prompt) {
  return Draws{key, static_cast<std::uint32_t>(text / same_prompt) | 0x80000000u};
}

/// 0, .., n-1 in random order: Fisher-Yates with the draws (i, position) of the key.
inline std::vector<int> shuffled(int n, const DrawKey& key, std::uint32_t position) {
  std::vector<int> order(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
  for (int i = n - 1; i > 0; --i) {
    const std::uint32_t bits = draw_bits(key, static_cast<std::uint32_t>(i), position).x[0];
    std::swap(order[static_cast<std::size_t>(i)],
              order[uniform_below(bits, static_cast<std::uint32_t>(i + 1))]);
  }
  return order;
}

}  // namespace motley
