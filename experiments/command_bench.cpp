/// motley bench

#include <cstdio>
#include <filesystem>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/bench.hpp"
#include "experiments/cli.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

/// A folder of its own for the run files; removed with everything in it.
class ScratchFolder {
 public:
  explicit ScratchFolder(const fs::path& parent)
      : path_(parent / concat("motley-bench-", ::getpid())) {
    std::error_code failed;
    fs::create_directories(path_, failed);
    MOTLEY_REQUIRE(!failed, ErrorKind::refused, path_.string(),
                   ": the folder of the run files cannot be made: ", failed.message(),
                   "; choose another with -o");
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The named case, then -c files and key=value words; the seed alone may differ from the defaults
/// in what belongs to a run's place.
BenchCase chosen_case(const CommandLine& line) {
  BenchCase bench = bench_case(line.get("case", "M"));
  bench.vocab = static_cast<int>(count_flag(line, "vocab", bench.vocab, 4, 65535));
  bench.prompt_tokens =
      static_cast<int>(count_flag(line, "prompt-tokens", bench.prompt_tokens, 1, 65535));
  bench.replicas = static_cast<int>(count_flag(line, "replicas", 1, 1, 65535));
  Faults faults;
  std::vector<Layer> layers = {
      read_ini(effective_ini(bench.config), concat("case ", bench.name), ".", faults)};
  for (Layer& layer : layers_of(line, faults)) {
    for (const Assignment& a : layer.assignments)
      for (const char* section : {"task.", "pretrain.", "eval.", "checkpoint."})
        if (a.key.rfind(section, 0) == 0)
          faults.add(concat(a.key, " (", a.place, "): bench trains a random policy on made-up ",
                            "prompts, got ", a.value, "; allowed: the other sections, --vocab, ",
                            "--prompt-tokens"));
    layers.push_back(std::move(layer));
  }
  bench.config = configure(layers, faults).config;
  faults.raise();
  return bench;
}

struct StageLine {
  const char* name;
  const Spread& seconds;
  StageCounts counts;
  double tokens;
};

std::vector<StageLine> stages_of(const BenchResult& r) {
  const StepCounts& c = r.counts;
  return {{"rollout", r.rollout, c.rollout, c.sampled_tokens},
          // Mostly taken over from the sampler, so no operations are charged to it.
          {"score", r.score, {}, c.sampled_tokens},
          {"partition", r.partition, c.classifier, c.sampled_tokens},
          {"update", r.update, c.update, c.trained_tokens},
          {"log", r.log, {0, r.log_bytes}, c.sampled_tokens}};
}

double log_share(const BenchResult& r) {
  return std::max(0.0, 1.0 - r.unlogged_step_s / r.step.median);
}

void print_tables(const BenchCase& bench, const BenchResult& r) {
  const RunConfig& c = bench.config;
  const TransformerConfig& m = c.model;
  std::printf(
      "case %s: V %d, d %d, %d layers, %d heads, ff %d, P %d, T %d, B %d, G %d, R %d; %s, partition %s\n%d %s threads, %d steps; best product of this run %.0f GFLOP/s\n\n",
      bench.name.c_str(), bench.vocab, m.width, m.layers, m.heads, m.ff, bench.prompt_tokens,
      c.rollout.max_tokens, c.rollout.prompts, c.rollout.group_size, bench.replicas,
      c.run.method.c_str(), std::string(name_of(c.partition.method)).c_str(), r.threads,
      std::is_same_v<Exec, HostExec> ? "host" : "host (kernels on the device)", r.steps,
      r.gemm_peak / 1e9);
  std::vector<std::vector<std::string>> rows = {{"stage", "ms: 10 %", "median", "90 %", "share",
                                                 "tokens/s", "GFLOP/s", "of the peak", "GB/s"}};
  const auto ms = [](double s) { return fixed(1e3 * s, 3); };
  for (const StageLine& s : stages_of(r)) {
    const double t = s.seconds.median;
    const double speed = s.counts.operations / t;
    rows.push_back({s.name, ms(s.seconds.low), ms(t), ms(s.seconds.high),
                    fixed(100 * t / r.step.median, 1) + " %", fixed(s.tokens / t, 0),
                    speed > 0 ? fixed(speed / 1e9, 1) : "-",
                    speed > 0 ? fixed(100 * speed / r.gemm_peak, 1) + " %" : "-",
                    fixed(s.counts.bytes / t / 1e9, 2)});
  }
  rows.push_back({"step", ms(r.step.low), ms(r.step.median), ms(r.step.high), "100.0 %",
                  fixed(r.counts.sampled_tokens / r.step.median, 0), "", "", ""});
  std::printf("%s\n", table(rows).c_str());
  std::printf("steps per second     %.2f (%.2f runs side by side)\n", 1 / r.step.median,
              bench.replicas / r.step.median);
  if (r.calls > 0)
    std::printf("classifier           %.0f pairs/s; asked %.0f of %.0f pairs\n",
                r.calls / r.partition.median, r.calls, r.counts.pairs);
  std::printf("log                  %.1f %% of a step, %.2f bytes per token\n", 100 * log_share(r),
              r.log_bytes / r.counts.sampled_tokens);
  std::printf("memory               %.1f MB at most\n", double(r.peak_memory) / 1e6);
}

nlohmann::json json_of(const Spread& s) {
  return {{"p10", s.low}, {"median", s.median}, {"p90", s.high}};
}

void print_json(const BenchCase& bench, const BenchResult& r) {
  const StepCounts& n = r.counts;
  const auto share = [&](const StageCounts& c, const Spread& s) {
    return c.operations / s.median / r.gemm_peak;
  };
  nlohmann::json stages = nlohmann::json::object();
  for (const StageLine& s : stages_of(r)) {
    const double t = s.seconds.median;
    stages[s.name] = {{"seconds", json_of(s.seconds)},
                      {"tokens_per_s", s.tokens / t},
                      {"gflops", s.counts.operations / t / 1e9},
                      {"peak_share", share(s.counts, s.seconds)},
                      {"bytes", s.counts.bytes}};
  }
  const RunConfig& c = bench.config;
  const nlohmann::json out = {{"case", bench.name},
                              {"shape",
                               {{"R", bench.replicas},
                                {"B", c.rollout.prompts},
                                {"G", c.rollout.group_size},
                                {"P", bench.prompt_tokens},
                                {"T", c.rollout.max_tokens},
                                {"V", bench.vocab},
                                {"width", c.model.width},
                                {"layers", c.model.layers},
                                {"heads", c.model.heads},
                                {"ff", c.model.ff}}},
                              {"precision", std::string(name_of(c.model.precision))},
                              {"method", c.run.method},
                              {"backend", std::string(Exec::name())},
                              {"threads", r.threads},
                              {"steps", r.steps},
                              {"step_s", r.step.median},
                              {"step_s_p10", r.step.low},
                              {"step_s_p90", r.step.high},
                              {"rollout_s", r.rollout.median},
                              {"score_s", r.score.median},
                              {"partition_s", r.partition.median},
                              {"update_s", r.update.median},
                              {"log_s", r.log.median},
                              {"tokens", n.sampled_tokens},
                              {"rollout_tokens_per_s", n.sampled_tokens / r.rollout.median},
                              {"update_tokens_per_s", n.trained_tokens / r.update.median},
                              {"gemm_peak_gflops", r.gemm_peak / 1e9},
                              {"rollout_peak_share", share(n.rollout, r.rollout)},
                              {"update_peak_share", share(n.update, r.update)},
                              {"classifier_pairs_per_s", r.calls / r.partition.median},
                              {"classifier_calls", r.calls},
                              {"classifier_pairs", n.pairs},
                              {"log_share", log_share(r)},
                              {"log_bytes_per_token", r.log_bytes / n.sampled_tokens},
                              {"peak_memory_bytes", r.peak_memory},
                              {"stages", stages}};
  std::printf("%s\n", out.dump(2).c_str());
}

int run_bench_command(const CommandLine& line) {
  require_words(line, "bench", 0, 0, "");
  const BenchCase bench = chosen_case(line);
  BenchOptions options;
  options.blocks = static_cast<int>(count_flag(line, "blocks", options.blocks, 1, 1000));
  double seconds = options.block_seconds;
  if (line.has("block-seconds"))
    MOTLEY_REQUIRE(parse_number(line.get("block-seconds", ""), seconds) && seconds > 0,
                   ErrorKind::config, "--block-seconds: no positive number, got \"",
                   line.get("block-seconds", ""), "\"; allowed: above 0");
  options.block_seconds = seconds;
  const ScratchFolder folder(line.has("output") ? fs::path(line.get("output", ""))
                                                : fs::temp_directory_path());
  options.folder = folder.path();
  const BenchResult result = run_bench(bench, options);
  if (line.has("json"))
    print_json(bench, result);
  else
    print_tables(bench, result);
  return 0;
}

}  // namespace

const Command kBench = {
    "bench",
    "[--case S|M|L] [-R N] [key=value ...]",
    "times whole steps on made-up work of fixed size, as shares of this machine's best product",
    "  motley bench --case M\n  motley bench --case S -R 16 --threads 1\n"
    "  motley bench --case M run.method=grpo classifier.form=cross_encoder --json\n",
    {{"case", 0, 0, "NAME", "S, M or L of docs/performance.md; default M"},
     {"replicas", 'R', 0, "N", "runs packed side by side; default 1"},
     {"vocab", 0, 0, "N", "V of the made-up task"},
     {"prompt-tokens", 0, 0, "N", "P of the made-up task"},
     {"blocks", 0, 0, "N", "timed blocks, half of their steps logged; default 9"},
     {"block-seconds", 0, 0, "S", "how long a block takes about; default 0.3"},
     {"config", 'c', 0, "FILE", "configuration file over the case"},
     {"output", 'o', 0, "DIR", "where the run files stand while it runs; default the system's"}},
    true,
    run_bench_command};

}  // namespace motley
