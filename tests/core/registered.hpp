#pragma once
/// Registered methods run on groups given by hand.

#include <algorithm>
#include <string>
#include <vector>

#include "core/partition_method.hpp"
#include "core/shaping_method.hpp"
#include "tests/core/views.hpp"

namespace motley::test {

using Texts = std::vector<std::vector<int>>;  ///< the completions of a group
inline constexpr int kText = 12;              ///< T

/// The value of a choice by its spelling.
template <class E>
E value_of(const std::string& name) {
  const auto all = choices<E>();
  return choice<E>(static_cast<std::size_t>(std::find(all.begin(), all.end(), name) - all.begin()));
}

/// The defaults of a registry with one method's members changed by `change(name, member)`.
template <class Change>
class Changer final : public OptionSink {
 public:
  explicit Changer(const Change& change) : change_(change) {}
  void operator()(const char* n, double& m, const Range&, const char*, const char*) override {
    m = change_(n, m);
  }
  void operator()(const char* n, int& m, const Range&, const char*, const char*) override {
    m = static_cast<int>(change_(n, m));
  }
  void operator()(const char* n, bool& m, const AnyValue&, const char*, const char*) override {
    m = change_(n, m ? 1 : 0) != 0;
  }
  void operator()(const char*, std::string&, const OneOf&, const char*, const char*) override {}

 private:
  const Change& change_;
};
template <class Change>
OwnSettings changed(OwnSettings settings, const std::string& section, const Change& change) {
  Changer<Change> sink(change);
  for (OwnOptions& options : settings)
    if (options.section() == section) options.describe(sink);
  return settings;
}

/// Groups of equal size, the same in every replica.
struct OwnGroups {
  std::vector<Texts> texts;                  ///< [B][G]
  std::vector<std::vector<double>> quality;  ///< [B][G]
  std::vector<std::vector<int>> cluster;     ///< [B][G] canonical
};

template <class T, class Of>
std::vector<T> repeated(std::size_t R, const OwnGroups& x, const Of& of) {
  std::vector<T> out;
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t b = 0; b < x.texts.size(); ++b)
      for (std::size_t g = 0; g < x.texts[b].size(); ++g) of(b, g, out);
  return out;
}
inline View4<int> tokens_of(std::size_t R, const OwnGroups& x) {
  return device_as<View4<int>>(
      repeated<int>(R, x,
                    [&](std::size_t b, std::size_t g, std::vector<int>& out) {
                      std::vector<int> text = x.texts[b][g];
                      text.resize(kText, 999);  // must not be read
                      out.insert(out.end(), text.begin(), text.end());
                    }),
      R, x.texts.size(), x.texts[0].size(), kText);
}
inline View3<int> lengths_of(std::size_t R, const OwnGroups& x) {
  return device_as<View3<int>>(
      repeated<int>(R, x,
                    [&](std::size_t b, std::size_t g, std::vector<int>& out) {
                      out.push_back(static_cast<int>(x.texts[b][g].size()));
                    }),
      R, x.texts.size(), x.texts[0].size());
}

template <class Scalar>
struct OwnShaped {
  std::vector<Scalar> diversity, reward;  ///< [R,B,G]
};

/// Shapes [R,B,G]: replica r with params[r] and own[r].
template <class Scalar>
OwnShaped<Scalar> shape_own(const OwnGroups& x, const std::vector<ShapingParams>& params,
                            const std::vector<OwnSettings>& own, std::uint32_t step = 3) {
  const std::size_t R = params.size(), B = x.texts.size(), G = x.texts[0].size();
  const auto quality = repeated<double>(
      R, x, [&](std::size_t b, std::size_t g, auto& out) { out.push_back(x.quality[b][g]); });
  const auto cluster = repeated<int>(
      R, x, [&](std::size_t b, std::size_t g, auto& out) { out.push_back(x.cluster[b][g]); });
  const auto size = repeated<int>(R, x, [&](std::size_t b, std::size_t g, auto& out) {
    out.push_back(
        static_cast<int>(std::count(x.cluster[b].begin(), x.cluster[b].end(), x.cluster[b][g])));
  });
  std::vector<Shaping> shaping;
  for (const ShapingParams& p : params) shaping.push_back(p.shaping);
  const View3<Scalar> diversity("motley::test::diversity", R, B, G),
      reward("motley::test::reward", R, B, G);
  const View3<int> used("motley::test::used", R, B, G);
  const RewardWorkspace work =
      make_reward_workspace(static_cast<int>(R), static_cast<int>(B), static_cast<int>(G), false);
  Kokkos::deep_copy(work.group, -7.0);
  shape_reward<Scalar>(
      Exec(),
      {device(params), device(std::vector<PartitionParams>(R)), step,
       device_as<View3<Scalar>>(quality, R, B, G), device_as<View3<int>>(cluster, R, B, G),
       device_as<View3<int>>(size, R, B, G), View4<float>("motley::test::pair", R, B, G, G),
       tokens_of(R, x), lengths_of(R, x), View3<int>("motley::test::finish", R, B, G),
       View4<float>("motley::test::log_prob", R, B, G, kText)},
      work, diversity, reward, used, shapings_in_batch(shaping, own));
  return {values_of(diversity), values_of(reward)};
}

struct OwnPartitioned {
  std::vector<float> score;                ///< [R,B,G,G]
  std::vector<int> cluster, size, number;  ///< [R,B,G], [R,B,G], [R,B]
};
inline OwnPartitioned partition_own(const OwnGroups& x, const std::vector<PartitionParams>& params,
                                    const std::vector<OwnSettings>& own,
                                    const View3<int>& member = View3<int>()) {
  const std::size_t R = params.size(), B = x.texts.size(), G = x.texts[0].size();
  std::vector<PartitionMethod> method;
  for (const PartitionParams& p : params) method.push_back(p.method);
  const View4<float> score("motley::test::pair", R, B, G, G);
  const View2<int> calls("motley::test::calls", R, B), number("motley::test::number", R, B);
  const View3<int> cluster("motley::test::cluster", R, B, G), size("motley::test::size", R, B, G);
  Kokkos::deep_copy(score, -7.0f);
  const View3<int> class_id("motley::test::class", R, B, G);
  const View2<int> prompt("motley::test::prompt", R, B);
  for (const auto& one :
       partitioners_in_batch(method, own, static_cast<int>(B), static_cast<int>(G)))
    one->pair_scores(Exec(), {device(params), prompt, tokens_of(R, x), lengths_of(R, x), class_id},
                     score, calls);
  partition(Exec(), device(params), score, member, cluster, size, number);
  return {values_of(score), values_of(cluster), values_of(size), values_of(number)};
}

}  // namespace motley::test
