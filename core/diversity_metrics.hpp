#pragma once
/// Diversity of a set of completions: classes, shares of probability, similarity matrices.
///
/// Host functions in double over the labels, counts or kernel of one prompt's samples; the sums run
/// in index order. Formulas with symbols in docs/metrics.md.

#include <cmath>
#include <limits>
#include <vector>

namespace motley {

/// Members of every class of a label list, in order of first appearance.
std::vector<int> class_counts(const std::vector<int>& label);

/// Classes among the first k labels (NoveltyBench distinct_k, k = 10 there).
int distinct_k(const std::vector<int>& label, int k);

/// Unbiased expected number of distinct classes among k of n draws:
/// sum over classes of 1 - C(n - n_m, k) / C(n, k). Counts of the correct classes alone, with n of
/// all draws, give the covered solutions coverage@k.
double distinct_at_k(const std::vector<int>& counts, int n, int k);

/// -sum (n_m / n) ln (n_m / n), nats; 0 for no members.
double class_entropy(const std::vector<int>& counts);

/// What one count vector says about diversity. K classes, n members, p_m = n_m / n.
struct ClassDiversity {
  double entropy = 0;          ///< -sum p ln p, nats
  double effective = 0;        ///< exp(entropy)
  double miller_madow = 0;     ///< entropy + (K - 1) / 2n, nats
  double inverse_simpson = 0;  ///< 1 / sum p^2
  double collision = 0;        ///< 1 - sum p^2
  double inverse_max = 0;      ///< 1 / max p
};
ClassDiversity class_diversity(const std::vector<int>& counts);

/// NoveltyBench utility: sum_i p^i [class of i is new] u_i / sum_i p^i, i = 0, ..., p = patience
/// (0.8 there, 1 in the DARLING paper, where it is the mean of first-of-class scores over k).
double novelty_utility(const std::vector<double>& score, const std::vector<int>& label,
                       double patience);

/// Expectation of `novelty_utility` over ordered draws of k of the n samples without replacement.
/// Sample s with n_s members in its class is new at place i with probability
/// C(n - n_s, i) / C(n - 1, i), so the mean over all orders needs no enumeration:
/// (1/n) sum_s u_s sum_{i<k} p^i C(n - n_s, i) / C(n - 1, i) / sum_{i<k} p^i.
double utility_at_k(const std::vector<double>& score, const std::vector<int>& label, int k,
                    double patience);

/// Semantic entropy (Kuhn et al., arXiv 2302.09664): -sum_C p(C) ln p(C) with
/// p(C) = sum_{y in C} pi(y) / sum_y pi(y) over the samples, by log-sum-exp.
/// \param log_prob ln pi(y) of every sample, finite or -infinity
/// \param length   tokens of every sample: ln pi(y) is divided by it; empty = not normalised
double semantic_entropy(const std::vector<double>& log_prob, const std::vector<int>& label,
                        const std::vector<int>& length = {});

inline constexpr double kInfiniteOrder = std::numeric_limits<double>::infinity();

/// Eigenvalues of a symmetric matrix [n,n] (row-major, the lower triangle is read), ascending:
/// Householder tridiagonalisation, then implicit QL. O(n^3). \throws Error(numeric) when it does
/// not converge.
std::vector<double> symmetric_eigenvalues(std::vector<double> matrix, int n);

/// Vendi score (arXiv 2210.02410) of a positive semi-definite kernel with unit diagonal: with l the
/// eigenvalues of sqrt(w_i w_j) K_ij, exp(-sum l ln l); order q: exp(ln(sum l^q) / (1 - q));
/// q = inf: 1 / max l. The indicator kernel of a partition gives exp(class_entropy).
/// \param kernel [n,n]   \param weight [n] sums to 1: the share of samples that are equal to item i
/// (the same score as with the item repeated); empty = 1/n each   \param order above 0
double vendi_score(const std::vector<double>& kernel, const std::vector<double>& weight,
                   double order = 1.0);

/// Diversity among all, the correct and the wrong samples of one prompt.
struct DiversityByCorrectness {
  int distinct = 0, distinct_correct = 0, distinct_wrong = 0;
  double entropy = 0;                                                   ///< nats
  double entropy_correct = std::nan(""), entropy_wrong = std::nan("");  ///< NaN where none
};
DiversityByCorrectness diversity_by_correctness(const std::vector<int>& label,
                                                const std::vector<bool>& correct);

/// Means of a per-prompt number over prompts with and without a correct sample; NaN where none.
struct SolvedSplit {
  double solved = std::nan(""), unsolved = std::nan("");
  int num_solved = 0;
};
SolvedSplit split_by_solved(const std::vector<double>& value, const std::vector<int>& num_correct);

/// Survival of modes over time.
struct Survival {
  int reachable = 0;         ///< modes with share[0][m] above the threshold
  int surviving = 0;         ///< of these, above it at the last time
  std::vector<int> lost_at;  ///< [modes] first time from which it stays at or below; -1 = survives,
                             ///< -2 = was never reachable
};
/// \param share [times][modes]
/// \param threshold 1 / (n * visits): below it a mode is not expected in a prompt's n samples of
/// all its visits
Survival mode_survival(const std::vector<std::vector<double>>& share, double threshold);

}  // namespace motley
