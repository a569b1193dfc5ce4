/// What a run file says at its start, and what a checkpoint holds.

#include <cstring>
#include <ctime>
#include <fstream>
#include <unistd.h>

#include "core/base/error.hpp"
#include "experiments/guard.hpp"
#include "experiments/machine.hpp"
#include "experiments/options.hpp"
#include "experiments/trainer.hpp"
#include "io/run_reader.hpp"
#include "version.hpp"

namespace motley {

FolderState inspect_folder(const std::filesystem::path& folder) {
  FolderState state;
  if (!std::filesystem::exists(folder / "run.h5")) return state;
  if (!guarded())
    read_in_child(folder / "run.h5",
                  [&] { return std::string(name_of(RunReader(folder / "run.h5").status())); });
  const RunReader reader(folder / "run.h5");
  if (reader.status() == RunStatus::complete) {
    state.kind = FolderState::Kind::complete;
    state.step = reader.committed();
    return state;
  }
  state.kind = FolderState::Kind::resumable;
  if (const auto found = load_newest_checkpoint(folder / "checkpoints")) {
    state.step = found->checkpoint.step;
    state.warnings = found->warnings;
  }
  return state;
}

bool same_shape(const RunConfig& a, const RunConfig& b) {
  // Everything that shapes an array or is read once per batch; per-replica settings are left out.
  static const char* const kPerReplica[] = {"run.name",
                                            "run.method",
                                            "run.seed",
                                            "rollout.temperature",  // and its schedule
                                            "rollout.top_k",
                                            "rollout.top_p",
                                            "rollout.min_p",
                                            "partition.",
                                            "diversity.",
                                            "reward_model.squash",
                                            "reward_model.format",
                                            "filter_groups.",
                                            "overlong.",
                                            "mismatch.",
                                            "unlikeliness.",
                                            "ips.",
                                            "uniqueness.",
                                            "outcome_bonus.",
                                            "mmr.",
                                            "gapo.",
                                            "coverage.",
                                            "set_rl.",
                                            "logdet.",
                                            "outcome_entropy.",
                                            "advantage.",
                                            "loss.policy",
                                            "loss.clip_ratio_low",
                                            "loss.clip_ratio_high",
                                            "loss.clip_ratio_c",
                                            "loss.agg",
                                            "loss.top_entropy_quantile",
                                            "clip_cov.",
                                            "kl_cov.",
                                            "sapo.",
                                            "simko.",
                                            "divpo.",
                                            "kl.",
                                            "entropy.",
                                            "optim.",
                                            "log.",
                                            "eval.temperature",
                                            "eval.partition",
                                            "eval.ngram_n"};
  const auto left = list_options(a);
  const auto right = list_options(b);
  for (std::size_t i = 0; i < left.size(); ++i) {
    bool free = belongs_to_method(left[i].key);
    for (const char* key : kPerReplica) free = free || left[i].key.rfind(key, 0) == 0;
    if (!free && left[i].text != right[i].text) return false;
  }
  return true;
}

namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

PromptColumns prompt_columns(const Task& task, int replica) {
  const PromptTable& table = task.prompts();
  PromptColumns out;
  const auto token = Kokkos::create_mirror_view(table.token);
  const auto length = Kokkos::create_mirror_view(table.length);
  Kokkos::deep_copy(token, table.token);
  Kokkos::deep_copy(length, table.length);
  const int P = static_cast<int>(token.extent(2));
  for (int n = 0; n < table.size(); ++n) {
    out.text.push_back(task.vocabulary().text(&token(replica, n, 0), length(replica, n)));
    for (int p = 0; p < P; ++p) out.token.push_back(token(replica, n, p));
    out.length.push_back(length(replica, n));
    out.split.push_back(n < table.num_train ? 0 : 1);
  }
  out.n_classes = table.num_classes[static_cast<std::size_t>(replica)];
  out.difficulty = table.difficulty[static_cast<std::size_t>(replica)];
  return out;
}

}  // namespace

int steps_between(const std::string& text) {
  if (text == "all") return 1;
  if (text == "none") return 0;
  std::int64_t every = 1;
  parse_integer(text.substr(6), every);
  return static_cast<int>(every);
}

