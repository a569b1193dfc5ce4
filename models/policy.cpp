#include "models/policy.hpp"

#include <algorithm>

#include "models/chunks.hpp"
#include "models/pass.hpp"
#include "models/policy_tile.hpp"

namespace motley {

namespace {

/// Rows a training tile aims at: large enough for the products, small enough for the second-level
/// cache.
constexpr int kTileRows = 192;

}  // namespace

PolicyTiling make_policy_tiling(const Net& net, int B, int G, int P, int T) {
  PolicyTiling t{B, G, P, T};
  const int fitting = std::max(1, (kTileRows - P) / std::max(1, T));
  t.splits = (G + fitting - 1) / fitting;
  t.completions = (G + t.splits - 1) / t.splits;
  t.chunks = gradient_chunks(t.tiles(B), net.size);
  return t;
}

template <class Scalar>
std::size_t PolicyWorkspace<Scalar>::bytes() const {
  return score.bytes() + train.bytes() + partial.span() * sizeof(Scalar) +
         (sums.span() + ratio_max.span() + row_sums.span()) * sizeof(double);
}

template <class Scalar>
PolicyWorkspace<Scalar> make_policy_workspace(const Net& net, int R, int B, int G, int P, int T,
                                              bool exact_kl) {
  PolicyWorkspace<Scalar> w;
  w.tiling = make_policy_tiling(net, B, G, P, T);
  TileShape shape;
  shape.max_rows = P + w.tiling.completions * std::max(1, T - 1);
  shape.max_streams = 1 + w.tiling.completions;
  shape.capacity = std::max(P, T);
  w.score = make_tile_workspace<Scalar>("score_tokens", net, shape, R * w.tiling.tiles(B));
  shape.training = true;
  shape.reference = exact_kl;
  w.train = make_tile_workspace<Scalar>("policy_gradient", net, shape, R * w.tiling.chunks);
  w.partial = View3<Scalar>("motley::policy::partial", R, w.tiling.chunks, net.size);
  w.sums = View3<double>("motley::policy::sums", R, w.tiling.chunks, kUpdateSums);
  w.ratio_max = View2<double>("motley::policy::ratio_max", R, w.tiling.chunks);
  w.row_sums =
      View3<double>("motley::policy::row_sums", w.train.slots, shape.head_rows, kUpdateSums + 1);
  return w;
}

/// Forward, loss and backward of the tiles of one chunk.
template <class Scalar>
struct GradientKernel {
  Net net;
  Weights<Scalar> weights, reference;
  PolicyWorkspace<Scalar> workspace;
  ConstView1<LossParams> params;
  RolloutBuffer buffer;
  ConstView3<Scalar> weight;
  TokenPlan<Scalar> plan;
  View1<StatusWord> status;
  int jobs, b_first, tile_first, tile_last;
  ConstView4<float> token_scale;

