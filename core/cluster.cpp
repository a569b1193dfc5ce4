#include "core/cluster.hpp"

#include <algorithm>

#include "core/cluster_density.hpp"
#include "core/cluster_kmeans.hpp"
#include "core/cluster_spectral.hpp"
#include "core/labels.hpp"

namespace motley {

namespace {

constexpr int kRealRows = 4;  // [n] rows of doubles a method may use beside its matrices
constexpr int kIntRows = 10;  // [n] rows of ints

}  // namespace

ClusterWorkspace make_cluster_workspace(int R, int B, int G, int E) {
  ClusterWorkspace w;
  // What runs at once, never what there is to do.
  w.slots = std::min({R * B, Exec().concurrency(), 1024});
  const int wide = std::max(E, G);
  w.embedding = View4<float>("motley::cluster::embedding", R, B, G, E);
  w.reals = View2<double>("motley::cluster::reals", w.slots, G * G + 2 * G * wide + kRealRows * G);
  w.ints = View2<int>("motley::cluster::ints", w.slots, kIntRows * G);
  return w;
}

struct ClusterKernel {
  ConstView1<PartitionParams> params;
  std::uint32_t step;
  ClusterWorkspace workspace;
  ConstView3<int> member;
  View3<int> cluster, cluster_size;
  View2<int> num_clusters;
  int R, B, G, E;

  /// The memory of a slot; n, and which completions they are.
  struct Group {
    int n = 0;
    double* distance;  ///< [n,n]
    double* point;     ///< [n,max(E,G)]
    double* centre;    ///< [n,max(E,G)]
    double* real;      ///< kRealRows of [G]
    int* integer;      ///< kIntRows of [G]; the first two are index and label
    int* index;        ///< [n] completion of a member
    int* label;        ///< [n]
  };

  KOKKOS_INLINE_FUNCTION Group slot_memory(int slot) const {
    Group x;
    const int wide = E > G ? E : G;
    x.distance = &workspace.reals(slot, 0);
    x.point = x.distance + G * G;
    x.centre = x.point + G * wide;
    x.real = x.centre + G * wide;
    x.integer = &workspace.ints(slot, 0);
    x.index = x.integer;
    x.label = x.integer + G;
    return x;
  }

  KOKKOS_INLINE_FUNCTION KMeans kmeans_of(const Group& x, int r, int b, int dims) const {
    return {x.point,
            x.n,
            dims,
            {params(r).seed, Stream::cluster, step},
            static_cast<std::uint32_t>(b),
            x.centre,
            x.real,
            x.integer + 2 * G};
  }

  KOKKOS_INLINE_FUNCTION void one_cluster(const Group& x) const {
    for (int i = 0; i < x.n; ++i) x.label[i] = 0;
  }

  KOKKOS_INLINE_FUNCTION void run_kmeans(const Group& x, int r, int b) const {
    const PartitionParams& p = params(r);
    for (int i = 0; i < x.n; ++i)
      for (int e = 0; e < E; ++e)
        x.point[i * E + e] = double(workspace.embedding(r, b, x.index[i], e));
    const KMeans m = kmeans_of(x, r, b, E);
    if (p.num_clusters > 0) {
      kmeans(m, p.num_clusters < x.n ? p.num_clusters : x.n, 0, x.label);
      return;
    }
    double widest = 0;
    for (int i = 0; i < x.n * x.n; ++i) widest = x.distance[i] > widest ? x.distance[i] : widest;
    for (int i = 0; i < x.n; ++i) x.label[i] = widest < p.threshold ? 0 : i;
    // Two that are apart, or fewer, have no k to choose.
    if (widest < p.threshold || x.n < 3) return;
    int* trial = x.integer + 3 * G;
    double best = -2;
    for (int k = 2; k < x.n; ++k) {
      const int found = kmeans(m, k, static_cast<std::uint32_t>(k * G), trial);
      const double s =
          mean_silhouette(x.distance, x.n, trial, found, x.real + G, x.integer + 4 * G);
      if (s > best + 1e-12) {
        best = s;
        for (int i = 0; i < x.n; ++i) x.label[i] = trial[i];
      }
      if (found < k) break;  // no more distinct points
    }
  }

