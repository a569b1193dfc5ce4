/// What `motley compare` prints.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/compare.hpp"

namespace motley {

namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string short_name(const std::string& metric) {
  if (metric.rfind("law.", 0) == 0) return "law " + metric.substr(4);
  std::string name = metric.substr(metric.find('.') + 1);
  if (name.rfind("pass_at_", 0) == 0) return "pass@" + name.substr(8);
  if (name == "num_distinct_correct") return "distinct correct";
  if (name == "entropy") return "token entropy";
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string with_interval(double value, const Interval& interval, bool sign) {
  if (std::isnan(value)) return "-";
  char text[80];
  std::snprintf(text, sizeof text, sign ? "%+.3f [%+.3f, %+.3f]" : "%.3f [%.3f, %.3f]", value,
                interval.low, interval.high);
  return text;
}

std::string p_text(double p) {
  if (std::isnan(p)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, p < 1e-3 ? "%.1e" : "%.3f", p);
  return text;
}

std::string latex_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '_' || c == '%' || c == '&' || c == '#' || c == '$') out += '\\';
    out += c;
  }
  return out;
}

std::string render(const std::string& title, const Rows& rows, TableFormat format) {
  if (format == TableFormat::text) return concat("\n", title, "\n", table(rows));
  std::string out;
  if (format == TableFormat::markdown) {
    out = concat("\n", title, "\n\n");
    for (std::size_t r = 0; r < rows.size(); ++r) {
      out += "| " + join(rows[r], " | ") + " |\n";
      if (r > 0) continue;
      for (std::size_t i = 0; i < rows[0].size(); ++i) out += i == 0 ? "| --- |" : " ---: |";
      out += "\n";
    }
    return out;
  }
  out = concat("% ", title, "\n\\begin{tabular}{l", std::string(rows[0].size() - 1, 'r'),
               "}\n\\toprule\n");
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::vector<std::string> cells;
    for (const std::string& cell : rows[r]) cells.push_back(latex_escaped(cell));
    out += join(cells, " & ") + " \\\\\n" + (r == 0 ? "\\midrule\n" : "");
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

bool is_base(const std::string& metric) {
  return metric.rfind("base.", 0) == 0;
}

Rows means_table(const Comparison& c, bool intervals) {
  Rows lines = {{"arm", "seeds"}};
  for (const std::string& metric : c.metrics) lines[0].push_back(short_name(metric));
  // The base policies, once per seed, as far as a metric exists before training.
  std::map<Unit, const CompareRow*> bases;
  for (const CompareRow& row : c.rows) bases.emplace(Unit{row.task, row.seed}, &row);
  lines.push_back({"(base policy)", std::to_string(bases.size())});
  for (const std::string& metric : c.metrics) {
    std::vector<double> x;
    for (const auto& [unit, row] : bases)
      if (row->base.count(metric) > 0) x.push_back(row->base.at(metric));
    lines.back().push_back(x.empty() ? "-" : fixed(mean_of(x), 3));
  }
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    lines.push_back({c.arms[a].name, std::to_string(c.arms[a].rows.size())});
    for (const ArmFigures& f : c.arm[a])
      lines.back().push_back(intervals ? with_interval(f.mean, f.interval, false)
                                       : fixed(f.mean, 3));
  }
  return lines;
}

Rows differences_table(const Comparison& c) {
  Rows lines = {{"arm"}};
  for (const std::string& metric : c.metrics)
    if (!is_base(metric)) lines[0].push_back(short_name(metric));
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    if (a == c.baseline) continue;
    lines.push_back({c.arms[a].name});
    for (std::size_t m = 0; m < c.metrics.size(); ++m) {
      if (is_base(c.metrics[m])) continue;
      const PairFigures& f = c.pair[a][m];
      lines.back().push_back(with_interval(f.difference, f.interval, true));
    }
  }
  return lines;
}

