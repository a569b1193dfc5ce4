#pragma once
/// The learned pair classifier of the partition: P(two completions mean the same).
///
/// Two forms over one transformer encoder (no causal mask):
///   cross_encoder  reads [CLS] a [SEP] b [SEP] and pools at [CLS]: DARLING's form (2509.02534
///   A.1).
///                  G(G-1)/2 passes per group.
///   bi_encoder     embeds each completion once (mean of the final states: u, v) and scores the
///                  features [u, v, |u-v|, u*v]: G passes per group.
/// Either feeds a pair head: logit = w2 . silu(W1 f + b1) + b2. The prompt is not shown, as in the
/// official code. Completions that are equal token for token are never asked about.

#include <cstdint>
#include <vector>

#include "core/base/status.hpp"
#include "core/partition.hpp"
#include "core/rollout.hpp"
#include "models/tasks/task.hpp"
#include "models/tile.hpp"

namespace motley {

/// Encoder and pair head as offsets; trivially copyable.
struct PairNet {
  Net encoder;
  ClassifierForm form = ClassifierForm::bi_encoder;
  int features = 0;     ///< F: 4 E or E
  int text_length = 0;  ///< T, longest completion
  int task_vocab = 0;   ///< [CLS] = task_vocab, [SEP] = task_vocab + 1
  std::int64_t hidden_weight = 0, hidden_bias = 0, out_weight = 0, out_bias = 0;  ///< in the arena
  std::int64_t size = 0;

  KOKKOS_INLINE_FUNCTION int width() const { return encoder.width; }
  KOKKOS_INLINE_FUNCTION int stream_length() const {
    return form == ClassifierForm::bi_encoder ? text_length : 2 * text_length + 3;
  }
};

struct PairNetLayout {
  PairNet net;
  ParameterLayout tensors;
};

/// \param vocab, T of the task
PairNetLayout make_pair_net_layout(const ClassifierConfig& config, int vocab, int T);

template <class Scalar>
struct PairWeights {
  Weights<Scalar> encoder;  ///< `encoder.params` [R,N] holds the head's tensors too
  View2<Scalar> hidden_t;   ///< [R,F * E16] transposed W1
};
template <class Scalar>
PairWeights<Scalar> make_pair_weights(int R, const PairNet& net);
/// Refreshes the derived images from the parameters.
template <class Scalar>
void pack_pair_weights(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights);
template <class Scalar>
void init_pair_weights(const Exec& exec, const PairNetLayout& layout,
                       const ConstView1<std::uint64_t>& seeds, const PairWeights<Scalar>& weights);

/// Memory of the classifier's kernels for groups of G completions.
template <class Scalar>
struct PairWorkspace {
  int G = 0;               ///< completions of a group
  int texts_per_tile = 0;  ///< bi_encoder: completions embedded at once
  int pairs_per_tile = 0;  ///< pairs scored at once
  int chunks = 0;          ///< partial gradients (training)
  TileWorkspace<Scalar> tiles;
  View2<Scalar> scratch;  ///< [slots,*]
  View2<int> ints;        ///< [slots,*]
  View3<Scalar> partial;  ///< [R,chunks,N], training
  View3<double> sums;     ///< [R,chunks,1], training
};
template <class Scalar>
PairWorkspace<Scalar> make_pair_workspace(const PairNet& net, int R, int groups, int G,
                                          bool training);

/// Pair scores of the replicas whose partition.method is classifier; the others are left alone.
///
/// Pairs of at most short_answer_words tokens are decided by `short_answer_verdict`. Only i < j is
/// asked; `symmetrize` combines it with (j, i): mean, and (min), or (max). Symmetric, diagonal 1.
/// \param params [R]   \param token [R,B,G,T]   \param length [R,B,G]
/// \param pair_score [R,B,G,G] out   \param num_calls [R,B] out, classifier decisions made
template <class Scalar>
void pair_scores(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                 const PairWorkspace<Scalar>& workspace, Symmetrize symmetrize,
                 const ConstView1<PartitionParams>& params, const ConstView4<int>& token,
                 const ConstView3<int>& length, const View4<float>& pair_score,
                 const View2<int>& num_calls, const View1<StatusWord>& status);

/// Embeddings of the replicas that cluster the classifier's: mean of the encoder's final states
/// over the completion's tokens, to length 1 (0 becomes the first unit vector). bi_encoder only.
/// Equal completions are embedded once. Other replicas are left alone. \param embedding [R,B,G,E]
/// out, what is beyond the encoder's width is 0
template <class Scalar>
void text_embeddings(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                     const PairWorkspace<Scalar>& workspace,
                     const ConstView1<PartitionParams>& params, const ConstView4<int>& token,
                     const ConstView3<int>& length, const View4<float>& embedding,
                     const View1<StatusWord>& status);

/// Gradient of the mean binary cross-entropy over all pairs of all groups of labelled texts.
/// \param token [R,B,G,T], length [R,B,G]  completions; group b = texts of one prompt
/// \param label [R,B,G,G] 1 = same meaning; the upper triangle is read
/// \param gradient [R,N] out   \param loss [R] out, nats per pair
template <class Scalar>
void pair_gradient(const Exec& exec, const PairNet& net, const PairWeights<Scalar>& weights,
                   const PairWorkspace<Scalar>& workspace, const ConstView4<int>& token,
                   const ConstView3<int>& length, const ConstView4<float>& label,
                   const View2<Scalar>& gradient, const View1<double>& loss);

/// Quality of pair decisions against labels.
struct PairQuality {
  double accuracy = 0, precision = 0, recall = 0, f1 = 0, auroc = 0, ece = 0;
  double false_merge = 0;  ///< share of different pairs called the same
  double false_split = 0;  ///< share of same pairs called different
  int pairs = 0;
};
/// AUROC by ranks with ties halved; ECE over 10 equal-width bins of the score. Undefined ratios are
/// 0.
PairQuality pair_quality(const std::vector<float>& score, const std::vector<int>& label,
                         double threshold);

}  // namespace motley
