#include "experiments/compare.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/base/error.hpp"
#include "experiments/compare_metrics.hpp"
#include "experiments/options.hpp"
#include "io/run_reader.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

std::string text_of(const AttributeValue& value) {
  return std::visit(
      [](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
          return v;
        else
          return concat(v);
      },
      value);
}

/// \param task out: the run's task.* options
CompareRow read_row(OpenRun& run, const CompareRequest& request, bool required,
                    const std::vector<std::string>& metrics,
                    std::map<std::string, std::string>& task) {
  CompareRow row;
  row.file = run.name;
  bool found = false;
  for (const Attribute& a : run.reader.config()) {
    if (a.key == request.by) {
      row.arm = text_of(a.value);
      found = true;
    } else if (a.key.rfind("task.", 0) == 0) {
      task[a.key] = text_of(a.value);
    }
    if (a.key == "run.seed" && std::holds_alternative<std::int64_t>(a.value))
      row.seed = static_cast<std::uint64_t>(std::get<std::int64_t>(a.value));
  }
  MOTLEY_REQUIRE(found, ErrorKind::config, "--by: unknown option, got \"", request.by, "\"",
                 did_you_mean(request.by, option_keys()));
  for (const Attribute& a : run.reader.provenance()) {
    if (a.key == "base_passed_gate" && std::holds_alternative<bool>(a.value))
      row.base_passed = std::get<bool>(a.value);
    if (a.key == "base_skill" && std::holds_alternative<double>(a.value))
      row.base_skill = std::get<double>(a.value);
  }
  for (const std::string& metric : metrics) {
    try {
      read_metric(run, metric, row);
    } catch (const Error&) {
      // A default column that an older file lacks stays empty.
      if (required) throw;
    }
  }
  return row;
}

std::vector<std::string> default_metrics(const std::vector<std::string>& files) {
  std::set<int> k;
  for (const std::string& file : files) {
    const RunReader reader(file);
    if (!reader.has_eval()) continue;
    const EvalTable eval = reader.eval();
    k.insert(eval.k.begin(), eval.k.end());
  }
  std::vector<std::string> out;
  for (const int each : k) out.push_back("eval.pass_at_" + std::to_string(each));
  out.insert(out.end(), {"eval.num_distinct_correct", "metrics.entropy", "eval.class_entropy",
                         "base.classifier_f1"});
  return out;
}

/// Names the strata by the task options that differ between the runs.
std::size_t name_tasks(std::vector<CompareRow>& rows,
                       const std::vector<std::map<std::string, std::string>>& tasks) {
  std::set<std::string> differing;
  for (const auto& task : tasks)
    for (const auto& [key, value] : task) {
      const auto first = tasks.front().find(key);
      if (first == tasks.front().end() || first->second != value) differing.insert(key);
    }
  std::set<std::string> names;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const std::string& key : differing) {
      const auto found = tasks[i].find(key);
      rows[i].task += (rows[i].task.empty() ? "" : " ") + key + "=" +
                      (found == tasks[i].end() ? "" : found->second);
    }
    names.insert(rows[i].task);
  }
  return names.size();
}

std::vector<CompareArm> arms_of(const std::vector<CompareRow>& rows) {
  std::vector<CompareArm> arms;
  for (const CompareRow& row : rows) {
    auto arm = std::find_if(arms.begin(), arms.end(),
                            [&](const CompareArm& a) { return a.name == row.arm; });
    if (arm == arms.end()) arm = arms.insert(arms.end(), CompareArm{row.arm, {}});
    const auto [known, fresh] = arm->rows.emplace(Unit{row.task, row.seed}, &row);
    MOTLEY_REQUIRE(fresh, ErrorKind::config, "motley compare: two runs of arm \"", row.arm,
                   "\" have seed ", row.seed, ", got ", known->second->file, " and ", row.file,
                   "; choose another --by");
  }
  return arms;
}

/// Values by task, in the order of the seeds; runs without the metric are left out.
Strata strata_of(const CompareArm& arm, const std::string& metric) {
  Strata out;
  std::string task;
  for (const auto& [unit, row] : arm.rows) {
    const auto found = row->value.find(metric);
    if (found == row->value.end() || std::isnan(found->second)) continue;
    if (out.empty() || unit.first != task) out.emplace_back();
    task = unit.first;
    out.back().push_back(found->second);
  }
  return out;
}

ArmFigures arm_figures(const CompareArm& arm, const std::string& metric, Bootstrap& bootstrap) {
  ArmFigures f;
  const Strata x = strata_of(arm, metric);
  for (const auto& stratum : x) f.values.insert(f.values.end(), stratum.begin(), stratum.end());
  f.seeds = f.values.size();
  f.mean = mean_of(x);
  f.iqm = interquartile_mean(x);
  f.sd = deviation_of(x);
  if (f.seeds == 0) return f;
  f.interval = bootstrap.mean(x);
  f.iqm_interval = bootstrap.interquartile_mean(x);
  f.t = student_t_interval(x);
  return f;
}

