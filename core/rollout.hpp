#pragma once
/// RolloutBuffer: everything one step knows about its completions, struct of arrays.
///
/// Grouped by the stage that writes each field. `for_each_field` is the single table (name, axes,
/// unit, sentence) from which allocation, HDF5 datasets, docs/schema.md and the tests are made.

#include <string_view>

#include "core/base/shape.hpp"
#include "core/base/types.hpp"

namespace motley {

/// Why a completion ended. The numbers stand in the file (flag_meanings).
enum class Finish : int { eos = 0, length = 1, invalid = 2 };

struct RolloutBuffer {
  Shape shape;

  // written by sample_prompts
  View3<int> prompt;         // [R,B,P]
  View2<int> prompt_length;  // [R,B]
  View2<int> prompt_id;      // [R,B]
  // written by rollout
  View4<int> token;               // [R,B,G,T]
  View3<int> length;              // [R,B,G]
  View3<int> finish;              // [R,B,G]
  View4<float> sampler_log_prob;  // [R,B,G,T]
  View4<float> entropy;           // [R,B,G,T]
  View4<float> kept_mass;         // [R,B,G,T]
  // written by score_tokens
  View4<float> old_log_prob;  // [R,B,G,T]
  View4<float> ref_log_prob;  // [R,B,G,T]
  // written by score
  View3<float> quality;       // [R,B,G]
  View3<float> quality_true;  // [R,B,G]
  View3<int> class_id;        // [R,B,G]
  // written by pair_scores and partition
  View4<float> pair_score;  // [R,B,G,G]
  View3<int> cluster;       // [R,B,G]
  View3<int> cluster_size;  // [R,B,G]
  View2<int> num_clusters;  // [R,B]
  View2<int> num_calls;     // [R,B]
  View3<int> history;       // [R,B,G]
  // written by shape_reward
  View3<float> diversity;  // [R,B,G]
  View3<float> reward;     // [R,B,G]
  View3<int> used;         // [R,B,G]
  // written by group_advantage
  View2<float> group_mean;  // [R,B]
  View2<float> group_std;   // [R,B]
  View3<float> advantage;   // [R,B,G]

  // Not logged, allocated where a bonus leaves out the tokens of the answer (outcome_bonus):
  View3<int> answer_start;        // [R,B,G] first token of the stated answer
  View3<float> answer_advantage;  // [R,B,G] the advantage of these tokens

  /// The advantage of one token.
  KOKKOS_INLINE_FUNCTION float token_advantage(int r, int b, int g, int t) const {
    return answer_start.data() != nullptr && t >= answer_start(r, b, g) ? answer_advantage(r, b, g)
                                                                        : advantage(r, b, g);
  }
  void allocate_answers();

  RolloutBuffer() = default;
  /// Allocates every field, labelled `motley::rollout::<field>`, zero-filled.
  explicit RolloutBuffer(const Shape& shape);
};

/// Calls f(name, view, axes, unit, stage, text) for every field, in the order above.
template <class Buffer, class F>
void for_each_field(Buffer& b, F&& f) {
  f("prompt", b.prompt, "R,B,P", "token", "sample_prompts",
    "prompt token ids, left-aligned, padded with 0 after prompt_length");
  f("prompt_length", b.prompt_length, "R,B", "token", "sample_prompts", "tokens of the prompt");
  f("prompt_id", b.prompt_id, "R,B", "1", "sample_prompts", "row of the task's prompt table");
  f("token", b.token, "R,B,G,T", "token", "rollout", "completion token ids; 0 (pad) after the end");
  f("length", b.length, "R,B,G", "token", "rollout", "tokens that count, end token included");
  f("finish", b.finish, "R,B,G", "1", "rollout", "why the completion ended: eos, length, invalid");
  f("sampler_log_prob", b.sampler_log_prob, "R,B,G,T", "nat", "rollout",
    "log-probability of the sampled token under the full temperature-scaled softmax of the sampler; 0 where masked");
  f("entropy", b.entropy, "R,B,G,T", "nat", "rollout",
    "entropy of the full temperature-scaled next-token distribution; 0 where masked");
  f("kept_mass", b.kept_mass, "R,B,G,T", "1", "rollout",
    "probability kept by top_k, top_p and min_p; 1 where nothing is cut");
  f("old_log_prob", b.old_log_prob, "R,B,G,T", "nat", "score_tokens",
    "log-probability as the trainer recomputes it before the update; equals sampler_log_prob bit for bit unless mismatch.noise_std > 0");
  f("ref_log_prob", b.ref_log_prob, "R,B,G,T", "nat", "score_tokens",
    "log-probability under the frozen reference policy; 0 unless a replica has kl.coef > 0 or loss.policy = divpo");
  f("quality", b.quality, "R,B,G", "1", "score", "the task's raw score");
  f("quality_true", b.quality_true, "R,B,G", "1", "score",
    "the task's own quality: differs from quality where training sees a reward model");
  f("class_id", b.class_id, "R,B,G", "1", "score",
    "ground-truth semantic class where the task knows it, else -1");
  f("pair_score", b.pair_score, "R,B,G,G", "1", "pair_scores",
    "P(same meaning), symmetric, diagonal 1");
  f("cluster", b.cluster, "R,B,G", "1", "partition",
    "canonical label: smallest completion index of the cluster; -1 = excluded or soft");
  f("cluster_size", b.cluster_size, "R,B,G", "1", "partition",
    "members of the completion's own cluster");
  f("num_clusters", b.num_clusters, "R,B", "1", "partition", "clusters of the group");
  f("num_calls", b.num_calls, "R,B", "1", "pair_scores",
    "pairs put to the classifier after deduplication");
  f("history", b.history, "R,B,G", "1", "partition",
    "completions of this prompt and class in earlier steps; 0 unless partition.across_steps");
  f("diversity", b.diversity, "R,B,G", "1", "shape_reward",
    "per-completion diversity before floor and normalisation");
  f("reward", b.reward, "R,B,G", "1", "shape_reward", "shaped reward: what the learner sees");
  f("used", b.used, "R,B,G", "1", "shape_reward", "0 where the group is dropped from the update");
  f("group_mean", b.group_mean, "R,B", "1", "group_advantage", "baseline of the group");
  f("group_std", b.group_std, "R,B", "1", "group_advantage",
    "sample deviation (ddof 1) of the group's rewards");
  f("advantage", b.advantage, "R,B,G", "1", "group_advantage",
    "one per completion, broadcast over its tokens by the objective; with outcome_bonus.on_answer = off the tokens of a stated answer receive it without the bonus");
}

}  // namespace motley
