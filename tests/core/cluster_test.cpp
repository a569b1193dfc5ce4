/// Clustering of embeddings against plain oracles, and what must hold for all of them.

#include "core/cluster.hpp"

#include <random>

#include <gtest/gtest.h>

#include "core/base/hash.hpp"
#include "core/base/rng.hpp"
#include "tests/core/views.hpp"
#include "tests/oracle/cluster.hpp"

namespace motley::test {
namespace {

using Ints = std::vector<int>;

/// Groups of unit vectors around a few directions; some completions are copies of others.
struct Cloud {
  int B, G, E;
  std::vector<float> point;  // [1,B,G,E]

  Cloud(int groups, int n, int dims, double spread, unsigned seed) : B(groups), G(n), E(dims) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (int b = 0; b < B; ++b) {
      const int kinds = 1 + static_cast<int>(random() % 4);
      oracle::Points centre(static_cast<std::size_t>(kinds));
      for (auto& c : centre)
        for (int e = 0; e < E; ++e) c.push_back(normal(random));
      for (int g = 0; g < G; ++g) {
        const auto& c = centre[random() % centre.size()];
        std::vector<double> x;
        double square = 0;
        for (const double v : c) {
          x.push_back(v + spread * normal(random));
          square += x.back() * x.back();
        }
        const bool copy = g > 0 && random() % 6 == 0;
        for (int e = 0; e < E; ++e)
          point.push_back(
              copy ? point[point.size() - static_cast<std::size_t>(E)]
                   : static_cast<float>(x[static_cast<std::size_t>(e)] / std::sqrt(square)));
      }
    }
  }
  oracle::Points points(int b) const {
    oracle::Points out;
    for (int g = 0; g < G; ++g) {
      const float* x = &point[static_cast<std::size_t>((b * G + g) * E)];
      out.emplace_back(x, x + E);
    }
    return out;
  }
  /// Half the squared distance of the rounded vectors: exactly 0 between copies.
  oracle::Matrix distances(int b) const {
    const auto x = points(b);
    oracle::Matrix d(x.size(), std::vector<double>(x.size(), 0));
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t j = 0; j < x.size(); ++j)
        for (std::size_t e = 0; e < x[i].size(); ++e)
          d[i][j] += 0.5 * (x[i][e] - x[j][e]) * (x[i][e] - x[j][e]);
    return d;
  }
};

struct Clustered {
  Ints label, size, count;
};

Clustered run(const Cloud& cloud, const PartitionParams& p, std::uint32_t step = 3,
              const Ints& member = {}) {
  const int B = cloud.B, G = cloud.G;
  ClusterWorkspace w = make_cluster_workspace(1, B, G, cloud.E);
  Kokkos::deep_copy(w.reals, NAN);
  Kokkos::deep_copy(w.ints, 1 << 20);
  w.embedding = device_as<View4<float>>(cloud.point, 1, B, G, cloud.E);
  const View3<int> label("motley::test::label", 1, B, G), size("motley::test::size", 1, B, G);
  const View2<int> count("motley::test::count", 1, B);
  Kokkos::deep_copy(label, 77);
  Kokkos::deep_copy(size, 77);
  cluster_embeddings(Exec(), device<PartitionParams>({p}), step, w,
                     member.empty() ? View3<int>() : device_as<View3<int>>(member, 1, B, G), label,
                     size, count);
  return {values_of(label), values_of(size), values_of(count)};
}

Ints group(const Ints& all, int b, int G) {
  return {all.begin() + b * G, all.begin() + (b + 1) * G};
}

PartitionParams params_of(PartitionMethod method, double threshold = 0.3, int min_points = 2) {
  PartitionParams p;
  p.method = method;
  p.threshold = threshold;
  p.min_points = min_points;
  p.seed = 41;
  return p;
}

/// The draws of one k-means at (seed, cluster, step 3, b), from position k * G.
std::function<double(int)> draws(int b, int first, std::uint32_t step = 3) {
  return [=](int c) {
    const DrawKey key{41, Stream::cluster, step};
    const std::uint32_t bits =
        draw_bits(key, static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(first + c)).x[0];
    return c == 0 ? double(bits) * 0x1p-32 : double(unit_float(bits));
  };
}

