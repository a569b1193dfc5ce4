#include "experiments/compare_metrics.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/entropy_law.hpp"
#include "experiments/options.hpp"

namespace motley {

namespace {

/// Share of the steps on which law.rmse is fitted; the rest is predicted.
constexpr double kLawShare = 0.2;

/// Of the finite values; NaN where none. A prompt without a value (no correct sample, not
/// enumerated) is left out.
double finite_mean(std::vector<double> values) {
  std::erase_if(values, [](double x) { return !std::isfinite(x); });
  return mean_of(values);
}

/// A column over k has the name of its axis.
bool over_k(const std::string& name) {
  return name.size() > 5 && name.compare(name.size() - 5, 5, "_at_k") == 0;
}

/// Rows of a column that count.
std::vector<double> counted_column(const OpenRun& run, const std::string& name) {
  std::vector<double> column = run.reader.column(name);
  if (run.steps >= 0 && static_cast<std::int64_t>(column.size()) > run.steps)
    column.resize(static_cast<std::size_t>(run.steps));
  return column;
}

double mean_of_last_tenth(const std::vector<double>& column) {
  const std::size_t n = std::min(column.size(), std::max<std::size_t>(1, column.size() / 10));
  return mean_of(std::vector<double>(column.end() - static_cast<std::ptrdiff_t>(n), column.end()));
}

void read_training_metric(const OpenRun& run, const std::string& metric, const std::string& name,
                          CompareRow& row) {
  const std::vector<double> column = counted_column(run, name);
  // A running total is read at its end.
  if (name == "tokens_total" && !column.empty())
    row.value[metric] = column.back();
  else
    row.value[metric] = mean_of_last_tenth(column);
}

void read_diagnostic(const OpenRun& run, const std::string& metric, const std::string& name,
                     CompareRow& row) {
  for (const Attribute& a : run.reader.config())
    MOTLEY_REQUIRE(a.key != "log.diagnostics" || a.value != AttributeValue(std::string("none")),
                   ErrorKind::input, run.name,
                   ": the run has no /diagnostics; log.diagnostics = every:N writes them");
  // It has rows of its own, fewer than the steps.
  const std::vector<double> step = run.reader.column("step", "/diagnostics", true);
  std::vector<double> column = run.reader.column(name, "/diagnostics", true);
  column.resize(std::min(column.size(), step.size()));
  while (run.steps >= 0 && !column.empty() &&
         step[column.size() - 1] >= static_cast<double>(run.steps))
    column.pop_back();
  std::erase_if(column, [](double x) { return !std::isfinite(x); });
  row.value[metric] = mean_of_last_tenth(column);
}

void read_law(const OpenRun& run, const std::string& metric, const std::string& name,
              CompareRow& row) {
  const std::vector<double> entropy = counted_column(run, "entropy");
  const std::vector<double> quality = counted_column(run, "quality");
  const EntropyLaw law = fit_entropy(entropy, quality, name == "rmse" ? kLawShare : 1.0);
  const std::pair<const char*, double> figures[] = {
      {"a", law.a}, {"b", law.b}, {"ceiling", law.ceiling}, {"r2", law.r2}, {"rmse", law.rmse}};
  for (const auto& [key, value] : figures)
    if (name == key) {
      row.value[metric] = value;
      return;
    }
  throw Error(ErrorKind::config,
              concat("--metric: no such figure of the entropy law, got \"", metric,
                     "\"; allowed: law.a, law.b, law.ceiling, law.r2, law.rmse"));
}

void read_base_metric(const OpenRun& run, const std::string& metric, const std::string& name,
                      CompareRow& row) {
  for (const Attribute& a : run.reader.provenance())
    if (a.key == name && std::holds_alternative<double>(a.value))
      row.value[metric] = std::get<double>(a.value);
  MOTLEY_REQUIRE(row.value.count(metric) > 0, ErrorKind::config,
                 "--metric: no such number in /provenance, got \"", metric, "\"");
}

void read_eval_metric(OpenRun& run, const std::string& metric, const std::string& name,
                      CompareRow& row) {
  const EvalTable& eval = run.evaluations();
  std::size_t last = eval.step.size() - 1;
  while (run.steps >= 0 && last > 0 && eval.step[last] > run.steps) --last;
  if (const auto found = eval.columns.find(name);
      found != eval.columns.end() && !over_k(name) &&
      found->second.size() == eval.step.size() * static_cast<std::size_t>(eval.prompts)) {
    const auto Q = static_cast<std::ptrdiff_t>(eval.prompts);
    const auto at = [&](std::size_t e) {
      const auto begin = found->second.begin() + static_cast<std::ptrdiff_t>(e) * Q;
      return finite_mean(std::vector<double>(begin, begin + Q));
    };
    row.base[metric] = at(0);
    row.value[metric] = at(last);
    return;
  }
  if (const auto at = name.rfind("_at_"); at != std::string::npos) {
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

}  // namespace

const EvalTable& OpenRun::evaluations() {
  if (!eval) {
    MOTLEY_REQUIRE(reader.has_eval(), ErrorKind::input, name, ": the run has no evaluation");
    eval = reader.eval();
    MOTLEY_REQUIRE(!eval->step.empty(), ErrorKind::input, name, ": nothing is evaluated yet");
  }
  return *eval;
}

double tokens_of(const OpenRun& run) {
  const std::vector<double> total = run.reader.column("tokens_total");
  return total.empty() ? 0 : total.back();
}

std::int64_t steps_within(const OpenRun& run, double tokens) {
  const std::vector<double> total = run.reader.column("tokens_total");
  return std::upper_bound(total.begin(), total.end(), tokens) - total.begin();
}

void read_metric(OpenRun& run, const std::string& metric, CompareRow& row) {
  const auto dot = metric.find('.');
  const std::string group = metric.substr(0, dot);
  const std::string name = dot == std::string::npos ? "" : metric.substr(dot + 1);
  if (group == "metrics") return read_training_metric(run, metric, name, row);
  if (group == "diagnostics") return read_diagnostic(run, metric, name, row);
  if (group == "law") return read_law(run, metric, name, row);
  if (group == "base") return read_base_metric(run, metric, name, row);
  MOTLEY_REQUIRE(group == "eval", ErrorKind::config, "--metric: got \"", metric,
                 "\"; allowed: eval.NAME, metrics.NAME, diagnostics.NAME, law.NAME, base.NAME");
  read_eval_metric(run, metric, name, row);
}

}  // namespace motley
