#include <cmath>
#include <string_view>

#include <gtest/gtest.h>

#include "core/base/arena.hpp"
#include "core/base/error.hpp"
#include "core/base/math.hpp"
#include "core/base/reduce.hpp"
#include "core/base/rng.hpp"
#include "core/base/shape.hpp"
#include "core/base/status.hpp"
#include "core/rollout.hpp"
#include "tests/core/views.hpp"

namespace motley::test {
namespace {

/// Vectors of Random123's kat_vectors for philox4x32-10.
TEST(Philox, KnownAnswers) {
  const auto expect = [](const Philox4& got, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                         std::uint32_t d) {
    EXPECT_EQ(got.x[0], a);
    EXPECT_EQ(got.x[1], b);
    EXPECT_EQ(got.x[2], c);
    EXPECT_EQ(got.x[3], d);
  };
  expect(philox4x32_10({{0, 0, 0, 0}}, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
  const std::uint32_t ones = 0xffffffffu;
  expect(philox4x32_10({{ones, ones, ones, ones}}, ones, ones), 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd);
  expect(philox4x32_10({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
         0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1);
}

TEST(Philox, AnAddressIsItsFourParts) {
  const DrawKey key{(std::uint64_t{7} << 32) | 9, Stream::sample, 11};
  const Philox4 direct = philox4x32_10({{5, 3, 11, 2}}, 9, 7);
  EXPECT_EQ(draw_bits(key, 3, 5).x[0], direct.x[0]);
  EXPECT_EQ(unit_float(0xffffffffu), 1.0f - 0x1p-24f);  // never 1
  EXPECT_EQ(unit_float(0), 0.0f);
  EXPECT_EQ(uniform_below(0xffffffffu, 10), 9u);
}

/// Words of Philox from kernels of several launch shapes, of a key that asks for Random123's
/// vectors.
void philox_in_kernels(const std::vector<Philox4>& counters, const std::vector<Philox4>& keys,
                       std::vector<View2<std::uint32_t>>& words) {
  const int n = static_cast<int>(counters.size());
  const View1<Philox4> counter("motley::test::counter", n), key("motley::test::key", n);
  const auto host_counter = Kokkos::create_mirror(counter), host_key = Kokkos::create_mirror(key);
  for (int i = 0; i < n; ++i) {
    host_counter(i) = counters[static_cast<std::size_t>(i)];
    host_key(i) = keys[static_cast<std::size_t>(i)];
  }
  Kokkos::deep_copy(counter, host_counter);
  Kokkos::deep_copy(key, host_key);
  for (int shape = 0; shape < 4; ++shape) {
    const View2<std::uint32_t> out("motley::test::words", n, 4);
    const auto draw = KOKKOS_LAMBDA(const int i) {
      const Philox4 x = philox4x32_10(counter(i), key(i).x[0], key(i).x[1]);
      for (int k = 0; k < 4; ++k) out(i, k) = x.x[k];
    };
    if (shape == 0)
      Kokkos::parallel_for("motley::test::range", Kokkos::RangePolicy<Exec>(0, n), draw);
    if (shape == 1)
      Kokkos::parallel_for("motley::test::chunks",
                           Kokkos::RangePolicy<Exec>(0, n, Kokkos::ChunkSize(1)), draw);
    if (shape == 2)
      Kokkos::parallel_for(
          "motley::test::backwards", Kokkos::RangePolicy<Exec>(0, n),
          KOKKOS_LAMBDA(const int i) { draw(n - 1 - i); });
    if (shape == 3)
      Kokkos::parallel_for(
          "motley::test::teams", TeamPolicy(Exec(), n, 1),
          KOKKOS_LAMBDA(const Team& team) { draw(team.league_rank()); });
    words.push_back(out);
  }
}

TEST(Philox, KnownAnswersOnTheBackendWhateverTheLaunch) {
  const std::uint32_t ones = 0xffffffffu;
  std::vector<Philox4> counters = {{{0, 0, 0, 0}},
                                   {{ones, ones, ones, ones}},
                                   {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}};
  std::vector<Philox4> keys = {
      {{0, 0, 0, 0}}, {{ones, ones, 0, 0}}, {{0xa4093822, 0x299f31d0, 0, 0}}};
  const std::vector<Philox4> answers = {{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                                        {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                                        {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (std::uint32_t i = 0; i < 997; ++i) {
    counters.push_back({{i, i / 7, 3, 2}});
    keys.push_back({{i % 5, 1, 0, 0}});
  }
  std::vector<View2<std::uint32_t>> words;
  philox_in_kernels(counters, keys, words);
  for (const auto& view : words) {
    const auto got = on_host(view);
    for (std::size_t i = 0; i < counters.size(); ++i) {
      const Philox4 want =
          i < answers.size() ? answers[i] : philox4x32_10(counters[i], keys[i].x[0], keys[i].x[1]);
      for (std::size_t k = 0; k < 4; ++k) ASSERT_EQ(got(i, k), want.x[k]) << i;
    }
  }
}

TEST(Math, ExpIsWithinAFewUnitsInTheLastPlace) {
  double worst = 0;
  for (int i = 0; i <= 200000; ++i) {
    const float x = static_cast<float>(-87.0 + 175.0 * i / 200000);
    const double truth = std::exp(double(x));
    worst = std::max(worst, std::abs(double(exp_value(x)) - truth) / truth);
  }
  EXPECT_LT(worst, 2e-7);
  EXPECT_GT(worst, 0.0);
  EXPECT_EQ(exp_value(0.0f), 1.0f);
  EXPECT_EQ(exp_or_zero(-std::numeric_limits<float>::infinity()), 0.0f);
}

#if MOTLEY_LANE_VECTORS
TEST(Math, SigmoidOfLanesIsThatOfNumbers) {
  std::vector<float> x = {0.0f,   -0.0f, 1e-30f, -1e-30f, 87.5f,
                          -87.5f, 89.0f, -89.0f, 1e30f,   -1e30f};
  x.push_back(std::numeric_limits<float>::infinity());
  x.push_back(-std::numeric_limits<float>::infinity());
  for (float y = -100.0f; y < 100.0f; y += 0.0137f) x.push_back(y);
  x.resize(x.size() / kLanes * kLanes);
  for (std::size_t i = 0; i < x.size(); i += kLanes) {
    const LaneVector<float, kLanes> lanes = sigmoid_lanes(load_lanes<kLanes>(&x[i]));
    for (int j = 0; j < kLanes; ++j)
      EXPECT_EQ(float(lanes[j]), sigmoid(x[i + std::size_t(j)])) << x[i + std::size_t(j)];
  }
  const LaneVector<float, kLanes> none =
      sigmoid_lanes(std::numeric_limits<float>::quiet_NaN() - LaneVector<float, kLanes>{});
  EXPECT_TRUE(std::isnan(none[3]));
}
#endif

TEST(Math, LaneSumIsTheSumInItsFixedOrder) {
  for (const int n : {0, 1, 15, 16, 17, 50}) {
    double truth = 0;
    float lane[16] = {};
    for (int i = 0; i < n; ++i) {
      const float x = 1.0f / static_cast<float>(i + 1);
      truth += double(x);
      lane[i % 16] += x;
    }
    for (int width = 8; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
    const float got = lane_sum<float>(n, [](int i) { return 1.0f / static_cast<float>(i + 1); });
    EXPECT_EQ(got, lane[0]);
    EXPECT_NEAR(double(got), truth, 1e-5);
  }
}

void sum_in_order(int n, std::vector<double>& out) {
  const View2<double> partial("motley::test::partial", 2, std::max<std::int64_t>(1, sum_chunks(n)));
  const View1<double> total("motley::test::total", 2);
  ordered_sum(
      Exec(), "motley::test::ordered_sum", 2, n,
      KOKKOS_LAMBDA(const int r, const std::int64_t i) { return (r + 1) * 0.1 / double(i + 1); },
      partial, total);
  out = values_of(total);
}
TEST(Reduce, OrderedSumIsThePlainChunkedLoop) {
  for (const int n : {1, 4095, 4096, 4097, 20000}) {
    std::vector<double> got;
    sum_in_order(n, got);
    for (int r = 0; r < 2; ++r) {
      double total = 0;
      for (int first = 0; first < n; first += kSumChunk) {
        double chunk = 0;
        for (int i = first; i < std::min(n, first + kSumChunk); ++i)
          chunk += (r + 1) * 0.1 / double(i + 1);
        total += chunk;
      }
      // The device function may fuse its product and sum, so the last bit is not compared.
      EXPECT_NEAR(got[static_cast<std::size_t>(r)], total, 1e-14 * total);
    }
  }
}

TEST(Error, NearestNameAndExitCodes) {
  const std::vector<std::string> words = {"classifier", "exact", "ngram", "oracle"};
  EXPECT_EQ(nearest("clasifier", words), "classifier");
  EXPECT_EQ(nearest("zzzzzz", words), "");
  EXPECT_EQ(did_you_mean("orcale", words), "; did you mean \"oracle\"?");
  EXPECT_EQ(exit_code(ErrorKind::config), 2);
  EXPECT_EQ(exit_code(ErrorKind::refused), 3);
  EXPECT_EQ(exit_code(ErrorKind::input), 4);
  EXPECT_EQ(exit_code(ErrorKind::io), 5);
  EXPECT_EQ(exit_code(ErrorKind::numeric), 6);
  EXPECT_EQ(exit_code(ErrorKind::shape), 1);
}

TEST(Error, ControlCharactersAreShownAndCutNothing) {
  const Error error(ErrorKind::config, std::string("a\0b\x1b[31m\r\x7f\tc\nd", 14));
  EXPECT_STREQ(error.what(), "a\\x00b\\x1b[31m\\x0d\\x7f\tc\nd");
}

TEST(Shape, AWrongExtentIsNamedWithBothShapes) {
  const View3<float> view("motley::test::view", 4, 8, 16);
  try {
    require_extents(view, "advantage", "reward", "[R,B,G]", 4, 8, 12);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "advantage: view reward has shape [4,8,16], expected [R,B,G] = [4,8,12]");
    EXPECT_EQ(error.kind(), ErrorKind::shape);
  }
}

TEST(Arena, TensorsAreAlignedAndDoNotOverlap) {
  ParameterLayout layout;
  EXPECT_EQ(layout.add("a", 3, 5), 0);
  EXPECT_EQ(layout.add("b", 1, 33), 32);
  EXPECT_EQ(layout.add("c", 1, 1), 96);
  EXPECT_EQ(layout.size(), 128);
  EXPECT_EQ(layout.weights(), 15 + 33 + 1);
  EXPECT_FALSE(layout.tensor("b").matrix());
  EXPECT_THROW(layout.tensor("d"), Error);
}

TEST(Status, TheWordNamesStageAndAddress) {
  EXPECT_EQ(describe_status(pack_status(Stage::policy_gradient, 3, 5, 17)),
            "stage policy_gradient, prompt 3, completion 5, position 17");
  EXPECT_EQ(describe_status(pack_status(Stage::score, 3, 5, 0)),
            "stage score, prompt 3, completion 5");
  EXPECT_EQ(describe_status(pack_status(Stage::pair_scores, 3, 5, 7)),
            "stage pair_scores, prompt 3, completion 5 with completion 7");
  EXPECT_EQ(describe_status(pack_status(Stage::mismatch, 0, 1, 2)),
            "stage mismatch, prompt 0, completion 1, position 2");
  EXPECT_EQ(describe_status(pack_parameter(Stage::adamw_step, 123456789012)),
            "stage adamw_step, parameter 123456789012");
  EXPECT_EQ(describe_status(pack_parameter(Stage::adamw_step, kNoParameter)), "stage adamw_step");
  EXPECT_LT(pack_parameter(Stage::adamw_step, 7), pack_parameter(Stage::adamw_step, kNoParameter));
  EXPECT_LT(pack_status(Stage::rollout, 1, 0, 0), pack_status(Stage::rollout, 1, 0, 1));
  EXPECT_LT(pack_status(Stage::rollout, 9, 9, 9), pack_status(Stage::score_tokens, 0, 0, 0));
}

TEST(RolloutBuffer, EveryFieldIsAllocatedAsItsTableSays) {
  RolloutBuffer buffer({.R = 2, .B = 3, .G = 4, .P = 5, .T = 6, .V = 7});
  int fields = 0;
  for_each_field(buffer, [&](const char* name, auto& view, std::string_view axes, const char* unit,
                             const char* stage, const char* text) {
    ++fields;
    ASSERT_EQ(axes.size(), 2 * view.rank() - 1) << name;
    const std::string_view letters = "RBGPT";
    const std::size_t extent[] = {2, 3, 4, 5, 6};
    for (unsigned i = 0; i < view.rank(); ++i)
      EXPECT_EQ(view.extent(i), extent[letters.find(axes[2 * i])]) << name;
    EXPECT_EQ(view.label(), std::string("motley::rollout::") + name);
    EXPECT_FALSE(std::string(unit).empty() || std::string(stage).empty() ||
                 std::string(text).empty())
        << name;
  });
  EXPECT_EQ(fields, 26);
}

}  // namespace
}  // namespace motley::test
