#pragma once
/// DIVER's lexical bonus (arXiv 2509.26209; code NJU-RL/DIVER, verl/div_src/diversity_metric.py).

#include "core/ngram.hpp"
#include "core/shaping_method.hpp"

namespace motley {

/// BLEU of a text against one reference, without smoothing, as sentence_bleu of NLTK computes it:
/// BP exp(sum_n w_n ln p_n), n = 1..order, w = .02, .1, .15, .25, .38 (their sum is .9, and is left
/// so); p_n = clipped matches / n-grams; without a common token 0; an order without a match counts
/// with the smallest normal double, which leaves about 1e-31. BP = 1 for the longer text, else
/// exp(1 - reference / length).
KOKKOS_INLINE_FUNCTION double weighted_bleu(const int* text, int length, const int* reference,
                                            int reference_length, int order) {
  const double weight[] = {0.02, 0.1, 0.15, 0.25, 0.38};
  if (length == 0) return 0.0;
  double sum = 0;
  for (int n = 1; n <= order; ++n) {
    const int grams = length - n + 1;
    int matches = 0;
    for (int i = 0; i < grams; ++i) {
      if (!first_occurrence(text, i, n)) continue;
      int mine = 0, theirs = 0;
      for (int j = i; j < grams; ++j) mine += same_tokens(text + j, text + i, n) ? 1 : 0;
      for (int j = 0; j + n <= reference_length; ++j)
        theirs += same_tokens(reference + j, text + i, n) ? 1 : 0;
      matches += mine < theirs ? mine : theirs;
    }
    if (n == 1 && matches == 0) return 0.0;
    const double p = matches > 0 ? double(matches) / grams : 2.2250738585072014e-308;
    sum += weight[n - 1] * Kokkos::log(p);
  }
  if (length <= reference_length) sum += 1.0 - double(reference_length) / length;
  return Kokkos::exp(sum);
}

/// r = bias(q) (1 + coef Div), Div = 1 - mean_{j != i} (BLEU(i|j) + BLEU(j|i)) / 2: where every
/// completion of the group is correct and the step is below bleu_bonus.steps; elsewhere r =
/// bias(q). A group of one has Div = 0. `diversity` receives Div.
struct BleuBonus {
  static constexpr const char* kName = "bleu_bonus";
  static constexpr const char* kText =
      "quality grows with the lexical distance to the other completions (DIVER)";
  static constexpr unsigned kTraits = kShapesProduct;

  struct Options {
    double coef = 0.1;
    int order = 5;
    bool only_all_correct = true;
    int steps = 100;
    template <class V>
    void describe(V&& v) {
      v("coef", coef, between(0, 1e6), "1", "weight of the bonus, a share of the quality");
      v("order", order, between(1, 5), "token",
        "longest n-gram of the BLEU score; texts shorter than it are unlike all others");
      v("only_all_correct", only_all_correct, any_value, "1",
        "reward groups alone whose completions are all correct");
      v("steps", steps, between(0, 1e9), "1", "first steps that are rewarded; 0 = all");
    }
  };

  template <class Scalar>
  KOKKOS_FUNCTION static void shape(const Options& o, const ShapingGroup<Scalar>& x) {
    double* likeness = x.scratch;
    bool counts = o.steps == 0 || x.key.step < static_cast<std::uint32_t>(o.steps);
    for (int g = 0; g < x.n; ++g) {
      likeness[g] = 0;
      counts = counts && (!o.only_all_correct || x.quality[g] > Scalar(0));
    }
    for (int i = 0; i < x.n; ++i)
      for (int j = i + 1; j < x.n; ++j) {
        const double one = weighted_bleu(x.text(i), x.length[i], x.text(j), x.length[j], o.order);
        const double other = weighted_bleu(x.text(j), x.length[j], x.text(i), x.length[i], o.order);
        likeness[i] += (one + other) / 2;
        likeness[j] += (one + other) / 2;
      }
    for (int g = 0; g < x.n; ++g) {
      const double diverse = x.n > 1 ? 1 - likeness[g] / (x.n - 1) : 0.0;
      x.diversity[g] = static_cast<Scalar>(diverse);
      x.reward[g] =
          static_cast<Scalar>(double(x.biased(g)) * (counts ? 1 + o.coef * diverse : 1.0));
    }
  }
};

}  // namespace motley