  /// One prediction: adds its terms to `sums` and turns `row` (scaled logits) into its gradient.
  KOKKOS_INLINE_FUNCTION void token_gradient(int r, int b, int g, int t, Scalar* row,
                                             const RowSoftmax<Scalar>& softmax, Scalar entropy,
                                             const Scalar* ref_row, const RowSoftmax<Scalar>& ref,
                                             const RowDivergence<Scalar>& divergence,
                                             double* sums) const {
    const LossParams& p = params(r);
    const int token = buffer.token(r, b, g, t);
    if (weight(r, b, g) == Scalar(0)) {
      for (int v = 0; v < net.vocab; ++v) row[v] = Scalar(0);
      return;
    }
    const TokenNote<Scalar> note = plan.note(r, b, g, t);
    const Scalar share = token_scale.extent(0) == 0
                             ? weight(r, b, g)
                             : weight(r, b, g) * static_cast<Scalar>(token_scale(r, b, g, t));
    const Scalar new_log_prob = softmax.log_prob(row[token]);
    const Scalar old_log_prob = buffer.old_log_prob(r, b, g, t);
    const Scalar ref_log_prob = buffer.ref_log_prob(r, b, g, t);
    const TokenLoss<Scalar> loss =
        token_loss(p, new_log_prob, old_log_prob, ref_log_prob,
                   static_cast<Scalar>(buffer.token_advantage(r, b, g, t)), note);
    if (!Kokkos::isfinite(new_log_prob) || !Kokkos::isfinite(loss.policy))
      report(status, r, Stage::policy_gradient, b, g, t);
    const auto add = [&](UpdateSum which, double value) { sums[static_cast<int>(which)] += value; };
    const double kl = ref_row != nullptr ? double(divergence.value) : double(loss.kl);
    add(UpdateSum::tokens, 1.0);
    add(UpdateSum::loss, double(share) * (double(loss.policy) + p.kl_in_loss() * kl -
                                          p.entropy_coef * double(entropy)));
    add(UpdateSum::policy_loss, double(share) * double(loss.policy));
    add(UpdateSum::kl_old, double(old_log_prob) - double(new_log_prob));
    if (p.kl_coef != 0.0) add_kl_estimates(double(new_log_prob), double(ref_log_prob), sums);
    if (ref_row != nullptr) {
      add(UpdateSum::kl_direction, double(divergence.value));
      const bool reverse = p.kl_direction == KlDirection::reverse;
      add(UpdateSum::kl_exact,
          double(reverse ? divergence.value : row_kl(row, softmax, ref_row, ref, net.vocab)));
    }
    add(UpdateSum::entropy, double(entropy));
    add(UpdateSum::ratio, double(loss.ratio));
    add(UpdateSum::clip_low, loss.clipped_low ? 1.0 : 0.0);
    add(UpdateSum::clip_high, loss.clipped_high ? 1.0 : 0.0);
    add(UpdateSum::clip_dual, loss.clipped_dual ? 1.0 : 0.0);
    add(UpdateSum::dropped, (note.role & kTokenDropped) != 0 ? 1.0 : 0.0);
    add(UpdateSum::penalised, (note.role & kTokenPenalised) != 0 ? 1.0 : 0.0);
    if (double(loss.ratio) > sums[kUpdateSums]) sums[kUpdateSums] = double(loss.ratio);
    row_loss_gradient(p, row, net.vocab, softmax, token, loss.d_log_prob, entropy, ref_row, ref,
                      divergence.mean_slope, share, plan.top_of(r, b, g, t, buffer.shape.T),
                      p.simko_top_k, loss.d_top);
  }

  /// Logits -> losses -> gradient of the logits, for one row of the head's block.
  KOKKOS_INLINE_FUNCTION void row_gradient(int r, const TileSpan& span, const Tile<Scalar>& tile,
                                           int first, int i, double* sums) const {
    const int V = net.vocab;
    const Scalar inv_temperature = static_cast<Scalar>(params(r).inv_temperature);
    Scalar* row = tile.logits + std::int64_t{i} * net.vocab_ld();
    for (int k = 0; k <= kUpdateSums; ++k) sums[k] = 0.0;
    const auto softmax = scale_and_normalise(row, V, inv_temperature);
    const Scalar entropy = row_entropy(row, V, softmax);
    Scalar* ref_row = nullptr;
    RowSoftmax<Scalar> ref{};
    RowDivergence<Scalar> divergence{};
    if (params(r).exact_kl()) {
      ref_row = tile.ref_logits + std::int64_t{i} * net.vocab_ld();
      ref = scale_and_normalise(ref_row, V, inv_temperature);
      divergence = row_divergence(params(r).kl_direction, row, softmax, ref_row, ref, V);
    }
    const int stream = tile.stream[first + i];
    if (stream > 0) {
      token_gradient(r, span.b, span.g0 + stream - 1, tile.index[first + i] + 1, row, softmax,
                     entropy, ref_row, ref, divergence, sums);
      return;
    }
    // The prompt's last row predicts the first token of every completion: its gradient is their
    // sum.
    Scalar* copy = tile.logits + std::int64_t{tile.shape.head_rows} * net.vocab_ld();
    Scalar* total = copy + net.vocab_ld();
    for (int v = 0; v < V; ++v) total[v] = Scalar(0);
    for (int g = span.g0; g < span.g1; ++g) {
      if (buffer.length(r, span.b, g) == 0) continue;
      for (int v = 0; v < V; ++v) copy[v] = row[v];
      token_gradient(r, span.b, g, 0, copy, softmax, entropy, ref_row, ref, divergence, sums);
      for (int v = 0; v < V; ++v) total[v] += copy[v];
    }
    for (int v = 0; v < V; ++v) row[v] = total[v];
  }

