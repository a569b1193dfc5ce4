#include "experiments/sweep_run.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "core/base/error.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/numeric_fault.hpp"

extern char** environ;

namespace motley {

namespace {

constexpr int kStopped = 75;

std::string name_of_pack(const SweepConfig& sweep, const SweepPack& pack) {
  return concat(sweep.cells[pack.cells.front()].folder,
                pack.cells.size() > 1 ? concat(" and ", pack.cells.size() - 1, " more") : "");
}

/// Words of the process that runs one pack.
std::vector<std::string> words_of_pack(const SweepConfig& sweep, const SweepPack& pack,
                                       const SweepRunOptions& options, double seconds) {
  std::vector<std::string> cells;
  for (const std::size_t i : pack.cells) cells.push_back(std::to_string(i));
  std::vector<std::string> words = {"motley", "sweep", "run", sweep.file};
  words.insert(words.end(), sweep.overrides.begin(), sweep.overrides.end());
  const std::filesystem::path parent = options.folder.parent_path();
  words.insert(words.end(),
               {"-o", parent.empty() ? "." : parent.string(), "--cells", join(cells, ","), "--pack",
                std::to_string(pack.cells.size()), "--quiet"});
  if (seconds > 0) words.insert(words.end(), {"--max-time", std::to_string(seconds)});
  return words;
}

/// This process' environment with another OMP_NUM_THREADS.
std::vector<std::string> environment_of(int threads) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::strncmp(*entry, "OMP_NUM_THREADS=", 16) != 0) out.emplace_back(*entry);
  out.push_back("OMP_NUM_THREADS=" + std::to_string(threads));
  return out;
}

pid_t start_process(const std::vector<std::string>& words,
                    const std::vector<std::string>& environment) {
  std::vector<char*> argv, envp;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& entry : environment) envp.push_back(const_cast<char*>(entry.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  MOTLEY_REQUIRE(child >= 0, ErrorKind::refused, "motley sweep run -j: no process, got ",
                 std::strerror(errno));
  if (child > 0) return child;
  // Only calls that are safe between fork and exec.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kStopped);
  execve("/proc/self/exe", argv.data(), envp.data());
  _exit(127);
}

/// Exit code of a process as a shell has it.
int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

namespace {

/// The runs of a pack without those that met a fault, from where they are.
SweepPack without_faulty(const SweepConfig& sweep, const SweepPack& pack,
                         const std::filesystem::path& folder, const NumericFault& fault) {
  SweepPack rest;
  for (std::size_t i = 0; i < pack.cells.size(); ++i)
    if (!fault.has(i)) rest.cells.push_back(pack.cells[i]);
  if (rest.cells.empty()) return rest;
  const FolderState state = inspect_folder(folder / sweep.cells[rest.cells.front()].folder);
  rest.start = state.step;
  rest.resume = state.kind == FolderState::Kind::resumable;
  return rest;
}

}  // namespace

int run_packs(const SweepConfig& sweep, const SweepPlan& plan, const SweepRunOptions& options) {
  int failure = 0;
  std::deque<SweepPack> open(plan.packs.begin(), plan.packs.end());
  const auto note = [&](const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    if (failure == 0) failure = exit_code(error.kind());
  };
  while (!open.empty()) {
    const SweepPack pack = open.front();
    open.pop_front();
    std::vector<RunRequest> runs;
    for (const std::size_t i : pack.cells)
      runs.push_back({sweep.cells[i].config, options.folder / sweep.cells[i].folder});
    try {
      const std::vector<RunOutcome> outcomes =
          train_batch(runs, pack.start, pack.resume, options.train);
      if (outcomes.front().status == RunStatus::interrupted) {
        std::fprintf(stderr, "stopped at step %lld; the same command goes on\n",
                     static_cast<long long>(outcomes.front().step));
        return kStopped;
      }
    } catch (const NumericFault& fault) {
      // A run that fails must not keep the others of its pack from their end.
      note(fault);
      SweepPack rest = without_faulty(sweep, pack, options.folder, fault);
      if (!rest.cells.empty()) open.push_front(std::move(rest));
    } catch (const Error& error) {
      // A full disk fails every pack; the rest is worth trying.
      if (error.kind() == ErrorKind::io || plan.packs.size() == 1) throw;
      note(error);
    }
  }
  return failure;
}

int spawn_packs(const SweepConfig& sweep, const SweepPlan& plan, const SweepRunOptions& options) {
  const std::size_t slots =
      std::min(options.processes, std::max<std::size_t>(1, plan.packs.size()));
  const int all =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  const std::vector<std::string> environment =
      environment_of(std::max(1, all / static_cast<int>(slots)));
  const bool say = options.train.progress == ProgressMode::automatic ||
                   options.train.progress == ProgressMode::plain;
  std::map<pid_t, std::size_t> running;
  std::size_t next = 0, ended = 0;
  int result = 0;
  bool told = false;
  while (next < plan.packs.size() || !running.empty()) {
    const bool stop = stop_asked() || result == kStopped;
    if (stop) {
      if (!told)
        for (const auto& [pid, pack] : running) kill(pid, SIGTERM);
      told = true;
      next = plan.packs.size();
      if (result == 0) result = kStopped;
    }
    while (running.size() < slots && next < plan.packs.size()) {
      const SweepPack& pack = plan.packs[next];
      const pid_t pid =
          start_process(words_of_pack(sweep, pack, options, seconds_to_stop()), environment);
      running[pid] = next++;
    }
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    const auto found = running.find(pid);
    if (found == running.end()) continue;
    const int code = code_of(status);
    ++ended;
    if (say)
      std::fprintf(stderr, "[%zu/%zu packs] %s: %s\n", ended, plan.packs.size(),
                   name_of_pack(sweep, plan.packs[found->second]).c_str(),
                   code == 0          ? "done"
                   : code == kStopped ? "stopped"
                                      : concat("failed with exit code ", code).c_str());
    running.erase(found);
    if (code != 0 && (result == 0 || code == kStopped)) result = code;
  }
  if (result == kStopped) std::fprintf(stderr, "stopped; the same command goes on\n");
  return result;
}

}  // namespace motley
