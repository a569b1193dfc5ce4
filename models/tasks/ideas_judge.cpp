#include "models/tasks/ideas_judge.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "models/tasks/draws.hpp"

namespace motley::ideas {

namespace {

// Shares of the standing before it is standardised.
constexpr double kThemeWeight = 0.7;
constexpr double kCoherenceWeight = 0.5;
constexpr int kRank = 3;

/// What the steps of Stream::task are for; the prompt pool has step 0.
enum Table : std::uint32_t { theme = 2, pairs = 3, rankings = 4, gems_of_group = 5 };

double normal(std::uint64_t seed, Table table, int i) {
  const Philox4 bits = draw_bits({seed, Stream::task, table}, static_cast<std::uint32_t>(i), 0);
  const double u1 = 1.0 - bits.x[0] * 0x1p-32;
  const double u2 = bits.x[1] * 0x1p-32;
  return std::sqrt(-2.0 * std::log(u1)) * std::cos(6.283185307179586 * u2);
}

/// Calls f(adjective, noun, idea) for every theme and idea.
template <class F>
void for_each_idea(F&& f) {
  int idea[kSlots];
  for (int a = 0; a < kAdjectives; ++a)
    for (int b = 0; b < kNouns; ++b)
      for (int i = 0; i < kPlots * kPlots; ++i) {
        for (int s = kSlots - 1, rest = i; s >= 0; --s, rest /= kValues) idea[s] = rest % kValues;
        f(a, b, idea);
      }
}

/// The tables of one replica before they go to the device.
struct HostTables {
  std::vector<double> z = std::vector<double>(kJudgeSize);
  std::vector<int> gem = std::vector<int>(kGroups * kPlots);
  std::vector<int> ranking = std::vector<int>((1 + kAdjectives) * kSlots * kValues);

  double& at(int i) { return z[static_cast<std::size_t>(i)]; }
  Tables tables(bool gems) const { return {z.data(), gem.data(), ranking.data(), gems}; }
};

void draw_judge(std::uint64_t seed, HostTables& host) {
  for (int i = 0; i < kCoherence; ++i) host.at(i) = kThemeWeight * normal(seed, theme, i);
  // Rank 3: left vector k of value v times right vector k of value w.
  const auto vector = [&](int pair, int side, int value, int k) {
    return normal(seed, pairs, ((pair * 2 + side) * kValues + value) * kRank + k);
  };
  for (int p = 0; p < kPairs; ++p)
    for (int v = 0; v < kValues; ++v)
      for (int w = 0; w < kValues; ++w) {
        double sum = 0;
        for (int k = 0; k < kRank; ++k) sum += vector(p, 0, v, k) * vector(p, 1, w, k);
        host.at(coherence(p, v, w)) = kCoherenceWeight * sum / std::sqrt(double(kRank));
      }
  host.at(kOffset) = 0.0;
  const Tables tables = host.tables(false);
  double sum = 0, squares = 0, n = 0;
  for_each_idea([&](int a, int b, const int* idea) {
    const double raw = tables.standing(a, b, idea);
    sum += raw;
    squares += raw * raw;
    n += 1;
  });
  const double mean = sum / n;
  const double deviation = std::sqrt(squares / n - mean * mean);
  for (int i = 0; i < kOffset; ++i) host.at(i) /= deviation;
  host.at(kOffset) = -mean / deviation;
}

void draw_rankings(std::uint64_t seed, HostTables& host) {
  for (int order = 0; order <= kAdjectives; ++order)
    for (int s = 0; s < kSlots; ++s) {
      const std::vector<int> by_rank = shuffled(kValues, {seed, Stream::task, rankings},
                                                static_cast<std::uint32_t>(order * kSlots + s));
      for (int k = 0; k < kValues; ++k)
        host.ranking[static_cast<std::size_t>((order * kSlots + s) * kValues + k)] =
            by_rank[static_cast<std::size_t>(k)];
    }
}

/// Three plots a group from the events and twists that the habit ranks 5th to 8th.
void draw_gems(std::uint64_t seed, HostTables& host) {
  constexpr int kFirst = 4, kCount = 4;
  const Tables tables = host.tables(true);
  for (int group = 0; group < kGroups; ++group) {
    const std::vector<int> pick = shuffled(kCount * kCount, {seed, Stream::task, gems_of_group},
                                           static_cast<std::uint32_t>(group));
    for (int k = 0; k < kGemsPerGroup; ++k) {
      const int cell = pick[static_cast<std::size_t>(k)];
      const int event = tables.ranked(0, 2, kFirst + cell / kCount);
      const int twist = tables.ranked(0, 3, kFirst + cell % kCount);
      host.gem[static_cast<std::size_t>(group * kPlots + event * kValues + twist)] = 1;
    }
  }
}

/// Ideas with Q > .5 of every theme, or the plots among them.
std::vector<int> count_passing(const Tables& tables, bool plots) {
  std::vector<int> count(kThemes, 0);
  std::vector<std::set<int>> plot(kThemes);
  for_each_idea([&](int a, int b, const int* idea) {
    if (!(tables.quality(a, b, idea) > 0.5)) return;
    const auto theme_id = static_cast<std::size_t>(a * kNouns + b);
    ++count[theme_id];
    if (plots) plot[theme_id].insert(idea[2] * kValues + idea[3]);
  });
  if (plots)
    for (std::size_t t = 0; t < count.size(); ++t) count[t] = static_cast<int>(plot[t].size());
  return count;
}

}  // namespace

Judge make_judge(const std::vector<std::uint64_t>& seeds, bool gems, bool plots,
                 std::vector<std::vector<int>>& passing) {
  const auto R = seeds.size();
  Judge judge;
  judge.gems = gems;
  judge.z = View2<double>("motley::ideas::judge", R, kJudgeSize);
  judge.gem = View2<int>("motley::ideas::gem", R, kGroups * kPlots);
  judge.ranking = View2<int>("motley::ideas::ranking", R, (1 + kAdjectives) * kSlots * kValues);
  const auto z = Kokkos::create_mirror(judge.z);
  const auto gem = Kokkos::create_mirror(judge.gem);
  const auto ranking = Kokkos::create_mirror(judge.ranking);
  passing.clear();
  for (std::size_t r = 0; r < R; ++r) {
    HostTables host;
    draw_judge(seeds[r], host);
    draw_rankings(seeds[r], host);
    draw_gems(seeds[r], host);
    passing.push_back(count_passing(host.tables(gems), plots));
    for (std::size_t i = 0; i < host.z.size(); ++i) z(r, i) = host.z[i];
    for (std::size_t i = 0; i < host.gem.size(); ++i) gem(r, i) = host.gem[i];
    for (std::size_t i = 0; i < host.ranking.size(); ++i) ranking(r, i) = host.ranking[i];
  }
  Kokkos::deep_copy(judge.z, z);
  Kokkos::deep_copy(judge.gem, gem);
  Kokkos::deep_copy(judge.ranking, ranking);
  return judge;
}

}  // namespace motley::ideas
