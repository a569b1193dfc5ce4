#include <algorithm>
#include <cmath>

#include "models/classifier.hpp"

namespace motley {

PairQuality pair_quality(const std::vector<float>& score, const std::vector<int>& label,
                         double threshold) {
  PairQuality q;
  q.pairs = static_cast<int>(score.size());
  double tp = 0, fp = 0, tn = 0, fn = 0;
  double bin_count[10] = {}, bin_score[10] = {}, bin_label[10] = {};
  for (std::size_t i = 0; i < score.size(); ++i) {
    const bool says = double(score[i]) > threshold;
    const bool truth = label[i] != 0;
    (says ? (truth ? tp : fp) : (truth ? fn : tn)) += 1;
    const int bin = std::clamp(static_cast<int>(score[i] * 10.0f), 0, 9);
    bin_count[bin] += 1;
    bin_score[bin] += double(score[i]);
    bin_label[bin] += truth ? 1 : 0;
  }
  const auto ratio = [](double a, double b) { return b > 0 ? a / b : 0.0; };
  const double n = static_cast<double>(score.size());
  q.accuracy = ratio(tp + tn, n);
  q.precision = ratio(tp, tp + fp);
  q.recall = ratio(tp, tp + fn);
  q.f1 = ratio(2 * tp, 2 * tp + fp + fn);
  q.false_merge = ratio(fp, fp + tn);
  q.false_split = ratio(fn, fn + tp);
  for (int i = 0; i < 10; ++i) q.ece += ratio(std::abs(bin_score[i] - bin_label[i]), n);
  // Area under the ROC curve = P(score of a same pair > score of a different one), ties 1/2.
  std::vector<std::size_t> order(score.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double rank_sum = 0;
  for (std::size_t i = 0; i < order.size();) {
    std::size_t j = i;
    while (j < order.size() && score[order[j]] == score[order[i]]) ++j;
    const double mean_rank = 0.5 * static_cast<double>(i + 1 + j);
    for (std::size_t k = i; k < j; ++k)
      if (label[order[k]] != 0) rank_sum += mean_rank;
    i = j;
  }
  const double positives = tp + fn, negatives = tn + fp;
  q.auroc = ratio(rank_sum - positives * (positives + 1) / 2, positives * negatives);
  return q;
}

}  // namespace motley
