#pragma once
/// Hashes of token strings. The numbers decide draws, so they are part of the file format.

#include <cstdint>

#include "core/base/types.hpp"

namespace motley {

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that mixes all bits.
KOKKOS_INLINE_FUNCTION std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// Of text[0, length); depends on the length too, so an empty string has a hash as well.
KOKKOS_INLINE_FUNCTION std::uint64_t hash_tokens(const int* text, int length) {
  std::uint64_t h = mix64(static_cast<std::uint64_t>(length));
  for (int t = 0; t < length; ++t) h = mix64(h ^ static_cast<std::uint32_t>(text[t]));
  return h;
}

/// Of an unordered pair of hashes: the same whichever comes first.
KOKKOS_INLINE_FUNCTION std::uint64_t hash_pair(std::uint64_t a, std::uint64_t b) {
  return a < b ? mix64(mix64(a) ^ b) : mix64(mix64(b) ^ a);
}

}  // namespace motley
