/// motley pretrain, motley train

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/disk_plan.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/guard.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/memory_limit.hpp"
#include "experiments/memory_plan.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"
#include "io/lock.hpp"
#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "io/run_verify.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

const FlagSpec kConfigFlag = {"config", 'c', 'i', "FILE",
                              "configuration file; may be given several times, later ones win"};
const FlagSpec kOutputFlag = {"output", 'o', 0, "DIR",
                              "where the run is written; default runs/NAME"};

int run_pretrain(const CommandLine& line) {
  Configured configured = configured_by(line);
  RunConfig& config = configured.config;
  if (line.has("output")) config.pretrain.cache = line.get("output", "");
  Progress progress(progress_of(line));
  const std::vector<BasePolicy> bases =
      obtain_bases({config}, [&](const std::string& text) { progress.say(text); });
  const BaseReport& r = bases.front().report;
  if (line.has("json")) {
    std::printf("%s\n", nlohmann::json{{"file", bases.front().file},
                                       {"key", bases.front().key},
                                       {"skill", r.skill},
                                       {"passed", r.passed},
                                       {"skill_steps", r.skill_steps},
                                       {"quality", r.quality},
                                       {"reward_accuracy", r.reward_accuracy},
                                       {"reward_correlation", r.reward_correlation},
                                       {"classifier_f1", r.classifier.f1},
                                       {"classifier_auroc", r.classifier.auroc},
                                       {"classifier_ece", r.classifier.ece}}
                            .dump(2)
                            .c_str());
    return 0;
  }
  std::printf("%s\n", describe_base(config, bases.front()).c_str());
  const auto task = make_task(config.task, {config.base_seed()});
  for (int f = 0; f < r.families; ++f) {
    std::printf("  %s: share %.4f", task->families()[static_cast<std::size_t>(f)].c_str(),
                r.share[static_cast<std::size_t>(f)]);
    if (!task->forced_prefixes().empty())
      std::printf(", accuracy when forced %.3f at the gate, %.3f in the base",
                  r.forced_skill[static_cast<std::size_t>(f)],
                  r.forced_base[static_cast<std::size_t>(f)]);
    std::printf("\n");
  }
  std::printf("written: %s\n", bases.front().file.c_str());
  return 0;
}

/// What a run will take, without starting it.
struct Outlook {
  std::string config_sha256;
  std::int64_t policy = 0, classifier = 0;  ///< weights
  MemoryPlan memory;
  double disk_per_step = 0;  ///< bytes before compression
  std::string first_prompt;
};

Outlook outlook_of(const RunConfig& config) {
  Outlook out;
  out.config_sha256 = config_sha256(config);
  out.memory = plan_memory({config});
  const auto task = make_task(config.task, {config.base_seed()});
  const int V = task->vocabulary().size();
  out.policy = make_net_layout(policy_model(config, *task), true).tensors.weights();
  out.classifier =
      make_pair_net_layout(config.classifier, V, config.rollout.max_tokens).tensors.weights();
  const double B = config.rollout.prompts, G = config.rollout.group_size;
  out.disk_per_step = B * G * (config.rollout.max_tokens * (V <= 256 ? 5.0 : 6.0) + 31.0) +
                      B * 6.0 + kMetrics * 4.0;
  const auto token = Kokkos::create_mirror_view(task->prompts().token);
  const auto length = Kokkos::create_mirror_view(task->prompts().length);
  Kokkos::deep_copy(token, task->prompts().token);
  Kokkos::deep_copy(length, task->prompts().length);
  out.first_prompt = task->vocabulary().text(&token(0, 0, 0), length(0, 0));
  return out;
}

