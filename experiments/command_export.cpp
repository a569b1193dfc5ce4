/// motley export

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/export_events.hpp"
#include "experiments/export_tables.hpp"
#include "experiments/policy_file.hpp"
#include "io/files.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFormats = {"hf", "csv", "jsonl", "parquet", "tensorboard"};

/// A folder that gets its name when everything in it is there.
class OutputFolder {
 public:
  OutputFolder(const fs::path& target, bool overwrite)
      : target_(target.has_filename() ? target : target.parent_path()),
        work_(target_.string() + ".tmp" + std::to_string(::getpid())) {
    std::error_code failed;
    MOTLEY_REQUIRE(overwrite || !fs::exists(target_) || fs::is_empty(target_, failed),
                   ErrorKind::refused, target_.string(),
                   ": exists already; choose another folder with -o, or replace it with "
                   "--overwrite");
    MOTLEY_REQUIRE(!fs::exists(target_) || fs::is_directory(target_), ErrorKind::refused,
                   target_.string(), ": is no folder");
    // A folder of something else is not removed at a slip of the hand.
    MOTLEY_REQUIRE(!fs::exists(target_ / "run.h5") && !fs::exists(target_ / ".git"),
                   ErrorKind::refused, target_.string(),
                   ": holds a run or a repository, which an export does not replace");
    fs::create_directories(work_, failed);
    MOTLEY_REQUIRE(!failed, ErrorKind::refused, work_.string(),
                   ": cannot be made: ", failed.message());
  }
  ~OutputFolder() {
    std::error_code ignored;
    if (!work_.empty()) fs::remove_all(work_, ignored);
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const fs::path& path() const { return work_; }

  void finish() {
    sync_directory(work_);
    std::error_code failed;
    const fs::path old = work_.string() + ".old";
    if (fs::exists(target_)) fs::rename(target_, old, failed);
    if (!failed) fs::rename(work_, target_, failed);
    MOTLEY_REQUIRE(!failed, ErrorKind::io, target_.string(),
                   ": cannot be put in place: ", failed.message());
    fs::remove_all(old, failed);
    work_.clear();
    sync_directory(target_.has_parent_path() ? target_.parent_path() : fs::path("."));
  }

 private:
  fs::path target_, work_;
};

std::string text_of(const std::vector<Attribute>& attributes, const std::string& key) {
  for (const Attribute& a : attributes)
    if (a.key == key && std::holds_alternative<std::string>(a.value))
      return std::get<std::string>(a.value);
  return "";
}

ClassName class_names(const RunReader& reader, const std::string& file) {
  const RunConfig config = config_from_ini(reader.ini(), file);
  const std::shared_ptr<Task> task = make_task(config.task, {config.base_seed()});
  return [task](int id) { return task->class_name(id); };
}

/// Writes the tables of a run. \return rows by table
nlohmann::json export_tables(const RunReader& reader, const std::string& file, TableFormat format,
                             const fs::path& folder) {
  const std::map<std::string, std::string> metadata = {
      {"motley.run_name", text_of(reader.root(), "run_name")},
      {"motley.config_sha256", text_of(reader.root(), "config_sha256")},
      {"motley.ini", reader.ini()}};
  nlohmann::json rows = nlohmann::json::object();
  for (const Table& table : run_tables(reader, class_names(reader, file)))
    rows[table.name] = write_table(table, format, folder, metadata);
  return rows;
}

int run_export(const CommandLine& line) {
  require_words(line, "export", 1, 1, "RUN or CHECKPOINT");
  const std::string what = line.positional[0];
  const std::string to = line.get("to", "");
  const auto known = std::find(kFormats.begin(), kFormats.end(), to);
  MOTLEY_REQUIRE(known != kFormats.end(), ErrorKind::config,
                 "--to: ", to.empty() ? "is missing" : concat("unknown format, got \"", to, "\""),
                 "; allowed: ", join(kFormats), did_you_mean(to, kFormats));
  const bool file = fs::path(what).extension() == ".safetensors";
  MOTLEY_REQUIRE(to == "hf" || !file, ErrorKind::input, what,
                 ": a checkpoint holds no log, got --to ", to,
                 "; allowed: --to hf, or the run itself");
  const fs::path otherwise =
      file ? fs::path(fs::path(what).replace_extension("").string() + "-hf")
           : (fs::is_directory(what) ? fs::path(what) : fs::path(what).parent_path()) /
                 ("export-" + to);
  const fs::path target = line.get("output", otherwise.string());
  nlohmann::json result = {{"from", what}, {"to", to}, {"folder", target.string()}};
  if (to == "hf") {
    const bool log = fs::path(what).extension() == ".h5";
    const PolicyFile policy = read_policy(log ? fs::path(what).parent_path() : fs::path(what));
    OutputFolder folder(target, line.has("overwrite"));
    write_hugging_face(policy, folder.path());
    folder.finish();
    result["policy"] = policy.source;
    result["sha256"] = digest_of(policy);
  } else {
    const std::string run = run_file_of(what);
    const RunReader reader(run);
    OutputFolder folder(target, line.has("overwrite"));
    if (to == "tensorboard")
      result["events"] = write_events(reader, folder.path());
    else
      result["rows"] = export_tables(
          reader, run, static_cast<TableFormat>(known - kFormats.begin() - 1), folder.path());
    folder.finish();
    result["committed"] = reader.committed();
    result["status"] = std::string(name_of(reader.status()));
  }
  if (line.has("json")) {
    std::printf("%s\n", result.dump(2).c_str());
    return 0;
  }
  if (to != "hf")
    std::printf("%s run, %lld steps\n", result["status"].get<std::string>().c_str(),
                static_cast<long long>(result["committed"].get<std::int64_t>()));
  if (result.contains("rows"))
    for (const auto& [name, rows] : result["rows"].items())
      std::printf("  %s.%s: %lld rows\n", name.c_str(), to.c_str(),
                  static_cast<long long>(rows.get<std::int64_t>()));
  std::printf("written: %s\n", target.c_str());
  return 0;
}

}  // namespace

const Command kExport = {
    "export",
    "RUN|CHECKPOINT --to FORMAT [-o DIR] [--overwrite]",
    "writes a run's log or policy in the formats of other programs",
    "  motley export runs/first --to hf -o policy       # for transformers\n"
    "  motley export runs/first --to parquet            # also csv, jsonl: into runs/first/export-parquet\n"
    "  motley export runs/first --to tensorboard -o tb/first\n",
    {{"to", 0, 0, "FORMAT", "hf, csv, jsonl, parquet or tensorboard"},
     {"output", 'o', 0, "DIR", "folder to write; default RUN/export-FORMAT"},
     {"overwrite", 0, 0, "", "replaces the folder where it exists"}},
    true,
    run_export,
    believes};

}  // namespace motley
