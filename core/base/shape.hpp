#pragma once
/// The axes of a batch, declared once: R replicas, B prompts per replica and step, G completions
/// per prompt (a group), P prompt length, T completion length, V vocabulary.

#include <cstddef>
#include <string>

#include "core/base/error.hpp"
#include "core/base/types.hpp"

namespace motley {

struct Shape {
  int R = 1;  ///< replicas: independent trainings in lock-step
  int B = 1;  ///< prompts per replica and step
  int G = 1;  ///< completions per prompt
  int P = 1;  ///< longest prompt, in tokens
  int T = 1;  ///< longest completion, in tokens, end token included
  int V = 2;  ///< vocabulary

  std::size_t groups() const { return std::size_t(R) * std::size_t(B); }
  std::size_t completions() const { return groups() * std::size_t(G); }
  std::size_t tokens() const { return completions() * std::size_t(T); }
  bool operator==(const Shape&) const = default;
};

/// "[4,8,12]" for any view.
template <class AnyView>
std::string extents(const AnyView& view) {
  std::string text = "[";
  for (unsigned i = 0; i < AnyView::rank(); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(view.extent(i));
  }
  return text + ']';
}

/// Throws Error(shape) unless `view` has exactly the extents `wanted`.
///     require_extents(reward, "group_advantage", "reward", "[R,B,G]", R, B, G);
template <class AnyView, class... Ints>
void require_extents(const AnyView& view, const char* where, const char* name, const char* axes,
                     Ints... wanted) {
  static_assert(AnyView::rank() == sizeof...(Ints));
  const std::size_t sizes[] = {static_cast<std::size_t>(wanted)...};
  for (unsigned i = 0; i < sizeof...(Ints); ++i) {
    if (view.extent(i) == sizes[i]) continue;
    std::string expected = "[";
    for (unsigned j = 0; j < sizeof...(Ints); ++j)
      expected += (j > 0 ? "," : "") + std::to_string(sizes[j]);
    throw Error(ErrorKind::shape, concat(where, ": view ", name, " has shape ", extents(view),
                                         ", expected ", axes, " = ", expected, "]"));
  }
}

}  // namespace motley
