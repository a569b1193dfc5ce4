#pragma once
/// A shaping of one's own: a struct, and one line that registers it.
///
///     struct Novelty {
///       static constexpr const char* kName = "novelty";   // diversity.shaping = novelty
///       static constexpr const char* kText = "one sentence";
///       static constexpr unsigned kTraits = kShapesProduct | kShapesClusters;  // or kPlainShaping
///       struct Options {                                  // keys novelty.weight, ...
///         double weight = 0.5;
///         template <class V>
///         void describe(V&& v) { v("weight", weight, between(0, 1), "1", "one sentence"); }
///       };
///       template <class Scalar>
///       KOKKOS_FUNCTION static void shape(const Options& o, const ShapingGroup<Scalar>& x);
///     };
///     MOTLEY_REGISTER_SHAPING(Novelty)
///
/// `shape` rewards one group; it runs in one thread, on the device as on the host, for every group
/// of the replicas that use the method. Options and `x.params` are the replica's own, so runs with
/// other methods or settings may stand beside it in one batch. It allocates nothing, sums in order,
/// and draws by `x.draw` alone; then its bits depend on nothing but its replica.

#include <memory>
#include <vector>

#include "core/base/rng.hpp"
#include "core/shaping.hpp"
#include "core/shaping_terms.hpp"

namespace motley {

/// One group as a shaping sees it; pointers to the group's own rows. n = G.
template <class Scalar>
struct ShapingGroup {
  int n;                        ///< completions
  int T;                        ///< tokens between two texts
  const Scalar* quality;        ///< [n]
  const int* cluster;           ///< [n] label = first member; -1 = none (soft linkage)
  const int* cluster_size;      ///< [n]
  const float* pair_score;      ///< [n,n] symmetric, diagonal 1
  const int* token;             ///< [n,T]
  const int* length;            ///< [n] tokens, end token included
  const int* finish;            ///< [n] `Finish`
  const float* log_prob;        ///< [n,T] (trait kShapesLogProbs)
  const ShapingParams* params;  ///< keys that shapings share: floor, reward_bias, ngram_n
  DrawKey key;                  ///< of `draw`
  std::uint32_t prompt;         ///< b
  double* scratch;              ///< [4 n], of any content
  Scalar* diversity;            ///< [n] that of the partition; may be set, and is logged
  Scalar* reward;               ///< [n] out; holds the quality

