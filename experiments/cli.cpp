#include "experiments/cli.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <Kokkos_Core.hpp>

#include "core/base/error.hpp"
#include "experiments/guard.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/machine.hpp"
#include "experiments/memory_limit.hpp"
#include "io/fault.hpp"
#include "io/reading.hpp"
#include "version.hpp"

namespace motley {

namespace {

/// Flags every subcommand has.
std::vector<FlagSpec> with_common(std::vector<FlagSpec> flags) {
  flags.push_back({"help", 'h', 0, "", "this text"});
  flags.push_back({"json", 0, 0, "", "result on stdout as JSON"});
  flags.push_back({"progress", 0, 0, "MODE", "auto, plain, json or off"});
  flags.push_back({"threads", 0, 0, "N", "host threads; 0 = all (same as run.threads)"});
  flags.push_back({"quiet", 'q', 0, "", "no progress"});
  flags.push_back({"verbose", 'v', 0, "", "more about errors"});
  return flags;
}

void print_overview(const std::vector<const Command*>& commands) {
  std::printf(
      "motley %s: diversity in reinforcement learning of language policies, as a controlled experiment\n\nusage: motley COMMAND [arguments]\n\n",
      kVersion);
  for (const Command* command : commands) std::printf("  %-10s %s\n", command->name, command->text);
  std::printf(
      "\n`motley COMMAND --help` shows examples and flags; `motley config explain KEY` an option.\n");
}

void print_help(const Command& command) {
  std::printf("%s\n\nexamples:\n%s\nusage: motley %s %s\n\n%s", command.text, command.examples,
              command.name, command.usage, flag_help(with_common(command.flags)).c_str());
}

/// Threads asked for by flag, by run.threads=N on the command line; 0 = all.
int threads_of(const CommandLine& line) {
  std::string text = line.get("threads", "");
  for (const std::string& word : line.overrides)
    if (word.rfind("run.threads=", 0) == 0) text = word.substr(12);
  std::int64_t n = 0;
  if (text.empty()) return 0;
  MOTLEY_REQUIRE(parse_integer(text, n) && n >= 0 && n <= 4096, ErrorKind::config,
                 "run.threads (command line): not a count, got \"", text, "\"; allowed: [0, 4096]");
  return static_cast<int>(n);
}

int run_command(const Command& command, const CommandLine& line) {
  if (!command.needs_kokkos) return command.run(line);
  // Kokkos advises binding; a laptop or a shared node is better served without, so be quiet about
  // it.
  setenv("OMP_PROC_BIND", "false", 0);
  Kokkos::InitializationSettings settings;
  if (const int threads = threads_of(line); threads > 0) settings.set_num_threads(threads);
  settings.set_disable_warnings(true);
  Kokkos::ScopeGuard kokkos(settings);
  // A device's driver reserves address space at will: there the limit would say nothing.
  if (std::is_same_v<Exec, HostExec>) limit_memory();
  return command.run(line);
}

int report(const std::exception& error, ErrorKind kind) {
  std::fprintf(stderr, "%s\n", error.what());
  return exit_code(kind);
}

int report_no_memory(const std::string& wanted) {
  std::fprintf(stderr,
               "motley: out of memory, no room%s, %.3f GB are free; reduce rollout.prompts, "
               "rollout.group_size or the runs packed together\n",
               wanted.c_str(), static_cast<double>(free_memory().bytes) / 1e9);
  return exit_code(ErrorKind::refused);
}

}  // namespace

int run_cli(int argc, char** argv, const std::vector<const Command*>& commands) {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::string text = "motley";
  for (const std::string& word : words) text += " " + word;
  set_command_line(text);
  try {
    if (words.empty() || words[0] == "-h" || words[0] == "--help" || words[0] == "help") {
      print_overview(commands);
      return words.empty() ? 2 : 0;
    }
    if (words[0] == "--version") {
      std::printf("motley %s (%s%s)\n", kVersion, std::string(kGitCommit).substr(0, 12).c_str(),
                  kGitDirty ? ", modified" : "");
      return 0;
    }
    arm_fault_point(std::getenv("MOTLEY_CRASH_AT"));
    check_registered();
    std::vector<std::string> names;
    for (const Command* command : commands) {
      names.emplace_back(command->name);
      if (words[0] != command->name) continue;
      const CommandLine line = parse_command_line(command->name, {words.begin() + 1, words.end()},
                                                  with_common(command->flags));
      if (line.has("help")) {
        print_help(*command);
        return 0;
      }
      const RunAccess access =
          command->run_access == nullptr ? RunAccess::none : command->run_access(line);
      if (access != RunAccess::none)
        if (const std::optional<int> code = guard_command()) return *code;
      if (access == RunAccess::believe) require_seals();
      install_stop_signals();
      return run_command(*command, line);
    }
    throw Error(ErrorKind::config,
                concat("motley: unknown command, got \"", words[0], "\"; allowed: ", join(names),
                       did_you_mean(words[0], names)));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", naming_file(error).c_str());
    return exit_code(error.kind());
  } catch (const std::filesystem::filesystem_error& error) {
    // A name too long, a folder that may not be looked into.
    std::fprintf(stderr, "%s: %s\n", error.path1().c_str(), error.code().message().c_str());
    return exit_code(ErrorKind::refused);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again)
      return report(error, ErrorKind::internal);
    return report_no_memory(" for another thread");
  } catch (const Stopped& stop) {
    std::fprintf(stderr, "%s\n", stop.what());
    return 75;
  } catch (const std::bad_alloc&) {
    return report_no_memory("");
  } catch (const std::exception& error) {
    // Kokkos has no type for it: "... failed to allocate 125 MiB (label=...)".
    const std::string what = error.what();
    const auto at = what.find("failed to allocate ");
    if (at != std::string::npos)
      return report_no_memory(" for another " +
                              what.substr(at + 19, what.find(" (", at) - at - 19));
    return report(error, ErrorKind::internal);
  }
}