void print_dry_run(const Configured& configured, bool json) {
  const RunConfig& config = configured.config;
  const Outlook o = outlook_of(config);
  const MemoryPlan& m = o.memory;
  if (json) {
    nlohmann::json options = nlohmann::json::object();
    for (const OptionEntry& entry : list_options(config))
      if (entry.shown)
        options[entry.key] = {{"value", entry.text}, {"origin", configured.origin.at(entry.key)}};
    const MemoryLimit limit = free_memory();
    std::printf("%s\n",
                nlohmann::json{{"config_sha256", o.config_sha256},
                               {"options", options},
                               {"parameters", {{"policy", o.policy}, {"classifier", o.classifier}}},
                               {"memory",
                                {{"peak_bytes", m.peak()},
                                 {"program_bytes", m.program},
                                 {"pretraining_bytes", m.pretraining},
                                 {"training_bytes", m.training},
                                 {"file_bytes", m.files},
                                 {"base_bytes", m.bases},
                                 {"checkpoint_bytes", m.checkpoint},
                                 {"arrays", m.owners},
                                 {"free_bytes", limit.bytes},
                                 {"limit", limit.of}}},
                               {"disk_bytes_per_step", o.disk_per_step},
                               {"first_prompt", o.first_prompt}}
                    .dump(2)
                    .c_str());
    return;
  }
  std::string section;
  for (const OptionEntry& entry : list_options(config)) {
    if (!entry.shown) continue;
    const std::string mine = entry.key.substr(0, entry.key.find('.'));
    if (mine != section) std::printf("%s[%s]\n", section.empty() ? "" : "\n", mine.c_str());
    section = mine;
    const std::string assignment = entry.key.substr(mine.size() + 1) + " = " + entry.text;
    std::printf("%-40s # %s\n", assignment.c_str(), configured.origin.at(entry.key).c_str());
  }
  std::printf(
      "\n# config_sha256   %s\n# parameters      %lld policy, %lld classifier\n# memory          %.1f MB at most at once\n# disk            at most %.1f MB per 1000 steps before compression\n# first prompt    %s\n",
      o.config_sha256.c_str(), static_cast<long long>(o.policy),
      static_cast<long long>(o.classifier), static_cast<double>(m.peak()) / 1e6,
      o.disk_per_step * 1000 / 1e6, o.first_prompt.c_str());
}

/// Before anything of the folder is read: a live run may be between two writes.
void refuse_a_live_run(const fs::path& folder) {
  const std::string pid = writer_of(folder);
  MOTLEY_REQUIRE(pid.empty(), ErrorKind::refused, folder.string(),
                 ": another motley is writing this run, got pid ", pid,
                 "; allowed: one writer per folder (wait for it, or choose another -o)");
}

/// Refuses what would lose or mix runs; returns how to go on.
FolderState check_folder(const fs::path& folder, bool resume, bool overwrite) {
  FolderState state = inspect_folder(folder);
  MOTLEY_REQUIRE(state.kind == FolderState::Kind::empty || resume || overwrite, ErrorKind::refused,
                 folder.string(), ": there is a run already; resume it with -r ", folder.string(),
                 ", or replace it with --overwrite");
  if (overwrite && !resume) return FolderState{};
  return state;
}

/// Configuration of a resumed run: its own, and the command line's where there is no run yet.
Configured resumed_config(const CommandLine& line, const fs::path& folder) {
  const bool given = line.has("config") || !line.overrides.empty();
  if (!fs::exists(folder / "run.h5")) {
    MOTLEY_REQUIRE(given || fs::exists(folder / "config.ini"), ErrorKind::input, folder.string(),
                   ": no run.h5 to resume; give the run's configuration with -c to start it");
    if (given) return configured_by(line);
    Faults faults;
    Configured out = configure({read_ini_file((folder / "config.ini").string(), faults)}, faults);
    faults.raise();
    return out;
  }
  read_in_child(folder / "run.h5", [&] {
    verify_run(folder / "run.h5");
    return std::string();
  });
  Configured own;
  own.config = config_from_ini(RunReader(folder / "run.h5").ini(), (folder / "run.h5").string());
  if (given) {
    // Only what is written counts: a key left at its default asks for nothing.
    const Configured wanted = configured_by(line);
    Faults faults;
    const auto a = list_options(own.config);
    const auto b = list_options(wanted.config);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::string& place = wanted.origin.at(a[i].key);
      if (a[i].text != b[i].text && decides_result(a[i].key) && place != "default")
        faults.add(concat(a[i].key, " (", place, "): a resumed run keeps its configuration, got ",
                          b[i].text, "; allowed: ", a[i].text, " as in ",
                          (folder / "run.h5").string()));
    }
    faults.raise();
  }
  return own;
}

void print_summary(const RunConfig& config, const fs::path& folder, const RunOutcome& outcome) {
  const RunReader reader(folder / "run.h5");
  std::printf("\n%s, seed %llu, %lld steps in %s\n", config.run.name.c_str(),
              static_cast<unsigned long long>(config.run.seed),
              static_cast<long long>(outcome.step), duration_text(outcome.seconds).c_str());
  if (reader.has_eval()) {
    const EvalTable eval = reader.eval();
    const std::size_t K = eval.k.size();
    const std::size_t last = eval.step.size() - 1;
    const auto& pass = eval.columns.at("pass_at_k");
    std::printf("held-out pass@k, base -> now:");
    for (std::size_t i = 0; i < K; ++i)
      std::printf("  @%d %.3f -> %.3f", eval.k[i], pass[i], pass[last * K + i]);
    std::printf("\n");
  }
  std::printf("written: %s\n", (folder / "run.h5").c_str());
  if (!outcome.digest.empty()) std::printf("digest:  %s\n", outcome.digest.c_str());
  std::printf("next:    motley inspect %s --step %lld --prompt 0\n", folder.c_str(),
              static_cast<long long>(std::max<std::int64_t>(0, outcome.step - 1)));
}

