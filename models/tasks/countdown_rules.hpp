#pragma once
/// Countdown in steps: tokens, arithmetic and meaning of a completion. Device code.
///
/// A prompt is four numbers of 1..9 and a target. A completion is three steps `a op b c` and the
/// end token: a and b are numbers at hand, c is the result and takes their place. Results are whole
/// and in 1..60. Where a value is at hand twice, the step takes the older one: the numbers of the
/// prompt before results, earlier results before later ones.
///
/// The meaning of a completion is its canonical tree: sums flattened to a multiset of signed terms,
/// products to a multiset of factors with exponents 1 and -1, recursively. Commutativity,
/// associativity, the order of steps and the synonyms of operators vanish. A multiset is
/// represented by the sum of its members' hashes modulo 2^64, so no order is needed; the table of
/// all meanings is tested to be free of collisions.

#include "core/base/types.hpp"
#include "models/tasks/task.hpp"

namespace motley::countdown {

inline constexpr int kNumbers = 4;
inline constexpr int kSteps = kNumbers - 1;
inline constexpr int kLargestNumber = 9;
inline constexpr int kLargestTarget = 40;
inline constexpr int kLargestValue = 60;
inline constexpr int kPromptLength = kNumbers + 1;
inline constexpr int kAnswerLength = 4 * kSteps + 1;
inline constexpr int kFirstOperator = 2 + kLargestValue + 1;
inline constexpr int kOperators = 4;
inline constexpr int kSynonyms = 2;
inline constexpr int kVocabulary = kFirstOperator + kOperators * kSynonyms;
inline constexpr int kSlots = kNumbers + kSteps;

enum Operator : int { plus, minus, times, over };

KOKKOS_INLINE_FUNCTION int number_token(int value) {
  return 2 + value;
}
/// Value of a number token, or -1.
KOKKOS_INLINE_FUNCTION int value_of(int token) {
  return token >= 2 && token < kFirstOperator ? token - 2 : -1;
}
KOKKOS_INLINE_FUNCTION int operator_token(int op, int synonym) {
  return kFirstOperator + op * kSynonyms + synonym;
}
/// Operator of a token, or -1.
KOKKOS_INLINE_FUNCTION int operator_of(int token) {
  return token >= kFirstOperator && token < kVocabulary ? (token - kFirstOperator) / kSynonyms : -1;
}

/// a op b, or 0 where the result is not whole or not in 1..60.
KOKKOS_INLINE_FUNCTION int apply(int a, int op, int b) {
  int c = 0;
  switch (op) {
    case plus: c = a + b; break;
    case minus: c = a - b; break;
    case times: c = a * b; break;
    default: c = b > 0 && a % b == 0 ? a / b : 0;
  }
  return c >= 1 && c <= kLargestValue ? c : 0;
}

/// Finaliser of splitmix64: a bijection that mixes all bits.
KOKKOS_INLINE_FUNCTION std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

/// A number at hand with the canonical tree of the expression that made it.
struct Node {
  int value = 0;
  int kind = -1;            ///< -1 a number of the prompt, 0 a sum, 1 a product
  bool multiplies = false;  ///< is there a product inside?
  std::uint64_t hash = 0;
  std::uint64_t members = 0;   ///< sum over the multiset of the members' hashes
  std::uint64_t inverted = 0;  ///< the same with every sign (exponent) turned round
};

KOKKOS_INLINE_FUNCTION Node number_node(int value) {
  Node n;
  n.value = value;
  n.hash = mix(static_cast<std::uint64_t>(value));
  return n;
}

/// Hash of a member of a sum (kind 0) or product (kind 1) with sign or exponent +1 or -1.
KOKKOS_INLINE_FUNCTION std::uint64_t member_hash(const Node& n, int kind, bool positive) {
  if (n.kind == kind) return positive ? n.members : n.inverted;
  return mix(n.hash ^ (kind == 0 ? 0x5150000000000001ull : 0x5150000000000010ull) ^
             (positive ? 0ull : 0x0A00000000000000ull));
}

/// The node of a op b; value 0 where the step is not allowed.
KOKKOS_INLINE_FUNCTION Node join(const Node& a, int op, const Node& b) {
  Node n;
  n.value = apply(a.value, op, b.value);
  n.kind = op == plus || op == minus ? 0 : 1;
  const bool positive = op == plus || op == times;
  n.members = member_hash(a, n.kind, true) + member_hash(b, n.kind, positive);
  n.inverted = member_hash(a, n.kind, false) + member_hash(b, n.kind, !positive);
  n.hash = mix(n.members ^ (n.kind == 0 ? 0x7500000000000003ull : 0x7500000000000030ull));
  n.multiplies = n.kind == 1 || a.multiplies || b.multiplies;
  return n;
}

/// The numbers at hand, in the order of age; numbers of the prompt first.
struct Hand {
  Node node[kSlots];
  bool used[kSlots];
  int count = 0;

  KOKKOS_INLINE_FUNCTION void put(const Node& n) {
    node[count] = n;
    used[count++] = false;
  }
  /// Oldest unused slot of that value except `not_this`, or -1.
  KOKKOS_INLINE_FUNCTION int find(int value, int not_this) const {
    for (int i = 0; i < count; ++i)
      if (!used[i] && i != not_this && node[i].value == value) return i;
    return -1;
  }
  /// k-th unused slot except `not_this`.
  KOKKOS_INLINE_FUNCTION int unused(int k, int not_this) const {
    for (int i = 0; i < count; ++i)
      if (!used[i] && i != not_this && k-- == 0) return i;
    return -1;
  }
  /// Does the step; false (and nothing done) where it is not allowed.
  KOKKOS_INLINE_FUNCTION bool step(int i, int op, int j) {
    const Node n = join(node[i], op, node[j]);
    if (n.value == 0) return false;
    used[i] = used[j] = true;
    put(n);
    return true;
  }
};

/// The hand at the start; `prompt` holds tokens.
KOKKOS_INLINE_FUNCTION Hand first_hand(const int* prompt) {
  Hand hand;
  for (int i = 0; i < kNumbers; ++i) hand.put(number_node(value_of(prompt[i])));
  return hand;
}

/// Reads a counted completion; the node of its result, or value 0 where it is malformed: a wrong
/// shape, a number that is not at hand, a wrong result.
KOKKOS_INLINE_FUNCTION Node read_answer(const int* prompt, const int* text, int length) {
  Hand hand = first_hand(prompt);
  if (length != kAnswerLength || text[kAnswerLength - 1] != kEos) return {};
  for (int s = 0; s < kSteps; ++s) {
    const int* word = text + 4 * s;
    const int op = operator_of(word[1]);
    const int i = hand.find(value_of(word[0]), -1);
    const int j = i < 0 ? -1 : hand.find(value_of(word[2]), i);
    if (op < 0 || j < 0) return {};
    if (!hand.step(i, op, j)) return {};
    if (hand.node[hand.count - 1].value != value_of(word[3])) return {};
  }
  return hand.node[kSlots - 1];
}

/// A text without its surface: slots and operator of each step, eight bits a step.
KOKKOS_INLINE_FUNCTION std::uint32_t pack_step(int i, int op, int j) {
  return static_cast<std::uint32_t>(i | (j << 3) | (op << 6));
}

}  // namespace motley::countdown
