#include "experiments/base_policy.hpp"

#include <cmath>
#include <filesystem>
#include <map>

#include "core/base/error.hpp"
#include "experiments/options.hpp"
#include "experiments/policy_file.hpp"
#include "experiments/pretrain.hpp"
#include "io/checkpoint.hpp"
#include "io/digest.hpp"
#include "io/lock.hpp"

namespace motley {

namespace {

/// Keys that decide a base policy and its classifier.
/// An option that the run's own task has brought along.
bool is_option_of_task(const RunConfig& config, const std::string& key) {
  return key.rfind(config.task.name + ".", 0) == 0;
}

bool decides_base(const std::string& key) {
  if (key == "pretrain.from" || key == "pretrain.cache" || key == "pretrain.seed" ||
      key == "pretrain.gate")
    return false;
  if (key == "reward_model.squash" || key == "reward_model.format") return false;
  for (const char* section : {"task.", "model.", "pretrain.", "classifier.", "reward_model."})
    if (key.rfind(section, 0) == 0) return true;
  return false;
}

std::string number(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", x);
  return text;
}

/// Every number of a report under its name, for reading and for writing.
template <class Report, class F>
void for_each_value(Report& r, F&& f) {
  f("families", r.families);
  f("skill_steps", r.skill_steps);
  f("skill_loss", r.skill_loss);
  for (std::size_t i = 0; i < kMaxFamilies; ++i) {
    f(concat("forced_skill.", i), r.forced_skill[i]);
    f(concat("forced_base.", i), r.forced_base[i]);
    f(concat("share.", i), r.share[i]);
  }
  f("quality", r.quality);
  f("skill", r.skill);
  f("passed", r.passed);
  f("reward.accuracy", r.reward_accuracy);
  f("reward.correlation", r.reward_correlation);
  f("reward.loss", r.reward_loss);
  f("reward.mean", r.reward_mean);
  f("reward.deviation", r.reward_deviation);
  f("classifier.accuracy", r.classifier.accuracy);
  f("classifier.precision", r.classifier.precision);
  f("classifier.recall", r.classifier.recall);
  f("classifier.f1", r.classifier.f1);
  f("classifier.auroc", r.classifier.auroc);
  f("classifier.ece", r.classifier.ece);
  f("classifier.false_merge", r.classifier.false_merge);
  f("classifier.false_split", r.classifier.false_split);
  f("classifier.pairs", r.classifier.pairs);
}

std::filesystem::path cache_file(const RunConfig& config, const std::string& key) {
  return std::filesystem::path(config.pretrain.cache) / key.substr(0, 16);
}

void store(const RunConfig& config, BasePolicy& base) {
  Checkpoint checkpoint;
  checkpoint.meta["kind"] = "motley-base";
  checkpoint.meta["key"] = base.key;
  checkpoint.meta["config"] = effective_ini(config);
  for_each_value(base.report, [&](const std::string& name, const auto& value) {
    checkpoint.meta["report." + name] = number(static_cast<double>(value));
  });
  checkpoint.tensors.push_back(
      Tensor::from_floats("policy", {static_cast<std::int64_t>(base.policy.size())}, base.policy));
  checkpoint.tensors.push_back(Tensor::from_floats(
      "classifier", {static_cast<std::int64_t>(base.classifier.size())}, base.classifier));
  if (!base.reward.empty())
    checkpoint.tensors.push_back(Tensor::from_floats(
        "reward", {static_cast<std::int64_t>(base.reward.size())}, base.reward));
  checkpoint.meta["reward_model"] = base.reward.empty() ? "no" : "yes";
  const auto folder = cache_file(config, base.key);
  base.file = (folder / save_checkpoint(folder, checkpoint, 1).file).string();
}

/// The cached base, or nothing; a damaged one is trained again.
bool load(const RunConfig& config, const std::string& key, BasePolicy& base, const Message& say) {
  try {
    const auto found = load_newest_checkpoint(cache_file(config, key));
    if (!found) return false;
    const Checkpoint& checkpoint = found->checkpoint;
    if (checkpoint.text("key") != key) return false;
    base.key = key;
    base.file = (cache_file(config, key) / found->file).string();
    base.policy = checkpoint.tensor("policy").floats();
    base.classifier = checkpoint.tensor("classifier").floats();
    if (checkpoint.text("reward_model") == "yes")
      base.reward = checkpoint.tensor("reward").floats();
    for_each_value(base.report, [&](const std::string& name, auto& value) {
      value =
          static_cast<std::decay_t<decltype(value)>>(std::stod(checkpoint.text("report." + name)));
    });
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    say(concat("pretrain: ", error.what(), "; training the base policy again"));
    return false;
  }
}

}  // namespace

std::string base_key(const RunConfig& config) {
  std::string text = concat("base_seed=", config.base_seed(), "\n");
  for (const OptionEntry& entry : list_options(config))
    if (identifies(entry) && (decides_base(entry.key) || is_option_of_task(config, entry.key)))
      text += entry.key + "=" + entry.text + "\n";
  // What stands there, not where it stands.
  if (!config.pretrain.from.empty())
    text += "pretrain.from=" + digest_of(read_policy(config.pretrain.from)) + "\n";
  return hex(sha256(text));
}

std::vector<RunConfig> without_base(const std::vector<RunConfig>& configs) {
  std::map<std::string, RunConfig> missing;
  for (const RunConfig& config : configs) {
    const std::string key = base_key(config);
    if (list_checkpoints(cache_file(config, key)).empty()) missing.emplace(key, config);
  }
  std::vector<RunConfig> out;
  for (const auto& [key, config] : missing) out.push_back(config);
  return out;
}

std::vector<BasePolicy> obtain_bases(const std::vector<RunConfig>& configs, const Message& say) {
  std::map<std::string, BasePolicy> known;
  std::vector<RunConfig> missing;
  for (const RunConfig& config : configs) {
    const std::string key = base_key(config);
    if (known.count(key) > 0) continue;
    BasePolicy& base = known[key];
    if (!load(config, key, base, say)) missing.push_back(config);
  }
  // Processes of one sweep want the same bases: the first makes them, the others find them made.
  // Locks are taken in the order of the keys, so that no two wait for each other.
  std::map<std::string, RunConfig> wanted;
  for (const RunConfig& config : missing) wanted.emplace(base_key(config), config);
  std::vector<TurnLock> turns;
  for (const auto& [key, config] : wanted) turns.emplace_back(cache_file(config, key));
  std::erase_if(missing, [&](const RunConfig& config) {
    const std::string key = base_key(config);
    return load(config, key, known.at(key), say);
  });
  if (!missing.empty()) {
    say(concat("pretrain: ", missing.size(), " base polic", missing.size() == 1 ? "y" : "ies",
               " to train (then cached in ", configs.front().pretrain.cache, ")"));
    std::vector<BasePolicy> trained = train_bases(missing, say);
    for (std::size_t i = 0; i < trained.size(); ++i) {
      store(missing[i], trained[i]);
      known[trained[i].key] = trained[i];
    }
  }
  std::vector<BasePolicy> out;
  for (const RunConfig& config : configs) {
    out.push_back(known.at(base_key(config)));
    const BaseReport& report = out.back().report;
    MOTLEY_REQUIRE(report.passed || config.pretrain.gate != Gate::refuse, ErrorKind::refused,
                   "pretrain.gate: the base policy of seed ", config.base_seed(), " has skill ",
                   report.skill, " after ", report.skill_steps,
                   " steps, which does not pass pretrain.min_skill = ", config.pretrain.min_skill,
                   " (-1 = the task's default); raise pretrain.steps or set pretrain.gate = warn");
  }
  return out;
}

double lowest_skill(const RunConfig& config, const Task& task) {
  return config.pretrain.min_skill >= 0 ? config.pretrain.min_skill : task.gate().low;
}

std::string describe_base(const RunConfig& config, const BasePolicy& base) {
  const BaseReport& r = base.report;
  const auto digits = [](const char* format, double x) {
    char text[40];
    std::snprintf(text, sizeof text, format, x);
    return std::string(text);
  };
  std::string out = concat("base seed ", config.base_seed(), ": skill ", digits("%.3f", r.skill),
                           " (", r.passed ? "passes" : "FAILS THE GATE", ", ", r.skill_steps,
                           " steps), quality ", digits("%.3f", r.quality));
  if (r.families > 1) out += ", rare share";
  for (int f = 1; f < r.families; ++f) out += digits(" %.4f", r.share[static_cast<std::size_t>(f)]);
  if (!base.reward.empty())
    out += concat(", reward model accuracy ", digits("%.3f", r.reward_accuracy), " correlation ",
                  digits("%.3f", r.reward_correlation));
  return out + concat(", classifier F1 ", digits("%.4f", r.classifier.f1), " AUROC ",
                      digits("%.4f", r.classifier.auroc), " ECE ",
                      digits("%.4f", r.classifier.ece));
}

}  // namespace motley
