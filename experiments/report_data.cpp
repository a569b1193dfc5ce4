#include "experiments/report_data.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/base/error.hpp"
#include "experiments/options.hpp"
#include "io/run_digest.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

const char* const kColumns[] = {"quality",       "quality_true", "diversity",
                                "entropy",       "num_clusters", "cluster_entropy",
                                "frac_zero_std", "reward",       "num_distinct_correct"};

std::string text_of(const AttributeValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using V = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<V, std::string>)
          return v;
        else if constexpr (std::is_same_v<V, bool>)
          return v ? "yes" : "no";
        else
          return concat(v);
      },
      value);
}

ReportRun read_run(const std::string& file, const std::string& by) {
  const RunReader reader(file);
  ReportRun run;
  run.file = file;
  run.folder = fs::path(file).parent_path().filename().string();
  run.status = reader.status();
  run.committed = reader.committed();
  run.planned = reader.steps_planned();
  run.ini = reader.ini();
  for (const Attribute& a : reader.config()) run.config[a.key] = text_of(a.value);
  for (const Attribute& a : reader.root()) run.facts[a.key] = text_of(a.value);
  for (const Attribute& a : reader.provenance()) {
    run.facts[a.key] = text_of(a.value);
    if (std::holds_alternative<double>(a.value)) run.numbers[a.key] = std::get<double>(a.value);
  }
  const auto arm = run.config.find(by);
  MOTLEY_REQUIRE(arm != run.config.end(), ErrorKind::config, "--by: unknown option, got \"", by,
                 "\"", did_you_mean(by, option_keys()));
  run.arm = arm->second;
  if (const auto seed = run.config.find("run.seed"); seed != run.config.end())
    run.seed = std::stoull(seed->second);
  const std::vector<std::string> have = reader.columns();
  for (const char* name : kColumns)
    if (std::find(have.begin(), have.end(), name) != have.end())
      run.metric[name] = reader.column(name);
  for (const std::string& name : reader.columns("/timing"))
    run.timing[name] = reader.column(name, "/timing");
  if (reader.has_eval()) run.eval = reader.eval();
  if (run.eval && run.eval->step.empty()) run.eval.reset();
  run.has_rollouts = !reader.rollout_steps().empty();
  if (run.status == RunStatus::complete) run.digest = digest_of_run(file);
  return run;
}

/// Names the strata by the task options in which the runs differ.
void name_tasks(std::vector<ReportRun>& runs) {
  std::set<std::string> differing;
  for (const ReportRun& run : runs)
    for (const auto& [key, value] : run.config)
      if (key.rfind("task.", 0) == 0) {
        const auto first = runs.front().config.find(key);
        if (first == runs.front().config.end() || first->second != value) differing.insert(key);
      }
  for (ReportRun& run : runs)
    for (const std::string& key : differing)
      run.task += (run.task.empty() ? "" : " ") + key + "=" + run.config[key];
}

double last_pass_at_1(const Report& report, const ReportArm& arm) {
  std::vector<double> x;
  for (const std::size_t r : arm.runs) {
    const Track t = last_over_k(report.runs[r], "pass_at_k");
    if (!t.empty()) x.push_back(t.front().second);
  }
  return mean_of(x);
}