/// Every figure of one metric.
Rows metric_table(const Comparison& c, std::size_t m) {
  bool few = false;
  for (const auto& arm : c.arm) few = few || arm[m].seeds < kManySeeds;
  Rows lines = {{"arm", "seeds", "mean, bootstrap 95 %"}};
  if (few) lines[0].emplace_back("Student's t 95 %");
  for (const char* head :
       {"IQM, bootstrap 95 %", "paired difference", "P(better)", "p", "p (Holm)", "seeds needed"})
    lines[0].emplace_back(head);
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    const ArmFigures& f = c.arm[a][m];
    const PairFigures& d = c.pair[a][m];
    lines.push_back(
        {c.arms[a].name, std::to_string(f.seeds), with_interval(f.mean, f.interval, false)});
    std::vector<std::string>& line = lines.back();
    if (few)
      line.push_back(f.seeds < 2 ? "-"
                                 : concat("[", fixed(f.t.low, 3), ", ", fixed(f.t.high, 3), "]"));
    line.push_back(with_interval(f.iqm, f.iqm_interval, false));
    if (a == c.baseline || d.pairs == 0) {
      line.insert(line.end(), {a == c.baseline ? "(baseline)" : "-", "-", "-", "-", "-"});
      continue;
    }
    line.push_back(with_interval(d.difference, d.interval, true));
    line.push_back(fixed(d.p_improvement, 3));
    line.push_back(p_text(d.p));
    line.push_back(p_text(d.p_holm));
    line.push_back(std::isfinite(d.seeds_needed) ? fixed(d.seeds_needed, 0) : "-");
  }
  return lines;
}

std::size_t least_pairs(const Comparison& c) {
  std::size_t least = c.rows.size();
  for (std::size_t a = 0; a < c.arms.size(); ++a)
    for (std::size_t m = 0; m < c.metrics.size(); ++m)
      if (a != c.baseline && !is_base(c.metrics[m])) least = std::min(least, c.pair[a][m].pairs);
  return least / std::max<std::size_t>(1, c.tasks);
}

/// Mean tokens an arm's runs sampled.
double mean_tokens(const CompareArm& arm) {
  std::vector<double> tokens;
  for (const auto& [unit, row] : arm.rows) tokens.push_back(row->tokens);
  return mean_of(tokens);
}

/// Arms that cost more than a twentieth more or less than the baseline are not at equal cost.
std::string costs(const Comparison& c) {
  if (c.tokens > 0)
    return concat("Every run is read where it had sampled ", static_cast<std::int64_t>(c.tokens),
                  " tokens: at its last evaluation before that.\n");
  const double baseline = mean_tokens(c.arms[c.baseline]);
  std::string out;
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    const double ratio = mean_tokens(c.arms[a]) / baseline;
    if (a == c.baseline || (ratio > 0.95 && ratio < 1.05) || !std::isfinite(ratio)) continue;
    out += concat(out.empty() ? "" : ", ", c.arms[a].name, " ", fixed(ratio, 2));
  }
  if (out.empty()) return "";
  return concat("Not at equal cost: tokens sampled, ", c.arms[c.baseline].name, " = 1: ", out,
                ". --tokens equal reads every run at the cost of the cheapest.\n");
}

/// What the intervals support, in words.
std::string verdict(const Comparison& c) {
  const std::string& baseline = c.arms[c.baseline].name;
  std::string out;
  for (std::size_t m = 0; m < c.metrics.size(); ++m) {
    const std::string& metric = c.metrics[m];
    if (metric.rfind("eval.pass_at_", 0) != 0 && metric != "eval.num_distinct_correct") continue;
    std::vector<std::string> above, below, open;
    for (std::size_t a = 0; a < c.arms.size(); ++a) {
      if (a == c.baseline) continue;
      const PairFigures& d = c.pair[a][m];
      auto& where = d.pairs < 2           ? open
                    : d.interval.low > 0  ? above
                    : d.interval.high < 0 ? below
                                          : open;
      where.push_back(c.arms[a].name);
    }
    std::string line = short_name(metric) + ": ";
    if (!above.empty()) line += "interval above " + baseline + " for " + join(above) + "; ";
    if (!below.empty()) line += "interval below for " + join(below) + "; ";
    if (!open.empty()) line += "undecided for " + join(open) + "; ";
    line.resize(line.size() - 2);
    out += line + ".\n";
  }
  if (const std::size_t seeds = least_pairs(c); seeds < kEnoughSeeds)
    out += concat(
        "With ", seeds,
        " seeds this is a demonstration, not evidence: intervals from so few seeds are too narrow. Nothing here is established below ",
        kEnoughSeeds, " seeds (sweep.seeds).\n");
  return out;
}

