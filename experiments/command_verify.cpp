/// motley verify, motley repair: is a file what was written, and making a killed one readable.

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/guard.hpp"
#include "io/checkpoint.hpp"
#include "io/lock.hpp"
#include "io/run_index.hpp"
#include "io/run_reader.hpp"
#include "io/run_repair.hpp"
#include "io/run_verify.hpp"
#include "io/side_file.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

bool is_checkpoint(const fs::path& path) {
  return path.extension() == ".safetensors";
}

/// The files that belong to a word: a file, a run's folder, a sweep's folder.
void collect_files(const fs::path& word, std::vector<fs::path>& files) {
  MOTLEY_REQUIRE(fs::exists(word), ErrorKind::input, word.string(),
                 ": no such file or folder; allowed: a run, a sweep, a checkpoint, a side file");
  if (!fs::is_directory(word)) {
    files.push_back(word);
    return;
  }
  const std::size_t before = files.size();
  for (const auto& entry : fs::recursive_directory_iterator(word)) {
    const fs::path& path = entry.path();
    // An exported model beside a run is no checkpoint.
    const bool ours = path.extension() == ".h5" ||
                      (is_checkpoint(path) && path.filename().string().starts_with("step-"));
    if (entry.is_regular_file() && ours) files.push_back(path);
  }
  MOTLEY_REQUIRE(files.size() > before, ErrorKind::input, word.string(),
                 ": no .h5 file and no checkpoint in there");
  std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
}

std::string verify_run_file(const fs::path& path) {
  const RunVerdict verdict = verify_run(path);
  const RunReader run(path);
  // The seal covers the configuration; without one it must at least agree with its own hash.
  std::string stated;
  for (const Attribute& a : run.root())
    if (a.key == "config_sha256" && std::holds_alternative<std::string>(a.value))
      stated = std::get<std::string>(a.value);
  const std::string found = config_sha256(config_from_ini(run.ini(), path.string()));
  MOTLEY_REQUIRE(verdict.sealed || stated == found, ErrorKind::input, path.string(),
                 ": damaged: /config does not match config_sha256, got ", found.substr(0, 16),
                 ", expected ", stated.substr(0, 16));
  std::string text = concat(name_of(verdict.status), ", ", verdict.committed, " of ",
                            run.steps_planned(), " steps");
  if (!verdict.digest.empty()) text += ", digest " + verdict.digest;
  if (verdict.sealed) return text;
  if (verdict.status == RunStatus::complete) return text + "; not sealed (an older version)";
  return text + concat("; covered up to step ", verdict.covered,
                       " of the newest checkpoint, later rows are written anew by a resume");
}

std::string verify_file(const fs::path& path) {
  if (is_checkpoint(path)) {
    const Checkpoint checkpoint = load_checkpoint(path);
    return concat("checkpoint of step ", checkpoint.step);
  }
  const std::string format = format_of(path);
  if (format == kSideFormat) {
    verify_side_file(path);
    return "side file";
  }
  // The index of a sweep holds no values of its own.
  if (format == kIndexFormat) return "index of a sweep";
  return verify_run_file(path);
}

int run_verify(const CommandLine& line) {
  require_words(line, "verify", 1, 100000, "RUN, SWEEP or CHECKPOINT");
  std::vector<fs::path> files;
  for (const std::string& word : line.positional) collect_files(word, files);
  nlohmann::json out = nlohmann::json::array();
  int code = 0;
  for (const fs::path& path : files) {
    std::string text, error;
    try {
      text = read_in_child(path, [&] { return verify_file(path); });
    } catch (const Error& fault) {
      if (fault.kind() == ErrorKind::refused) throw;
      error = fault.what();
      code = exit_code(ErrorKind::input);
    }
    if (line.has("json"))
      out.push_back({{"file", path.string()},
                     {"whole", error.empty()},
                     {"what", error.empty() ? text : error}});
    else if (error.empty())
      std::printf("whole    %s: %s\n", path.c_str(), text.c_str());
    else
      std::printf("damaged  %s\n", error.c_str());
  }
  if (line.has("json")) std::printf("%s\n", out.dump(2).c_str());
  return code;
}

int run_repair(const CommandLine& line) {
  require_words(line, "repair", 1, 1, "RUN");
  const fs::path path = run_file_of(line.positional[0]);
  const Repair repair = repair_run(path);
  if (line.has("json"))
    std::printf("%s\n", nlohmann::json{{"file", path.string()},
                                       {"repaired", repair.done},
                                       {"committed", repair.committed},
                                       {"kept", repair.kept}}
                            .dump(2)
                            .c_str());
  else if (!repair.done)
    std::printf("%s: closed and whole, nothing to repair\n", path.c_str());
  else
    std::printf("%s: repaired, %lld steps committed; the file as it was: %s\n", path.c_str(),
                static_cast<long long>(repair.committed), repair.kept.c_str());
  return 0;
}

}  // namespace

const Command kVerify = {
    "verify",
    "RUN|SWEEP|CHECKPOINT|FILE ...",
    "checks that files are what was written: run files, checkpoints, side files; exit 4 where not",
    "  motley verify runs/first\n  motley verify runs/quickstart --json       # every run and checkpoint in there\n"
    "  motley verify runs/first/checkpoints/step-00000400.safetensors\n"
    "  # A closed run.h5 is covered to the last byte (/integrity/seal), a checkpoint by its SHA-256.\n"
    "  # The run.h5 of a killed run is covered up to its newest checkpoint.\n",
    {},
    false,
    run_verify};
const Command kRepair = {
    "repair",
    "RUN",
    "closes the run.h5 of a killed run, so that every reader opens it",
    "  motley repair runs/first\n"
    "  # Not needed to go on: motley train -r runs/first does it by itself.\n"
    "  # A copy is cut back to what is committed, the writer's flags are cleared (h5clear -s), the\n"
    "  # copy is read in full and only then takes the place of run.h5. The file as it was is kept as\n"
    "  # run.h5.before-repair. Where rows are missing or changed nothing is touched, exit 4.\n",
    {},
    false,
    run_repair,
    looks};

}  // namespace motley
