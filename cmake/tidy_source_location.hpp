#pragma once
// Only for clang-tidy 14, given by -include: libstdc++ hides <source_location> from that clang,
// which lacks the builtin behind it.
#if defined(__clang__) && __clang_major__ < 15
#include <cstdint>
namespace std {
struct source_location {
  static constexpr source_location current() noexcept { return {}; }
  constexpr const char* file_name() const noexcept { return ""; }
  constexpr uint_least32_t line() const noexcept { return 0; }
};
}  // namespace std
#endif