int run_train(const CommandLine& line) {
  require_words(line, "train", 0, 0, "");
  const bool resume = line.has("resume");
  const fs::path resumed(line.get("resume", ""));
  if (resume && line.has("output"))
    MOTLEY_REQUIRE(
        fs::path(line.get("output", "")).lexically_normal() == resumed.lexically_normal(),
        ErrorKind::config, "motley train: -r and -o name different folders, got ", resumed.string(),
        " and ", line.get("output", ""));
  const fs::path given = resume ? resumed : fs::path(line.get("output", ""));
  if (!given.empty() && !line.has("dry-run")) refuse_a_live_run(given);
  const Configured configured = resume ? resumed_config(line, resumed) : configured_by(line);
  if (line.has("dry-run")) {
    print_dry_run(configured, line.has("json"));
    return 0;
  }
  const RunRequest request{
      configured.config,
      resume ? resumed : fs::path(line.get("output", "runs/" + configured.config.run.name))};
  refuse_a_live_run(request.folder);
  const FolderState state = check_folder(request.folder, resume, line.has("overwrite"));
  if (!state.warnings.empty()) std::fprintf(stderr, "%s\n", state.warnings.c_str());
  TrainOptions options;
  if (line.has("max-time")) stop_after(parse_duration(line.get("max-time", "")));
  options.progress = progress_of(line);
  options.overwrite = line.has("overwrite") && !resume;
  RunOutcome outcome;
  if (state.kind == FolderState::Kind::complete) {
    outcome.step = state.step;
    outcome.digest = digest_of_run(request.folder / "run.h5");
  } else {
    if (!line.has("any-disk"))
      require_disk(request.folder,
                   planned_folder_bytes(request.config) - folder_bytes(request.folder));
    outcome =
        train_batch({request}, state.step, state.kind == FolderState::Kind::resumable, options)
            .front();
  }
  if (outcome.status == RunStatus::interrupted) {
    std::fprintf(stderr, "stopped at step %lld; go on with: motley train -r %s\n",
                 static_cast<long long>(outcome.step), request.folder.c_str());
    return 75;
  }
  if (line.has("json"))
    std::printf("%s\n", nlohmann::json{{"run", request.folder.string()},
                                       {"status", "complete"},
                                       {"step", outcome.step},
                                       {"digest", outcome.digest},
                                       {"seconds", outcome.seconds},
                                       {"tokens", outcome.tokens}}
                            .dump()
                            .c_str());
  else if (options.progress != ProgressMode::json)
    print_summary(request.config, request.folder, outcome);
  return 0;
}

}  // namespace

const Command kPretrain = {
    "pretrain",
    "-c FILE [key=value ...] [-o DIR]",
    "trains the base policy and the pair classifier a run starts from",
    "  motley pretrain -c experiments/base.ini task.rare_prior=.002\n",
    {kConfigFlag, {"output", 'o', 0, "DIR", "cache folder; default pretrain.cache"}},
    true,
    run_pretrain};
const Command kTrain = {
    "train",
    "-c FILE [key=value ...] [-o DIR] [-r DIR]",
    "trains one policy and logs everything to DIR/run.h5",
    "  motley train -c experiments/base.ini -o runs/first\n  motley train -c experiments/base.ini run.method=grpo run.seed=3 -o runs/grpo-3\n"
    "  motley train -r runs/first                # go on where it stopped, same result\n"
    "  motley train -c experiments/base.ini --dry-run\n",
    {kConfigFlag,
     kOutputFlag,
     {"resume", 'r', 0, "DIR", "goes on with the run in DIR"},
     {"dry-run", 'n', 0, "", "shows configuration, origins, memory and disk; starts nothing"},
     {"max-time", 't', 0, "TIME", "stops after hh:mm:ss with exit 75, resumable"},
     {"overwrite", 0, 0, "", "replaces an existing run"},
     {"any-disk", 0, 0, "", "starts also where the disk may be too small"}},
    true,
    run_train};

}  // namespace motley