/// Arms in the order of the files, the baseline first; colours for the baseline and, where there
/// are too many, for the best at the smallest k of the last evaluation.
void make_arms(Report& report, const ReportRequest& request) {
  for (std::size_t r = 0; r < report.runs.size(); ++r) {
    auto arm = std::find_if(report.arms.begin(), report.arms.end(),
                            [&](const ReportArm& a) { return a.name == report.runs[r].arm; });
    if (arm == report.arms.end())
      arm = report.arms.insert(arm, ReportArm{report.runs[r].arm, -1, {}});
    arm->runs.push_back(r);
  }
  for (ReportArm& arm : report.arms)
    std::sort(arm.runs.begin(), arm.runs.end(), [&](std::size_t a, std::size_t b) {
      const ReportRun &x = report.runs[a], &y = report.runs[b];
      return std::tie(x.task, x.seed, a) < std::tie(y.task, y.seed, b);
    });
  const std::string wanted =
      report.comparison          ? report.comparison->arms[report.comparison->baseline].name
      : request.baseline.empty() ? "grpo"
                                 : request.baseline.substr(request.baseline.find('=') + 1);
  const auto base = std::find_if(report.arms.begin(), report.arms.end(),
                                 [&](const ReportArm& a) { return a.name == wanted; });
  if (base != report.arms.end()) std::rotate(report.arms.begin(), base, base + 1);
  std::vector<std::size_t> order;
  for (std::size_t a = 1; a < report.arms.size(); ++a) order.push_back(a);
  if (report.arms.size() > kDrawnArms) {
    std::vector<double> pass;
    for (const ReportArm& arm : report.arms) pass.push_back(last_pass_at_1(report, arm));
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return (std::isnan(pass[a]) ? -1 : pass[a]) > (std::isnan(pass[b]) ? -1 : pass[b]);
    });
    order.resize(kDrawnArms - 1);
  }
  // A page about one run has no baseline to set apart.
  report.arms.front().color = report.arms.size() == 1 ? 1 : 0;
  int color = 1;
  std::sort(order.begin(), order.end());
  for (const std::size_t a : order) report.arms[a].color = color++;
}

void compare(Report& report, const ReportRequest& request) {
  CompareRequest ask;
  ask.files = request.files;
  ask.by = request.by;
  ask.baseline = request.baseline;
  const bool finished =
      std::any_of(report.runs.begin(), report.runs.end(),
                  [](const ReportRun& run) { return run.status == RunStatus::complete; });
  if (!finished) {
    report.no_comparison = "no run is finished yet";
    return;
  }
  std::size_t unfinished = 0;
  report.comparison = compare_runs(ask, unfinished);
}

}  // namespace

bool Report::any_rollouts() const {
  return std::any_of(runs.begin(), runs.end(), [](const ReportRun& r) { return r.has_rollouts; });
}

std::size_t Report::seeds() const {
  std::size_t most = 0;
  for (const ReportArm& arm : arms) {
    std::set<std::uint64_t> seed;
    for (const std::size_t r : arm.runs) seed.insert(runs[r].seed);
    most = std::max(most, seed.size());
  }
  return most;
}

int Report::lead_run(const ReportArm& arm) const {
  const ReportRun* lead = nullptr;
  for (const std::size_t r : arms.front().runs)
    if (lead == nullptr && runs[r].has_rollouts) lead = &runs[r];
  if (lead == nullptr) return -1;
  for (const std::size_t r : arm.runs)
    if (runs[r].seed == lead->seed && runs[r].task == lead->task && runs[r].has_rollouts)
      return static_cast<int>(r);
  return -1;
}

Report load_report(const ReportRequest& request) {
  Report report;
  report.title = request.title;
  for (const std::string& file : request.files) report.runs.push_back(read_run(file, request.by));
  name_tasks(report.runs);
  compare(report, request);
  make_arms(report, request);
  try {
    const ReportRun& first = report.runs.front();
    const RunConfig config = config_from_ini(first.ini, first.file);
    report.task = make_task(config.task, {config.base_seed()});
    if (report.task->verifiable()) report.pass_above = report.task->pass_above();
  } catch (const Error&) {
    // A file of another version may name a task or an option that is unknown here: classes then
    // go by their numbers.
    report.task.reset();
  }
  return report;
}

RolloutColumns read_rollout_columns(const ReportRun& run) {
  const RunReader reader(run.file);
  RolloutColumns c;
  c.step = reader.rollout_steps();
  c.prompt_id = reader.rollout_column("/rollouts/prompt_id");
  c.class_id = reader.rollout_column("/rollouts/class_id");
  c.quality = reader.rollout_column("/rollouts/quality");
  c.advantage = reader.rollout_column("/rollouts/advantage");
  c.cluster = reader.rollout_column("/partition/cluster");
  c.cluster_size = reader.rollout_column("/partition/cluster_size");
  c.B = c.step.empty() ? 0 : c.prompt_id.size() / c.step.size();
  c.G = c.prompt_id.empty() ? 0 : c.quality.size() / c.prompt_id.size();
  return c;
}

}  // namespace motley
