/// motley compare: arms side by side, paired on seeds.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/statistics.hpp"
#include "io/run_reader.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kEnoughSeeds = 10;

/// One finished run, as far as it is compared.
struct Row {
  std::string arm, file;
  std::uint64_t seed = 0;
  std::map<std::string, double> value;
  std::map<std::string, double>
      base;  ///< the same metric before the first step, where there is one
  bool base_passed = true;
  double base_skill = 0;
};

struct Arm {
  std::string name;
  std::map<std::uint64_t, const Row*> rows;
};

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

/// Values of a metric at the first and the last evaluation, or over the last tenth of the steps.
///   eval.pass_at_16, eval.coverage_at_4, eval.num_distinct_correct, metrics.entropy,
///   base.classifier_f1
void read_metric(const RunReader& reader, const EvalTable& eval, const std::string& metric,
                 Row& row) {
  const auto dot = metric.find('.');
  const std::string group = metric.substr(0, dot);
  const std::string name = dot == std::string::npos ? "" : metric.substr(dot + 1);
  if (group == "metrics") {
    const std::vector<double> column = reader.column(name);
    const std::size_t n = std::max<std::size_t>(1, column.size() / 10);
    row.value[metric] = mean_of(
        {column.end() - static_cast<std::ptrdiff_t>(std::min(n, column.size())), column.end()});
    return;
  }
  if (group == "base") {
    for (const Attribute& a : reader.provenance())
      if (a.key == name && std::holds_alternative<double>(a.value))
        row.value[metric] = std::get<double>(a.value);
    MOTLEY_REQUIRE(row.value.count(metric) > 0, ErrorKind::config,
                   "--metric: no such number in /provenance, got \"", metric, "\"");
    return;
  }
  MOTLEY_REQUIRE(group == "eval", ErrorKind::config, "--metric: got \"", metric,
                 "\"; allowed: eval.NAME, metrics.NAME, base.NAME");
  const std::size_t last = eval.step.size() - 1;
  if (const auto found = eval.columns.find(name);
      found != eval.columns.end() &&
      found->second.size() == eval.step.size() * static_cast<std::size_t>(eval.prompts)) {
    const auto Q = static_cast<std::ptrdiff_t>(eval.prompts);
    const auto begin = found->second.begin();
    row.base[metric] = mean_of({begin, begin + Q});
    row.value[metric] = mean_of({begin + static_cast<std::ptrdiff_t>(last) * Q,
                                 begin + static_cast<std::ptrdiff_t>(last + 1) * Q});
    return;
  }
  const auto at = name.rfind("_at_");
  if (at != std::string::npos) {
    const auto found = eval.columns.find(name.substr(0, at) + "_at_k");
    const auto k = std::find_if(eval.k.begin(), eval.k.end(),
                                [&](int x) { return std::to_string(x) == name.substr(at + 4); });
    if (found != eval.columns.end()) {
      MOTLEY_REQUIRE(k != eval.k.end(), ErrorKind::config, "--metric: k was not evaluated, got \"",
                     metric, "\"; allowed: k in ", join(eval.k));
      const auto i = static_cast<std::size_t>(k - eval.k.begin());
      row.base[metric] = found->second[i];
      row.value[metric] = found->second[last * eval.k.size() + i];
      return;
    }
  }
  std::vector<std::string> names;
  for (const auto& [column, values] : eval.columns) names.push_back("eval." + column);
  throw Error(ErrorKind::config, concat("--metric: no such column, got \"", metric, "\"",
                                        did_you_mean(metric, names)));
}

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

Row read_row(const std::string& file, const std::string& by,
             const std::vector<std::string>& metrics) {
  const RunReader reader(file);
  Row row;
  row.file = file;
  bool found = false;
  for (const Attribute& a : reader.config()) {
    if (a.key == by) {
      row.arm = text_of(a.value);
      found = true;
    }
    if (a.key == "run.seed") row.seed = static_cast<std::uint64_t>(std::get<std::int64_t>(a.value));
  }
  MOTLEY_REQUIRE(found, ErrorKind::config, "--by: unknown option, got \"", by, "\"",
                 did_you_mean(by, option_keys()));
  for (const Attribute& a : reader.provenance()) {
    if (a.key == "base_passed_gate" && std::holds_alternative<bool>(a.value))
      row.base_passed = std::get<bool>(a.value);
    if (a.key == "base_skill" && std::holds_alternative<double>(a.value))
      row.base_skill = std::get<double>(a.value);
  }
  const EvalTable eval = reader.eval();
  MOTLEY_REQUIRE(!eval.step.empty(), ErrorKind::input, file, ": nothing is evaluated yet");
  for (const std::string& metric : metrics) read_metric(reader, eval, metric, row);
  return row;
}

