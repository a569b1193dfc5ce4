#pragma once
/// What a task is: prompts, quality, ground-truth class, surface text, a pretraining corpus.
///
/// A task is one file (models/tasks/<name>.cpp, or a user's own) and one line of registration
/// (models/tasks/registry.hpp). Its
/// tables live on the device, with the replica axis first, because the prompt pool depends on the
/// replica's own seed. Scoring, classes and corpus are kernels launched by the virtual functions;
/// the object itself never enters a kernel.

#include <memory>
#include <string>
#include <vector>

#include "core/base/describe.hpp"
#include "core/base/own_options.hpp"
#include "core/base/rng.hpp"
#include "core/base/types.hpp"

namespace motley {

inline constexpr int kPad = 0;  ///< padding token of every task
inline constexpr int kEos = 1;  ///< end token of every task

/// Names of all registered tasks, and the defaults of the options they bring along.
std::vector<std::string> task_names();
OwnSettings task_settings();

struct TaskConfig {
  std::string name = "scratchpad";
  int modulus = 5;
  int digits = 5;
  double skew = 0.6;
  double rare_prior = 0.007;
  double hard_prior = 0.17;
  std::string key = "full";
  bool gem = false;
  int train_prompts = 0;  ///< 0 = the task's default
  int eval_prompts = 0;   ///< 0 = the task's default
  OwnSettings own = task_settings();
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, TaskConfig> {
  v("task.name", c.name, OneOf{task_names()}, "1", "the task");
  v("task.modulus", c.modulus, between(2, 10), "1",
    "scratchpad: answers are sums of the digits modulo this; 2 = parity");
  v("task.digits", c.digits, between(2, 32), "token",
    "scratchpad: digits of a prompt, each below the modulus");
  v("task.skew", c.skew, between(0, 1), "1",
    "scratchpad: share of training prompts whose answer is 0: what the habit can earn");
  v("task.rare_prior", c.rare_prior, Range{.low = 0, .high = 0.33, .low_open = true}, "1",
    "scratchpad: prior of each of the three working families in the base policy");
  v("task.hard_prior", c.hard_prior, between(0, 1), "1",
    "countdown: weight of x and / together among the operators of the base policy");
  v("task.key", c.key, OneOf{{"full", "plot"}}, "1",
    "ideas: what makes two texts one idea: all four slots, or event and twist alone");
  v("task.gem", c.gem, any_value, "1",
    "ideas: the judge passes only a few rare plots per group of themes");
  v("task.train_prompts", c.train_prompts, between(0, 1e6), "1",
    "size of the training pool; 0 = the task's default");
  v("task.eval_prompts", c.eval_prompts, between(0, 1e5), "1",
    "held-out prompts; 0 = the task's default");
}

/// Token strings; token 0 is <pad>, token 1 is <eos>.
struct Vocabulary {
  std::vector<std::string> token;  ///< [V]
  std::vector<bool> special;       ///< [V]
  int size() const { return static_cast<int>(token.size()); }
  /// Tokens joined by blanks, specials left out.
  std::string text(const int* ids, int length) const;
};

/// Prompts of every replica. Rows [0, num_train) are the training pool, the rest is held out.
struct PromptTable {
  int num_train = 0;
  int num_eval = 0;
  View3<int> token;   ///< [R,N,P] left-aligned, kPad after the end
  View2<int> length;  ///< [R,N]
  /// [R][N] true number of semantic classes of a *correct* answer, -1 unknown
  std::vector<std::vector<int>> num_classes;
  std::vector<std::vector<float>> difficulty;  ///< [R][N] the task's own scale
  int size() const { return num_train + num_eval; }
};

/// Mixture from which a pretraining text is drawn, per replica.
struct CorpusParams {
  std::uint64_t seed = 0;     ///< the replica's own
  double share[8] = {};       ///< of the task's families (countdown: operators); sums to 1
  double habit_guess = 0.8;   ///< probability that the habit answers its favourite
  double filler = 0.25;       ///< probability of each surface filler
  double wrong_answer = 0.0;  ///< probability that the answer is replaced by a random one
  double malformed = 0.0;     ///< probability that the text is cut or scrambled
  /// Above 0: the probability that a text retells one of two meanings which the texts of a prompt
  /// share, in other words (tasks without a few fixed answers; for pairs of the classifier).
  double retold = 0.0;
};

/// A batch of supervised texts: prompt then completion in one row.
struct CorpusBatch {
  View3<int> token;          ///< [R,N,S] prompt, completion, kPad; S = P + T
  View2<int> prompt_length;  ///< [R,N]
  View2<int> length;         ///< [R,N] prompt + completion, end token included
  View2<int> class_id;       ///< [R,N] ground-truth class of the completion
  View2<float> utility;  ///< [R,N] what a judge compares texts by; empty = not asked for, and in
                         ///< tasks without a judge
};

/// What the skill gate of pretraining measures on held-out prompts.
enum class GateMeasure {
  forced,       ///< accuracy of the second-best rare family when its first tokens are forced
  quality,      ///< mean quality of free samples
  well_formed,  ///< share of free samples that parse
};
struct SkillGate {
  GateMeasure measure = GateMeasure::forced;
  double low = 0.6;   ///< where pretrain.min_skill leaves it to the task
  double high = 1.0;  ///< a base above it leaves nothing to learn and fails
};

class Task {
 public:
  virtual ~Task() = default;

