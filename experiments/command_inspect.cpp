/// motley inspect, motley digest

#include <algorithm>
#include <cstdio>
#include <tuple>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/metrics.hpp"
#include "core/rollout.hpp"
#include "experiments/cli.hpp"
#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "models/tasks/task.hpp"

namespace motley {

namespace {

void print_overview(const RunReader& reader, const std::string& file) {
  std::printf(
      "%s: %s, %lld of %lld steps\n", file.c_str(), std::string(name_of(reader.status())).c_str(),
      static_cast<long long>(reader.committed()), static_cast<long long>(reader.steps_planned()));
  if (reader.committed() == 0) return;
  std::vector<std::vector<std::string>> rows = {{"step", "quality", "reward", "diversity",
                                                 "entropy", "clusters", "distinct correct",
                                                 "grad norm"}};
  std::vector<std::vector<double>> columns;
  for (const char* name : {"quality", "reward", "diversity", "entropy", "num_clusters",
                           "num_distinct_correct", "grad_norm"})
    columns.push_back(reader.column(name));
  const std::int64_t n = reader.committed();
  for (int i = 0; i <= 10; ++i) {
    const std::int64_t step = (n - 1) * i / 10;
    if (i > 0 && step == (n - 1) * (i - 1) / 10) continue;
    std::vector<std::string> row = {std::to_string(step)};
    for (const auto& column : columns)
      row.push_back(fixed(column[static_cast<std::size_t>(step)], 3));
    rows.push_back(row);
  }
  std::printf("%s", table(rows).c_str());
}

/// Rollouts of one prompt, cluster by cluster.
void print_group(const RunReader& reader, const RolloutStep& s, int b) {
  const auto vocabulary = [&] {
    const auto root = reader.vocab();
    Vocabulary v;
    v.token = root;
    v.special.assign(root.size(), false);
    v.special[kPad] = v.special[kEos] = true;
    return v;
  }();
  const PromptColumns prompts = reader.prompts();
  const auto id = static_cast<std::size_t>(s.prompt_id[static_cast<std::size_t>(b)]);
  std::printf("prompt %d (id %zu): %s\n", b, id, prompts.text[id].c_str());
  std::vector<int> order(static_cast<std::size_t>(s.G));
  for (int g = 0; g < s.G; ++g) order[static_cast<std::size_t>(g)] = g;
  const auto at = [&](int g) { return static_cast<std::size_t>(b * s.G + g); };
  std::stable_sort(order.begin(), order.end(),
                   [&](int x, int y) { return s.cluster[at(x)] < s.cluster[at(y)]; });
  std::vector<std::vector<std::string>> rows = {
      {"cluster", "rollout", "quality", "diversity", "reward", "advantage", "text"}};
  for (const int g : order) {
    const auto i = at(g);
    rows.push_back({std::to_string(s.cluster[i]) + " (" + std::to_string(s.cluster_size[i]) + ")",
                    std::to_string(g), fixed(s.quality[i], 2), fixed(s.diversity[i], 3),
                    fixed(s.reward[i], 3), fixed(s.advantage[i], 3),
                    vocabulary.text(&s.token[i * static_cast<std::size_t>(s.T)], s.length[i]) +
                        (s.finish[i] == static_cast<int>(Finish::eos)      ? ""
                         : s.finish[i] == static_cast<int>(Finish::length) ? "  [cut]"
                                                                           : "  [invalid]")});
  }
  std::printf("%s\n", table(rows).c_str());
}

int run_inspect(const CommandLine& line) {
  require_words(line, "inspect", 1, 1, "RUN");
  const std::string file = run_file_of(line.positional[0]);
  const RunReader reader(file);
  if (!line.has("step") && !line.has("prompt")) {
    print_overview(reader, file);
    return 0;
  }
  const std::vector<std::int64_t> steps = reader.rollout_steps();
  MOTLEY_REQUIRE(!steps.empty(), ErrorKind::input, file, ": no rollouts are logged yet");
  const std::int64_t step = count_flag(line, "step", steps.back(), 0);
  const RolloutStep s = reader.rollouts(step);
  const auto prompt = static_cast<int>(count_flag(line, "prompt", -1, 0));
  MOTLEY_REQUIRE(prompt < s.B, ErrorKind::config, "--prompt: out of range, got ", prompt,
                 "; allowed: [0, ", s.B - 1, "]");
  std::printf("step %lld\n", static_cast<long long>(step));
  for (int b = 0; b < s.B; ++b)
    if (prompt < 0 || b == prompt) print_group(reader, s, b);
  return 0;
}

/// The first step after which two runs have other parameters, by their hashes.
void print_parting(const std::string& first, const std::string& second) {
  const std::string hash = metric_info(Metric::params_hash).name;
  std::vector<std::vector<double>> hashes;
  for (const std::string& run : {first, second}) {
    const RunReader reader(run_file_of(run));
    const std::vector<std::string> columns = reader.columns();
    if (std::find(columns.begin(), columns.end(), hash) == columns.end()) return;
    hashes.push_back(reader.column(hash));
  }
  const auto& [a, b] = std::tie(hashes[0], hashes[1]);
  const auto parted = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  if (parted != a.end())
    std::printf("parameters part in step %lld\n", static_cast<long long>(parted - a.begin()));
}

int run_digest(const CommandLine& line) {
  if (line.has("common")) {
    require_words(line, "digest --common", 2, 2, "A B");
    const CommonDigest common =
        digest_common(run_file_of(line.positional[0]), run_file_of(line.positional[1]));
    std::printf("%s  %s\n%s  %s\n", common.first.c_str(), line.positional[0].c_str(),
                common.second.c_str(), line.positional[1].c_str());
    for (const std::string& path : common.different) std::printf("different: %s\n", path.c_str());
    print_parting(line.positional[0], line.positional[1]);
    return common.first == common.second ? 0 : 4;
  }
  require_words(line, "digest", 1, 10000, "RUN");
  for (const std::string& run : line.positional) {
    const std::string digest = digest_of_run(run_file_of(run));
    if (line.positional.size() == 1)
      std::printf("%s\n", digest.c_str());
    else
      std::printf("%s  %s\n", digest.c_str(), run.c_str());
  }
  return 0;
}

}  // namespace

const Command kInspect = {
    "inspect",
    "RUN [--step S] [--prompt B]",
    "shows a run, or the rollouts of a step by cluster",
    "  motley inspect runs/first\n  motley inspect runs/first --step 100 --prompt 3\n",
    {{"step", 0, 0, "S", "step; default the last"},
     {"prompt", 0, 0, "B", "prompt of the step; default all"}},
    false,
    run_inspect,
    believes};
const Command kDigest = {
    "digest",
    "RUN ... | A B --common",
    "prints the content digest: equal digests are equal results",
    "  motley digest runs/first\n  motley digest runs/a runs/b --common   # over the datasets both hold\n",
    {{"common", 0, 0, "", "compare the datasets that both files hold; exit 4 where they differ"}},
    false,
    run_digest,
    believes};

}  // namespace motley
