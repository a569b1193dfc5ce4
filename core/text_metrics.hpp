#pragma once
/// Lexical diversity of a set of token strings. Host, double; a string is its counted tokens, end
/// token included, as in the n-gram reward.

#include <vector>

namespace motley {

using TokenString = std::vector<int>;

/// distinct-n (Li et al., arXiv 1510.03055): unique n-grams / n-grams, over the whole set; 0 where
/// no string has n tokens. n = 1..8.
double distinct_n(const std::vector<TokenString>& strings, int n);

/// Expectation-adjusted distinct (Liu et al., arXiv 2202.13587): N / (V (1 - ((V-1)/V)^C)):
/// distinct tokens over their expected number if the C tokens were uniform over the vocabulary. 0
/// for C = 0.
double expectation_adjusted_distinct(int distinct, int total, int vocab);
double expectation_adjusted_distinct(const std::vector<TokenString>& strings, int vocab);

/// Self-BLEU (Zhu et al., arXiv 1802.01886): mean over strings of BLEU-4 against all others; lower
/// = more diverse; NaN for fewer than two strings.
///
/// BLEU-4 = BP exp(1/4 sum_n ln p_n), n = 1..4; p_1 = clipped matches / unigrams, for n > 1 with
/// one added above and below (Lin and Och 2004). Clipping at the largest count in any one
/// reference; BP = min(1, exp(1 - r/c)) with r the reference length closest to c, the shorter of
/// two. An n-gram's largest count among the others follows from its two largest counts, so the cost
/// is that of the n-grams, not of the pairs.
double self_bleu(const std::vector<TokenString>& strings);

/// Mean over n = 1, 2 of the cosine of n-gram count vectors: the text kernel of the Vendi score's
/// authors. [n,n], unit diagonal; strings without n-grams are alike and unlike all others.
std::vector<double> ngram_kernel(const std::vector<TokenString>& strings);

/// Vendi score with `ngram_kernel`; equal strings are merged before, with their share as weight.
double ngram_vendi(const std::vector<TokenString>& strings, double order = 1.0);

}  // namespace motley
