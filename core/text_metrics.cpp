#include "core/text_metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "core/base/error.hpp"
#include "core/diversity_metrics.hpp"

namespace motley {

namespace {

constexpr int kLongest = 8;
using Gram = std::array<int, kLongest>;  // unused places hold -1

Gram gram_at(const TokenString& s, std::size_t first, int n) {
  Gram gram;
  gram.fill(-1);
  for (int i = 0; i < n; ++i)
    gram[static_cast<std::size_t>(i)] = s[first + static_cast<std::size_t>(i)];
  return gram;
}

/// n-grams of every string as (number of the gram, count), the numbers shared by the set.
struct GramTable {
  std::vector<std::map<int, int>> counts;
  int distinct = 0;

  GramTable(const std::vector<TokenString>& strings, int n) {
    MOTLEY_REQUIRE(n >= 1 && n <= kLongest, ErrorKind::internal, "n-grams of ", n, " tokens");
    std::map<Gram, int> number;
    for (const TokenString& s : strings) {
      counts.emplace_back();
      for (std::size_t t = 0; t + static_cast<std::size_t>(n) <= s.size(); ++t)
        ++counts.back()[number.try_emplace(gram_at(s, t, n), static_cast<int>(number.size()))
                            .first->second];
    }
    distinct = static_cast<int>(number.size());
  }
};

int grams_of(const TokenString& s, int n) {
  return std::max(0, static_cast<int>(s.size()) - n + 1);
}

/// ln BP of string i against all others.
double brevity(const std::vector<TokenString>& strings, std::size_t i) {
  const int c = static_cast<int>(strings[i].size());
  int closest = -1;
  for (std::size_t j = 0; j < strings.size(); ++j) {
    if (j == i) continue;
    const int r = static_cast<int>(strings[j].size());
    const int gap = std::abs(r - c), best = std::abs(closest - c);
    if (closest < 0 || gap < best || (gap == best && r < closest)) closest = r;
  }
  return c >= closest ? 0.0 : 1.0 - double(closest) / c;
}

}  // namespace

double distinct_n(const std::vector<TokenString>& strings, int n) {
  int total = 0;
  for (const TokenString& s : strings) total += grams_of(s, n);
  return total > 0 ? double(GramTable(strings, n).distinct) / total : 0.0;
}

double expectation_adjusted_distinct(int distinct, int total, int vocab) {
  MOTLEY_REQUIRE(vocab >= 1 && distinct >= 0 && total >= distinct, ErrorKind::internal,
                 "expectation_adjusted_distinct(", distinct, ", ", total, ", ", vocab, ")");
  if (total == 0) return 0.0;
  // 1 - (1 - 1/V)^C without cancellation; V = 1: 1.
  const double seen = vocab == 1 ? 1.0 : -std::expm1(total * std::log1p(-1.0 / vocab));
  return distinct / (vocab * seen);
}

double expectation_adjusted_distinct(const std::vector<TokenString>& strings, int vocab) {
  int total = 0;
  for (const TokenString& s : strings) total += grams_of(s, 1);
  return expectation_adjusted_distinct(GramTable(strings, 1).distinct, total, vocab);
}

double self_bleu(const std::vector<TokenString>& strings) {
  const std::size_t count = strings.size();
  if (count < 2) return std::nan("");
  std::vector<double> log_bleu(count, 0.0);
  for (int n = 1; n <= 4; ++n) {
    const GramTable table(strings, n);
    struct Largest {
      int first = 0, second = 0;  // the two largest counts in different strings
    };
    std::vector<Largest> largest(static_cast<std::size_t>(table.distinct));
    for (const auto& grams : table.counts)
      for (const auto& [gram, times] : grams) {
        Largest& l = largest[static_cast<std::size_t>(gram)];
        if (times > l.first) {
          l.second = l.first;
          l.first = times;
        } else {
          l.second = std::max(l.second, times);
        }
      }
    for (std::size_t i = 0; i < count; ++i) {
      int matches = 0;
      for (const auto& [gram, times] : table.counts[i]) {
        // times <= first; where they are equal the others' largest is the second (or equal).
        const Largest& l = largest[static_cast<std::size_t>(gram)];
        matches += std::min(times, times == l.first ? l.second : l.first);
      }
      const int grams = grams_of(strings[i], n), extra = n > 1 ? 1 : 0;
      log_bleu[i] += grams + extra > 0 ? std::log(double(matches + extra) / (grams + extra)) / 4
                                       : -std::numeric_limits<double>::infinity();
    }
  }
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i)
    if (!strings[i].empty()) sum += std::exp(log_bleu[i] + brevity(strings, i));
  return sum / static_cast<double>(count);
}

std::vector<double> ngram_kernel(const std::vector<TokenString>& strings) {
  const std::size_t count = strings.size();
  std::vector<double> kernel(count * count, 0.0);
  for (int n = 1; n <= 2; ++n) {
    const GramTable table(strings, n);
    std::vector<double> norm(count, 0.0);
    for (std::size_t i = 0; i < count; ++i)
      for (const auto& [gram, times] : table.counts[i]) norm[i] += double(times) * times;
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (const auto& [gram, times] : table.counts[i]) {
          const auto other = table.counts[j].find(gram);
          if (other != table.counts[j].end()) dot += double(times) * other->second;
        }
        double cosine = 0;
        if (i == j || (norm[i] == 0 && norm[j] == 0))
          cosine = 1;
        else if (dot > 0)
          cosine = dot / std::sqrt(norm[i] * norm[j]);
        kernel[i * count + j] += cosine / 2;
        if (i != j) kernel[j * count + i] += cosine / 2;
      }
  }
  return kernel;
}

double ngram_vendi(const std::vector<TokenString>& strings, double order) {
  std::map<TokenString, int> times;
  for (const TokenString& s : strings) ++times[s];
  std::vector<TokenString> unique;
  std::vector<double> weight;
  for (const auto& [s, count] : times) {
    unique.push_back(s);
    weight.push_back(count / static_cast<double>(strings.size()));
  }
  return vendi_score(ngram_kernel(unique), weight, order);
}

}  // namespace motley
