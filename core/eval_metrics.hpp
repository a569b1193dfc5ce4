#pragma once
/// Quality against the number of draws: estimators from n samples of one prompt.
///
/// All are averages over the k-subsets of the samples (draws without replacement), hence unbiased
/// for k draws of the policy; none resamples with replacement, which is biased low. Host, double.

#include <cstdint>
#include <vector>

namespace motley {

/// Unbiased pass@k = 1 - C(n-c, k) / C(n, k); 1 if n - c < k (Chen et al. 2021). Needs k <= n.
double pass_at_k(int n, int c, int k);

/// pass^k = C(c, k) / C(n, k): all of k draws are correct.
double all_pass_at_k(int n, int c, int k);

/// 1 - (1 - p)^k for a known success probability p.
double exact_pass_at_k(double p, double k);

/// maxg@k = sum_i g_(i) C(i - 1, k - 1) / C(n, k), g ascending, i = 1..n: expected best of k.
double max_at_k(std::vector<double> quality, int k);

/// Samples of one class: members, and how many are correct.
struct VotingClass {
  int members = 0;
  bool correct = false;
};

/// maj@k: probability that the most frequent class of k draws is correct; equally frequent ones
/// share the vote. Exact, as a mean over all C(n, k) subsets: for every height j of the winners,
/// the subsets whose classes all have at most j members, t of them exactly j, are counted class by
/// class with their number of correct winners. O(k^2 n ln k); n <= 1000.
double maj_at_k(const std::vector<VotingClass>& classes, int k);
/// Whether `maj_at_k` is affordable; above it `drawn_maj_at_k` is used.
bool exact_vote_feasible(int n, int k);

/// The same as a mean over `draws` subsets without replacement, drawn by Philox at
/// (seed, Stream::set_draw, step, item, draw * k + place).
double drawn_maj_at_k(const std::vector<VotingClass>& classes, int k, int draws, std::uint64_t seed,
                      std::uint32_t step, std::uint32_t item);

/// A metric against inference compute.
struct ComputePoint {
  int k = 0;
  double tokens = 0;  ///< k * mean tokens of a completion
  double value = 0;
};
std::vector<ComputePoint> compute_curve(const std::vector<int>& k, const std::vector<double>& value,
                                        double mean_tokens);
/// The best value that costs at most `budget` tokens, the cheapest of equals; k = 0 where none
/// fits. Over curves of several temperatures: call it on their concatenation.
ComputePoint best_within(const std::vector<ComputePoint>& curve, double budget);

/// A policy's quality and diversity at one temperature; more of either is better.
struct FrontPoint {
  double quality = 0, diversity = 0;
};
/// Is another point at least as good in both and better in one?
bool is_dominated(const std::vector<FrontPoint>& points, std::size_t i);
/// Area of the plane that some point dominates, above and right of `reference`.
double hypervolume(std::vector<FrontPoint> points, const FrontPoint& reference);

}  // namespace motley