oracle::Labels kmeans_oracle(const oracle::Points& x, const oracle::Matrix& d, int k, double tau,
                             int b) {
  const int n = static_cast<int>(x.size());
  if (k > 0) return oracle::canonical(oracle::kmeans(x, std::min(k, n), draws(b, 0)));
  double widest = 0;
  for (const auto& row : d)
    for (const double v : row) widest = std::max(widest, v);
  oracle::Labels best;
  for (int i = 0; i < n; ++i) best.push_back(widest < tau ? 0 : i);
  if (widest < tau || n < 3) return best;
  double top = -2;
  for (k = 2; k < n; ++k) {
    const auto trial = oracle::kmeans(x, k, draws(b, k * n));
    if (const double s = oracle::silhouette(d, trial); s > top + 1e-12) {
      top = s;
      best = trial;
    }
  }
  return oracle::canonical(best);
}

oracle::Labels expected(const PartitionParams& p, const oracle::Points& x, const oracle::Matrix& d,
                        int b) {
  switch (p.method) {
    case PartitionMethod::kmeans: return kmeans_oracle(x, d, p.num_clusters, p.threshold, b);
    case PartitionMethod::agglomerative:
      return oracle::agglomerative(d, static_cast<int>(p.merge), p.threshold);
    case PartitionMethod::dbscan: return oracle::dbscan(d, p.min_points, p.threshold);
    case PartitionMethod::hdbscan: return oracle::Hdbscan(d, p.min_points, p.threshold).label;
    default: {
      int k = std::min(p.num_clusters, static_cast<int>(x.size()));
      const auto rows = oracle::spectral_rows(d, k);
      return oracle::canonical(oracle::kmeans(rows, k, draws(b, 0)));
    }
  }
}

std::vector<PartitionParams> variants() {
  std::vector<PartitionParams> out;
  for (const Merge merge : {Merge::single, Merge::complete, Merge::average})
    for (const double tau : {0.0, 0.1, 0.3, 1.0}) {
      out.push_back(params_of(PartitionMethod::agglomerative, tau));
      out.back().merge = merge;
    }
  for (const int min_points : {1, 2, 3, 5})
    for (const double tau : {0.0, 0.05, 0.3, 1.0}) {
      out.push_back(params_of(PartitionMethod::dbscan, tau, min_points));
      out.push_back(params_of(PartitionMethod::hdbscan, tau, min_points));
    }
  for (const int k : {0, 1, 3, 100}) {
    out.push_back(params_of(PartitionMethod::kmeans));
    out.back().num_clusters = k;
    out.push_back(params_of(PartitionMethod::spectral));
    out.back().num_clusters = k;
  }
  return out;
}

std::string text_of(const PartitionParams& p) {
  return std::string(name_of(p.method)) + " merge " + std::string(name_of(p.merge)) + " tau " +
         std::to_string(p.threshold) + " min_points " + std::to_string(p.min_points) + " k " +
         std::to_string(p.num_clusters);
}

TEST(Cluster, EveryMethodMatchesItsOracle) {
  for (const int G : {1, 2, 3, 7, 8, 20})
    for (const double spread : {0.15, 0.5}) {
      const Cloud cloud(12, G, 6, spread, static_cast<unsigned>(G * 7) + (spread > 0.3 ? 1u : 0u));
      for (const PartitionParams& p : variants()) {
        const Clustered got = run(cloud, p);
        for (int b = 0; b < cloud.B; ++b) {
          const auto want = expected(p, cloud.points(b), cloud.distances(b), b);
          ASSERT_EQ(group(got.label, b, G), want) << text_of(p) << " G " << G << " group " << b;
          ASSERT_EQ(group(got.size, b, G), oracle::sizes(want));
          ASSERT_EQ(got.count[static_cast<std::size_t>(b)], oracle::count(want));
        }
      }
    }
}