RunHeader make_run_header(const RunConfig& config, const Task& task, int replica,
                          const BasePolicy& base) {
  RunHeader h;
  h.run_name = config.run.name;
  h.motley_version = kVersion;
  h.git_commit = kGitCommit;
  h.git_dirty = kGitDirty;
  h.created_utc = utc_now();
  h.seed = config.run.seed;
  h.config_sha256 = config_sha256(config);
  for (const OptionEntry& entry : list_options(config))
    if (entry.shown) h.config.push_back({entry.key, entry.value});
  h.ini = effective_ini(config);
  h.vocab = task.vocabulary().token;
  h.special = task.vocabulary().special;
  h.prompts = prompt_columns(task, replica);
  h.shape = {1,
             config.rollout.prompts,
             config.rollout.group_size,
             task.max_prompt(),
             config.rollout.max_tokens,
             task.vocabulary().size()};
  h.steps = config.run.steps;
  h.eval_k = config.eval.k;
  h.eval_prompts = task.prompts().num_eval;
  h.eval_samples = config.eval.samples;
  h.log.rollouts_every = steps_between(config.log.rollouts);
  h.log.diagnostics_every = steps_between(config.log.diagnostics);
  h.log.eval_samples = config.log.eval_samples;
  h.log.eval_exact = config.eval.exact;
  h.log.log_prob = config.log.log_prob == "f32"   ? LogProbFormat::f32
                   : config.log.log_prob == "f16" ? LogProbFormat::f16
                                                  : LogProbFormat::none;
  h.log.entropy = config.log.entropy;
  h.log.pair_score = config.log.pair_score;
  h.log.old_log_prob = config.mismatch.noise_std > 0 && config.log.log_prob != "none";
  const SamplingParams& s = config.rollout.sampling;
  h.log.kept_mass = s.temperature > 0 && (s.top_k > 0 || s.top_p < 1.0 || s.min_p > 0.0);
  h.provenance = machine_provenance();
  const BaseReport& report = base.report;
  h.provenance.push_back({"base_key", base.key});
  h.provenance.push_back({"base_file", base.file});
  h.provenance.push_back({"base_skill", report.skill});
  h.provenance.push_back({"base_passed_gate", report.passed});
  h.provenance.push_back({"base_skill_steps", std::int64_t{report.skill_steps}});
  h.provenance.push_back({"base_quality", report.quality});
  for (int f = 0; f < report.families; ++f) {
    const std::string family = task.families()[static_cast<std::size_t>(f)];
    h.provenance.push_back({"base_share_" + family, report.share[static_cast<std::size_t>(f)]});
    h.provenance.push_back(
        {"base_forced_skill_" + family, report.forced_skill[static_cast<std::size_t>(f)]});
  }
  if (!task.verifiable()) {
    h.provenance.push_back({"reward_model_accuracy", report.reward_accuracy});
    h.provenance.push_back({"reward_model_correlation", report.reward_correlation});
    h.provenance.push_back({"reward_model_loss", report.reward_loss});
  }
  h.provenance.push_back({"classifier_accuracy", report.classifier.accuracy});
  h.provenance.push_back({"classifier_precision", report.classifier.precision});
  h.provenance.push_back({"classifier_recall", report.classifier.recall});
  h.provenance.push_back({"classifier_f1", report.classifier.f1});
  h.provenance.push_back({"classifier_auroc", report.classifier.auroc});
  h.provenance.push_back({"classifier_ece", report.classifier.ece});
  h.provenance.push_back({"classifier_false_merge", report.classifier.false_merge});
  h.provenance.push_back({"classifier_false_split", report.classifier.false_split});
  return h;
}

std::vector<float> policy_of_checkpoint(const Checkpoint& checkpoint,
                                        const ParameterLayout& layout) {
  std::vector<float> out(static_cast<std::size_t>(layout.size()), 0.0f);
  for (const TensorSpec& spec : layout.tensors()) {
    const std::vector<float> values = checkpoint.tensor(spec.name).floats();
    MOTLEY_REQUIRE(static_cast<std::int64_t>(values.size()) == spec.size(), ErrorKind::input,
                   "checkpoint: tensor ", spec.name, " has ", values.size(), " values, expected ",
                   spec.rows, " x ", spec.cols);
    std::copy(values.begin(), values.end(), out.begin() + spec.offset);
  }
  return out;
}

}  // namespace motley