/// Values of both arms at their common seeds, in the order of the seeds.
void paired(const Arm& a, const Arm& b, const std::string& metric, std::vector<double>& x,
            std::vector<double>& y) {
  for (const auto& [seed, row] : a.rows) {
    const auto other = b.rows.find(seed);
    if (other == b.rows.end()) continue;
    x.push_back(row->value.at(metric));
    y.push_back(other->second->value.at(metric));
  }
}

std::vector<double> values_of(const Arm& arm, const std::string& metric) {
  std::vector<double> out;
  for (const auto& [seed, row] : arm.rows) out.push_back(row->value.at(metric));
  return out;
}

struct Comparison {
  std::vector<std::string> metrics;
  std::vector<Arm> arms;
  std::size_t baseline = 0;
  int reps = 10000;
  std::uint64_t seed = 0;
};

struct Difference {
  double mean = 0, p_improvement = 0;
  Interval interval;
  std::size_t pairs = 0;
};

Difference difference(const Comparison& c, const Arm& arm, const std::string& metric) {
  std::vector<double> x, y, d;
  paired(arm, c.arms[c.baseline], metric, x, y);
  for (std::size_t i = 0; i < x.size(); ++i) d.push_back(x[i] - y[i]);
  Difference out;
  out.pairs = d.size();
  if (d.empty()) return out;
  out.mean = mean_of(d);
  out.interval = bootstrap_mean(d, c.reps, c.seed);
  out.p_improvement = probability_of_improvement(x, y);
  return out;
}