/// Leaving completions out is clustering the others alone.
TEST(Cluster, OnlyMembersTakePart) {
  const int G = 9;
  const Cloud cloud(6, G, 5, 0.3, 3);
  Cloud smaller = cloud;
  Ints member;
  smaller.point.clear();
  smaller.G = G - 3;
  for (int i = 0; i < cloud.B * G; ++i) {
    member.push_back(i % G == 0 || i % G == 4 || i % G == 7 ? 0 : 1);
    if (member.back() == 1)
      smaller.point.insert(smaller.point.end(), cloud.point.begin() + i * cloud.E,
                           cloud.point.begin() + (i + 1) * cloud.E);
  }
  for (const PartitionParams& p : variants()) {
    if (p.method == PartitionMethod::kmeans && p.num_clusters == 0) continue;  // draws at k * G
    const Clustered all = run(cloud, p, 3, member), few = run(smaller, p);
    for (int b = 0; b < cloud.B; ++b) {
      Ints kept;
      for (int g = 0; g < G; ++g) {
        const int label = all.label[static_cast<std::size_t>(b * G + g)];
        if (member[static_cast<std::size_t>(b * G + g)] == 1)
          kept.push_back(label);
        else
          EXPECT_EQ(label, kNone);
      }
      EXPECT_EQ(oracle::canonical(kept), group(few.label, b, G - 3)) << text_of(p);
    }
  }
}

/// Methods without draws and without borders do not depend on the order of the group.
TEST(Cluster, DrawlessMethodsArePermutationEquivariant) {
  const int G = 11;
  const Cloud cloud(10, G, 5, 0.3, 8);
  Cloud turned = cloud;
  const auto old = [](int g) { return (4 * g + 5) % 11; };
  for (int b = 0; b < cloud.B; ++b)
    for (int g = 0; g < G; ++g)
      std::copy_n(cloud.point.begin() + (b * G + old(g)) * cloud.E, cloud.E,
                  turned.point.begin() + (b * G + g) * cloud.E);
  for (const PartitionParams& p : variants()) {
    if (p.method == PartitionMethod::kmeans || p.method == PartitionMethod::spectral) continue;
    if (p.method == PartitionMethod::dbscan && p.min_points > 2) continue;  // borders
    const Clustered before = run(cloud, p), after = run(turned, p);
    for (int b = 0; b < cloud.B; ++b)
      for (int i = 0; i < G; ++i)
        for (int j = 0; j < G; ++j) {
          const auto at = [&](int g) { return static_cast<std::size_t>(b * G + g); };
          EXPECT_EQ(after.label[at(i)] == after.label[at(j)],
                    before.label[at(old(i))] == before.label[at(old(j))])
              << text_of(p);
        }
  }
}

/// Copies are never apart where no dense place is asked for, and a larger group works as well.
TEST(Cluster, CopiesStayTogether) {
  const int G = 128;
  const Cloud cloud(2, G, 8, 0.4, 2);
  for (const PartitionMethod method :
       {PartitionMethod::kmeans, PartitionMethod::agglomerative, PartitionMethod::dbscan,
        PartitionMethod::spectral, PartitionMethod::hdbscan}) {
    PartitionParams p = params_of(method, 0.1);
    p.num_clusters = 5;
    const Clustered got = run(cloud, p);
    for (int b = 0; b < cloud.B; ++b) {
      const auto d = cloud.distances(b);
      for (int i = 0; i < G; ++i)
        for (int j = 0; j < i; ++j)
          if (d[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] == 0) {
            EXPECT_EQ(got.label[static_cast<std::size_t>(b * G + i)],
                      got.label[static_cast<std::size_t>(b * G + j)])
                << name_of(method);
          }
    }
  }
}