PairFigures pair_figures(const CompareArm& arm, const CompareArm& baseline,
                         const std::string& metric, Bootstrap& bootstrap, int reps,
                         std::uint64_t seed) {
  CompareArm mine, theirs;
  for (const auto& [unit, row] : arm.rows) {
    const auto other = baseline.rows.find(unit);
    if (other == baseline.rows.end()) continue;
    const auto has = [&](const CompareRow& r) {
      const auto found = r.value.find(metric);
      return found != r.value.end() && !std::isnan(found->second);
    };
    if (!has(*row) || !has(*other->second)) continue;
    mine.rows[unit] = row;
    theirs.rows[unit] = other->second;
  }
  const Strata x = strata_of(mine, metric), y = strata_of(theirs, metric);
  Strata d = x;
  for (std::size_t s = 0; s < d.size(); ++s)
    for (std::size_t i = 0; i < d[s].size(); ++i) d[s][i] -= y[s][i];
  PairFigures f;
  f.pairs = count_of(d);
  f.difference = mean_of(d);
  f.sd = deviation_of(d);
  f.p_improvement = probability_of_improvement(x, y);
  f.p = f.pairs == 0 ? std::nan("") : sign_flip_p(d, reps, seed);
  f.seeds_needed = seeds_needed(f.sd / std::sqrt(2.0), f.difference);
  if (f.pairs == 0) return f;
  f.interval = bootstrap.mean(d);
  f.t = student_t_interval(d);
  return f;
}

/// ARM, or KEY=ARM; the name of an arm may hold a `=` itself.
std::size_t baseline_of(const std::vector<CompareArm>& arms, const std::string& wanted) {
  const bool given = !wanted.empty();
  std::vector<std::string> names;
  for (const CompareArm& arm : arms) names.push_back(arm.name);
  for (const std::string& name :
       {given ? wanted : std::string("grpo"), wanted.substr(wanted.find('=') + 1)}) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  MOTLEY_REQUIRE(!given, ErrorKind::config, "--baseline: no such arm, got \"", wanted,
                 "\"; allowed: ", join(names), did_you_mean(wanted, names));
  return 0;
}

}  // namespace

std::vector<std::string> find_runs(const std::vector<std::string>& words) {
  std::vector<std::string> files;
  for (const std::string& word : words) {
    MOTLEY_REQUIRE(fs::exists(word), ErrorKind::input, word, ": no such run or sweep");
    if (!fs::is_directory(word)) {
      files.push_back(word);
    } else if (fs::exists(fs::path(word) / "run.h5")) {
      files.push_back((fs::path(word) / "run.h5").string());
    } else {
      for (const auto& entry : fs::directory_iterator(word))
        if (fs::exists(entry.path() / "run.h5"))
          files.push_back((entry.path() / "run.h5").string());
    }
  }
  std::sort(files.begin(), files.end());
  MOTLEY_REQUIRE(!files.empty(), ErrorKind::input, join(words), ": no run.h5 in there");
  return files;
}

Comparison compare_runs(const CompareRequest& request, std::size_t& unfinished) {
  std::vector<std::string> files;
  unfinished = 0;
  for (const std::string& file : request.files) {
    if (RunReader(file).status() == RunStatus::complete)
      files.push_back(file);
    else
      ++unfinished;
  }
  MOTLEY_REQUIRE(!files.empty(), ErrorKind::input, join(request.files), ": no finished run");
  Comparison c;
  c.reps = request.reps;
  c.seed = request.seed;
  const bool required = !request.metrics.empty();
  const std::vector<std::string> metrics = required ? request.metrics : default_metrics(files);
  std::vector<std::map<std::string, std::string>> tasks(files.size());
  c.tokens = request.tokens;
  if (c.tokens < 0) {
    c.tokens = tokens_of(OpenRun(files[0]));
    for (const std::string& file : files) c.tokens = std::min(c.tokens, tokens_of(OpenRun(file)));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    OpenRun run(files[i]);
    const double all = tokens_of(run);
    MOTLEY_REQUIRE(c.tokens <= all, ErrorKind::config, "--tokens: ", files[i], " sampled only ",
                   all, ", got ", c.tokens, "; allowed: equal, or at most that");
    if (c.tokens > 0) run.steps = steps_within(run, c.tokens);
    c.rows.push_back(read_row(run, request, required, metrics, tasks[i]));
    c.rows.back().tokens = all;
  }
  for (const std::string& metric : metrics)
    if (std::any_of(c.rows.begin(), c.rows.end(),
                    [&](const CompareRow& row) { return row.value.count(metric) > 0; }))
      c.metrics.push_back(metric);
  MOTLEY_REQUIRE(!c.metrics.empty(), ErrorKind::input, join(files),
                 ": the runs have none of the default metrics; name one with --metric");
  c.tasks = name_tasks(c.rows, tasks);
  c.arms = arms_of(c.rows);
  c.baseline = baseline_of(c.arms, request.baseline);

  Bootstrap bootstrap(c.reps, c.seed);
  c.arm.resize(c.arms.size());
  c.pair.assign(c.arms.size(), std::vector<PairFigures>(c.metrics.size()));
  for (std::size_t a = 0; a < c.arms.size(); ++a)
    for (const std::string& metric : c.metrics)
      c.arm[a].push_back(arm_figures(c.arms[a], metric, bootstrap));
  for (std::size_t m = 0; m < c.metrics.size(); ++m) {
    std::vector<double> p;
    for (std::size_t a = 0; a < c.arms.size(); ++a) {
      if (a == c.baseline) continue;
      c.pair[a][m] =
          pair_figures(c.arms[a], c.arms[c.baseline], c.metrics[m], bootstrap, c.reps, c.seed);
      p.push_back(c.pair[a][m].p);
    }
    const std::vector<double> adjusted = holm(p);
    std::size_t i = 0;
    for (std::size_t a = 0; a < c.arms.size(); ++a)
      if (a != c.baseline) c.pair[a][m].p_holm = adjusted[i++];
  }
  return c;
}

}  // namespace motley