std::string short_name(const std::string& metric) {
  std::string name = metric.substr(metric.find('.') + 1);
  if (name.rfind("pass_at_", 0) == 0) return "pass@" + name.substr(8);
  if (name == "num_distinct_correct") return "distinct correct";
  if (name == "entropy") return "token entropy";
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

void print_means(const Comparison& c, const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> lines = {{"arm", "seeds"}};
  for (const std::string& metric : c.metrics) lines[0].push_back(short_name(metric));
  // The base policies, once per seed, as far as a metric exists before training.
  std::vector<std::string> base = {"(base policy)", ""};
  std::map<std::uint64_t, const Row*> bases;
  for (const Row& row : rows) bases.emplace(row.seed, &row);
  base[1] = std::to_string(bases.size());
  for (const std::string& metric : c.metrics) {
    std::vector<double> x;
    for (const auto& [seed, row] : bases)
      if (row->base.count(metric) > 0) x.push_back(row->base.at(metric));
    base.push_back(x.empty() ? "-" : fixed(mean_of(x), 3));
  }
  lines.push_back(base);
  for (const Arm& arm : c.arms) {
    std::vector<std::string> line = {arm.name, std::to_string(arm.rows.size())};
    for (const std::string& metric : c.metrics)
      line.push_back(fixed(mean_of(values_of(arm, metric)), 3));
    lines.push_back(line);
  }
  std::printf("\nmeans over seeds, held-out prompts, last evaluation\n%s", table(lines).c_str());
}

/// What the intervals support, in words.
void print_verdict(const Comparison& c, std::size_t seeds) {
  const std::string& baseline = c.arms[c.baseline].name;
  for (const std::string& metric : c.metrics) {
    if (metric.rfind("eval.pass_at_", 0) != 0 && metric != "eval.num_distinct_correct") continue;
    std::vector<std::string> above, below, open;
    for (std::size_t a = 0; a < c.arms.size(); ++a) {
      if (a == c.baseline) continue;
      const Difference d = difference(c, c.arms[a], metric);
      if (d.pairs < 2)
        open.push_back(c.arms[a].name);
      else
        (d.interval.low > 0 ? above : d.interval.high < 0 ? below : open).push_back(c.arms[a].name);
    }
    std::string line = short_name(metric) + ": ";
    if (!above.empty()) line += "interval above " + baseline + " for " + join(above) + "; ";
    if (!below.empty()) line += "interval below for " + join(below) + "; ";
    if (!open.empty()) line += "undecided for " + join(open) + "; ";
    line.resize(line.size() - 2);
    std::printf("%s.\n", line.c_str());
  }
  if (seeds < kEnoughSeeds)
    std::printf(
        "With %zu seeds this is a demonstration, not evidence: intervals from so few seeds are too narrow. Nothing here is established below %zu seeds (sweep.seeds).\n",
        seeds, kEnoughSeeds);
}

void print_comparison(const Comparison& c, const std::vector<Row>& rows) {
  print_means(c, rows);
  const std::string& baseline = c.arms[c.baseline].name;
  std::vector<std::vector<std::string>> lines = {{"arm"}};
  for (const std::string& metric : c.metrics)
    if (metric.rfind("base.", 0) != 0) lines[0].push_back(short_name(metric));
  std::size_t seeds = 1000000;
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    if (a == c.baseline) continue;
    std::vector<std::string> line = {c.arms[a].name};
    for (const std::string& metric : c.metrics) {
      if (metric.rfind("base.", 0) == 0) continue;
      const Difference d = difference(c, c.arms[a], metric);
      seeds = std::min(seeds, d.pairs);
      char text[80];
      std::snprintf(text, sizeof text, "%+.3f [%+.3f, %+.3f]", d.mean, d.interval.low,
                    d.interval.high);
      line.push_back(d.pairs == 0 ? "-" : text);
    }
    lines.push_back(line);
  }
  if (lines.size() > 1) {
    std::printf("\npaired difference to %s, 95 %% bootstrap interval over seeds\n%s\n",
                baseline.c_str(), table(lines).c_str());
    print_verdict(c, seeds);
  }
  std::set<std::uint64_t> failed;
  for (const Row& row : rows)
    if (!row.base_passed && failed.insert(row.seed).second)
      std::printf(
          "The base policy of seed %llu FAILED the skill gate (skill %.3f); its runs are included above.\n",
          static_cast<unsigned long long>(row.seed), row.base_skill);
}

nlohmann::json json_of(const Comparison& c) {
  nlohmann::json out{{"baseline", c.arms[c.baseline].name},
                     {"arms", nlohmann::json::array()},
                     {"pairs", nlohmann::json::array()}};
  for (const Arm& arm : c.arms)
    for (const std::string& metric : c.metrics) {
      const std::vector<double> x = values_of(arm, metric);
      const Interval interval = bootstrap_mean(x, c.reps, c.seed);
      out["arms"].push_back({{"arm", arm.name},
                             {"metric", metric},
                             {"mean", mean_of(x)},
                             {"iqm", interquartile_mean(x)},
                             {"low", interval.low},
                             {"high", interval.high},
                             {"n_seeds", x.size()},
                             {"values", x}});
    }
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    if (a == c.baseline) continue;
    for (const std::string& metric : c.metrics) {
      const Difference d = difference(c, c.arms[a], metric);
      out["pairs"].push_back({{"arm", c.arms[a].name},
                              {"baseline", c.arms[c.baseline].name},
                              {"metric", metric},
                              {"difference", d.mean},
                              {"low", d.interval.low},
                              {"high", d.interval.high},
                              {"p_improvement", d.p_improvement},
                              {"n_seeds", d.pairs}});
    }
  }
  return out;
}

/// Default columns, as far as the runs have them.
std::vector<std::string> default_metrics(const std::string& file) {
  const RunReader reader(file);
  const EvalTable eval = reader.eval();
  std::vector<std::string> out;
  for (const int k : eval.k) out.push_back("eval.pass_at_" + std::to_string(k));
  out.insert(out.end(), {"eval.num_distinct_correct", "metrics.entropy", "eval.class_entropy",
                         "base.classifier_f1"});
  return out;
}

