#include "experiments/eval_summary.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/diversity_metrics.hpp"
#include "core/eval_metrics.hpp"

namespace motley {

namespace {

/// Subsets drawn for maj@k where the exact mean costs too much.
constexpr int kVoteDraws = 1000;

/// Members and correct members of every class.
struct ClassTally {
  int members = 0, correct = 0;
};

}  // namespace

std::vector<int> canonical_classes(const std::vector<int>& class_id) {
  std::map<int, int> first;
  std::vector<int> label;
  for (std::size_t i = 0; i < class_id.size(); ++i) {
    const int own = static_cast<int>(i);
    label.push_back(class_id[i] < 0 ? own : first.try_emplace(class_id[i], own).first->second);
  }
  return label;
}

void add_prompt(const EvalSettings& settings, const PromptSamples& x, int q, int Q, EvalRecord& e) {
  const int M = static_cast<int>(x.cluster.size());
  std::map<int, ClassTally> tally;
  std::vector<bool> right;
  std::vector<double> utility;
  int correct = 0, truncated = 0;
  double tokens = 0, quality = 0;
  for (std::size_t m = 0; m < x.cluster.size(); ++m) {
    right.push_back(x.quality[m] > settings.pass_above);
    ClassTally& c = tally[x.cluster[m]];
    ++c.members;
    c.correct += right[m] ? 1 : 0;
    correct += right[m] ? 1 : 0;
    truncated += x.truncated[m] ? 1 : 0;
    tokens += static_cast<double>(x.token[m].size());
    quality += x.quality[m];
    utility.push_back(kUtilityScale * std::clamp(x.quality[m], 0.0, 1.0));
  }
  std::vector<int> all, covered;
  std::vector<VotingClass> votes;
  for (const auto& [label, c] : tally) {
    all.push_back(c.members);
    if (c.correct > 0) covered.push_back(c.correct);
    votes.push_back({c.members, 2 * c.correct > c.members});
  }
  const DiversityByCorrectness d = diversity_by_correctness(x.cluster, right);
  e.num_samples.push_back(M);
  e.num_correct.push_back(correct);
  e.num_distinct.push_back(d.distinct);
  e.num_distinct_correct.push_back(d.distinct_correct);
  e.num_distinct_wrong.push_back(d.distinct_wrong);
  const auto put = [](std::vector<float>& column, double value) {
    column.push_back(static_cast<float>(value));
  };
  put(e.mean_quality, quality / M);
  put(e.class_entropy, class_entropy(all));
  put(e.class_entropy_correct, d.entropy_correct);
  put(e.class_entropy_wrong, d.entropy_wrong);
  put(e.semantic_entropy, semantic_entropy(x.log_prob, x.cluster));
  put(e.vendi, ngram_vendi(x.token));
  put(e.distinct_n, distinct_n(x.token, settings.ngram_n));
  put(e.ead, expectation_adjusted_distinct(x.token, settings.vocab));
  put(e.self_bleu, self_bleu(x.token));
  put(e.length, tokens / M);
  put(e.truncated_frac, double(truncated) / M);
  for (std::size_t i = 0; i < settings.k.size(); ++i) {
    const int k = settings.k[i];
    e.pass_at_k[i] += pass_at_k(M, correct, k) / Q;
    e.distinct_at_k[i] += distinct_at_k(all, M, k) / Q;
    e.coverage_at_k[i] += distinct_at_k(covered, M, k) / Q;
    e.utility_at_k[i] += utility_at_k(utility, x.cluster, k, kPatience) / Q;
    e.maxg_at_k[i] += max_at_k(x.quality, k) / Q;
    const double vote =
        exact_vote_feasible(M, k)
            ? maj_at_k(votes, k)
            : drawn_maj_at_k(votes, k, kVoteDraws, settings.seed,
                             static_cast<std::uint32_t>(e.step), static_cast<std::uint32_t>(q));
    e.maj_at_k[i] += vote / Q;
  }
}

}  // namespace motley