std::vector<Layer> layers_of(const CommandLine& line, Faults& faults) {
  std::vector<Layer> layers;
  if (const auto found = line.flags.find("config"); found != line.flags.end())
    for (const std::string& path : found->second) layers.push_back(read_ini_file(path, faults));
  layers.push_back(read_overrides(line.overrides, faults));
  return layers;
}

Configured configured_by(const CommandLine& line) {
  Faults faults;
  const std::vector<Layer> layers = layers_of(line, faults);
  Configured out = configure(layers, faults);
  faults.raise();
  return out;
}

ProgressMode progress_of(const CommandLine& line) {
  return line.has("quiet") ? ProgressMode::off : parse_progress(line.get("progress", "auto"));
}

std::string run_file_of(const std::string& run) {
  const std::filesystem::path path(run);
  return std::filesystem::is_directory(path) ? (path / "run.h5").string() : run;
}

void require_words(const CommandLine& line, const char* command, std::size_t least,
                   std::size_t most, const char* what) {
  const std::size_t n = line.positional.size();
  MOTLEY_REQUIRE(n >= least, ErrorKind::config, "motley ", command, ": ", what,
                 " is missing; see motley ", command, " --help");
  MOTLEY_REQUIRE(n <= most, ErrorKind::config, "motley ", command, ": unexpected word, got \"",
                 line.positional[most], "\"; see motley ", command, " --help");
}

std::int64_t count_flag(const CommandLine& line, const std::string& flag, std::int64_t otherwise,
                        std::int64_t least, std::int64_t most) {
  if (!line.has(flag)) return otherwise;
  std::int64_t n = 0;
  const bool open = most == std::numeric_limits<std::int64_t>::max();
  MOTLEY_REQUIRE(parse_integer(line.get(flag, ""), n) && n >= least && n <= most, ErrorKind::config,
                 "--", flag, ": not a count, got \"", line.get(flag, ""), "\"; allowed: ",
                 open ? concat("at least ", least) : concat("[", least, ", ", most, "]"));
  return n;
}

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i >= width.size()) width.push_back(0);
      width[i] = std::max(width[i], row[i].size());
    }
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      const std::string gap(width[i] - rows[r][i].size(), ' ');
      out += i == 0 ? rows[r][i] + gap : "  " + gap + rows[r][i];
    }
    out += "\n";
    if (r == 0) {
      std::size_t total = 0;
      for (std::size_t i = 0; i < width.size(); ++i) total += width[i] + (i > 0 ? 2 : 0);
      out += std::string(total, '-') + "\n";
    }
  }
  return out;
}

}  // namespace motley
