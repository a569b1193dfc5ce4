/// motley config, motley info

#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/machine.hpp"
#include "experiments/memory_limit.hpp"
#include "experiments/presets.hpp"
#include "io/run_reader.hpp"
#include "version.hpp"

namespace motley {

namespace {

nlohmann::json json_of(const OptionValue& value) {
  return std::visit([](const auto& v) { return nlohmann::json(v); }, value);
}

nlohmann::json json_of(const OptionEntry& e) {
  return {{"key", e.key},   {"type", e.type},       {"default", json_of(e.value)},
          {"unit", e.unit}, {"allowed", e.allowed}, {"text", e.help}};
}

nlohmann::json json_of_presets() {
  nlohmann::json out = nlohmann::json::array();
  for (const Preset& preset : presets()) {
    nlohmann::json settings = nlohmann::json::array();
    for (const Setting& s : preset.settings)
      settings.push_back({{"key", s.key}, {"value", s.value}, {"source", s.source}});
    out.push_back({{"name", preset.name},
                   {"title", preset.title},
                   {"paper", preset.paper},
                   {"settings", settings},
                   {"differs", preset.differs}});
  }
  return out;
}

/// The configuration a word names: a run (folder or file) or an ini file.
RunConfig config_of(const std::string& word) {
  const std::string file = run_file_of(word);
  if (file.ends_with(".h5")) return config_from_ini(RunReader(file).ini(), file);
  Faults faults;
  const Layer layer = read_ini_file(file, faults);
  Configured out = configure({layer}, faults);
  faults.raise();
  return out.config;
}

void explain(const CommandLine& line) {
  require_words(line, "config explain", 2, 2, "KEY");
  const std::string& key = line.positional[1];
  for (const OptionEntry& entry : list_options(RunConfig{})) {
    if (entry.key != key) continue;
    if (line.has("json")) {
      nlohmann::json out = json_of(entry);
      if (key == "run.method") out["presets"] = json_of_presets();
      std::printf("%s\n", out.dump(2).c_str());
      return;
    }
    std::printf("%s\n  %s\n  type     %s\n  default  %s\n  unit     %s\n  allowed  %s\n",
                entry.key.c_str(), entry.help.c_str(), entry.type.c_str(),
                entry.default_text.c_str(), entry.unit.c_str(), entry.allowed.c_str());
    for (const std::string& text : registered_texts(key)) std::printf("  %s\n", text.c_str());
    if (key != "run.method") return;
    for (const Preset& preset : presets()) {
      std::printf("\n  %s: %s (%s)\n", preset.name.c_str(), preset.title.c_str(),
                  preset.paper.c_str());
      for (const Setting& s : preset.settings)
        std::printf("    %-34s %s\n", concat(s.key, " = ", s.value).c_str(), s.source.c_str());
      if (!preset.differs.empty()) std::printf("    note: %s\n", preset.differs.c_str());
    }
    return;
  }
  throw Error(ErrorKind::config, concat("config explain: unknown option, got \"", key, "\"",
                                        did_you_mean(key, option_keys())));
}

void show_schema(bool json) {
  nlohmann::json all = nlohmann::json::array();
  for (const OptionEntry& e : list_options(RunConfig{})) {
    if (json)
      all.push_back(json_of(e));
    else
      std::printf("| `%s` | %s | %s | %s | %s |\n", e.key.c_str(), e.type.c_str(),
                  e.default_text.c_str(), e.allowed.c_str(), e.help.c_str());
  }
  if (json) std::printf("%s\n", all.dump(2).c_str());
}

int run_config(const CommandLine& line) {
  require_words(line, "config", 1, 3, "show, diff, defaults, schema or explain");
  const std::string& what = line.positional[0];
  if (what == "explain") {
    explain(line);
  } else if (what == "defaults") {
    std::printf("%s", effective_ini(RunConfig{}).c_str());
  } else if (what == "schema") {
    show_schema(line.has("json"));
  } else if (what == "show") {
    require_words(line, "config show", 1, 2, "RUN");
    const RunConfig config =
        line.positional.size() > 1 ? config_of(line.positional[1]) : configured_by(line).config;
    std::printf("%s", effective_ini(config).c_str());
  } else if (what == "diff") {
    require_words(line, "config diff", 3, 3, "A B");
    const auto a = list_options(config_of(line.positional[1]));
    const auto b = list_options(config_of(line.positional[2]));
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i].text != b[i].text)
        std::printf("%s: %s -> %s\n", a[i].key.c_str(), a[i].text.c_str(), b[i].text.c_str());
  } else {
    const std::vector<std::string> words = {"show", "diff", "defaults", "schema", "explain"};
    throw Error(ErrorKind::config, concat("motley config: unknown word, got \"", what,
                                          "\"; allowed: ", join(words), did_you_mean(what, words)));
  }
  return 0;
}

int run_info(const CommandLine& line) {
  std::vector<Attribute> facts = machine_provenance();
  facts.insert(facts.begin(), {{"motley_version", std::string(kVersion)},
                               {"git_commit", std::string(kGitCommit)},
                               {"git_dirty", kGitDirty}});
  facts.push_back({"available_memory_bytes", static_cast<std::int64_t>(free_memory().bytes)});
  facts.push_back({"most_completions_per_prompt", std::int64_t{4096}});
  facts.push_back({"tasks", join(task_names())});
  facts.push_back({"methods", join(method_names())});
  nlohmann::json json;
  for (const Attribute& fact : facts) {
    if (fact.key == "command_line") continue;
    json[fact.key] = json_of(fact.value);
    if (!line.has("json"))
      std::printf("%-28s %s\n", fact.key.c_str(),
                  json[fact.key].is_string() ? std::get<std::string>(fact.value).c_str()
                                             : json[fact.key].dump().c_str());
  }
  if (line.has("json")) std::printf("%s\n", json.dump(2).c_str());
  return 0;
}

}  // namespace

const Command kConfig = {
    "config",
    "show [RUN] | diff A B | defaults | schema | explain KEY",
    "shows, compares and explains configurations",
    "  motley config explain diversity.shaping\n  motley config show runs/my-run          # the text that reproduces the run\n"
    "  motley config diff runs/a runs/b\n",
    {{"config", 'c', 'i', "FILE", "configuration file (show)"}},
    false,
    run_config,
    looks};
const Command kInfo = {
    "info", "",      "shows versions, backend, devices and limits", "  motley info --json\n", {},
    true,   run_info};

}  // namespace motley
