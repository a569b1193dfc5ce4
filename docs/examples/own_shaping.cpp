/// A shaping of one's own: of all completions that mean the same, the shortest keeps its quality,
/// and every longer one earns less by a factor. docs/howto/own_shaping.md walks through this file.

//! [include]
#include "core/shaping_method.hpp"
//! [include]

namespace own {

//! [name]
struct ShortestFirst {
  static constexpr const char* kName = "shortest_first";
  static constexpr const char* kText =
      "the k-th longer text of a meaning earns decay^k of its quality";
  static constexpr unsigned kTraits = motley::kShapesProduct | motley::kShapesClusters;
  //! [name]

  //! [options]
  struct Options {
    double decay = 0.5;
    bool among_correct = false;
    template <class V>
    void describe(V&& v) {
      v("decay", decay, motley::between(0, 1), "1", "what each shorter text of the meaning leaves");
      v("among_correct", among_correct, motley::any_value, "1",
        "count shorter texts alone whose quality is above 0");
    }
  };
  //! [options]

  //! [shape]
  /// r_i = bias(q_i) decay^k, k = completions of i's cluster that are shorter (ties: come before).
  template <class Scalar>
  KOKKOS_FUNCTION static void shape(const Options& o, const motley::ShapingGroup<Scalar>& x) {
    for (int i = 0; i < x.n; ++i) {
      double factor = 1;
      for (int j = 0; j < x.n; ++j) {
        const bool shorter = x.length[j] < x.length[i] || (x.length[j] == x.length[i] && j < i);
        const bool counts = !o.among_correct || x.quality[j] > Scalar(0);
        if (x.cluster[j] == x.cluster[i] && shorter && counts) factor *= o.decay;
      }
      x.diversity[i] = static_cast<Scalar>(factor);
      x.reward[i] = x.biased(i) * static_cast<Scalar>(factor);
    }
  }
  //! [shape]
};

}  // namespace own

//! [register]
using own::ShortestFirst;
MOTLEY_REGISTER_SHAPING(ShortestFirst)
//! [register]