nlohmann::json number(double x) {
  return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(nullptr);
}

}  // namespace

std::string metric_title(const std::string& metric) {
  return short_name(metric);
}

std::string comparison_verdict(const Comparison& c) {
  return verdict(c);
}

std::size_t fewest_pairs(const Comparison& c) {
  return least_pairs(c);
}

std::string comparison_text(const Comparison& c, TableFormat format, bool details) {
  const bool paper = format != TableFormat::text;
  std::string out = render(
      paper ? "Means over seeds with 95 % bootstrap intervals, held-out prompts, last evaluation."
            : "means over seeds, held-out prompts, last evaluation",
      means_table(c, paper), format);
  if (c.arms.size() > 1) {
    out += render(concat(paper ? "P" : "p", "aired difference to ", c.arms[c.baseline].name,
                         ", 95 % bootstrap interval over seeds", paper ? "." : ""),
                  differences_table(c), format);
    if (!details && format == TableFormat::text)
      out += "p-values, IQM, Student's t and the seeds needed: --details\n";
  }
  if (details)
    for (std::size_t m = 0; m < c.metrics.size(); ++m)
      out += render(concat(short_name(c.metrics[m]), ", to ", c.arms[c.baseline].name,
                           ": p by sign flips of the paired differences, Holm over the arms"),
                    metric_table(c, m), format);
  if (format == TableFormat::latex) return out;
  if (c.tasks > 1)
    out += concat("\n", c.tasks,
                  " tasks, each of the same weight; seeds are resampled within a task.\n");
  if (c.arms.size() > 1) out += "\n" + verdict(c) + costs(c);
  std::set<Unit> failed;
  for (const CompareRow& row : c.rows)
    if (!row.base_passed && failed.insert({row.task, row.seed}).second)
      out += concat("The base policy of seed ", row.seed, " FAILED the skill gate (skill ",
                    fixed(row.base_skill, 3), "); its runs are included above.\n");
  return out;
}

std::string comparison_json(const Comparison& c) {
  nlohmann::json out{{"baseline", c.arms[c.baseline].name},
                     {"tasks", c.tasks},
                     {"reps", c.reps},
                     {"ci_seed", c.seed},
                     {"at_tokens", c.tokens > 0 ? number(c.tokens) : nlohmann::json()},
                     {"enough_seeds", least_pairs(c) >= kEnoughSeeds},
                     {"arms", nlohmann::json::array()},
                     {"pairs", nlohmann::json::array()}};
  for (std::size_t a = 0; a < c.arms.size(); ++a)
    for (std::size_t m = 0; m < c.metrics.size(); ++m) {
      const ArmFigures& f = c.arm[a][m];
      out["arms"].push_back({{"arm", c.arms[a].name},
                             {"metric", c.metrics[m]},
                             {"mean", number(f.mean)},
                             {"iqm", number(f.iqm)},
                             {"sd", number(f.sd)},
                             {"low", number(f.interval.low)},
                             {"high", number(f.interval.high)},
                             {"iqm_low", number(f.iqm_interval.low)},
                             {"iqm_high", number(f.iqm_interval.high)},
                             {"t_low", number(f.t.low)},
                             {"t_high", number(f.t.high)},
                             {"tokens", number(mean_tokens(c.arms[a]))},
                             {"n_seeds", f.seeds},
                             {"values", f.values}});
    }
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    if (a == c.baseline) continue;
    for (std::size_t m = 0; m < c.metrics.size(); ++m) {
      const PairFigures& f = c.pair[a][m];
      out["pairs"].push_back({{"arm", c.arms[a].name},
                              {"baseline", c.arms[c.baseline].name},
                              {"metric", c.metrics[m]},
                              {"difference", number(f.difference)},
                              {"sd", number(f.sd)},
                              {"low", number(f.interval.low)},
                              {"high", number(f.interval.high)},
                              {"t_low", number(f.t.low)},
                              {"t_high", number(f.t.high)},
                              {"p_improvement", number(f.p_improvement)},
                              {"p", number(f.p)},
                              {"p_holm", number(f.p_holm)},
                              {"seeds_needed", number(f.seeds_needed)},
                              {"n_seeds", f.pairs}});
    }
  }
  return out.dump(2);
}

}  // namespace motley
