#pragma once
/// One list per configuration struct: key, member, unit, allowed values, sentence.
///
/// Every configuration aggregate has, beside it, a function template
///     template <class C, class Visitor> void describe(C& config, Visitor&& v);
/// whose body is a list of calls `v(key, member, allowed, unit, text)`. That one list serves the
/// help, the configuration file, the range checks, the HDF5 attributes and docs/options.md.
/// `C` is the struct or its const form. Enumerations have their spellings in `EnumNames<E>`.

#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace motley {

/// Specialise with `static constexpr std::array<std::string_view, n> names` in enumerator order;
/// the enumerators must count from 0.
template <class E>
struct EnumNames;

/// Values that registration adds to an enumeration (core/base/registry.hpp); none, unless
/// specialised: \c names in order, \c value of the i-th, \c name of a value that is no enumerator.
template <class E>
struct RegisteredNames {
  static std::vector<std::string> names() { return {}; }
  static E value(std::size_t) { return E{}; }
  static std::string_view name(E) { return "?"; }
};

template <class E>
std::string_view name_of(E value) {
  const auto i = static_cast<std::size_t>(value);
  return i < EnumNames<E>::names.size() ? EnumNames<E>::names[i] : RegisteredNames<E>::name(value);
}

/// Spellings of all values: the enumerators, then what is registered.
template <class E>
std::vector<std::string> choices() {
  std::vector<std::string> out(EnumNames<E>::names.begin(), EnumNames<E>::names.end());
  for (std::string& name : RegisteredNames<E>::names()) out.push_back(std::move(name));
  return out;
}

/// The i-th of `choices`.
template <class E>
E choice(std::size_t i) {
  const std::size_t enumerators = EnumNames<E>::names.size();
  return i < enumerators ? static_cast<E>(i) : RegisteredNames<E>::value(i - enumerators);
}

/// Allowed numbers; open ends are excluded. NaN and infinities are never allowed.
struct Range {
  double low = -std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::max();
  bool low_open = false;
  bool high_open = false;

  bool contains(double x) const {
    return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
  }
};
inline constexpr Range at_least(double low) {
  return {.low = low};
}
inline constexpr Range above(double low) {
  return {.low = low, .low_open = true};
}
inline constexpr Range between(double low, double high) {
  return {.low = low, .high = high};
}

/// Any text (or any member of the enumeration).
struct AnyValue {};
inline constexpr AnyValue any_value{};

/// One of these texts.
struct OneOf {
  std::vector<std::string> values;
};

}  // namespace motley
