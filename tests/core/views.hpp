#pragma once
/// Views from host values and back, for tests.

#include <vector>

#include "core/base/types.hpp"

namespace motley::test {

template <class View>
auto on_host(const View& view) {
  auto host = Kokkos::create_mirror(view);
  Kokkos::deep_copy(host, view);
  return host;
}

template <class T>
View1<T> device(const std::vector<T>& values) {
  View1<T> view("motley::test::values", values.size());
  auto host = Kokkos::create_mirror(view);
  for (std::size_t i = 0; i < values.size(); ++i) host(i) = values[i];
  Kokkos::deep_copy(view, host);
  return view;
}

/// A view of the given rank whose elements, in row-major order, are `values`.
template <class View, class T, class... Extents>
View device_as(const std::vector<T>& values, Extents... extents) {
  View view("motley::test::view", static_cast<std::size_t>(extents)...);
  auto host = Kokkos::create_mirror(view);
  auto* data = host.data();
  for (std::size_t i = 0; i < values.size(); ++i)
    data[i] = static_cast<typename View::non_const_value_type>(values[i]);
  Kokkos::deep_copy(view, host);
  return view;
}

template <class View>
std::vector<typename View::non_const_value_type> values_of(const View& view) {
  const auto host = on_host(view);
  return {host.data(), host.data() + host.span()};
}

}  // namespace motley::test