  KOKKOS_INLINE_FUNCTION const int* text(int g) const { return token + std::size_t(g) * T; }
  KOKKOS_INLINE_FUNCTION double similarity(int g, int j) const {
    return double(pair_score[std::size_t(g) * n + j]);
  }
  /// Quality after diversity.reward_bias: what a product should multiply.
  KOKKOS_INLINE_FUNCTION Scalar biased(int g) const {
    Scalar lowest = quality[0];
    for (int j = 1; j < n; ++j) lowest = quality[j] < lowest ? quality[j] : lowest;
    return motley::biased(*params, quality[g], lowest);
  }
  /// Uniform in [0, 1), at (seed, own_shaping, step, prompt, place); give every use its own place.
  KOKKOS_INLINE_FUNCTION float draw(std::uint32_t place) const {
    return draw_uniform(key, prompt, place);
  }
};

/// A registered shaping with the options of a batch's replicas. Host only.
class ShapingInBatch {
 public:
  virtual ~ShapingInBatch() = default;
  virtual void shape(const Exec& exec, const ShapingInputs<float>& in, const RewardWorkspace& work,
                     const View3<float>& diversity, const View3<float>& reward) const = 0;
  virtual void shape(const Exec& exec, const ShapingInputs<double>& in, const RewardWorkspace& work,
                     const View3<double>& diversity, const View3<double>& reward) const = 0;
};

struct ShapingEntry : MethodEntry {
  unsigned traits = kPlainShaping;
  std::shared_ptr<const ShapingInBatch> (*in_batch)(Shaping, const OwnSettings&) = nullptr;
};
Registry<ShapingEntry>& shaping_registry();

/// The registered shapings among those of a batch's replicas.
/// \param own [R] settings of each replica, a box for every registered shaping
ShapingMethods shapings_in_batch(const std::vector<Shaping>& shaping,
                                 const std::vector<OwnSettings>& own);

template <class Method, class Scalar>
struct OwnShapingKernel {
  Shaping number;
  ConstView1<OptionsOf<Method>> options;  // [R]
  ShapingInputs<Scalar> in;
  RewardWorkspace workspace;
  View3<Scalar> diversity, reward;

  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int B = static_cast<int>(reward.extent(1));
    const int b = job % B;
    const int r = job / B;
    if (in.params(r).shaping != number) return;
    const ShapingGroup<Scalar> group{static_cast<int>(reward.extent(2)),
                                     static_cast<int>(in.token.extent(3)),
                                     row_of(in.quality, r, b),
                                     row_of(in.cluster, r, b),
                                     row_of(in.cluster_size, r, b),
                                     row_of(in.pair_score, r, b),
                                     row_of(in.token, r, b),
                                     row_of(in.length, r, b),
                                     row_of(in.finish, r, b),
                                     row_of(in.log_prob, r, b),
                                     &in.params(r),
                                     {in.params(r).seed, Stream::own_shaping, in.step},
                                     static_cast<std::uint32_t>(b),
                                     row_of(workspace.group, r, b),
                                     row_of(diversity, r, b),
                                     row_of(reward, r, b)};
    for (int g = 0; g < group.n; ++g) group.reward[g] = group.quality[g];
    Method::template shape<Scalar>(options(r), group);
  }
};

template <class Method>
class OwnShapingInBatch final : public ShapingInBatch {
 public:
  OwnShapingInBatch(Shaping number, const OwnSettings& own)
      : number_(number),
        label_(concat("motley::shaping::", Method::kName)),
        options_(device_options<Method>("motley::shaping::options", own)) {}
  void shape(const Exec& exec, const ShapingInputs<float>& in, const RewardWorkspace& work,
             const View3<float>& diversity, const View3<float>& reward) const override {
    launch(exec, in, work, diversity, reward);
  }
  void shape(const Exec& exec, const ShapingInputs<double>& in, const RewardWorkspace& work,
             const View3<double>& diversity, const View3<double>& reward) const override {
    launch(exec, in, work, diversity, reward);
  }

 private:
  template <class Scalar>
  void launch(const Exec& exec, const ShapingInputs<Scalar>& in, const RewardWorkspace& work,
              const View3<Scalar>& diversity, const View3<Scalar>& reward) const {
    const int groups = static_cast<int>(reward.extent(0) * reward.extent(1));
    Kokkos::parallel_for(
        label_, Kokkos::RangePolicy<Exec>(exec, 0, groups),
        OwnShapingKernel<Method, Scalar>{number_, options_, in, work, diversity, reward});
  }
  Shaping number_;
  std::string label_;
  View1<OptionsOf<Method>> options_;
};

/// Enters a shaping; true, so that a constant can be initialised by it.
template <class Method>
bool register_shaping() {
  static_assert(Method::kTraits < (1u << kTraitBits));
  ShapingEntry entry{{Method::kName, Method::kText, {Method::kName, OptionsOf<Method>{}}},
                     Method::kTraits,
                     [](Shaping number, const OwnSettings& own) {
                       return std::shared_ptr<const ShapingInBatch>(
                           std::make_shared<OwnShapingInBatch<Method>>(number, own));
                     }};
  shaping_registry().add(std::move(entry));
  return true;
}

}  // namespace motley

/// In a .cpp file, outside of functions.
#define MOTLEY_REGISTER_SHAPING(Method)                           \
  [[maybe_unused]] static const bool motley_registered_##Method = \
      ::motley::register_shaping<Method>();
