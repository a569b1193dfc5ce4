/// Groups of a report: completions side by side, and advantages by cluster size.

#include "experiments/report_groups.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/rollout.hpp"
#include "experiments/html.hpp"

namespace motley {

namespace {

using Rows = std::vector<std::vector<std::string>>;

Vocabulary vocabulary_of(const RunReader& reader) {
  Vocabulary v;
  v.token = reader.vocab();
  v.special.assign(v.token.size(), false);
  for (const int special : {kPad, kEos})
    if (static_cast<std::size_t>(special) < v.special.size())
      v.special[static_cast<std::size_t>(special)] = true;
  return v;
}

/// One group as a table, cluster by cluster.
std::string group_table(const Report& report, const RunReader& reader, const RolloutStep& s,
                        std::size_t b, const std::string& label) {
  const Vocabulary vocabulary = vocabulary_of(reader);
  const auto G = static_cast<std::size_t>(s.G), T = static_cast<std::size_t>(s.T);
  std::vector<std::size_t> order;
  for (std::size_t g = 0; g < G; ++g) order.push_back(b * G + g);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    return std::make_pair(-s.cluster_size[x], s.cluster[x]) <
           std::make_pair(-s.cluster_size[y], s.cluster[y]);
  });
  std::map<int, int> color;
  Rows rows;
  for (const std::size_t i : order) {
    const int cluster = s.cluster[i];
    if (color.count(cluster) == 0)
      color.emplace(cluster, cluster < 0 ? kNeutral : static_cast<int>(color.size()) + 1);
    const int finish = s.finish[i];
    const char* const end = finish == static_cast<int>(Finish::eos)      ? ""
                            : finish == static_cast<int>(Finish::length) ? " …cut"
                                                                         : " (invalid)";
    const std::string chip = cluster < 0 ? "–" : std::to_string(color[cluster]);
    rows.push_back({"<span class=\"chip " + color_class(color[cluster]) + "\">" + chip + "</span>",
                    html(vocabulary.text(&s.token[i * T], s.length[i])) + end,
                    s.quality[i] > report.pass_above ? number_text(s.quality[i], 2) + " ✓"
                                                     : number_text(s.quality[i], 2),
                    number_text(s.diversity[i], 2), number_text(s.reward[i], 2),
                    "<span class=\"" +
                        std::string(s.advantage[i] > 0   ? "up"
                                    : s.advantage[i] < 0 ? "down"
                                                         : "open") +
                        "\">" + signed_text(s.advantage[i], 2) + "</span>"});
  }
  return html_table({"cluster", "completion", "quality", "diversity", "reward", "advantage"}, rows,
                    label, {1});
}

}  // namespace

void add_groups(ReportPage& page, const Report& report, const std::vector<LeadRun>& leads,
                const FollowedPrompt& prompt) {
  page.text("<h3>The same prompt at the start and at the end</h3>\n");
  std::string out = "<div class=\"groups\">\n";
  for (std::size_t l = 0; l < std::min<std::size_t>(2, leads.size()); ++l) {
    const LeadRun& lead = leads[l];
    const std::vector<std::size_t> visits = visits_of(lead.columns, prompt.id);
    if (visits.empty()) continue;
    const RunReader reader(lead.run->file);
    std::vector<std::size_t> shown = {visits.front()};
    if (visits.size() > 1) shown.push_back(visits.back());
    for (const std::size_t row : shown) {
      const std::int64_t step = lead.columns.step[row / lead.columns.B];
      const RolloutStep s = reader.rollouts(step);
      const std::string label = concat(lead.arm->name, ", update ", step);
      out += "<div class=\"group\"><h4>" + arm_cell(*lead.arm) + concat(", update ", step) +
             "</h4>" + group_table(report, reader, s, row % lead.columns.B, label) + "</div>\n";
    }
  }
  const PromptColumns prompts = RunReader(leads.front().run->file).prompts();
  const std::string arms =
      leads.size() < 2
          ? ""
          : concat(", of the ",
                   leads.front().arm == &report.arms.front() ? "baseline" : "first arm",
                   " and the arm after it");
  page.table(
      out + "</div>\n",
      html(concat("All completions to “", prompts.text.at(static_cast<std::size_t>(prompt.id)),
                  "” the first and the last time it was drawn", arms, ", seed ",
                  leads.front().run->seed,
                  ". Colour and number: the cluster that training put the completion in, "
                  "largest first. ✓: right. A positive advantage makes the completion "
                  "more likely. Any other group: motley inspect RUN --step S.")));
}

