#include "experiments/sweep_emit.hpp"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/sweep_plan.hpp"
#include "io/run_index.hpp"
#include "io/run_reader.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

std::string sweep_command(const SweepConfig& sweep, const fs::path& folder,
                          const std::string& motley, const std::string& choice) {
  std::string out = concat(shell_quoted(motley), " sweep run ", shell_quoted(sweep.file));
  for (const std::string& word : sweep.overrides) out += " " + shell_quoted(word);
  const fs::path parent = folder.parent_path();
  return concat(out, " -o ", shell_quoted(parent.empty() ? "." : parent.string()), " ", choice,
                " --progress plain");
}

}  // namespace

std::string shell_quoted(const std::string& word) {
  static const std::string plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=,:+@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

std::string cell_command(const SweepConfig& sweep, const SweepCell& cell, const fs::path& folder) {
  std::string out = "motley train";
  if (!sweep.base_file.empty()) out += " -c " + shell_quoted(sweep.base_file);
  for (const std::string& word : words_of(sweep, cell)) out += " " + shell_quoted(word);
  return out + " -r " + shell_quoted((folder / cell.folder).string());
}

std::string slurm_script(const SweepConfig& sweep, const fs::path& folder,
                         const std::string& motley, const SlurmOptions& options) {
  const std::size_t tasks =
      options.tasks == 0 ? sweep.cells.size() : std::min(options.tasks, sweep.cells.size());
  const bool single = tasks == sweep.cells.size();
  std::string out = "#!/bin/bash\n";
  const auto directive = [&](const std::string& text) { out += "#SBATCH " + text + "\n"; };
  directive("--job-name=" + sweep.name);
  directive(concat("--array=0-", tasks - 1,
                   options.at_once > 0 ? concat("%", options.at_once) : std::string()));
  directive("--time=" + options.time);
  if (!options.partition.empty()) directive("--partition=" + options.partition);
  directive(concat("--ntasks=1\n#SBATCH --cpus-per-task=", options.cpus));
  directive("--requeue");
  directive("--open-mode=append");
  directive("--signal=B:TERM@120");
  directive("--output=" + (folder / "slurm-%a.log").string());
  out += concat(
      "# ", sweep.cells.size(), " cells of sweep ", sweep.name, ", ",
      single ? "one per array task" : concat("in ", tasks, " shards"),
      ". Each task stops 120 s before the\n"
      "# time limit (exit 75, everything kept) and queues itself again, until its cells are complete.\n"
      "set -u\n",
      "cd ", shell_quoted(fs::current_path().string()), " || exit 3\n",
      "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-", options.cpus, "} OMP_PROC_BIND=false\n",
      sweep_command(sweep, folder, motley,
                    single ? "--index \"$SLURM_ARRAY_TASK_ID\""
                           : concat("--shard \"$SLURM_ARRAY_TASK_ID/", tasks, "\"")),
      " &\n",
      "child=$!\n"
      "stopped=\n"
      "trap 'stopped=1; kill -TERM \"$child\" 2>/dev/null' TERM INT USR1\n"
      "wait \"$child\"\n"
      "code=$?\n"
      "# A trapped signal ends `wait` before the program has ended.\n"
      "while [ -n \"$stopped\" ] && kill -0 \"$child\" 2>/dev/null; do wait \"$child\"; done\n"
      "if [ -n \"$stopped\" ]; then wait \"$child\"; code=$?; fi\n"
      "if [ \"$code\" -eq 75 ]; then\n"
      "  echo \"stopped; queued again\"\n"
      "  scontrol requeue \"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}_$SLURM_ARRAY_TASK_ID\"\n"
      "  sleep 60\n"
      "fi\n"
      "exit \"$code\"\n");
  return out;
}

std::string snakefile(const SweepConfig& sweep, const fs::path& folder, const std::string& motley) {
  // A JSON object of texts is a Python dictionary as well.
  nlohmann::json cells = nlohmann::json::object();
  for (const SweepCell& cell : sweep.cells) {
    std::string command = cell_command(sweep, cell, folder);
    cells[cell.folder] = shell_quoted(motley) + command.substr(6);
  }
  const std::string done = (folder / "complete").string();
  return concat("# Cells of sweep ", sweep.name, ": snakemake -s THIS --cores N --keep-going\n",
                "CELLS = ", cells.dump(2), "\n\nrule all:\n    input: expand(\"", done,
                "/{cell}\", cell=CELLS)\n\nrule cell:\n    output: touch(\"", done,
                "/{cell}\")\n    params: command=lambda wildcards: CELLS[wildcards.cell]\n"
                "    shell: \"{params.command}\"\n");
}

std::size_t collect_cells(const SweepConfig& sweep, const fs::path& folder) {
  std::vector<IndexedRun> runs;
  std::vector<std::vector<OptionEntry>> options;
  for (const SweepCell& cell : sweep.cells) {
    const fs::path file = folder / cell.folder / "run.h5";
    const CellState state = cell_state(folder / cell.folder);
    if (state != CellState::complete && state != CellState::interrupted) continue;
    // A killed run's file is not closed: readers of the index would find nothing in it.
    const RunStatus status = RunReader(file).status();
    if (status != RunStatus::complete && status != RunStatus::interrupted) continue;
    runs.push_back({file, cell.arm, cell.config.run.seed, {}});
    options.push_back(list_options(cell.config));
  }
  for (std::size_t i = 0; !options.empty() && i < options[0].size(); ++i) {
    const bool differs = std::any_of(options.begin(), options.end(), [&](const auto& mine) {
      return mine[i].text != options[0][i].text;
    });
    if (!differs) continue;
    for (std::size_t r = 0; r < runs.size(); ++r)
      runs[r].config.push_back({options[r][i].key, options[r][i].value});
  }
  write_index(folder / "index.h5", sweep.name, runs);
  return runs.size();
}

}  // namespace motley
