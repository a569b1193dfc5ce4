#pragma once
/// The learned reward model of tasks whose quality training may not see.
///
/// One scalar per text: a transformer encoder (no causal mask) reads prompt and completion, the
/// mean u of its final states is read out linearly, s = w . u. It is trained on preference pairs by
/// the Bradley-Terry loss (Christiano et al. 2017; Ouyang et al. 2022, eq. 1):
///   L = - mean over pairs of ln sigmoid(s_preferred - s_other),
/// on labels of the task's judge that are themselves drawn from a Bradley-Terry model,
///   P(a preferred to b) = sigmoid((utility_a - utility_b) / reward_model.noise).
/// What training sees is the standardised score, (s - mean) / deviation over the training texts, or
/// its sigmoid. Standardised scores are negative half the time, which turns a diversity factor
/// against its purpose; see diversity.reward_bias.

#include "core/base/describe.hpp"
#include "core/base/status.hpp"
#include "models/tasks/task.hpp"
#include "models/tile.hpp"

namespace motley {

enum class RewardSquash : int { none, sigmoid };
template <>
struct EnumNames<RewardSquash> {
  static constexpr std::array<std::string_view, 2> names = {"none", "sigmoid"};
};

enum class RewardFormat : int { checked, trusted };
template <>
struct EnumNames<RewardFormat> {
  static constexpr std::array<std::string_view, 2> names = {"checked", "trusted"};
};

struct RewardModelConfig {
  int layers = 2;
  int width = 48;
  int pairs = 4000;
  int steps = 500;
  int batch = 64;
  double lr = 1e-3;
  double noise = 0.5;
  RewardSquash squash = RewardSquash::sigmoid;
  RewardFormat format = RewardFormat::checked;
};

template <class C, class Visitor>
void describe(C& c,
              Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, RewardModelConfig> {
  v("reward_model.layers", c.layers, between(1, 64), "1",
    "encoder layers (tasks without a verifier)");
  v("reward_model.width", c.width, between(8, 4096), "1", "encoder width, a multiple of 8");
  v("reward_model.pairs", c.pairs, between(1, 1e7), "1", "preference pairs it is trained on");
  v("reward_model.steps", c.steps, between(0, 1e6), "1", "training steps");
  v("reward_model.batch", c.batch, between(1, 1e5), "1", "pairs per training step");
  v("reward_model.lr", c.lr, Range{.low = 0, .high = 1, .low_open = true}, "1",
    "peak learning rate");
  v("reward_model.noise", c.noise, between(0, 100), "1",
    "temperature of the judge's preferences; 0 = always the better text");
  v("reward_model.squash", c.squash, any_value, "1",
    "what training sees: the standardised score, or its sigmoid");
  v("reward_model.format", c.format, any_value, "1",
    "checked: texts that do not parse score -4 deviations; trusted: the model scores them too, and can be gamed with them");
}

/// Encoder and readout as offsets; trivially copyable.
struct RewardNet {
  Net encoder;
  std::int64_t readout = 0;  ///< w [E] in the arena
  std::int64_t size = 0;
};
struct RewardNetLayout {
  RewardNet net;
  ParameterLayout tensors;
};
/// \param S  tokens of the longest text, prompt included
RewardNetLayout make_reward_net_layout(const RewardModelConfig& config, int vocab, int S);

template <class Scalar>
Weights<Scalar> make_reward_weights(int R, const RewardNet& net);
template <class Scalar>
void init_reward_weights(const Exec& exec, const RewardNetLayout& layout,
                         const ConstView1<std::uint64_t>& seeds, const Weights<Scalar>& weights);

/// Whole texts: prompt, completion, kPad.
struct RewardTexts {
  View3<int> token;   ///< [R,N,S]
  View2<int> length;  ///< [R,N] at least 1
};

template <class Scalar>
struct RewardModelWorkspace {
  int texts_per_tile = 2;  ///< even
  int chunks = 0;          ///< partial gradients (training)
  TileWorkspace<Scalar> tiles;
  View2<Scalar> scratch;  ///< [slots, texts * (E + 1)] means, then d loss / d score
  View3<Scalar> partial;  ///< [R,chunks,N], training
  View2<double> sums;     ///< [R,chunks], training
};
/// \param texts  scored or trained on at once, per replica
template <class Scalar>
RewardModelWorkspace<Scalar> make_reward_model_workspace(const RewardNet& net, int R, int texts,
                                                         int S, bool training);

/// Scores of all texts. \param score [R,N] out
template <class Scalar>
void reward_scores(const Exec& exec, const RewardNet& net, const Weights<Scalar>& weights,
                   const RewardModelWorkspace<Scalar>& workspace, const RewardTexts& texts,
                   const View2<Scalar>& score);

/// Gradient of the mean Bradley-Terry loss over pairs (2k, 2k+1) of texts, k = first_pair, ..,
/// first_pair + pairs - 1, counted round the end of the texts.
/// \param label [R,N/2] 1 = the first text is preferred, 0 = the second
/// \param gradient [R,N] out   \param loss [R] out, nats per pair
template <class Scalar>
void preference_gradient(const Exec& exec, const RewardNet& net, const Weights<Scalar>& weights,
                         const RewardModelWorkspace<Scalar>& workspace, const RewardTexts& texts,
                         const ConstView2<float>& label, int first_pair, int pairs,
                         const View2<Scalar>& gradient, const View1<double>& loss);

/// Standardised score of a malformed text where the format is checked.
inline constexpr double kMalformedScore = -4.0;

/// What may differ between replicas.
struct RewardParams {
  RewardSquash squash = RewardSquash::sigmoid;
  RewardFormat format = RewardFormat::checked;
  double mean = 0.0;       ///< of the scores of the training texts
  double deviation = 1.0;  ///< ddof 0
};

/// Puts prompts and completions of a step together. \param texts [R,B*G,S] out
void reward_texts(const Exec& exec, const ConstView3<int>& prompt,
                  const ConstView2<int>& prompt_length, const ConstView4<int>& token,
                  const ConstView3<int>& length, const RewardTexts& texts);

/// Quality as training sees it, from scores. A score that is not finite is reported.
/// \param params [R]   \param score [R,B*G]
/// \param finish [R,B,G] a text is malformed where it is not Finish::eos
/// \param quality [R,B,G] out
void reward_quality(const Exec& exec, const ConstView1<RewardParams>& params,
                    const ConstView2<float>& score, const ConstView3<int>& finish,
                    const View3<float>& quality, const View1<StatusWord>& status);

}  // namespace motley
