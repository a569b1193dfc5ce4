/// The plane of quality and diversity, and the entropy law.

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/entropy_law.hpp"
#include "experiments/html.hpp"
#include "experiments/report.hpp"

namespace motley {

namespace {

using Rows = std::vector<std::vector<std::string>>;

/// Mean over the runs of an arm at every x that a run has.
Track mean_track(const std::vector<Track>& tracks) {
  std::map<double, std::vector<double>> at;
  for (const Track& t : tracks)
    for (const auto& [x, y] : t) at[x].push_back(y);
  Track out;
  for (const auto& [x, values] : at) out.emplace_back(x, mean_of(values));
  return out;
}

/// One arm of the plane: the path of its mean, its end, and the ends of its seeds.
void add_path(const Report& report, const ReportArm& arm, const char* variety,
              std::vector<PlotSeries>& series, Rows& rows) {
  std::vector<Track> x, y;
  PlotSeries ends{arm.name, arm.color, {}, {}};
  ends.line = false;
  ends.radius = 2.2;
  for (const std::size_t r : arm.runs) {
    const ReportRun& run = report.runs[r];
    if (!run.eval || run.eval->k.empty()) continue;
    x.push_back(eval_track(run, variety));
    y.push_back(eval_track(run, "pass_at_k", run.eval->k.front()));
    if (x.back().empty() || y.back().empty()) continue;
    ends.x.push_back(x.back().back().second);
    ends.y.push_back(y.back().back().second);
    ends.note.push_back(concat(arm.name, ", seed ", run.seed));
  }
  const Track mx = mean_track(x), my = mean_track(y);
  const std::size_t n = std::min(mx.size(), my.size());
  if (n == 0) return;
  PlotSeries path{arm.name, arm.color, {}, {}};
  for (std::size_t i = 0; i < n; ++i) {
    path.x.push_back(mx[i].second);
    path.y.push_back(my[i].second);
    path.note.push_back(concat(arm.name, " after update ", short_number(mx[i].first)));
    rows.push_back(
        {arm.name, csv_number(mx[i].first), csv_number(mx[i].second), csv_number(my[i].second)});
  }
  path.radius = 1.6;
  PlotSeries end{arm.name, arm.color, {path.x.back()}, {path.y.back()}};
  end.radius = 5;
  end.label = report.arms.size() > 1 && arm.drawn();
  if (arm.drawn()) series.push_back(path);
  if (arm.drawn() && arm.runs.size() > 1) series.push_back(ends);
  series.push_back(end);
}

}  // namespace

void add_plane(ReportPage& page, const Report& report) {
  page.section("plane", "Quality and diversity together",
               "Does variety cost accuracy? Up is right more often, right is more varied; an arm "
               "that ends above and to the right of the baseline gained both.");
  std::string plots;
  Rows rows = {{"arm", "update", "variety", "pass_at_smallest_k"}};
  const std::pair<const char*, const char*> axes[] = {
      {"num_distinct_correct", "distinct correct classes per prompt"},
      {"class_entropy", "entropy of the classes drawn, nat"}};
  for (const auto& [column, title] : axes) {
    std::vector<PlotSeries> series;
    for (const ReportArm& arm : report.arms) add_path(report, arm, column, series, rows);
    if (series.empty()) continue;
    const ReportArm& base = report.arms.front();
    std::vector<double> x0, y0;
    for (const std::size_t r : base.runs) {
      const ReportRun& run = report.runs[r];
      if (!run.eval || run.eval->k.empty()) continue;
      const Track tx = eval_track(run, column);
      const Track ty = eval_track(run, "pass_at_k", run.eval->k.front());
      if (tx.empty() || ty.empty()) continue;
      x0.push_back(tx.front().second);
      y0.push_back(ty.front().second);
    }
    PlotSeries start{"before training", kNeutral, {mean_of(x0)}, {mean_of(y0)}};
    start.radius = 5;
    start.hollow = true;
    start.note = {"before training"};
    series.push_back(start);
    PlotFrame frame;
    frame.title = "pass@1 against " + std::string(title);
    frame.summary = "Paths of the arms from the base policy to their last evaluation.";
    frame.x.title = title;
    frame.height = 320;
    frame.near_labels = true;
    plots += xy_plot(frame, series);
  }
  if (plots.empty()) {
    page.missing("Nothing is evaluated yet: no plane to draw.");
    return;
  }
  page.figure(plots,
              std::string("Ring: the policy before training. Line: mean ") +
                  (report.seeds() < 2 ? "of the run" : "over seeds") +
                  " at every evaluation, large dot: the last one" +
                  (report.seeds() < 2 ? "" : ", small dots: single seeds at their last one") +
                  ". Held-out prompts.",
              html_text_fold("Numbers (CSV)", csv(rows)));
}

namespace {

/// The law of one arm: fits of its runs, and what is drawn of them.
struct ArmLaw {
  std::vector<double> a, b, ceiling, r2;
  PlotSeries points, fit;
};

ArmLaw law_of(const Report& report, const ReportArm& arm, std::int64_t width, Rows& rows) {
  ArmLaw law;
  law.points = {arm.name, arm.color, {}, {}};
  law.points.line = false;
  law.points.radius = 1.7;
  for (const std::size_t r : arm.runs) {
    const ReportRun& run = report.runs[r];
    const EntropyLaw fit = fit_entropy(metric_of(run, "entropy"), metric_of(run, "quality"));
    if (std::isfinite(fit.a)) {
      law.a.push_back(fit.a);
      law.b.push_back(fit.b);
      law.ceiling.push_back(fit.ceiling);
      law.r2.push_back(fit.r2);
    }
    const Track h = binned(metric_of(run, "entropy"), width);
    const Track q = binned(metric_of(run, "quality"), width);
    for (std::size_t i = 0; i < std::min(h.size(), q.size()); ++i) {
      law.points.x.push_back(h[i].second);
      law.points.y.push_back(q[i].second);
      rows.push_back({arm.name, std::to_string(run.seed), csv_number(h[i].first),
                      csv_number(h[i].second), csv_number(q[i].second)});
    }
  }
  law.fit = {arm.name, arm.color, {}, {}};
  if (law.a.empty() || law.points.x.empty()) return law;
  const auto [low, high] = std::minmax_element(law.points.x.begin(), law.points.x.end());
  for (int i = 0; i <= 40; ++i) {
    const double entropy = *low + (*high - *low) * i / 40;
    law.fit.x.push_back(entropy);
    law.fit.y.push_back(mean_of(law.b) - mean_of(law.a) * std::exp(entropy));
  }
  return law;
}

}  // namespace

void add_entropy(ReportPage& page, const Report& report) {
  page.section("entropy", "What entropy buys",
               "Reinforcement learning tends to trade entropy for quality along one curve, R = b "
               "− a exp(H) (arXiv 2505.22617). The larger a, the more quality a unit of exp(H) "
               "buys; b − a is the quality the curve ends at when the entropy is used up.");
  const std::int64_t width = bin_width(report);
  Bootstrap bootstrap(10000, 0);
  Rows points = {{"arm", "seed", "update", "entropy", "quality"}}, table;
  std::string plots;
  std::vector<double> all_x, all_y;
  std::vector<std::pair<const ReportArm*, ArmLaw>> laws;
  for (const ReportArm& arm : report.arms) {
    laws.emplace_back(&arm, law_of(report, arm, width, points));
    const ArmLaw& law = laws.back().second;
    all_x.insert(all_x.end(), law.points.x.begin(), law.points.x.end());
    all_y.insert(all_y.end(), law.points.y.begin(), law.points.y.end());
  }
  if (all_x.empty()) {
    page.missing("No update is committed yet: no entropy to plot.");
    return;
  }
  for (const auto& [arm, law] : laws) {
    const auto cell = [&](const std::vector<double>& x) -> std::string {
      if (x.empty()) return "–";
      const Interval i = bootstrap.mean({x});
      return "<data value=\"" + csv_number(mean_of(x)) + "\">" + number_text(mean_of(x), 3) +
             "</data>" +
             (x.size() < 2 ? ""
                           : "<small>[" + number_text(i.low, 3) + ", " + number_text(i.high, 3) +
                                 "]</small>");
    };
    table.push_back({arm_cell(*arm), std::to_string(law.a.size()), cell(law.a), cell(law.b),
                     cell(law.ceiling), cell(law.r2)});
    if (!arm->drawn() || law.points.x.empty()) continue;
    PlotFrame frame;
    frame.title = report.arms.size() > 1 ? arm->name : "Quality against token entropy";
    frame.summary = "Quality in training against token entropy, with the fitted curve.";
    frame.x.title = "token entropy H, nat";
    const auto [x0, x1] = std::minmax_element(all_x.begin(), all_x.end());
    const auto [y0, y1] = std::minmax_element(all_y.begin(), all_y.end());
    frame.x.low = std::max(0.0, *x0 - 0.03 * (*x1 - *x0));
    frame.x.high = *x1 + 0.03 * (*x1 - *x0) + 1e-9;
    frame.y.low = *y0 - 0.06 * (*y1 - *y0);
    frame.y.high = *y1 + 0.1 * (*y1 - *y0) + 1e-9;
    frame.height = 220;
    std::string plot = xy_plot(frame, {law.points, law.fit});
    plots += "<div class=\"faintdots\">" + plot + "</div>";
  }
  page.figure(plots,
              concat("Every dot is the mean of ", width, width == 1 ? " update" : " updates",
                     " of one run (quality against entropy; training runs from right to left "
                     "where entropy falls); the line is the fit of the law, mean of the fits ",
                     report.seeds() < 2 ? "" : "of the seeds",
                     ". All panels share their axes. Dots far off the line: the law does not "
                     "describe that arm."),
              html_text_fold("Numbers (CSV)", csv(points)));
  page.table(
      html_table({"arm", "runs", "a", "b", "ceiling b − a", "R²"}, table, "Entropy law"),
      "R = b − a exp(H), least squares over all updates of a run" +
          std::string(report.seeds() < 2 ? "."
                                         : "; mean over seeds with its 95 % bootstrap interval."));
}

}  // namespace motley