namespace {

/// Mean advantage by cluster size of the right or the wrong completions of a run, over the groups
/// that have advantages other than 0, in units of the root mean square of their advantages.
Track advantage_track(const Report& report, const RolloutColumns& c, bool right) {
  double squares = 0, count = 0;
  std::map<int, std::pair<double, double>> by_size;
  for (std::size_t group = 0; group < c.prompt_id.size(); ++group) {
    const auto first = c.advantage.begin() + static_cast<std::ptrdiff_t>(group * c.G);
    if (std::all_of(first, first + static_cast<std::ptrdiff_t>(c.G),
                    [](double a) { return a == 0; }))
      continue;
    for (std::size_t i = group * c.G; i < (group + 1) * c.G; ++i) {
      squares += c.advantage[i] * c.advantage[i];
      count += 1;
      if (is_right(report, c, i) != right || c.cluster[i] < 0) continue;
      auto& [total, n] = by_size[static_cast<int>(c.cluster_size[i])];
      total += c.advantage[i];
      n += 1;
    }
  }
  const double deviation = count > 0 ? std::sqrt(squares / count) : 0;
  Track out;
  if (!(deviation > 0)) return out;
  for (const auto& [size, total] : by_size)
    out.emplace_back(size, total.first / total.second / deviation);
  return out;
}

}  // namespace

void add_advantages(ReportPage& page, const Report& report) {
  Bootstrap bootstrap(1000, 0);
  Rows rows = {{"completions", "arm", "cluster_size", "mean", "low", "high", "seeds"}};
  std::vector<PlotSeries> series[2];
  double most = 2;
  for (const ReportArm& arm : report.arms) {
    if (!arm.drawn()) continue;
    std::vector<Track> tracks[2];
    for (const std::size_t r : arm.runs) {
      for (auto& each : tracks) each.emplace_back();
      if (!report.runs[r].has_rollouts) continue;
      const RolloutColumns c = read_rollout_columns(report.runs[r]);
      most = std::max(most, static_cast<double>(c.G));
      for (const bool right : {false, true})
        tracks[right ? 1 : 0].back() = advantage_track(report, c, right);
    }
    for (const bool right : {false, true}) {
      const Curve curve =
          curve_over_seeds(report, arm, tracks[right ? 1 : 0], Middle::mean, bootstrap);
      if (curve.x.empty()) continue;
      for (std::size_t i = 0; i < curve.x.size(); ++i)
        rows.push_back({right ? "right" : "wrong", arm.name, csv_number(curve.x[i]),
                        csv_number(curve.middle[i]), csv_number(curve.low[i]),
                        csv_number(curve.high[i]), std::to_string(curve.n[i])});
      PlotSeries s = series_of(arm, curve);
      if (report.seeds() < 2) s.low.clear();
      s.radius = 2.6;
      s.label = report.arms.size() > 1;
      series[right ? 1 : 0].push_back(s);
    }
  }
  std::string plots;
  for (const bool right : {true, false}) {
    if (series[right ? 1 : 0].empty()) continue;
    PlotFrame frame;
    frame.title =
        right ? "Mean advantage of right completions" : "Mean advantage of wrong completions";
    frame.summary = "Advantage against the size of the completion's cluster.";
    frame.x.title = "size of the completion’s cluster";
    frame.x.low = 1;
    frame.x.high = most;
    frame.x.ticks = most <= 10 ? std::vector<double>{} : round_ticks(1, most, 6);
    for (double n = 1; most <= 10 && n <= most; n += 1) frame.x.ticks.push_back(n);
    plots += xy_plot(frame, series[right ? 1 : 0]);
  }
  if (plots.empty()) {
    page.missing("Every advantage in the files is 0: nothing to plot against cluster size.");
    return;
  }
  page.text("<h3>Who is rewarded</h3>\n");
  page.figure(plots,
              std::string("The mean advantage of a completion against the size "
                          "of the cluster it fell in, over all groups with a signal, in units "
                          "of the root mean square of the run’s advantages there") +
                  (report.seeds() < 2 ? "" : " (band: 95 % bootstrap interval over seeds)") +
                  ". A line that falls among right completions pays rare right meanings more "
                  "than common ones: that is what rewarding diversity means.",
              html_text_fold("Numbers (CSV)", csv(rows)));
}

}  // namespace motley
