#pragma once
/// A partitioner of one's own: a struct, and one line that registers it.
///
///     struct SameStart {
///       static constexpr const char* kName = "same_start";  // partition.method = same_start
///       static constexpr const char* kText = "one sentence";
///       struct Options { ... };                             // keys same_start.*; may be left out
///       KOKKOS_FUNCTION static double score(const Options& o, const PartitionGroup& x, int i, int
///       j);
///     };
///     MOTLEY_REGISTER_PARTITIONER(SameStart)
///
/// One contract: a partitioner says how surely each pair of a group means the same, and the linkage
/// (partition.linkage, partition.threshold) makes clusters with canonical labels, leaves out who
/// takes no part, and knows what soft means. Two ways to say it:
///   score   P(i means j) in [0,1] for i < j, one thread per row;
///   label   any cluster numbers >= 0 of the whole group, one thread per group:
///             KOKKOS_FUNCTION static void label(const Options&, const PartitionGroup&, int*
///             label);
///           pairs of equal numbers score 1, others 0, so every linkage gives the labels back.
/// Options and `x.params` are the replica's own. Nothing is allocated; draws by `x.draw` alone.

#include <memory>
#include <vector>

#include "core/base/rng.hpp"
#include "core/partition.hpp"
#include "core/rows.hpp"

namespace motley {

/// One group as a partitioner sees it. n = G.
struct PartitionGroup {
  int n;                          ///< completions
  int T;                          ///< tokens between two texts
  const int* token;               ///< [n,T]
  const int* length;              ///< [n] tokens, end token included
  const int* class_id;            ///< [n] ground truth, where the task has it; negative = none
  int prompt_id;                  ///< number of the prompt in the task
  const PartitionParams* params;  ///< keys that partitioners share: threshold, ngram_n
  DrawKey key;                    ///< of `draw`: the same in every step

  KOKKOS_INLINE_FUNCTION const int* text(int g) const { return token + std::size_t(g) * T; }
  /// Uniform in [0, 1), at (seed, own_partitioner, prompt, place): a judge that is asked again
  /// about a prompt answers the same. Give every use its own place.
  KOKKOS_INLINE_FUNCTION float draw(std::uint32_t place) const {
    return draw_uniform(key, static_cast<std::uint32_t>(prompt_id), place);
  }
};

/// What a partitioner reads.
struct PartitionInputs {
  ConstView1<PartitionParams> params;  // [R]
  ConstView2<int> prompt_id;           // [R,B]
  ConstView4<int> token;               // [R,B,G,T]
  ConstView3<int> length;              // [R,B,G]
  ConstView3<int> class_id;            // [R,B,G]
};

/// A registered partitioner with the options of a batch's replicas. Host only.
class PartitionerInBatch {
 public:
  virtual ~PartitionerInBatch() = default;
  /// Fills the replicas that use the method; the others are left untouched.
  /// \param pair_score [R,B,G,G] out, symmetric, diagonal 1   \param num_calls [R,B] out, 0
  virtual void pair_scores(const Exec& exec, const PartitionInputs& in,
                           const View4<float>& pair_score, const View2<int>& num_calls) const = 0;
};
using PartitionMethods = std::vector<std::shared_ptr<const PartitionerInBatch>>;

struct PartitionerEntry : MethodEntry {
  std::shared_ptr<const PartitionerInBatch> (*in_batch)(PartitionMethod, const OwnSettings&, int B,
                                                        int G) = nullptr;
};
Registry<PartitionerEntry>& partitioner_registry();

/// The registered partitioners among those of a batch's replicas.
/// \param own [R] settings of each replica, a box for every registered partitioner
PartitionMethods partitioners_in_batch(const std::vector<PartitionMethod>& method,
                                       const std::vector<OwnSettings>& own, int B, int G);

template <class Method>
struct OwnPartitionKernel {
  static constexpr bool kLabels = requires { &Method::label; };
  PartitionMethod number;
  ConstView1<OptionsOf<Method>> options;  // [R]
  PartitionInputs in;
  View3<int> label;  // [R,B,G] of methods that label, else empty
  View4<float> pair_score;
  View2<int> num_calls;
  int B, G;

  KOKKOS_INLINE_FUNCTION PartitionGroup group(int r, int b) const {
    return {G,
            static_cast<int>(in.token.extent(3)),
            row_of(in.token, r, b),
            row_of(in.length, r, b),
            row_of(in.class_id, r, b),
            in.prompt_id(r, b),
            &in.params(r),
            {in.params(r).seed, Stream::own_partitioner, 0}};
  }

  /// Of methods that label a job is a group, of the others a row of pairs.
  KOKKOS_INLINE_FUNCTION void operator()(const int job) const {
    const int first = kLabels ? 0 : job % G;
    const int last = kLabels ? G : first + 1;
    const int b = kLabels ? job % B : job / G % B;
    const int r = kLabels ? job / B : job / (G * B);
    if (in.params(r).method != number) return;
    const PartitionGroup x = group(r, b);
    if constexpr (kLabels) Method::label(options(r), x, row_of(label, r, b));
    if (first == 0) num_calls(r, b) = 0;
    for (int i = first; i < last; ++i) {
      pair_score(r, b, i, i) = 1.0f;
      for (int j = i + 1; j < G; ++j) {
        float score = 0.0f;
        if constexpr (kLabels)
          score = label(r, b, i) == label(r, b, j) ? 1.0f : 0.0f;
        else
          score = static_cast<float>(Method::score(options(r), x, i, j));
        pair_score(r, b, i, j) = score;
        pair_score(r, b, j, i) = score;
      }
    }
  }
};

template <class Method>
class OwnPartitionerInBatch final : public PartitionerInBatch {
 public:
  using Kernel = OwnPartitionKernel<Method>;
  OwnPartitionerInBatch(PartitionMethod number, const OwnSettings& own, int B, int G)
      : number_(number),
        name_(concat("motley::partition::", Method::kName)),
        options_(device_options<Method>("motley::partition::options", own)) {
    if (Kernel::kLabels) label_ = View3<int>("motley::partition::label", own.size(), B, G);
  }
  void pair_scores(const Exec& exec, const PartitionInputs& in, const View4<float>& pair_score,
                   const View2<int>& num_calls) const override {
    const int R = static_cast<int>(pair_score.extent(0));
    const int B = static_cast<int>(pair_score.extent(1));
    const int G = static_cast<int>(pair_score.extent(2));
    const int jobs = Kernel::kLabels ? R * B : R * B * G;
    Kokkos::parallel_for(name_, Kokkos::RangePolicy<Exec>(exec, 0, jobs),
                         Kernel{number_, options_, in, label_, pair_score, num_calls, B, G});
  }

 private:
  PartitionMethod number_;
  std::string name_;
  View1<OptionsOf<Method>> options_;
  View3<int> label_;
};

/// Enters a partitioner; true, so that a constant can be initialised by it.
template <class Method>
bool register_partitioner() {
  PartitionerEntry entry{{Method::kName, Method::kText, {Method::kName, OptionsOf<Method>{}}},
                         [](PartitionMethod number, const OwnSettings& own, int B, int G) {
                           return std::shared_ptr<const PartitionerInBatch>(
                               std::make_shared<OwnPartitionerInBatch<Method>>(number, own, B, G));
                         }};
  partitioner_registry().add(std::move(entry));
  return true;
}

}  // namespace motley

/// In a .cpp file, outside of functions.
#define MOTLEY_REGISTER_PARTITIONER(Method)                       \
  [[maybe_unused]] static const bool motley_registered_##Method = \
      ::motley::register_partitioner<Method>();