  KOKKOS_INLINE_FUNCTION void run_spectral(const Group& x, int r, int b) const {
    const PartitionParams& p = params(r);
    int* order = x.integer + 3 * G;
    // The eigenvectors stand where the centres will.
    normalised_laplacian(x.distance, x.n, x.real);
    jacobi_eigen(x.distance, x.n, x.centre);
    order_diagonal(x.distance, x.n, order);
    const int asked = p.num_clusters < x.n ? p.num_clusters : x.n;
    const int k = p.num_clusters > 0 ? asked : eigengap(x.distance, x.n, order);
    spectral_points(x.centre, x.n, order, k, x.point);
    kmeans(kmeans_of(x, r, b, k), k, 0, x.label);
  }

  KOKKOS_INLINE_FUNCTION void run_hdbscan(const Group& x, int r) const {
    int* row = x.integer + 2 * G;
    const HdbscanScratch s{x.real,      x.real + G,  x.real + 2 * G, x.real + 3 * G,
                           row,         row + G,     row + 2 * G,    row + 3 * G,
                           row + 4 * G, row + 5 * G, row + 6 * G,    row + 7 * G};
    hdbscan(x.distance, x.n, params(r).min_points, params(r).threshold, s, x.label);
  }

  /// Distances that are no numbers have no order: a method may look for the nearest for ever. The
  /// step ends by the fault that `check_embeddings` reports.
  KOKKOS_INLINE_FUNCTION bool finite(const Group& x, int r, int b) const {
    bool all = true;
    for (int i = 0; i < x.n; ++i)
      for (int e = 0; e < E; ++e)
        all = all && Kokkos::isfinite(workspace.embedding(r, b, x.index[i], e));
    return all;
  }

  KOKKOS_INLINE_FUNCTION void group(Group& x, int r, int b) const {
    const PartitionParams& p = params(r);
    x.n = 0;
    for (int g = 0; g < G; ++g) {
      cluster(r, b, g) = kNone;
      if (member.extent(0) == 0 || member(r, b, g) != 0) x.index[x.n++] = g;
    }
    for (int i = 0; i < x.n; ++i)
      for (int j = 0; j < x.n; ++j)
        x.distance[i * x.n + j] = cosine_distance(&workspace.embedding(r, b, x.index[i], 0),
                                                  &workspace.embedding(r, b, x.index[j], 0), E);
    int* spare = x.integer + 2 * G;
    if (!finite(x, r, b)) {
      for (int i = 0; i < x.n; ++i) x.label[i] = i;
    } else if (x.n > 0) {
      switch (p.method) {
        case PartitionMethod::kmeans: run_kmeans(x, r, b); break;
        case PartitionMethod::spectral: run_spectral(x, r, b); break;
        case PartitionMethod::agglomerative:
          agglomerate(x.distance, x.n, p.merge, p.threshold, spare, x.label);
          break;
        case PartitionMethod::dbscan:
          dbscan(x.distance, x.n, p.min_points, p.threshold, spare, x.label);
          break;
        default: run_hdbscan(x, r);
      }
    }
    for (int i = 0; i < x.n; ++i) cluster(r, b, x.index[i]) = x.label[i];
    canonical_labels(&cluster(r, b, 0), G);
    num_clusters(r, b) = count_clusters(&cluster(r, b, 0), G, &cluster_size(r, b, 0));
  }

  KOKKOS_INLINE_FUNCTION void operator()(const int slot) const {
    Group x = slot_memory(slot);
    for (int job = slot; job < R * B; job += workspace.slots)
      if (clusters_embeddings(params(job / B).method)) group(x, job / B, job % B);
  }
};

void cluster_embeddings(const Exec& exec, const ConstView1<PartitionParams>& params,
                        std::uint32_t step, const ClusterWorkspace& workspace,
                        const ConstView3<int>& member, const View3<int>& cluster,
                        const View3<int>& cluster_size, const View2<int>& num_clusters) {
  const int R = static_cast<int>(cluster.extent(0));
  const int B = static_cast<int>(cluster.extent(1));
  const int G = static_cast<int>(cluster.extent(2));
  const int E = static_cast<int>(workspace.embedding.extent(3));
  require_extents(workspace.embedding, "cluster_embeddings", "embedding", "[R,B,G,E]", R, B, G, E);
  const ClusterKernel kernel{params,       step, workspace, member, cluster, cluster_size,
                             num_clusters, R,    B,         G,      E};
  Kokkos::parallel_for("motley::partition::cluster_embeddings",
                       Kokkos::RangePolicy<Exec>(exec, 0, workspace.slots), kernel);
}

}  // namespace motley
