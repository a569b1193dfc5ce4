/// What the policy answers: strategies over training, and the classes of one prompt.

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "experiments/html.hpp"
#include "experiments/report_groups.hpp"

namespace motley {

namespace {

using Rows = std::vector<std::vector<std::string>>;
constexpr std::size_t kShownClasses = 6;
constexpr int kWrongColor = kNeutral;

std::string class_text(const Report& report, int id) {
  if (id < 0) return "unknown class";
  return report.task ? report.task->class_name(id) : "class " + std::to_string(id);
}

/// The colour of its family in the figure of strategies where every class shown has its own, else
/// by order.
int class_color(const Report& report, const std::vector<int>& order, std::size_t shown,
                std::size_t k) {
  std::set<int> families;
  for (std::size_t i = 0; i < shown && report.task; ++i)
    families.insert(order[i] < 0 ? -1 : report.task->family_of(order[i]));
  const bool own = report.task && report.task->families().size() > 1 && families.size() == shown &&
                   families.count(-1) == 0;
  return 1 + (own ? report.task->family_of(order[k]) : static_cast<int>(k));
}

/// Families of right answers from 0, then wrong, then malformed.
std::vector<std::string> strategy_names(const Report& report) {
  std::vector<std::string> names;
  if (report.task && report.task->families().size() > 1)
    for (const std::string& family : report.task->families()) names.push_back(family + ", right");
  else
    names.emplace_back("right");
  names.insert(names.end(), {"wrong", "malformed"});
  return names;
}

/// Shares of the strategies by bin, mean over the runs of an arm: [strategy][bin].
struct Shares {
  std::vector<double> x;
  std::vector<std::vector<double>> share;
};

Shares strategies_of(const Report& report, const ReportArm& arm, std::int64_t width,
                     std::size_t count) {
  std::map<std::int64_t, std::vector<double>> bins;
  for (const std::size_t r : arm.runs) {
    if (!report.runs[r].has_rollouts) continue;
    const RolloutColumns c = read_rollout_columns(report.runs[r]);
    for (std::size_t i = 0; i < c.quality.size(); ++i) {
      std::vector<double>& bin = bins[c.step[i / (c.B * c.G)] / width];
      bin.resize(count, 0.0);
      const int id = static_cast<int>(c.class_id[i]);
      const int family = report.task && id >= 0 ? report.task->family_of(id) : -1;
      const bool malformed = report.task && id >= 0 && family < 0;
      const std::size_t right =
          count == 3 || family < 0 ? 0 : std::min(static_cast<std::size_t>(family), count - 3);
      bin[is_right(report, c, i) ? right : count - (malformed ? 1 : 2)] += 1;
    }
  }
  Shares out;
  out.share.resize(count);
  for (const auto& [bin, counts] : bins) {
    double total = 0;
    for (const double n : counts) total += n;
    out.x.push_back((static_cast<double>(bin) + 0.5) * static_cast<double>(width) - 0.5);
    for (std::size_t f = 0; f < count; ++f) out.share[f].push_back(counts[f] / total);
  }
  return out;
}

std::vector<PlotLayer> strategy_layers(const std::vector<std::string>& names) {
  std::vector<PlotLayer> layers;
  for (std::size_t f = 0; f < names.size(); ++f) {
    const bool right = f + 2 < names.size();
    layers.push_back(
        {names[f], right ? static_cast<int>(f) + 1 : kWrongColor, f + 2 == names.size(), {}});
  }
  return layers;
}

void add_strategies(ReportPage& page, const Report& report) {
  const std::vector<std::string> names = strategy_names(report);
  std::vector<PlotLayer> layers = strategy_layers(names);
  const std::int64_t width = bin_width(report);
  Rows rows = {{"arm", "update"}};
  rows[0].insert(rows[0].end(), names.begin(), names.end());
  std::string plots = "<div class=\"wide\">" + plot_legend(layers) + "</div>";
  for (const ReportArm& arm : report.arms) {
    if (!arm.drawn()) continue;
    const Shares shares = strategies_of(report, arm, width, names.size());
    if (shares.x.size() < 2) continue;
    for (std::size_t f = 0; f < names.size(); ++f) layers[f].value = shares.share[f];
    for (std::size_t i = 0; i < shares.x.size(); ++i) {
      rows.push_back({arm.name, csv_number(shares.x[i])});
      for (std::size_t f = 0; f < names.size(); ++f)
        rows.back().push_back(csv_number(shares.share[f][i]));
    }
    PlotFrame frame;
    frame.title = report.arms.size() > 1 ? arm.name : "Share of completions";
    frame.summary = "Shares of the strategies among all completions over training.";
    frame.x.title = "update";
    frame.x.low = shares.x.front();
    frame.x.high = shares.x.back();
    frame.y.low = 0;
    frame.y.high = 1;
    frame.y.ticks = {0, 0.25, 0.5, 0.75, 1};
    frame.height = 210;
    plots += area_plot(frame, shares.x, layers);
  }
  if (rows.size() == 1) return;
  page.text("<h3>Ways of answering</h3>\n");
  page.figure(plots,
              std::string("Share of all completions in training") +
                  (report.seeds() < 2 ? "" : ", mean over seeds") +
                  ": coloured bands are right answers by the way they were found, grey ones are "
                  "wrong or malformed. One band that swallows the others is a policy that forgets "
                  "its other ways.",
              html_text_fold("Numbers (CSV)", csv(rows)));
}

}  // namespace

bool is_right(const Report& report, const RolloutColumns& c, std::size_t i) {
  return c.quality[i] > report.pass_above;
}

std::vector<std::size_t> visits_of(const RolloutColumns& c, int prompt) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < c.prompt_id.size(); ++i)
    if (static_cast<int>(c.prompt_id[i]) == prompt) out.push_back(i);
  return out;
}