  KOKKOS_INLINE_FUNCTION void tile_gradient(const Team& team, int r, const TileSpan& span,
                                            Tile<Scalar>& tile, Scalar* grad, double* sums,
                                            double* ratio_max) const {
    load_group(team, buffer, r, span, tile);
    if (params(r).exact_kl()) {
      forward(team, net, &reference.params(r, 0), &reference.packed(r, 0), reference.rope.data(),
              tile);
      team_for(team, tile.rows, net.width, [&](int i, int d) {
        tile.ref_hidden[std::int64_t{i} * net.width + d] =
            tile.hidden[std::int64_t{i} * net.width + d];
      });
    }
    forward(team, net, &weights.params(r, 0), &weights.packed(r, 0), weights.rope.data(), tile);
    const int last_prompt = buffer.prompt_length(r, span.b) - 1;
    team_for(team, last_prompt, net.width,
             [&](int i, int d) { tile.dh[std::int64_t{i} * net.width + d] = Scalar(0); });
    const int slot = team.league_rank();
    for (int first = last_prompt; first < tile.rows; first += tile.shape.head_rows) {
      const int count =
          first + tile.shape.head_rows < tile.rows ? tile.shape.head_rows : tile.rows - first;
      head(team, net, &weights.packed(r, 0), tile.hidden, first, count, tile.logits);
      if (params(r).exact_kl())
        head(team, net, &reference.packed(r, 0), tile.ref_hidden, first, count, tile.ref_logits);
      team_for(team, count, [&](int i) {
        row_gradient(r, span, tile, first, i, &workspace.row_sums(slot, i, 0));
      });
      team_for(team, 1, [&](int) {
        for (int i = 0; i < count; ++i) {
          for (int k = 0; k < kUpdateSums; ++k) sums[k] += workspace.row_sums(slot, i, k);
          const double top = workspace.row_sums(slot, i, kUpdateSums);
          if (top > *ratio_max) *ratio_max = top;
        }
      });
      head_backward(team, net, &weights.params(r, 0), tile, first, count, tile.logits, grad);
    }
    backward(team, net, &weights.params(r, 0), weights.rope.data(), tile, grad);
  }

  KOKKOS_INLINE_FUNCTION bool contributes(int r, const TileSpan& span) const {
    for (int g = span.g0; g < span.g1; ++g)
      if (weight(r, span.b, g) != Scalar(0)) return true;
    return false;
  }