  const std::string& name() const { return name_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  const PromptTable& prompts() const { return prompts_; }
  int max_prompt() const { return max_prompt_; }  ///< P
  int max_completion() const {
    return max_completion_;
  }  ///< smallest T that holds every correct answer
  /// Families of completions, e.g. {"direct","forward","backward","pairs"}; first = the habit. At
  /// most 8.
  const std::vector<std::string>& families() const { return families_; }
  /// Text of a ground-truth class, e.g. "forward 3"; "invalid" for malformed completions.
  virtual std::string class_name(int class_id) const = 0;
  /// Family of a class, or -1 for malformed. For tables; host only.
  virtual int family_of(int class_id) const = 0;

  /// A completion passes when its quality is above this.
  virtual double pass_above() const { return 0.0; }
  /// May training see the quality? If not, it sees a reward model's (models/reward_model.hpp).
  virtual bool verifiable() const { return true; }
  virtual SkillGate gate() const { return {}; }

  /// Quality in [0,1] and ground-truth class of every completion; malformed ones get quality 0, the
  /// class "invalid" and finish = invalid (where finish was eos).
  /// \param prompt_id [R,B]  \param token [R,B,G,T]  \param length [R,B,G]
  /// \param finish [R,B,G] in, out  \param quality, class_id [R,B,G] out
  virtual void score(const Exec& exec, const ConstView2<int>& prompt_id,
                     const ConstView4<int>& token, const ConstView3<int>& length,
                     const View3<int>& finish, const View3<float>& quality,
                     const View3<int>& class_id) const = 0;

  /// First token of every completion's stated answer, what stands before it being work that leads
  /// there; the length where a text states none, and in tasks whose completions are one piece.
  /// \param token [R,B,G,T]   \param length [R,B,G]   \param start [R,B,G] out
  virtual void answer_start(const Exec& exec, const ConstView4<int>& /*token*/,
                            const ConstView3<int>& length, const View3<int>& start) const {
    Kokkos::deep_copy(exec, start, length);
  }

  /// Draws a batch of texts: row n of replica r at address (seed, stream, step, n). Prompts come
  /// from outside the held-out set when `held_out` is false, from the held-out set otherwise.
  /// `same_prompt` > 1: rows come in runs of that many with one prompt (for pairs).
  virtual void corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
                      std::uint32_t step, bool held_out, int same_prompt,
                      const CorpusBatch& batch) const = 0;

  /// Tokens that force family f as the start of a completion (the skill gate), [F][*]; empty in
  /// tasks that have no such families, whose base policy is the end of the skill stage.
  virtual std::vector<std::vector<int>> forced_prefixes() const { return {}; }
  /// Family shares of the skill stage of pretraining, and of a habit stage with the given prior of
  /// every rare family.
  virtual CorpusParams skill_corpus() const = 0;
  virtual CorpusParams habit_corpus(double /*rare_prior*/) const { return skill_corpus(); }
  /// Balanced over families, with wrong and malformed texts: what pairs for the classifier are
  /// drawn from.
  virtual CorpusParams classifier_corpus() const = 0;
  /// What the pairs of the reward model are drawn from (tasks that are not verifiable).
  virtual CorpusParams preference_corpus() const { return skill_corpus(); }
  /// Texts without any habit: where a reward model is compared with the judge.
  virtual CorpusParams uniform_corpus() const { return skill_corpus(); }

 protected:
  std::string name_;
  Vocabulary vocabulary_;
  PromptTable prompts_;
  std::vector<std::string> families_;
  int max_prompt_ = 0;
  int max_completion_ = 0;
};

/// Builds the task for replicas with these seeds. Throws Error(config) for a configuration that the
/// task cannot serve.
std::unique_ptr<Task> make_task(const TaskConfig& config, const std::vector<std::uint64_t>& seeds);

/// Tokens of the shortest completion that can be correct, end token included.
int shortest_answer(const TaskConfig& config);

/// Training prompts of a step: position (step * B + b) of an endless sequence of shuffled epochs;
/// the shuffle of an epoch is a keyed bijection (Stream::prompt), so no state is kept.
/// \param seeds [R]   \param prompt [R,B,P], prompt_length, prompt_id [R,B] out
void sample_prompts(const Exec& exec, const PromptTable& table,
                    const ConstView1<std::uint64_t>& seeds, std::uint32_t step,
                    const View3<int>& prompt, const View2<int>& prompt_length,
                    const View2<int>& prompt_id);

/// Fresh prompts for the refused slots of a step: position (attempt * B + b) of shuffled epochs of
/// the training pool that are the step's own (Stream::resample), so that no two slots of a step are
/// given the same prompt before the pool is exhausted. Other slots are left alone.
/// \param attempt 1, 2, ...   \param slots [R,B], num_slots [R] as in FilterState
void resample_prompts(const Exec& exec, const PromptTable& table,
                      const ConstView1<std::uint64_t>& seeds, std::uint32_t step,
                      std::uint32_t attempt, const ConstView2<int>& slots,
                      const ConstView1<int>& num_slots, const View3<int>& prompt,
                      const View2<int>& prompt_length, const View2<int>& prompt_id);

}  // namespace motley
