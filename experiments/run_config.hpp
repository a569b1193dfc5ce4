#pragma once
/// Everything a run is told, one aggregate per stage, and the one list of all options.

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "core/advantage.hpp"
#include "core/entropy_control.hpp"
#include "core/filter_groups.hpp"
#include "core/mismatch.hpp"
#include "core/objective.hpp"
#include "core/partition.hpp"
#include "core/reward_terms.hpp"
#include "core/sampling.hpp"
#include "core/shaping.hpp"
#include "core/temperature.hpp"
#include "models/adamw.hpp"
#include "models/reward_model.hpp"
#include "models/tasks/task.hpp"
#include "models/transformer_config.hpp"

namespace motley {

struct RunOptions {
  std::string name = "scratchpad-darling";
  std::string method = "darling";
  std::uint64_t seed = 7;
  int steps = 400;
  std::string device = "auto";
  int threads = 0;
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, RunOptions> {
  v("run.name", c.name, any_value, "1", "title of the run; changes no number");
  v("run.method", c.method, any_value, "1",
    "preset: sets other keys where it is written, each may be overridden after it");
  v("run.seed", c.seed, between(0, 9.2e18), "1", "key of every random draw of the run");
  v("run.steps", c.steps, between(0, 1e9), "1", "training steps");
  v("run.device", c.device, OneOf{{"auto", "cpu", "cuda"}}, "1",
    "where kernels run; changes no number on one backend");
  v("run.threads", c.threads, between(0, 4096), "1", "host threads, 0 = all; changes no number");
}

enum class Gate : int { warn, refuse, off };
template <>
struct EnumNames<Gate> {
  static constexpr std::array<std::string_view, 3> names = {"warn", "refuse", "off"};
};

struct PretrainConfig {
  std::string from;
  std::int64_t seed = -1;
  int steps = 1500;
  int batch = 192;
  double lr = 2e-3;
  double min_skill = -1;
  Gate gate = Gate::warn;
  int gate_every = 250;
  int gate_samples = 4;
  int habit_steps = 150;
  double habit_lr = 3e-4;
  std::string cache = "runs/base";
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, PretrainConfig> {
  v("pretrain.from", c.from, any_value, "1",
    "policy to start from instead of pretraining one: a folder of motley import or of Hugging Face, a run or a checkpoint; empty = none");
  v("pretrain.seed", c.seed, between(-1, 9.2e18), "1",
    "seed of the base policy, its classifier and the prompt pool; -1 = run.seed");
  v("pretrain.steps", c.steps, between(0, 1e7), "1",
    "most steps of the skill stage; it ends earlier where the gate is passed");
  v("pretrain.batch", c.batch, between(1, 1e6), "1", "texts per step");
  v("pretrain.lr", c.lr, Range{.low = 0, .high = 1, .low_open = true}, "1",
    "peak learning rate of the skill stage; constant after 50 warm-up steps");
  v("pretrain.min_skill", c.min_skill, between(-1, 1), "1",
    "gate on held-out prompts: scratchpad accuracy of the second-best rare family when forced, countdown quality, ideas share of well-formed texts; -1 = the task's default");
  v("pretrain.gate", c.gate, any_value, "1", "what happens to a base policy that fails the gate");
  v("pretrain.gate_every", c.gate_every, between(1, 1e7), "1", "steps between looks at the gate");
  v("pretrain.gate_samples", c.gate_samples, between(1, 1024), "1",
    "completions per held-out prompt and family at the gate");
  v("pretrain.habit_steps", c.habit_steps, between(0, 1e7), "1",
    "scratchpad: steps of each habit stage; two stages where task.rare_prior is below .02");
  v("pretrain.habit_lr", c.habit_lr, Range{.low = 0, .high = 1, .low_open = true}, "1",
    "learning rate of the habit stages");
  v("pretrain.cache", c.cache, any_value, "1",
    "folder of finished base policies; changes no number");
}

struct RolloutOptions {
  int prompts = 32;
  int group_size = 8;
  int max_tokens = 16;
  SamplingParams sampling;
  std::string temperature_schedule = "constant";
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, RolloutOptions> {
  v("rollout.prompts", c.prompts, between(1, 1e6), "1", "prompts per step (B)");
  v("rollout.group_size", c.group_size, between(1, 4096), "1", "completions per prompt (G)");
  v("rollout.max_tokens", c.max_tokens, between(1, 65535), "token",
    "longest completion, end token included (T)");
  describe_sampling(c.sampling, v);
  v("rollout.temperature_schedule", c.temperature_schedule, any_value, "1",
    "course of the temperature from rollout.temperature at the first step to END, above 0 and at most 100, at the last; evaluation keeps its own");
}

struct UpdateOptions {
  int epochs = 1;
  int minibatches = 1;
  int micro_batches = 1;
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, UpdateOptions> {
  v("loss.epochs", c.epochs, between(1, 1000), "1", "passes over a step's rollouts");
  v("loss.minibatches", c.minibatches, between(1, 1e6), "1",
    "updates per pass, each on its share of the prompts");
  v("loss.micro_batches", c.micro_batches, between(1, 1e6), "1",
    "launches per update; changes no number");
}

struct LogConfig {
  std::string rollouts = "all";
  std::string log_prob = "f32";
  bool entropy = false;
  bool pair_score = false;
  std::string diagnostics = "none";
  bool eval_samples = false;
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, LogConfig> {
  v("log.rollouts", c.rollouts, any_value, "1",
    "which steps log their rollouts: all, every:N or none");
  v("log.log_prob", c.log_prob, OneOf{{"f32", "f16", "none"}}, "1",
    "precision of logged log-probabilities");
  v("log.entropy", c.entropy, any_value, "1", "log the entropy of every token");
  v("log.pair_score", c.pair_score, any_value, "1", "log the score of every pair");
  v("log.diagnostics", c.diagnostics, any_value, "1",
    "which steps measure /diagnostics, at the cost of some seven more passes: every:N or none");
  v("log.eval_samples", c.eval_samples, any_value, "1",
    "log tokens, quality and classes of every evaluation sample");
}

struct CheckpointConfig {
  int every_steps = 50;
  double every_minutes = 10;
  int keep = 2;
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, CheckpointConfig> {
  v("checkpoint.every_steps", c.every_steps, between(0, 1e9), "1",
    "steps between checkpoints; 0 = by time only");
  v("checkpoint.every_minutes", c.every_minutes, between(0, 1e6), "min",
    "minutes between checkpoints; 0 = by steps only");
  v("checkpoint.keep", c.keep, between(1, 1e6), "1", "checkpoints kept");
}

/// What counts as distinct in an evaluation.
enum class EvalPartition : int { oracle, classifier };
template <>
struct EnumNames<EvalPartition> {
  static constexpr std::array<std::string_view, 2> names = {"oracle", "classifier"};
};

struct EvalConfig {
  int every_steps = 50;
  int samples = 64;
  std::vector<int> k = {1, 4, 16, 64};
  double temperature = 1.0;
  EvalPartition partition = EvalPartition::oracle;
  int ngram_n = 4;
  bool exact = false;
  int exact_prompts = 0;
  int exact_prefixes = 4096;
  double exact_min_mass = 1e-7;
};
template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, EvalConfig> {
  v("eval.every_steps", c.every_steps, between(0, 1e9), "1",
    "steps between evaluations on held-out prompts; the base and the last step always; 0 = only these");
  v("eval.samples", c.samples, between(1, 65535), "1", "completions per held-out prompt");
  v("eval.k", c.k, between(1, 65535), "1", "the k of pass@k, a list");
  v("eval.temperature", c.temperature, between(0, 100), "1", "temperature of evaluation");
  v("eval.partition", c.partition, any_value, "1",
    "what counts as distinct: the task's classes, or the pair classifier with greedy_first linkage");
  v("eval.ngram_n", c.ngram_n, between(1, 8), "token", "n of distinct_n");
  v("eval.exact", c.exact, any_value, "1",
    "enumerate the policy's completions: exact pass@1, pass@k, quality and class entropy");
  v("eval.exact_prompts", c.exact_prompts, between(0, 1e5), "1",
    "eval.exact: the first so many held-out prompts; 0 = all");
  v("eval.exact_prefixes", c.exact_prefixes, between(1, 1e6), "1",
    "eval.exact: heaviest prefixes of a prompt that are followed at a position; the mass of the rest is missing from exact_mass");
  v("eval.exact_min_mass", c.exact_min_mass, between(0, 0.1), "1",
    "eval.exact: prefixes and completions less probable than this are left out; 0 = none");
}

struct RunConfig {
  RunOptions run;
  TaskConfig task;
  TransformerConfig model;
  PretrainConfig pretrain;
  RolloutOptions rollout;
  PartitionParams partition;
  ClassifierConfig classifier;
  RewardModelConfig reward_model;
  ShapingParams diversity;
  FilterParams filter_groups;
  OverlongParams overlong;
  MismatchParams mismatch;
  AdvantageParams advantage;
  LossParams loss;
  EntropyParams entropy;
  UpdateOptions update;
  OptimConfig optim;
  LogConfig log;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  OwnSettings own_partitioner = partitioner_settings();
  OwnSettings own_shaping = shaping_settings();