  KOKKOS_INLINE_FUNCTION void operator()(const Team& team) const {
    const int slot = team.league_rank();
    const int chunks = workspace.tiling.chunks;
    Tile<Scalar> tile{};
    std::int64_t ints = 0;
    const auto& slots = workspace.train;
    lay_out_tile(net, slots.shape, &slots.memory(slot, 0), &slots.ints(slot, 0), tile, ints);
    for (int job = take_job(team, slots.next_job.data()); job < jobs;
         job = take_job(team, slots.next_job.data())) {
      const int r = job / chunks;
      const int c = job % chunks;
      Scalar* grad = &workspace.partial(r, c, 0);
      double* sums = &workspace.sums(r, c, 0);
      double* ratio_max = &workspace.ratio_max(r, c);
      if (tile_first == 0) {
        team_for(team, static_cast<int>(net.size), [&](int n) { grad[n] = Scalar(0); });
        team_for(team, kUpdateSums, [&](int k) { sums[k] = 0.0; });
        team_for(team, 1, [&](int) { *ratio_max = 0.0; });
      }
      // Tiles c, c + chunks, ... in increasing order, whatever the micro-batches.
      for (int i = tile_first + (c - tile_first % chunks + chunks) % chunks; i < tile_last;
           i += chunks) {
        const TileSpan span = tile_span(workspace.tiling, b_first, i);
        if (contributes(r, span)) tile_gradient(team, r, span, tile, grad, sums, ratio_max);
      }
    }
  }
};

namespace {

void sum_updates(const Exec& exec, const View3<double>& partial, const View2<double>& partial_max,
                 const View2<double>& sums, const View1<double>& ratio_max) {
  const int chunks = static_cast<int>(partial.extent(1));
  Kokkos::parallel_for(
      "motley::models::sum_updates", Kokkos::RangePolicy<Exec>(exec, 0, partial.extent(0)),
      KOKKOS_LAMBDA(const int r) {
        for (int k = 0; k < kUpdateSums; ++k) {
          double sum = 0.0;
          for (int c = 0; c < chunks; ++c) sum += partial(r, c, k);
          sums(r, k) = sum;
        }
        double top = 0.0;
        for (int c = 0; c < chunks; ++c) top = partial_max(r, c) > top ? partial_max(r, c) : top;
        ratio_max(r) = top;
      });
}

}  // namespace

template <class Scalar>
void policy_gradient(const Exec& exec, const Net& net, const Weights<Scalar>& weights,
                     const Weights<Scalar>& reference, const PolicyWorkspace<Scalar>& workspace,
                     const ConstView1<LossParams>& params, const RolloutBuffer& buffer,
                     const ConstView3<Scalar>& weight, const Minibatch& minibatch,
                     const View2<Scalar>& gradient, const View2<double>& sums,
                     const View1<double>& ratio_max, const View1<StatusWord>& status,
                     const ConstView4<float>& token_scale, const TokenPlan<Scalar>& plan) {
  const int R = buffer.shape.R;
  require_extents(weight, "policy_gradient", "weight", "[R,B,G]", R, buffer.shape.B,
                  buffer.shape.G);
  require_extents(gradient, "policy_gradient", "gradient", "[R,N]", R, net.size);
  const int tiles = workspace.tiling.tiles(minibatch.b_last - minibatch.b_first);
  const int micro = std::clamp(minibatch.micro_batches, 1, std::max(1, tiles));
  for (int m = 0; m < micro; ++m) {
    Kokkos::deep_copy(exec, workspace.train.next_job, 0);
    const GradientKernel<Scalar> kernel{net,
                                        weights,
                                        reference,
                                        workspace,
                                        params,
                                        buffer,
                                        weight,
                                        plan,
                                        status,
                                        R * workspace.tiling.chunks,
                                        minibatch.b_first,
                                        tiles * m / micro,
                                        tiles * (m + 1) / micro,
                                        token_scale};
    Kokkos::parallel_for("motley::models::policy_gradient",
                         tile_policy(exec, workspace.train.slots), kernel);
  }
  sum_chunks_of_gradient(exec, workspace.partial, gradient);
  sum_updates(exec, workspace.sums, workspace.ratio_max, sums, ratio_max);
}

#define MOTLEY_INSTANTIATE(Scalar)                                                               \
  template struct PolicyWorkspace<Scalar>;                                                       \
  template PolicyWorkspace<Scalar> make_policy_workspace<Scalar>(const Net&, int, int, int, int, \
                                                                 int, bool);                     \
  template void policy_gradient<Scalar>(                                                         \
      const Exec&, const Net&, const Weights<Scalar>&, const Weights<Scalar>&,                   \
      const PolicyWorkspace<Scalar>&, const ConstView1<LossParams>&, const RolloutBuffer&,       \
      const ConstView3<Scalar>&, const Minibatch&, const View2<Scalar>&, const View2<double>&,   \
      const View1<double>&, const View1<StatusWord>&, const ConstView4<float>&,                  \
      const TokenPlan<Scalar>&);
MOTLEY_INSTANTIATE(float)
MOTLEY_INSTANTIATE(double)
#undef MOTLEY_INSTANTIATE

}  // namespace motley
