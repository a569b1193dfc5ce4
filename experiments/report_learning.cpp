/// Learning curves, and quality against the number of draws.

#include <algorithm>
#include <functional>

#include "core/base/error.hpp"
#include "experiments/html.hpp"
#include "experiments/report.hpp"

namespace motley {

namespace {

constexpr int kCurveReps = 1000;

using Rows = std::vector<std::vector<std::string>>;
using TrackOf = std::function<Track(const ReportRun&)>;

struct Panel {
  std::string title, key;
  TrackOf track;
  double low = std::nan(""), high = std::nan("");
  bool points = false;
};

void add_csv(Rows& rows, const std::string& quantity, const ReportArm& arm, const Curve& c) {
  for (std::size_t i = 0; i < c.x.size(); ++i)
    rows.push_back({quantity, arm.name, csv_number(c.x[i]), csv_number(c.middle[i]),
                    csv_number(c.low[i]), csv_number(c.high[i]), std::to_string(c.n[i])});
}

/// One panel: a curve per arm, grey ones first.
std::string draw_panel(const Report& report, const Panel& panel, PlotFrame frame, Middle middle,
                       Bootstrap& bootstrap, Rows& rows) {
  std::vector<PlotSeries> series;
  for (const ReportArm& arm : report.arms) {
    std::vector<Track> tracks;
    for (const std::size_t r : arm.runs) tracks.push_back(panel.track(report.runs[r]));
    const Curve curve = curve_over_seeds(report, arm, tracks, middle, bootstrap);
    if (curve.x.empty()) continue;
    add_csv(rows, panel.key, arm, curve);
    PlotSeries s = series_of(arm, curve);
    if (!arm.drawn() || report.seeds() < 2) s.low.clear();
    s.radius = panel.points && arm.drawn() ? 2.6 : 0;
    s.label = arm.drawn() && report.arms.size() > 1;
    for (std::size_t i = 0; i < curve.x.size() && s.radius > 0; ++i)
      s.note.push_back(
          concat(arm.name, ": ", short_number(curve.middle[i]), " at ", short_number(curve.x[i])));
    series.insert(arm.drawn() ? series.end() : series.begin(), s);
  }
  if (series.empty()) return "";
  frame.title = panel.title;
  frame.summary = concat("Curves of ", series.size(), " arms.");
  frame.y.low = panel.low;
  frame.y.high = panel.high;
  return xy_plot(frame, series);
}

std::string curves_csv(const Rows& rows, const std::string& x, const std::string& middle) {
  Rows all = {{"quantity", "arm", x, middle, "low", "high", "seeds"}};
  all.insert(all.end(), rows.begin(), rows.end());
  return html_text_fold("Numbers (CSV)", csv(all));
}

std::vector<Panel> learning_panels(const Report& report) {
  const std::int64_t width = bin_width(report);
  const auto column = [width](const std::string& name) -> TrackOf {
    return [name, width](const ReportRun& run) { return binned(metric_of(run, name), width); };
  };
  std::vector<Panel> panels;
  const bool verifiable = report.task == nullptr || report.task->verifiable();
  panels.push_back({verifiable ? "Quality in training" : "Quality in training, by reward model",
                    "quality", column("quality")});
  if (!verifiable)
    panels.push_back(
        {"Quality in training, by the hidden judge", "quality_true", column("quality_true")});
  panels.push_back({"pass@1, held-out prompts", "pass_at_1",
                    [](const ReportRun& run) {
                      return eval_track(run, "pass_at_k",
                                        run.eval && !run.eval->k.empty() ? run.eval->k.front() : 0);
                    },
                    std::nan(""), std::nan(""), true});
  if (!report.runs.front().eval || report.runs.front().eval->k.empty() ||
      report.runs.front().eval->k.front() != 1)
    panels.pop_back();
  panels.push_back({"Distinct correct classes, held-out prompts", "num_distinct_correct",
                    [](const ReportRun& run) { return eval_track(run, "num_distinct_correct"); }, 0,
                    std::nan(""), true});
  panels.push_back({"Diversity in training", "diversity", column("diversity"), 0, std::nan("")});
  panels.push_back({"Token entropy, nat", "entropy", column("entropy"), 0, std::nan("")});
  panels.push_back({"Entropy of cluster shares, nat", "cluster_entropy", column("cluster_entropy"),
                    0, std::nan("")});
  panels.push_back({"Share of groups without a signal", "frac_zero_std", column("frac_zero_std"), 0,
                    std::nan("")});
  return panels;
}

}  // namespace

void add_learning(ReportPage& page, const Report& report) {
  page.section("learning", "Learning curves",
               report.single()
                   ? ""
                   : "How quality and variety went during training, arm by arm. Point at a name "
                     "to see that arm alone.");
  Bootstrap bootstrap(kCurveReps, 0);
  Rows rows;
  std::string plots;
  PlotFrame frame;
  frame.x.title = "update";
  for (const Panel& panel : learning_panels(report))
    plots += draw_panel(report, panel, frame, Middle::iqm, bootstrap, rows);
  if (plots.empty()) {
    page.missing("No update is committed yet.");
    return;
  }
  const std::int64_t width = bin_width(report);
  std::string caption = report.seeds() < 2 ? "One run, no intervals. "
                                           : concat("Line: interquartile mean ", over_seeds(report),
                                                    "; band: its 95 % bootstrap interval (",
                                                    kCurveReps, " resamples). ");
  if (width > 1) caption += concat("Training curves average ", width, " updates a point. ");
  caption +=
      "Dots mark evaluations on held-out prompts. Entropy that falls to 0 means the policy no "
      "longer explores; a group without a signal has equal rewards throughout and teaches "
      "nothing.";
  if (report.arms.size() > kDrawnArms)
    caption += concat(" Coloured: the baseline and the ", kDrawnArms - 1,
                      " arms of the highest pass@k at the smallest k; all others in grey.");
  page.figure(plots, caption, curves_csv(rows, "update", report.seeds() < 2 ? "value" : "iqm"));
}

void add_draws(ReportPage& page, const Report& report) {
  page.section("draws", "Quality against the number of draws",
               "What the policy can do when it may answer k times: pass@1 is how often it is "
               "right, a large k shows what it still can reach at all.");
  Bootstrap bootstrap(kCurveReps * 10, 0);
  Rows rows;
  PlotFrame frame;
  frame.x.title = "k, draws (log scale)";
  frame.x.log2 = true;
  double most = 1;
  for (const ReportRun& run : report.runs)
    for (const auto& [k, value] : pass_curve(run)) most = std::max(most, k);
  int exponents = 0;
  for (double k = 1; k <= most; k *= 2) ++exponents;
  for (int e = 0; e<exponents; e += exponents> 8 ? 2 : 1) frame.x.ticks.push_back(std::exp2(e));
  frame.x.low = 1;
  frame.x.high = std::max(2.0, most);
  const auto over_k = [](const char* column) -> TrackOf {
    return [column](const ReportRun& run) { return last_over_k(run, column); };
  };
  std::string plots;
  for (const Panel& panel : {Panel{"pass@k: at least one of k is right", "pass_at_k", pass_curve,
                                   std::nan(""), std::nan(""), true},
                             Panel{"coverage@k: correct classes among k", "coverage_at_k",
                                   over_k("coverage_at_k"), 0, std::nan(""), true},
                             Panel{"maj@k: the majority of k is right", "maj_at_k",
                                   over_k("maj_at_k"), std::nan(""), std::nan(""), true},
                             Panel{"utility@k: quality of what is new", "utility_at_k",
                                   over_k("utility_at_k"), 0, std::nan(""), true}})
    plots += draw_panel(report, panel, frame, Middle::mean, bootstrap, rows);
  if (plots.empty()) {
    page.missing("Nothing is evaluated yet: no draws to count.");
    return;
  }
  page.figure(plots,
              concat("Last evaluation, held-out prompts. ",
                     report.seeds() < 2 ? std::string("One run, no intervals.")
                                        : concat("Mean ", over_seeds(report),
                                                 " with its 95 % bootstrap interval."),
                     " Estimates are unbiased from all samples of a prompt. Curves that cross say "
                     "that the arm with the better single answer has fewer ways left."),
              curves_csv(rows, "k", "mean"));
}

}  // namespace motley
