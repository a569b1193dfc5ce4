/// Attention by products against attention row by row: the same bits.

#include "models/attention.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/models/fixture.hpp"

namespace motley {
namespace {

using test::on_host;

/// Streams of a tile: prompts with completions, or texts alone.
struct Streams {
  std::vector<int> parent, length;
};

/// A tile of random queries, keys and values, through both forms.
template <class Scalar>
struct Fixture {
  Net net;
  Streams streams;
  bool decoding;  ///< one row per completion, its last position, instead of all
  TileWorkspace<Scalar> workspace;
  Weights<Scalar> weights;
  std::vector<Scalar> qkv, dout;

  Fixture(int heads, int kv_heads, int width, bool causal, Streams s, bool decode)
      : streams(std::move(s)), decoding(decode) {
    TransformerConfig c;
    c.layers = 1;
    c.width = width;
    c.heads = heads;
    c.kv_heads = kv_heads;
    c.ff = 16;
    c.vocab = 8;
    c.max_positions = 128;
    c.causal = causal;
    net = make_net_layout(c, true).net;
    weights = make_weights<Scalar>("attention", 1, net, 10000.0);
    TileShape shape;
    shape.max_streams = static_cast<int>(streams.length.size());
    for (const int n : streams.length) {
      shape.max_rows += n;
      shape.capacity = std::max(shape.capacity, n);
    }
    shape.training = true;
    workspace = make_tile_workspace<Scalar>("attention", net, shape, 1);
    std::mt19937 engine(7);
    std::normal_distribution<double> normal;
    qkv.resize(static_cast<std::size_t>(shape.max_rows) * net.qkv_ld());
    dout.resize(static_cast<std::size_t>(shape.max_rows) * net.width);
    for (auto* values : {&qkv, &dout})
      for (Scalar& x : *values) x = static_cast<Scalar>(normal(engine));
  }

  struct Result {
    std::vector<Scalar> attended, lse, dqkv;
  };

  Result run(bool by_row) const {
    Result out;
    const auto* f = this;
    Result* to = &out;
    Kokkos::parallel_for(
        TeamPolicy(Exec(), 1, 1), KOKKOS_LAMBDA(const Team& team) { f->fill(team, by_row, *to); });
    Kokkos::fence();
    return out;
  }

  void fill(const Team& team, bool by_row, Result& out) const {
    Tile<Scalar> t{};
    std::int64_t ints = 0;
    lay_out_tile(net, workspace.shape, &workspace.memory(0, 0), &workspace.ints(0, 0), t, ints);
    // What no row may see is not a number: a product that lets it in shows.
    for (std::size_t i = 0; i < workspace.memory.span(); ++i)
      workspace.memory.data()[i] = std::numeric_limits<Scalar>::quiet_NaN();
    for (std::size_t s = 0; s < streams.length.size(); ++s) {
      t.parent[s] = streams.parent[s];
      t.length[s] = streams.length[s];
      for (int i = 0; i < streams.length[s]; ++i) {
        t.stream[t.rows] = static_cast<int>(s);
        t.index[t.rows++] = i;
      }
    }
    std::copy(qkv.begin(), qkv.end(), t.qkv);
    detail::store_keys(team, net, t, 0, weights.rope.data());
    if (decoding) keep_last_rows(t);
    if (by_row)
      detail::attention_by_row(team, net, t, 0);
    else
      detail::attention(team, net, t, 0);
    const auto rows = static_cast<std::size_t>(t.rows);
    out.attended.assign(t.attended, t.attended + rows * net.width);
    out.lse.assign(t.row_lse, t.row_lse + rows * net.heads);
    if (decoding) return;
    std::copy(dout.begin(), dout.end(), t.dh);
    if (by_row) {
      for (int i = 0; i < t.shape.max_streams * t.shape.capacity * net.kv_width(); ++i)
        t.dkey[i] = t.dvalue[i] = Scalar(0);
      detail::attention_backward_by_row(team, net, t, 0);
      detail::collect_slopes(team, net, t, weights.rope.data());
    } else {
      detail::attention_backward(team, net, t, 0, weights.rope.data());
    }
    for (std::size_t i = 0; i < rows; ++i)
      out.dqkv.insert(out.dqkv.end(), t.dqkv + i * net.qkv_ld(),
                      t.dqkv + i * net.qkv_ld() + net.qkv_width());
  }

  /// The last row of every completion, as the sampler has them.
  void keep_last_rows(Tile<Scalar>& t) const {
    int kept = 0;
    for (int i = 0; i < t.rows; ++i) {
      if (t.parent[t.stream[i]] < 0 || t.index[i] + 1 < t.length[t.stream[i]]) continue;
      for (int k = 0; k < net.qkv_ld(); ++k)
        t.qkv[std::int64_t{kept} * net.qkv_ld() + k] = t.qkv[std::int64_t{i} * net.qkv_ld() + k];
      t.stream[kept] = t.stream[i];
      t.index[kept++] = t.index[i];
    }
    t.rows = kept;
  }
};

/// Two prompts, completions of many lengths: shorter and longer than a block, one empty.
const Streams kGroups = {{-1, -1, 0, 0, 0, 0, 1, 1, 1}, {5, 17, 1, 12, 13, 0, 31, 2, 24}};
/// Rows of a prompt's completions must follow each other; here they do not start with a prompt.
const Streams kTexts = {{-1, -1, -1, -1}, {3, 16, 33, 1}};

template <class Scalar>
void expect_same_bits(const Fixture<Scalar>& f, bool slopes) {
  const auto want = f.run(true);
  const auto got = f.run(false);
  for (const Scalar x : want.attended) ASSERT_TRUE(std::isfinite(x));
  EXPECT_EQ(got.attended, want.attended);
  EXPECT_EQ(got.lse, want.lse);
  ASSERT_EQ(got.dqkv.size(), want.dqkv.size());
  if (slopes) {
    EXPECT_EQ(got.dqkv, want.dqkv);
    return;
  }
  // Queries that share keys add to their slopes in another order; heads that fill no vector have
  // their sums fused otherwise.
  for (std::size_t i = 0; i < got.dqkv.size(); ++i)
    ASSERT_NEAR(got.dqkv[i], want.dqkv[i], 1e-5 * (1 + std::abs(want.dqkv[i]))) << i;
}

TEST(Attention, ProductsGiveTheBitsOfRows) {
  for (const int width : {32, 64, 24})  // heads of 8, 16 and 6
    for (const bool decoding : {false, true}) {
      expect_same_bits(Fixture<float>(4, 4, width, true, kGroups, decoding), width != 24);
      expect_same_bits(Fixture<double>(4, 4, width, true, kGroups, decoding), width != 24);
    }
}

TEST(Attention, WithoutAMaskToo) {
  for (const int heads : {1, 4}) {
    expect_same_bits(Fixture<float>(heads, heads, 32, false, kTexts, false), true);
    expect_same_bits(Fixture<double>(heads, heads, 32, false, kTexts, false), true);
  }
}

TEST(Attention, GroupedQueriesGiveTheSameOutputsAndCloseSlopes) {
  expect_same_bits(Fixture<float>(4, 2, 64, true, kGroups, false), false);
  expect_same_bits(Fixture<float>(4, 1, 64, true, kGroups, true), true);
}

}  // namespace
}  // namespace motley
