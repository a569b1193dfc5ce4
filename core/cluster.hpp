#pragma once
/// Partitioners that place completions in a space and cluster them there.

#include "core/embedding.hpp"

namespace motley {

inline constexpr int kMaxClusteredGroup = 128;  ///< largest G of these methods

/// Embeddings and scratch, made once.
struct ClusterWorkspace {
  View4<float> embedding;  ///< [R,B,G,E] unit vectors
  View2<double> reals;     ///< [slots,*]
  View2<int> ints;         ///< [slots,*]
  int slots = 0;

  std::size_t bytes() const {
    return embedding.span() * sizeof(float) + reals.span() * sizeof(double) +
           ints.span() * sizeof(int);
  }
};
/// \param E widest embedding in use
ClusterWorkspace make_cluster_workspace(int R, int B, int G, int E);

/// Clusters of the replicas whose method is kmeans, agglomerative, dbscan, spectral or hdbscan, by
/// cosine distance; the others are left untouched. Labels are canonical. tau = partition.threshold.
///
/// kmeans         Lloyd from k-means++; num_clusters, or 0: one cluster where the largest distance
/// is
///                below tau, else the k in 2..n-1 of largest mean silhouette (the first of equals)
/// agglomerative  merges the closest clusters while their distance (partition.merge) is <= tau
/// dbscan         eps = tau, min_points; noise stays alone
/// spectral       normalised Laplacian of max(0, cosine), num_clusters or eigengap, k-means of rows
/// hdbscan        stable clusters of any density, min_points; tau only bounds the whole group
/// One thread owns a group. Draws at (seed, cluster, step, b); no draw where none is needed.
/// \param member [R,B,G] as in `partition`
void cluster_embeddings(const Exec& exec, const ConstView1<PartitionParams>& params,
                        std::uint32_t step, const ClusterWorkspace& workspace,
                        const ConstView3<int>& member, const View3<int>& cluster,
                        const View3<int>& cluster_size, const View2<int>& num_clusters);

}  // namespace motley
