#include "models/pair_pass.hpp"

namespace motley {

template <class Scalar>
struct TextEmbeddingKernel {
  PairPass<Scalar> pass;
  PairWorkspace<Scalar> workspace;
  ConstView1<PartitionParams> params;
  View4<float> embedding;
  View1<StatusWord> status;
  int jobs, B;

  /// The state of completion g, or of the equal one before it, to length 1.
  KOKKOS_INLINE_FUNCTION void write(int r, int b, int g, const Scalar* state) const {
    const int width = pass.net.width();
    const int E = static_cast<int>(embedding.extent(3));
    double square = 0;
    for (int e = 0; e < width; ++e) square += double(state[e]) * double(state[e]);
    if (!Kokkos::isfinite(square)) report(status, r, Stage::pair_scores, b, g, g);
    const bool none = !(square > 0);
    const double scale = none ? 0.0 : 1.0 / Kokkos::sqrt(square);
    for (int e = 0; e < E; ++e)
      embedding(r, b, g, e) = e < width ? static_cast<float>(double(state[e]) * scale) : 0.0f;
    if (none) embedding(r, b, g, 0) = 1.0f;
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const int G = workspace.G;
    const int E = pass.net.width();
    Tile<Scalar> tile{};
    PairScratch<Scalar> s{};
    std::int64_t ints = 0;
    const auto& slots = workspace.tiles;
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile,
                 ints);
    lay_out_scratch(pass.net, G, G, workspace.pairs_per_tile, &workspace.scratch(slot, 0),
                    &workspace.ints(slot, 0), s, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
      const int r = job / B, b = job % B;
      const PartitionParams& p = params(r);
      if (!clusters_embeddings(p.method) || p.embedding != EmbeddingKind::classifier) continue;
      pass.find_unique(team, r, b, G, s);
      pass.embed_unique(team, r, b, G, workspace.texts_per_tile, tile, s);
      team.team_barrier();
      team_for(team, G, [&](int g) { write(r, b, g, s.pooled + std::int64_t{s.same_as[g]} * E); });
      team.team_barrier();
    }
  }
};

template <class Scalar>
void text_embeddings(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                     const PairWorkspace<Scalar>& workspace,
                     const ConstView1<PartitionParams>& params, const ConstView4<int>& token,
                     const ConstView3<int>& length, const View4<float>& embedding,
                     const View1<StatusWord>& status) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  MOTLEY_REQUIRE(net.form == ClassifierForm::bi_encoder, ErrorKind::internal,
                 "text_embeddings: only a bi_encoder embeds single completions");
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const TextEmbeddingKernel<Scalar> kernel{
      {net, weights, token, length}, workspace, params, embedding, status, R * B, B};
  Kokkos::parallel_for("motley::models::text_embeddings", tile_policy(exec, workspace.tiles.slots),
                       kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                           \
  template void text_embeddings<Scalar>(                                                     \
      const Exec&, const PairNet&, const PairWeights<Scalar>&, const PairWorkspace<Scalar>&, \
      const ConstView1<PartitionParams>&, const ConstView4<int>&, const ConstView3<int>&,    \
      const View4<float>&, const View1<StatusWord>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