FollowedPrompt follow_prompt(const Report& report, const std::vector<LeadRun>& leads) {
  std::map<int, std::size_t> visits;
  for (const double id : leads.front().columns.prompt_id) ++visits[static_cast<int>(id)];
  std::size_t most = 0;
  for (const auto& [id, n] : visits) most = std::max(most, n);
  std::map<int, std::set<int>> classes;
  for (const LeadRun& lead : leads)
    for (std::size_t i = 0; i < lead.columns.quality.size(); ++i)
      if (is_right(report, lead.columns, i))
        classes[static_cast<int>(lead.columns.prompt_id[i / lead.columns.G])].insert(
            static_cast<int>(lead.columns.class_id[i]));
  FollowedPrompt out;
  for (const auto& [id, n] : visits)
    if (n == most && (out.id < 0 || classes[id].size() > classes[out.id].size())) out = {id, n};
  return out;
}

void add_timeline(ReportPage& page, const Report& report, const std::vector<LeadRun>& leads,
                  const FollowedPrompt& prompt) {
  if (prompt.visits < 3) {
    page.missing(html(concat("No prompt was drawn more than ", prompt.visits,
                             " times in training: too few for a timeline of one prompt.")));
    return;
  }
  // Right classes by how often they came, over all arms.
  std::map<int, std::size_t> count;
  for (const LeadRun& lead : leads)
    for (const std::size_t row : visits_of(lead.columns, prompt.id))
      for (std::size_t g = 0; g < lead.columns.G; ++g)
        if (const std::size_t i = row * lead.columns.G + g; is_right(report, lead.columns, i))
          ++count[static_cast<int>(lead.columns.class_id[i])];
  std::vector<int> order;
  for (const auto& [id, n] : count) order.push_back(id);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return count[a] > count[b]; });
  const std::size_t shown = std::min(order.size(), kShownClasses);
  std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown));
  std::vector<PlotLayer> layers;
  for (std::size_t k = 0; k < shown; ++k)
    layers.push_back(
        {class_text(report, order[k]), class_color(report, order, shown, k), false, {}});
  if (order.size() > shown) layers.push_back({"other right classes", 7, true, {}});
  layers.push_back({"wrong or malformed", kWrongColor, true, {}});

  page.text("<h3>One prompt over training</h3>\n");
  std::string plots = "<div class=\"wide\">" + plot_legend(layers) + "</div>";
  Rows rows = {{"arm", "update"}};
  for (const PlotLayer& layer : layers) rows[0].push_back(layer.name);
  for (const LeadRun& lead : leads) {
    const RolloutColumns& c = lead.columns;
    std::vector<double> x;
    for (PlotLayer& layer : layers) layer.value.clear();
    for (const std::size_t row : visits_of(c, prompt.id)) {
      x.push_back(static_cast<double>(c.step[row / c.B]));
      for (PlotLayer& layer : layers) layer.value.push_back(0);
      for (std::size_t g = 0; g < c.G; ++g) {
        const std::size_t i = row * c.G + g;
        std::size_t at = layers.size() - 1;
        if (is_right(report, c, i)) {
          const auto found = std::find(order.begin(), order.end(), static_cast<int>(c.class_id[i]));
          at = std::min(static_cast<std::size_t>(found - order.begin()), layers.size() - 2);
        }
        layers[at].value.back() += 1 / static_cast<double>(c.G);
      }
      rows.push_back({lead.arm->name, csv_number(x.back())});
      for (const PlotLayer& layer : layers) rows.back().push_back(csv_number(layer.value.back()));
    }
    if (x.size() < 2) continue;
    PlotFrame frame;
    frame.title = report.arms.size() > 1 ? lead.arm->name : "Share of the group";
    frame.summary = "Shares of the classes in the groups of one prompt.";
    frame.x.title = "update";
    frame.x.low = x.front();
    frame.x.high = x.back();
    frame.y.low = 0;
    frame.y.high = 1;
    frame.y.ticks = {0, 0.5, 1};
    frame.height = 190;
    plots += area_plot(frame, x, layers);
  }
  const PromptColumns prompts = RunReader(leads.front().run->file).prompts();
  page.figure(
      plots,
      html(concat("Meanings in the answers to one prompt, “",
                  prompts.text.at(static_cast<std::size_t>(prompt.id)), "” (id ", prompt.id,
                  "), seed ", leads.front().run->seed, ": the share of each class among the ",
                  leads.front().columns.G, " completions, every time the prompt was drawn (",
                  prompt.visits, " times). The rule of choice: the prompt drawn most often, of ",
                  "those the one with the most right classes, of those the first.")),
      html_text_fold("Numbers (CSV)", csv(rows)));
}

