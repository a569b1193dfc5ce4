/// A partitioner of one's own: two texts are alike as far as they begin alike.
/// docs/howto/own_partitioner.md walks through this file.

//! [include]
#include "core/partition_method.hpp"
//! [include]

namespace own {

//! [name]
struct CommonStart {
  static constexpr const char* kName = "common_start";
  static constexpr const char* kText = "share of the longer text that both begin with";
  //! [name]

  //! [options]
  struct Options {
    int skip = 0;
    template <class V>
    void describe(V&& v) {
      v("skip", skip, motley::between(0, 1000), "token",
        "tokens at the beginning that are left out");
    }
  };
  //! [options]

  //! [score]
  /// |longest common prefix| / |longer text|, both without their first `skip` tokens; 1 where
  /// nothing is left of either.
  KOKKOS_FUNCTION static double score(const Options& o, const motley::PartitionGroup& x, int i,
                                      int j) {
    const int a = x.length[i] > o.skip ? x.length[i] - o.skip : 0;
    const int b = x.length[j] > o.skip ? x.length[j] - o.skip : 0;
    const int shorter = a < b ? a : b;
    const int longer = a < b ? b : a;
    int common = 0;
    while (common < shorter && x.text(i)[o.skip + common] == x.text(j)[o.skip + common]) ++common;
    return longer > 0 ? double(common) / longer : 1.0;
  }
  //! [score]
};

}  // namespace own

//! [register]
using own::CommonStart;
MOTLEY_REGISTER_PARTITIONER(CommonStart)
//! [register]
