/// Registered methods that do not fit are named, all at once, before a command starts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/partition_method.hpp"
#include "core/shaping_method.hpp"
#include "experiments/options.hpp"

namespace motley::test {

/// A shaping that changes nothing, under names that do not fit.
struct Idle {
  static constexpr const char* kText = "leaves the quality as it is";
  static constexpr unsigned kTraits = kPlainShaping;
  template <class Scalar>
  KOKKOS_FUNCTION static void shape(const NoOptions&, const ShapingGroup<Scalar>&) {}
};
struct TakenByValue : Idle {
  static constexpr const char* kName = "mmr";
};
struct TakenBySection : Idle {
  static constexpr const char* kName = "loss";
};
struct NoName : Idle {
  static constexpr const char* kName = "My-Shaping";
};
struct TwiceDescribed : Idle {
  static constexpr const char* kName = "twice";
  struct Options {
    double x = 1;
    template <class V>
    void describe(V&& v) {
      v("x", x, between(0, 1), "1", "a number");
      v("x", x, between(0, 1), "1", "the same number");
    }
  };
  template <class Scalar>
  KOKKOS_FUNCTION static void shape(const Options&, const ShapingGroup<Scalar>&) {}
};
struct OfAnotherKind {
  static constexpr const char* kName = "twice";
  static constexpr const char* kText = "no pair is the same";
  KOKKOS_FUNCTION static double score(const NoOptions&, const PartitionGroup&, int, int) {
    return 0;
  }
};
MOTLEY_REGISTER_SHAPING(TakenByValue)
MOTLEY_REGISTER_SHAPING(TakenBySection)
MOTLEY_REGISTER_SHAPING(NoName)
MOTLEY_REGISTER_SHAPING(TwiceDescribed)
MOTLEY_REGISTER_PARTITIONER(OfAnotherKind)

namespace {

TEST(Registration, NamesEveryMethodThatDoesNotFit) {
  try {
    check_registered();
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::config);
    EXPECT_EQ(
        std::string(error.what()),
        "diversity.shaping = My-Shaping (registered): not a name, got \"My-Shaping\"; allowed: small letters, digits and _, a letter first\n"
        "diversity.shaping = loss (registered): the name is taken, it is a section of options; allowed: a name of its own\n"
        "diversity.shaping = mmr (registered): the name is taken, it is a value of diversity.shaping; allowed: a name of its own\n"
        "diversity.shaping = twice (registered): the name is taken, it is a registered value of partition.method; allowed: a name of its own\n"
        "diversity.shaping = twice (registered): option twice.x is described twice");
  }
}

}  // namespace
}  // namespace motley::test
