#pragma once
/// Comparing n-grams of token strings in place, without tables or allocation.

#include "core/base/types.hpp"

namespace motley {

KOKKOS_INLINE_FUNCTION bool same_tokens(const int* a, const int* b, int n) {
  for (int i = 0; i < n; ++i)
    if (a[i] != b[i]) return false;
  return true;
}

/// Does the n-gram `gram` occur among the n-grams of text[0, length)?
KOKKOS_INLINE_FUNCTION bool contains_ngram(const int* text, int length, const int* gram, int n) {
  for (int i = 0; i + n <= length; ++i)
    if (same_tokens(text + i, gram, n)) return true;
  return false;
}

/// Is the n-gram at `at` the first of its kind in the text?
KOKKOS_INLINE_FUNCTION bool first_occurrence(const int* text, int at, int n) {
  for (int i = 0; i < at; ++i)
    if (same_tokens(text + i, text + at, n)) return false;
  return true;
}

/// Jaccard similarity of the sets of n-grams; where both are shorter than n: 1 iff equal strings.
KOKKOS_INLINE_FUNCTION double ngram_jaccard(const int* a, int length_a, const int* b, int length_b,
                                            int n) {
  if (length_a < n || length_b < n)
    return length_a == length_b && same_tokens(a, b, length_a) ? 1.0 : 0.0;
  int size_a = 0, size_b = 0, common = 0;
  for (int i = 0; i + n <= length_a; ++i) {
    if (!first_occurrence(a, i, n)) continue;
    ++size_a;
    if (contains_ngram(b, length_b, a + i, n)) ++common;
  }
  for (int i = 0; i + n <= length_b; ++i)
    if (first_occurrence(b, i, n)) ++size_b;
  return double(common) / double(size_a + size_b - common);
}

}  // namespace motley