std::vector<Arm> arms_of(const std::vector<Row>& rows) {
  std::vector<Arm> arms;
  for (const Row& row : rows) {
    auto arm =
        std::find_if(arms.begin(), arms.end(), [&](const Arm& a) { return a.name == row.arm; });
    if (arm == arms.end()) arm = arms.insert(arms.end(), Arm{row.arm, {}});
    MOTLEY_REQUIRE(arm->rows.count(row.seed) == 0, ErrorKind::config,
                   "motley compare: two runs of arm \"", row.arm, "\" have seed ", row.seed,
                   ", got ", arm->rows.at(row.seed)->file, " and ", row.file,
                   "; choose another --by");
    arm->rows[row.seed] = &row;
  }
  return arms;
}

int run_compare(const CommandLine& line) {
  require_words(line, "compare", 1, 10000, "RUN or SWEEP");
  const std::vector<std::string> files = find_runs(line.positional);
  Comparison c;
  if (const auto given = line.flags.find("metric"); given != line.flags.end())
    c.metrics = given->second;
  else
    c.metrics = default_metrics(files.front());
  const std::string by = line.get("by", "run.name");
  std::int64_t reps = 10000, seed = 0;
  MOTLEY_REQUIRE(parse_integer(line.get("reps", "10000"), reps) && reps >= 100 && reps <= 10000000,
                 ErrorKind::config, "--reps: got \"", line.get("reps", ""),
                 "\"; allowed: [100, 1e7]");
  MOTLEY_REQUIRE(parse_integer(line.get("ci-seed", "0"), seed) && seed >= 0, ErrorKind::config,
                 "--ci-seed: got \"", line.get("ci-seed", ""), "\"");
  c.reps = static_cast<int>(reps);
  c.seed = static_cast<std::uint64_t>(seed);

  std::vector<Row> rows;
  std::size_t unfinished = 0;
  for (const std::string& file : files) {
    if (RunReader(file).status() == RunStatus::complete)
      rows.push_back(read_row(file, by, c.metrics));
    else
      ++unfinished;
  }
  if (unfinished > 0) std::fprintf(stderr, "%zu unfinished run(s) are left out\n", unfinished);
  MOTLEY_REQUIRE(!rows.empty(), ErrorKind::input, join(line.positional), ": no finished run");
  c.arms = arms_of(rows);
  std::string baseline = line.get("baseline", "");
  if (const auto equals = baseline.find('='); equals != std::string::npos)
    baseline = baseline.substr(equals + 1);
  if (baseline.empty()) baseline = "grpo";
  const auto found =
      std::find_if(c.arms.begin(), c.arms.end(), [&](const Arm& a) { return a.name == baseline; });
  if (found == c.arms.end()) {
    std::vector<std::string> names;
    for (const Arm& arm : c.arms) names.push_back(arm.name);
    MOTLEY_REQUIRE(!line.has("baseline"), ErrorKind::config, "--baseline: no such arm, got \"",
                   baseline, "\"; allowed: ", join(names), did_you_mean(baseline, names));
  } else {
    c.baseline = static_cast<std::size_t>(found - c.arms.begin());
  }
  if (line.has("json"))
    std::printf("%s\n", json_of(c).dump(2).c_str());
  else
    print_comparison(c, rows);
  return 0;
}

}  // namespace

const Command kCompare = {
    "compare",
    "RUN|SWEEP ... [--by run.name] [--baseline grpo] [--metric eval.pass_at_16]",
    "compares arms over seeds, paired, with intervals",
    "  motley compare runs/quickstart\n  motley compare runs/quickstart --by run.method --baseline run.method=grpo --metric eval.pass_at_64 --json\n",
    {{"metric", 0, 0, "NAME", "eval.NAME, metrics.NAME or base.NAME; may be repeated"},
     {"by", 0, 0, "KEY", "option that names the arm; default run.name"},
     {"baseline", 0, 0, "ARM", "arm the others are compared with; default grpo"},
     {"reps", 0, 0, "N", "bootstrap resamples; default 10000"},
     {"ci-seed", 0, 0, "N", "seed of the bootstrap; default 0"}},
    false,
    run_compare};

}  // namespace motley