  std::uint64_t base_seed() const {
    return pretrain.seed >= 0 ? static_cast<std::uint64_t>(pretrain.seed) : run.seed;
  }
};

/// Temperature of a run over its steps.
inline TemperatureSchedule temperature_schedule(const RunConfig& c) {
  TemperatureSchedule s;
  s.start = c.rollout.sampling.temperature;
  s.steps = c.run.steps;
  parse_temperature_schedule(c.rollout.temperature_schedule, s);
  return s;
}

/// Calls v(key, member, allowed, unit, text) for every option; keys are `section.name`. Those of
/// registered methods come last.
template <class Config, class Visitor>
void for_each_option(Config& c, Visitor&& v) {
  describe(c.run, v);
  describe(c.task, v);
  describe(c.model, v);
  describe(c.pretrain, v);
  describe(c.rollout, v);
  describe(c.partition, v);
  describe(c.classifier, v);
  describe(c.reward_model, v);
  describe(c.diversity, v);
  describe(c.filter_groups, v);
  describe(c.overlong, v);
  describe(c.mismatch, v);
  describe(c.advantage, v);
  describe(c.loss, v);
  describe(c.entropy, v);
  describe(c.update, v);
  describe(c.optim, v);
  describe(c.log, v);
  describe(c.checkpoint, v);
  describe(c.eval, v);
  describe(c.task.own, v);
  describe(c.own_partitioner, v);
  describe(c.own_shaping, v);
}

}  // namespace motley
