#include "models/pair_pass.hpp"

namespace motley {

template <class Scalar>
struct PairScoreKernel {
  PairPass<Scalar> pass;
  PairWorkspace<Scalar> workspace;
  Symmetrize symmetrize;
  ConstView1<PartitionParams> params;
  View4<float> pair_score;
  View2<int> num_calls;
  View1<StatusWord> status;
  int jobs, B;

  KOKKOS_INLINE_FUNCTION float combine(float ab, float ba) const {
    switch (symmetrize) {
      case Symmetrize::mean: return 0.5f * (ab + ba);
      case Symmetrize::both: return ab < ba ? ab : ba;
      case Symmetrize::either: return ab > ba ? ab : ba;
      default: return ab;
    }
  }

  /// Scores pairs (first[p], second[p]) of representatives.
  KOKKOS_INLINE_FUNCTION void score_pairs(const Team& team, int r, int b, Tile<Scalar>& tile,
                                          const PairScratch<Scalar>& s, int n,
                                          bool reversed) const {
    const int E = pass.net.width();
    const int* first = reversed ? s.second : s.first;
    const int* second = reversed ? s.first : s.second;
    if (pass.net.form == ClassifierForm::bi_encoder) {
      team_for(team, n, [&](int p) {
        pass.bi_feature(s.pooled + std::int64_t{first[p]} * E,
                        s.pooled + std::int64_t{second[p]} * E,
                        s.feature + std::int64_t{p} * pass.net.features);
      });
    } else {
      pass.load_pairs(team, r, b, first, second, n, tile);
      pass.encode(team, r, tile);
      team_for(team, n, [&](int p) {
        int row = 0;
        for (int i = 0; i < p; ++i) row += tile.length[i];
        for (int e = 0; e < E; ++e)
          s.feature[std::int64_t{p} * E + e] = tile.hidden[std::int64_t{row} * E + e];
      });
    }
    pass.pair_head(team, r, s, n);
    team_for(team, n, [&](int p) {
      const int i = s.first[p];
      const int j = s.second[p];
      if (!Kokkos::isfinite(s.logit[p])) report(status, r, Stage::pair_scores, b, i, j);
      const float score = static_cast<float>(sigmoid(s.logit[p]));
      pair_score(r, b, i, j) = reversed ? combine(pair_score(r, b, i, j), score) : score;
    });
  }

  KOKKOS_INLINE_FUNCTION void group(const Team& team, int r, int b, Tile<Scalar>& tile,
                                    const PairScratch<Scalar>& s) const {
    const int G = workspace.G;
    const int words = params(r).short_answer_words;
    pass.find_unique(team, r, b, G, s);
    if (pass.net.form == ClassifierForm::bi_encoder)
      pass.embed_unique(team, r, b, G, workspace.texts_per_tile, tile, s);
    int calls = 0;
    int n = 0;
    for (int i = 0; i < G; ++i) {
      if (s.same_as[i] != i) continue;
      for (int j = i + 1; j < G; ++j) {
        if (s.same_as[j] != j) continue;
        const int verdict =
            short_answer_verdict(&pass.token(r, b, i, 0), pass.length(r, b, i),
                                 &pass.token(r, b, j, 0), pass.length(r, b, j), words);
        Kokkos::single(Kokkos::PerTeam(team), [&]() {
          if (verdict >= 0) {
            pair_score(r, b, i, j) = static_cast<float>(verdict);
          } else {
            s.first[n] = i;
            s.second[n] = j;
          }
        });
        if (verdict >= 0) continue;
        ++n;
        ++calls;
        if (n < workspace.pairs_per_tile) continue;
        team.team_barrier();
        flush(team, r, b, tile, s, n);
        n = 0;
      }
    }
    team.team_barrier();
    if (n > 0) flush(team, r, b, tile, s, n);
    // Copies inherit their representative's scores; the matrix is symmetric with diagonal 1.
    team_for(team, G, [&](int i) {
      for (int j = 0; j < G; ++j) {
        const int a = s.same_as[i] < s.same_as[j] ? s.same_as[i] : s.same_as[j];
        const int c = s.same_as[i] < s.same_as[j] ? s.same_as[j] : s.same_as[i];
        const bool asked = i < j && a == i && c == j;
        if (!asked) pair_score(r, b, i, j) = a == c ? 1.0f : pair_score(r, b, a, c);
      }
    });
    team_for(team, 1,
             [&](int) { num_calls(r, b) = calls * (symmetrize == Symmetrize::none ? 1 : 2); });
  }

  KOKKOS_INLINE_FUNCTION void flush(const Team& team, int r, int b, Tile<Scalar>& tile,
                                    const PairScratch<Scalar>& s, int n) const {
    score_pairs(team, r, b, tile, s, n, false);
    if (symmetrize != Symmetrize::none) score_pairs(team, r, b, tile, s, n, true);
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    Tile<Scalar> tile{};
    PairScratch<Scalar> s{};
    std::int64_t ints = 0;
    const auto& slots = workspace.tiles;
    lay_out_tile(pass.net.encoder, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile,
                 ints);
    lay_out_scratch(pass.net, workspace.G, workspace.G, workspace.pairs_per_tile,
                    &workspace.scratch(slot, 0), &workspace.ints(slot, 0), s, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data()))
      if (params(job / B).method == PartitionMethod::classifier)
        group(team, job / B, job % B, tile, s);
  }
};

template <class Scalar>
void pair_scores(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                 const PairWorkspace<Scalar>& workspace, Symmetrize symmetrize,
                 const ConstView1<PartitionParams>& params, const ConstView4<int>& token,
                 const ConstView3<int>& length, const View4<float>& pair_score,
                 const View2<int>& num_calls, const View1<StatusWord>& status) {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  require_extents(pair_score, "pair_scores", "pair_score", "[R,B,G,G]", R, B, workspace.G,
                  workspace.G);
  Kokkos::deep_copy(exec, workspace.tiles.next_job, 0);
  const PairScoreKernel<Scalar> kernel{{net, weights, token, length},
                                       workspace,
                                       symmetrize,
                                       params,
                                       pair_score,
                                       num_calls,
                                       status,
                                       R * B,
                                       B};
  Kokkos::parallel_for("motley::models::pair_scores", tile_policy(exec, workspace.tiles.slots),
                       kernel);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                           \
  template void pair_scores<Scalar>(                                                         \
      const Exec&, const PairNet&, const PairWeights<Scalar>&, const PairWorkspace<Scalar>&, \
      Symmetrize, const ConstView1<PartitionParams>&, const ConstView4<int>&,                \
      const ConstView3<int>&, const View4<float>&, const View2<int>&, const View1<StatusWord>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