/// Known answers: nothing alike, all alike, two blocks.
TEST(Cluster, KnownStructures) {
  Cloud cloud(3, 6, 6, 0.1, 1);
  for (int g = 0; g < 6; ++g)
    for (int e = 0; e < 6; ++e) {
      const auto at = [&](int b) { return static_cast<std::size_t>((b * 6 + g) * 6 + e); };
      cloud.point[at(0)] = e == g ? 1.0f : 0.0f;
      cloud.point[at(1)] = e == 0 ? 1.0f : 0.0f;
      cloud.point[at(2)] = e == g % 2 ? 1.0f : 0.0f;
    }
  for (const PartitionMethod method :
       {PartitionMethod::kmeans, PartitionMethod::agglomerative, PartitionMethod::dbscan,
        PartitionMethod::spectral, PartitionMethod::hdbscan}) {
    const Clustered got = run(cloud, params_of(method));
    if (method != PartitionMethod::kmeans)  // all silhouettes are 0: the first k, two clusters
      EXPECT_EQ(group(got.label, 0, 6), (Ints{0, 1, 2, 3, 4, 5})) << name_of(method);
    EXPECT_EQ(group(got.label, 1, 6), (Ints{0, 0, 0, 0, 0, 0})) << name_of(method);
    EXPECT_EQ(group(got.label, 2, 6), (Ints{0, 1, 0, 1, 0, 1})) << name_of(method);
  }
}

TEST(Cluster, DrawsFollowStepAndSeedOnly) {
  const Cloud cloud(20, 12, 4, 1.5, 6);
  PartitionParams p = params_of(PartitionMethod::kmeans);
  p.num_clusters = 4;
  EXPECT_EQ(run(cloud, p).label, run(cloud, p).label);
  EXPECT_NE(run(cloud, p).label, run(cloud, p, 4).label);
  PartitionParams other = p;
  other.seed = 42;
  EXPECT_NE(run(cloud, p).label, run(cloud, other).label);
}

/// Counts of hashed n-grams to length 1, short texts as one gram, and scores = max(0, cosine).
TEST(Embedding, NgramsAndTheirScores) {
  const int G = 7, T = 6, n = 3;
  const std::vector<Ints> texts = {{4, 5, 6, 7},    {4, 5, 6, 7},      {4, 5}, {5, 4}, {},
                                   {4, 4, 4, 4, 4}, {4, 5, 6, 9, 9, 9}};
  Ints token, length;
  for (Ints text : texts) {
    length.push_back(static_cast<int>(text.size()));
    text.resize(T, 33);  // what follows the end must not count
    token.insert(token.end(), text.begin(), text.end());
  }
  PartitionParams p = params_of(PartitionMethod::dbscan);
  p.embedding = EmbeddingKind::ngram;
  p.ngram_n = n;
  const View4<float> embedding("motley::test::embedding", 1, 1, G, kNgramBins + 5);
  const View4<float> score("motley::test::score", 1, 1, G, G);
  const View2<int> calls("motley::test::calls", 1, 1);
  Kokkos::deep_copy(embedding, NAN);
  Kokkos::deep_copy(calls, 9);
  ngram_embeddings(Exec(), device<PartitionParams>({p}), device_as<View4<int>>(token, 1, 1, G, T),
                   device_as<View3<int>>(length, 1, 1, G), embedding);
  embedding_pair_scores(Exec(), device<PartitionParams>({p}), embedding, score, calls);
  const auto got = values_of(score);
  std::vector<std::map<std::uint64_t, double>> bag;
  for (const Ints& text : texts) {
    const int size = static_cast<int>(text.size());
    bag.emplace_back();
    if (size < n) bag.back()[hash_tokens(text.data(), size) % 64] = 1;
    for (int i = 0; i + n <= size; ++i) bag.back()[hash_tokens(&text[std::size_t(i)], n) % 64] += 1;
  }
  const auto dot = [&](std::size_t i, std::size_t j) {
    double sum = 0;
    for (const auto& [bin, count] : bag[i])
      if (bag[j].count(bin) > 0) sum += count * bag[j][bin];
    return sum;
  };
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (std::size_t j = 0; j < texts.size(); ++j)
      EXPECT_NEAR(double(got[i * texts.size() + j]), dot(i, j) / std::sqrt(dot(i, i) * dot(j, j)),
                  1e-6)
          << i << ' ' << j;
  EXPECT_EQ(got[1], 1.0f);
  EXPECT_EQ(values_of(calls)[0], 0);
}

}  // namespace
}  // namespace motley::test
