/// What was found: the figures of `motley compare`, in tables, intervals and words.

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/base/error.hpp"
#include "experiments/html.hpp"
#include "experiments/report.hpp"

namespace motley {

namespace {

using Rows = std::vector<std::vector<std::string>>;

/// A number that a script can read back, with its interval below.
std::string value_cell(double value, const Interval& interval, bool several) {
  if (!std::isfinite(value)) return "–";
  std::string out =
      "<data value=\"" + csv_number(value) + "\">" + number_text(value, 3) + "</data>";
  if (several)
    out += "<small>[" + number_text(interval.low, 3) + ", " + number_text(interval.high, 3) +
           "]</small>";
  return out;
}

enum class Sign { up, down, open };
Sign sign_of(const PairFigures& f) {
  if (f.pairs < 2) return Sign::open;
  return f.interval.low > 0 ? Sign::up : f.interval.high < 0 ? Sign::down : Sign::open;
}

std::string difference_cell(const PairFigures& f) {
  if (f.pairs == 0) return "–";
  const Sign s = sign_of(f);
  const char* const mark[] = {"up\">▲ ", "down\">▼ ", "open\">"};
  std::string out = std::string("<span class=\"") + mark[static_cast<int>(s)] + "<data value=\"" +
                    csv_number(f.difference) + "\">" + signed_text(f.difference, 3) +
                    "</data></span>";
  if (f.pairs > 1)
    out += "<small>[" + signed_text(f.interval.low, 3) + ", " + signed_text(f.interval.high, 3) +
           "]</small>";
  return out;
}

std::string title_of(const std::string& metric) {
  return html(metric_title(metric));
}

bool is_base(const std::string& metric) {
  return metric.rfind("base.", 0) == 0;
}

std::size_t arm_of(const Comparison& c, const std::string& name) {
  for (std::size_t a = 0; a < c.arms.size(); ++a)
    if (c.arms[a].name == name) return a;
  return c.arms.size();
}

int metric_index(const Comparison& c, const std::string& prefix) {
  for (std::size_t m = 0; m < c.metrics.size(); ++m)
    if (c.metrics[m].rfind(prefix, 0) == 0) return static_cast<int>(m);
  return -1;
}

/// What the two questions of the page come to, for one arm.
std::string reading(const Comparison& c, std::size_t a) {
  const int pass = metric_index(c, "eval.pass_at_");
  const int kinds = metric_index(c, "eval.num_distinct_correct");
  const char* const words[] = {"higher", "lower", "undecided"};
  std::vector<std::string> parts;
  for (const auto& [metric, what] : {std::make_pair(pass, "accuracy"), {kinds, "variety"}})
    if (metric >= 0)
      parts.push_back(
          concat(what, " ",
                 words[static_cast<int>(sign_of(c.pair[a][static_cast<std::size_t>(metric)]))]));
  return join(parts, "<br/>");
}

std::string means_table(const Report& report) {
  const Comparison& c = *report.comparison;
  std::vector<std::string> head = {"arm", "seeds"};
  for (const std::string& metric : c.metrics) head.push_back(title_of(metric));
  Rows rows;
  std::map<Unit, const CompareRow*> bases;
  for (const CompareRow& row : c.rows) bases.emplace(Unit{row.task, row.seed}, &row);
  rows.push_back({"<span class=\"open\">before training</span>", std::to_string(bases.size())});
  for (const std::string& metric : c.metrics) {
    std::vector<double> x;
    for (const auto& [unit, row] : bases)
      if (row->base.count(metric) > 0) x.push_back(row->base.at(metric));
    rows.back().push_back(x.empty() ? "–" : value_cell(mean_of(x), {}, false));
  }
  for (const ReportArm& arm : report.arms) {
    const std::size_t a = arm_of(c, arm.name);
    if (a == c.arms.size()) continue;
    rows.push_back({arm_cell(arm), std::to_string(c.arms[a].rows.size())});
    for (const ArmFigures& f : c.arm[a])
      rows.back().push_back(value_cell(f.mean, f.interval, f.seeds > 1));
  }
  return html_table(head, rows, "Means of every arm");
}

std::string differences_table(const Report& report) {
  const Comparison& c = *report.comparison;
  std::vector<std::string> head = {"arm", "reads as"};
  for (const std::string& metric : c.metrics)
    if (!is_base(metric)) head.push_back(title_of(metric));
  Rows rows;
  for (const ReportArm& arm : report.arms) {
    const std::size_t a = arm_of(c, arm.name);
    if (a == c.arms.size() || a == c.baseline) continue;
    rows.push_back({arm_cell(arm), "<span class=\"short\">" + reading(c, a) + "</span>"});
    for (std::size_t m = 0; m < c.metrics.size(); ++m)
      if (!is_base(c.metrics[m])) rows.back().push_back(difference_cell(c.pair[a][m]));
  }
  return html_table(head, rows, "Paired differences to the baseline", {1});
}

/// Every figure of one metric, folded.
std::string metric_fold(const Report& report, std::size_t m) {
  const Comparison& c = *report.comparison;
  Rows rows;
  const auto interval = [](const Interval& i) {
    return "[" + number_text(i.low, 3) + ", " + number_text(i.high, 3) + "]";
  };
  for (const ReportArm& arm : report.arms) {
    const std::size_t a = arm_of(c, arm.name);
    if (a == c.arms.size()) continue;
    const ArmFigures& f = c.arm[a][m];
    const PairFigures& d = c.pair[a][m];
    rows.push_back({arm_cell(arm), std::to_string(f.seeds), value_cell(f.mean, f.interval, true),
                    f.seeds < 2 ? "–" : interval(f.t), value_cell(f.iqm, f.iqm_interval, true)});
    std::vector<std::string>& row = rows.back();
    if (a == c.baseline || d.pairs == 0) {
      row.insert(row.end(), {a == c.baseline ? "baseline" : "–", "–", "–", "–", "–"});
      continue;
    }
    row.push_back(difference_cell(d));
    row.push_back(number_text(d.p_improvement, 3));
    row.push_back(short_number(d.p));
    row.push_back(short_number(d.p_holm));
    row.push_back(std::isfinite(d.seeds_needed) ? number_text(d.seeds_needed, 0) : "–");
  }
  return "<h3>" + title_of(c.metrics[m]) + "</h3>\n" +
         html_table({"arm", "seeds", "mean", "Student’s t", "IQM", "paired difference", "P(better)",
                     "p", "p (Holm)", "seeds needed"},
                    rows, metric_title(c.metrics[m]));
}

std::string forest(const Report& report) {
  const Comparison& c = *report.comparison;
  std::string out;
  std::vector<int> shown = {metric_index(c, "eval.pass_at_")};
  for (std::size_t m = c.metrics.size(); m-- > 0;)
    if (c.metrics[m].rfind("eval.pass_at_", 0) == 0) {
      if (static_cast<int>(m) != shown.front()) shown.push_back(static_cast<int>(m));
      break;
    }
  shown.push_back(metric_index(c, "eval.num_distinct_correct"));
  shown.push_back(metric_index(c, "metrics.entropy"));
  for (const int each : shown) {
    if (each < 0) continue;
    const auto m = static_cast<std::size_t>(each);
    std::vector<PlotInterval> rows;
    for (const ReportArm& arm : report.arms) {
      const std::size_t a = arm_of(c, arm.name);
      if (a == c.arms.size() || a == c.baseline || c.pair[a][m].pairs == 0) continue;
      const PairFigures& d = c.pair[a][m];
      rows.push_back({arm.name, arm.color, d.difference, d.interval.low, d.interval.high});
    }
    PlotFrame frame;
    frame.title = metric_title(c.metrics[m]);
    frame.summary = "Difference of every arm to the baseline with its 95 % interval.";
    frame.x.title = "difference to " + c.arms[c.baseline].name;
    out += interval_plot(frame, rows, 0);
  }
  return out;
}

std::string power_hint(const Comparison& c) {
  const int pass = metric_index(c, "eval.pass_at_");
  double least = INFINITY, most = 0;
  for (std::size_t a = 0; a < c.arms.size(); ++a) {
    if (a == c.baseline || pass < 0) continue;
    const double n = c.pair[a][static_cast<std::size_t>(pass)].seeds_needed;
    if (!std::isfinite(n)) continue;
    least = std::min(least, n);
    most = std::max(most, n);
  }
  if (!(most > 0)) return "";
  return concat("To see differences in ", metric_title(c.metrics[static_cast<std::size_t>(pass)]),
                " of the sizes above in 8 of 10 studies takes ", number_text(least, 0),
                most > least ? " to " + number_text(most, 0) : "",
                " paired seeds per arm, going by the spread seen here.");
}

/// How many arms are above, below and undecided on the page's two questions.
std::string summary_line(const Comparison& c) {
  std::string out;
  const std::pair<int, const char*> questions[] = {
      {metric_index(c, "eval.pass_at_"), "accuracy"},
      {metric_index(c, "eval.num_distinct_correct"), "kinds of right answers"}};
  for (const auto& [metric, what] : questions) {
    if (metric < 0) continue;
    int n[3] = {0, 0, 0};
    for (std::size_t a = 0; a < c.arms.size(); ++a)
      if (a != c.baseline)
        ++n[static_cast<int>(sign_of(c.pair[a][static_cast<std::size_t>(metric)]))];
    const int all = n[0] + n[1] + n[2];
    out += concat(out.empty() ? "In " : " In ", what, " (",
                  metric_title(c.metrics[static_cast<std::size_t>(metric)]), ") ", n[0], " of ",
                  all, all == 1 ? " arm lies" : " arms lie", " above ", c.arms[c.baseline].name,
                  ", ", n[1], " below, ", n[2], " undecided.");
  }
  const std::size_t seeds = fewest_pairs(c);
  if (seeds < kEnoughSeeds)
    out += concat(" With ", seeds, seeds == 1 ? " seed" : " seeds",
                  " this is a demonstration, not evidence.");
  return out;
}

void add_comparison(ReportPage& page, const Report& report) {
  const Comparison& c = *report.comparison;
  const std::string& baseline = c.arms[c.baseline].name;
  page.text("<p class=\"lead\">" + html(summary_line(c)) + "</p>\n");
  std::string list = "<ul class=\"findings\">";
  std::istringstream lines(comparison_verdict(c));
  for (std::string line; std::getline(lines, line);) list += "<li>" + html(line) + "</li>\n";
  const std::string hint = power_hint(c);
  if (!hint.empty()) list += "<li>" + html(hint) + "</li>\n";
  for (const CompareRow& row : c.rows)
    if (!row.base_passed && c.arms[c.baseline].name == row.arm)
      list += "<li>" +
              html(concat("The base policy of seed ", row.seed, " failed the skill gate (skill ",
                          number_text(row.base_skill, 3), "); its runs are included.")) +
              "</li>\n";
  page.text(list + "</ul>\n");
  std::string folds;
  for (std::size_t m = 0; m < c.metrics.size(); ++m) folds += metric_fold(report, m);
  page.table(
      differences_table(report),
      "Paired differences to " + html(baseline) +
          " with 95 % bootstrap intervals over seeds. ▲ the whole interval lies above 0, ▼ "
          "below it; no mark: undecided. Accuracy is pass@k at the smallest k, variety the "
          "number of distinct correct classes.",
      html_fold("Every figure: means, IQM, Student’s t, P(better), p, Holm, seeds needed", folds));
  page.figure(forest(report),
              "The same differences: dot = mean over seeds, bar = 95 % interval. A bar that "
              "crosses the dashed line is undecided.",
              "");
}

/// A single run, or runs of which none is finished: the first and the last evaluation.
void add_plain_table(ReportPage& page, const Report& report) {
  Rows rows;
  for (const ReportArm& arm : report.arms)
    for (const std::size_t r : arm.runs) {
      const ReportRun& run = report.runs[r];
      if (!run.eval) continue;
      const auto line = [&](const std::string& name, const Track& t) {
        if (t.empty()) return;
        rows.push_back(
            {html((report.single() ? "" : run.folder + ": ") + name),
             value_cell(t.front().second, {}, false), value_cell(t.back().second, {}, false),
             signed_text(t.back().second - t.front().second, 3), number_text(t.back().first, 0)});
      };
      for (const int k : run.eval->k)
        line("pass@" + std::to_string(k), eval_track(run, "pass_at_k", k));
      line("distinct correct", eval_track(run, "num_distinct_correct"));
      line("class entropy, nat", eval_track(run, "class_entropy"));
      line("vendi score", eval_track(run, "vendi"));
      line("mean quality", eval_track(run, "mean_quality"));
    }
  if (rows.empty()) {
    page.missing("Nothing is evaluated yet: no result to show.");
    return;
  }
  page.table(html_table({"held-out prompts", "before training", "last evaluation", "change",
                         "after update"},
                        rows, "First and last evaluation"),
             "The policy before training and at its last evaluation, on prompts that training "
             "never sees.");
}

}  // namespace

void add_findings(ReportPage& page, const Report& report) {
  const bool paired = report.comparison && report.comparison->arms.size() > 1;
  page.section("found", "What was found",
               paired ? "Held-out prompts, last evaluation, arm against " +
                            html(report.comparison->arms[report.comparison->baseline].name) +
                            " on the same seeds."
                      : "");
  std::size_t unfinished = 0;
  for (const ReportRun& run : report.runs) unfinished += run.status == RunStatus::complete ? 0 : 1;
  if (unfinished > 0)
    page.missing(html(
        report.single()
            ? concat("This run is not complete: the page shows its ", report.runs[0].committed,
                     " committed updates of ", report.runs[0].planned, ".")
            : concat(unfinished, " of ", report.runs.size(),
                     " runs are not complete. They are left out of the tables of this section; ",
                     "the curves show them up to their last committed update.")));
  if (report.single())
    page.missing(
        "One run: nothing is said between seeds. What a method does, as opposed to this run, "
        "needs several seeds of several arms (<code>motley sweep</code>).");
  if (paired) add_comparison(page, report);
  if (report.comparison && !report.single())
    page.table(means_table(report),
               "Means over seeds with 95 % bootstrap intervals, on prompts that training never "
               "sees; the base policy before training for comparison. Token entropy is the mean "
               "of the last tenth of training.");
  else
    add_plain_table(page, report);
}

}  // namespace motley
