#pragma once
/// A group's own part of a view, and a method's options on the device.

#include <string>
#include <type_traits>

#include "core/base/own_options.hpp"
#include "core/base/types.hpp"

namespace motley {

/// First of the last-axis numbers of (r, b); null where the view is empty.
template <class AnyView>
KOKKOS_INLINE_FUNCTION typename AnyView::pointer_type row_of(const AnyView& view, int r, int b) {
  const std::size_t inner =
      AnyView::rank() == 4 ? view.extent(2) * view.extent(AnyView::rank() - 1) : view.extent(2);
  return view.span() == 0
             ? nullptr
             : view.data() + (std::size_t(r) * view.extent(1) + std::size_t(b)) * inner;
}

/// [R] options of a registered method, one for each replica's settings.
template <class Method>
View1<OptionsOf<Method>> device_options(const char* name, const OwnSettings& own) {
  using Options = OptionsOf<Method>;
  static_assert(std::is_trivially_copyable_v<Options>,
                "options of a kernel are numbers and switches");
  View1<Options> view(name, own.size());
  const auto host = Kokkos::create_mirror(view);
  for (std::size_t r = 0; r < own.size(); ++r) host(r) = own[r].template as<Options>();
  Kokkos::deep_copy(view, host);
  return view;
}

}  // namespace motley