void add_rollouts(ReportPage& page, const Report& report) {
  page.section("answers", "What the policy answers", "");
  if (!report.any_rollouts()) {
    const auto log = report.runs.front().config.find("log.rollouts");
    const bool off = log != report.runs.front().config.end() && log->second == "none";
    page.missing(off ? "The runs were made with <code>log.rollouts = none</code>: they hold no "
                       "completions, clusters or advantages, so the timelines of strategies and "
                       "classes, the rollouts side by side and the advantages by cluster size "
                       "are missing. A repetition with <code>log.rollouts=all</code> gives the "
                       "same training, bit for bit, and logs them."
                     : "No completions are in the files yet.");
    return;
  }
  add_strategies(page, report);
  std::vector<LeadRun> leads;
  for (const ReportArm& arm : report.arms) {
    const int r = report.lead_run(arm);
    if (!arm.drawn() || r < 0) continue;
    const ReportRun& run = report.runs[static_cast<std::size_t>(r)];
    leads.push_back({&arm, &run, read_rollout_columns(run)});
  }
  if (!leads.empty()) {
    const FollowedPrompt prompt = follow_prompt(report, leads);
    add_timeline(page, report, leads, prompt);
    add_groups(page, report, leads, prompt);
  }
  add_advantages(page, report);
}

}  // namespace motley
