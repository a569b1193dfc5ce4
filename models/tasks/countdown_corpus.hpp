#pragma once
/// Texts of the Countdown corpus: expressions made forwards, and meanings told in other words.
/// Device code.

#include "models/tasks/countdown_table.hpp"
#include "models/tasks/draws.hpp"

namespace motley::countdown {

inline constexpr double kCommonSynonym = 0.8;  ///< of the first of an operator's two words
inline constexpr int kTries = 64;

/// The table on the device, shared by kernels.
struct Meanings {
  View1<int> multiset_of, first_meaning, first_text, problem_of, solution;
  View1<int> first_solution, num_solutions, problem_multiset, problem_target;
  View2<int> numbers;         // [multisets,4] ascending
  View1<std::uint64_t> hash;  // [meanings]
  View1<std::uint32_t> text;
  int invalid = 0;  // class of malformed completions

  KOKKOS_INLINE_FUNCTION int multiset(const int* prompt) const {
    return multiset_of(number_index(value_of(prompt[0]), value_of(prompt[1]), value_of(prompt[2]),
                                    value_of(prompt[3])));
  }
  /// Class of a well-formed node over the numbers of a prompt.
  KOKKOS_INLINE_FUNCTION int find(const int* prompt, std::uint64_t wanted) const {
    const int m = multiset(prompt);
    int low = first_meaning(m);
    int high = first_meaning(m + 1);
    while (low < high) {
      const int middle = (low + high) / 2;
      if (hash(middle) < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

KOKKOS_INLINE_FUNCTION int word_of(Draws& draws, int op) {
  return operator_token(op, draws.happens(kCommonSynonym) ? 0 : 1);
}

/// Writes one step and does it.
KOKKOS_INLINE_FUNCTION void write_step(Hand& hand, Draws& draws, int i, int op, int j, int* out) {
  out[0] = number_token(hand.node[i].value);
  out[1] = word_of(draws, op);
  out[2] = number_token(hand.node[j].value);
  hand.step(i, op, j);
  out[3] = number_token(hand.node[hand.count - 1].value);
}

KOKKOS_INLINE_FUNCTION int draw_operator(Draws& draws, const CorpusParams& p) {
  const double u = double(draws.uniform());
  double cumulative = p.share[0];
  int op = 0;
  while (op < kOperators - 1 && u >= cumulative) cumulative += p.share[++op];
  return op;
}

/// An expression made forwards: two random numbers at hand and an operator, three times over.
/// Returns its result, 0 where it has run into a dead end.
KOKKOS_INLINE_FUNCTION int write_forwards(const CorpusParams& p, Draws& draws, const int* prompt,
                                          int* out) {
  Hand hand = first_hand(prompt);
  for (int s = 0; s < kSteps; ++s) {
    int i = 0, j = 0, op = 0, tries = 0;
    do {
      i = hand.unused(draws.below(kNumbers - s), -1);
      j = hand.unused(draws.below(kNumbers - s - 1), i);
      op = draw_operator(draws, p);
    } while (apply(hand.node[i].value, op, hand.node[j].value) == 0 && ++tries < kTries);
    if (tries == kTries) return 0;
    write_step(hand, draws, i, op, j, out + 4 * s);
  }
  out[4 * kSteps] = kEos;
  return hand.node[kSlots - 1].value;
}

/// A meaning in random words: one of its texts over the ascending numbers.
KOKKOS_INLINE_FUNCTION void write_meaning(const Meanings& meanings, Draws& draws, int multiset,
                                          int meaning, int* out) {
  int ascending[kNumbers];
  for (int k = 0; k < kNumbers; ++k) ascending[k] = number_token(meanings.numbers(multiset, k));
  Hand hand = first_hand(ascending);
  const int first = meanings.first_text(meaning);
  const std::uint32_t text =
      meanings.text(first + draws.below(meanings.first_text(meaning + 1) - first));
  for (int s = 0; s < kSteps; ++s) {
    const auto step = static_cast<int>(text >> (8 * s) & 255u);
    write_step(hand, draws, step & 7, step >> 6, step >> 3 & 7, out + 4 * s);
  }
  out[4 * kSteps] = kEos;
}

/// Cuts the text, or makes one of its results wrong; returns its new length.
KOKKOS_INLINE_FUNCTION int spoil(Draws& draws, int* out) {
  if (draws.happens(0.5)) {
    const int kept = draws.below(kAnswerLength - 1);
    out[kept] = kEos;
    for (int t = kept + 1; t < kAnswerLength; ++t) out[t] = kPad;
    return kept + 1;
  }
  int* result = out + 4 * draws.below(kSteps) + 3;
  const int right = value_of(*result);
  *result = number_token((right + draws.below(kLargestValue - 1)) % kLargestValue + 1);
  return kAnswerLength;
}

/// Writes the texts of a corpus.
struct Author {
  Meanings meanings;
  ConstView2<int> held_out;
  ConstView3<int> prompts;
  int num_train, num_eval;

  KOKKOS_INLINE_FUNCTION bool is_held_out(int r, const int* prompt) const {
    const int target = value_of(prompt[kNumbers]);
    const int problem =
        meanings.problem_of(meanings.multiset(prompt) * (kLargestTarget + 1) + target);
    return problem >= 0 && held_out(r, problem) != 0;
  }

  /// Random numbers, an expression, and its result or a random number as the target.
  KOKKOS_INLINE_FUNCTION void forwards(int r, const CorpusParams& p, Draws& draws,
                                       int* text) const {
    int* out = text + kPromptLength;
    for (int tries = 0; tries < kTries; ++tries) {
      for (int k = 0; k < kNumbers; ++k) text[k] = number_token(1 + draws.below(kLargestNumber));
      int target = write_forwards(p, draws, text, out);
      if (target < 1 || target > kLargestTarget) continue;
      if (draws.happens(p.wrong_answer)) target = 1 + draws.below(kLargestTarget);
      text[kNumbers] = number_token(target);
      if (!is_held_out(r, text)) return;
    }
    // Hardly ever: the sum of the numbers, which is at most 36, under the next free target.
    Hand hand = first_hand(text);
    for (int s = 0; s < kSteps; ++s)
      write_step(hand, draws, hand.unused(0, -1), plus, hand.unused(1, -1), out + 4 * s);
    out[4 * kSteps] = kEos;
    int target = hand.node[kSlots - 1].value;
    do {
      text[kNumbers] = number_token(target);
      target = target % kLargestTarget + 1;
    } while (is_held_out(r, text));
  }

  /// A problem, outside the held-out set or in it, and an answer for a given prompt.
  KOKKOS_INLINE_FUNCTION void draw_problem(int r, bool from_held_out, Draws& shared,
                                           int* text) const {
    if (from_held_out) {
      const int row = num_train + shared.below(num_eval);
      for (int k = 0; k < kPromptLength; ++k) text[k] = prompts(r, row, k);
      return;
    }
    int problem = 0;
    do {
      problem = shared.below(static_cast<int>(meanings.problem_target.extent(0)));
    } while (held_out(r, problem) != 0);
    const int multiset = meanings.problem_multiset(problem);
    for (int k = 0; k < kNumbers; ++k) text[k] = number_token(meanings.numbers(multiset, k));
    for (int k = kNumbers - 1; k > 0; --k) {
      const int other = shared.below(k + 1);
      const int kept = text[k];
      text[k] = text[other];
      text[other] = kept;
    }
    text[kNumbers] = number_token(meanings.problem_target(problem));
  }

  /// One of two solutions that the run shares, or any meaning of the numbers.
  KOKKOS_INLINE_FUNCTION void retell(const CorpusParams& p, Draws& shared, Draws& draws,
                                     int* text) const {
    const int multiset = meanings.multiset(text);
    const int problem =
        meanings.problem_of(multiset * (kLargestTarget + 1) + value_of(text[kNumbers]));
    const int first = meanings.first_meaning(multiset);
    const int any = meanings.first_meaning(multiset + 1) - first;
    int meaning[2];
    meaning[0] = meanings.solution(meanings.first_solution(problem) +
                                   shared.below(meanings.num_solutions(problem)));
    meaning[1] = meanings.solution(meanings.first_solution(problem) +
                                   shared.below(meanings.num_solutions(problem)));
    const int other = first + shared.below(any);
    if (meaning[1] == meaning[0]) meaning[1] = other;
    const int told = draws.happens(p.retold) ? meaning[draws.below(2)] : first + draws.below(any);
    write_meaning(meanings, draws, multiset, told, text + kPromptLength);
  }
};

}  // namespace motley::countdown
