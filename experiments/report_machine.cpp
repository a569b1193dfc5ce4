/// Where the time went, how good the classifier was, and how to run it again.

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/base/error.hpp"
#include "experiments/html.hpp"
#include "experiments/report.hpp"

namespace motley {

namespace {

using Rows = std::vector<std::vector<std::string>>;

double median_of(std::vector<double> x) {
  std::erase_if(x, [](double v) { return !std::isfinite(v); });
  if (x.empty()) return 0;
  std::sort(x.begin(), x.end());
  const std::size_t n = x.size();
  return n % 2 == 1 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/// Mean over the arm's runs of the median over steps.
double stage_time(const Report& report, const ReportArm& arm, const std::string& stage) {
  std::vector<double> medians;
  for (const std::size_t r : arm.runs) {
    const auto found = report.runs[r].timing.find(stage);
    if (found != report.runs[r].timing.end() && !found->second.empty())
      medians.push_back(median_of(found->second));
  }
  return medians.empty() ? 0 : mean_of(medians);
}

void add_timing(ReportPage& page, const Report& report) {
  const std::pair<const char*, const char*> stages[] = {{"rollout_s", "sampling"},
                                                        {"score_s", "scoring"},
                                                        {"partition_s", "partition and reward"},
                                                        {"update_s", "gradient and optimiser"},
                                                        {"log_s", "waiting for the log"}};
  std::vector<PlotLayer> parts;
  Rows table;
  std::vector<std::string> names;
  int color = 1;
  for (const auto& [column, name] : stages) parts.push_back({name, color++, false, {}});
  for (const ReportArm& arm : report.arms) {
    if (stage_time(report, arm, "total_s") <= 0) continue;
    names.push_back(arm.name);
    table.push_back({arm_cell(arm)});
    for (std::size_t s = 0; s < parts.size(); ++s) {
      const double seconds = stage_time(report, arm, stages[s].first);
      parts[s].value.push_back(1000 * seconds);
      table.back().push_back(short_number(1000 * seconds));
    }
    table.back().push_back(short_number(1000 * stage_time(report, arm, "total_s")));
    table.back().push_back(short_number(stage_time(report, arm, "tokens_per_s")));
  }
  if (names.empty()) {
    page.missing("No update is committed yet: no times.");
    return;
  }
  PlotFrame frame;
  frame.title = "Median time of an update, ms";
  frame.summary = "Time of the stages of an update, one bar per arm.";
  frame.x.title = "ms";
  page.figure(
      "<div class=\"wide\">" + plot_legend(parts) + "</div>" + bar_plot(frame, names, parts),
      "Median over the updates, mean over the runs. Runs that were packed into one batch "
      "share their time: each says how long the whole batch took.",
      html_fold("Numbers", html_table({"arm", "sampling", "scoring", "partition", "update", "log",
                                       "whole update, ms", "tokens/s"},
                                      table, "Times")));
}

void add_base(ReportPage& page, const Report& report) {
  const std::pair<const char*, const char*> columns[] = {
      {"base_skill", "skill"},
      {"base_quality", "quality"},
      {"classifier_accuracy", "accuracy"},
      {"classifier_precision", "precision"},
      {"classifier_recall", "recall"},
      {"classifier_f1", "F1"},
      {"classifier_auroc", "AUROC"},
      {"classifier_ece", "ECE"},
      {"classifier_false_merge", "false merges"},
      {"classifier_false_split", "false splits"}};
  std::vector<std::string> head = {"base of"};
  for (const auto& [key, name] : columns) head.emplace_back(name);
  std::map<std::string, std::vector<std::uint64_t>> seeds;
  std::map<std::string, const ReportRun*> bases;
  for (const ReportRun& run : report.runs) {
    const auto key = run.facts.find("base_key");
    if (key == run.facts.end()) continue;
    bases.emplace(key->second, &run);
    auto& list = seeds[key->second];
    if (std::find(list.begin(), list.end(), run.seed) == list.end()) list.push_back(run.seed);
  }
  std::vector<std::pair<std::uint64_t, std::string>> order;
  for (const auto& [key, list] : seeds) order.emplace_back(list.front(), key);
  std::sort(order.begin(), order.end());
  Rows rows;
  for (const auto& [seed, key] : order) {
    rows.push_back({"seed " + html(join(seeds[key]))});
    for (const auto& [column, name] : columns) {
      const auto found = bases[key]->numbers.find(column);
      rows.back().push_back(found == bases[key]->numbers.end() ? "–"
                                                               : number_text(found->second, 3));
    }
  }
  if (rows.empty()) return;
  page.table(html_table(head, rows, "Base policies and classifiers"),
             "The base policy of every seed (skill: what the gate measures on held-out prompts; "
             "quality of its free answers) and the pair classifier that was trained with it: the "
             "learned judge of “same meaning”, on held-out pairs. ECE: how far its probabilities "
             "are off. False merges and splits are the shares of pairs it wrongly joins and "
             "parts; what they do to training is what noisy_oracle measures.");
}

std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_./=,:@%+-") == std::string::npos;
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Options in which the arms differ, by arm (seeds and names aside).
std::string differences_table(const Report& report) {
  std::set<std::string> keys;
  const ReportRun& base = report.runs[report.arms.front().runs.front()];
  for (const ReportArm& arm : report.arms)
    for (const auto& [key, value] : report.runs[arm.runs.front()].config) {
      const auto other = base.config.find(key);
      if (key != "run.seed" && key != "run.name" &&
          (other == base.config.end() || other->second != value))
        keys.insert(key);
    }
  if (keys.empty()) return "";
  std::vector<std::string> head = {"option"};
  Rows rows;
  for (const ReportArm& arm : report.arms) head.push_back(arm_cell(arm));
  for (const std::string& key : keys) {
    rows.push_back({"<code>" + html(key) + "</code>"});
    for (const ReportArm& arm : report.arms) {
      const auto& config = report.runs[arm.runs.front()].config;
      const auto found = config.find(key);
      const auto first = base.config.find(key);
      const std::string text = found == config.end() ? "–" : html(found->second);
      const bool same = found != config.end() && first != base.config.end() &&
                        found->second == first->second && &arm != &report.arms.front();
      rows.back().push_back(same ? "<span class=\"open\">" + text + "</span>" : text);
    }
  }
  return html_table(head, rows, "Options in which the arms differ");
}

std::string versions_table(const Report& report) {
  Rows rows;
  for (const char* key :
       {"motley_version", "git_commit", "format_version", "compiler", "compiler_flags",
        "build_type", "kokkos_version", "backend", "device", "threads", "ranks", "hdf5_version"}) {
    std::set<std::string> values;
    for (const ReportRun& run : report.runs)
      if (const auto found = run.facts.find(key); found != run.facts.end())
        values.insert(found->second);
    if (!values.empty()) rows.push_back({key, html(join(values, "; "))});
  }
  return html_table({"what", "value"}, rows, "Versions", {1});
}

}  // namespace

void add_machine(ReportPage& page, const Report& report) {
  page.section("machine", "Time and instruments", "");
  add_timing(page, report);
  add_base(page, report);
}

void add_reproduce(ReportPage& page, const Report& report) {
  page.section("again", "Configuration, and how to run it again",
               "Every run repeats bit for bit from its configuration, on any number of threads: "
               "the digest of the repetition is the one below.");
  if (report.arms.size() > 1) {
    const std::string table = differences_table(report);
    if (!table.empty())
      page.table(table,
                 "The options in which the arms differ; grey: as in the baseline. All others are "
                 "the same.");
  }
  for (const ReportArm& arm : report.arms) {
    const ReportRun& run = report.runs[arm.runs.front()];
    page.text(html_text_fold(concat("Full configuration of ", arm.name, " (seed ", run.seed, ")"),
                             run.ini));
  }
  Rows rows;
  for (const ReportArm& arm : report.arms)
    for (const std::size_t r : arm.runs) {
      const ReportRun& run = report.runs[r];
      const std::string config =
          (std::filesystem::path(run.file).parent_path() / "config.ini").string();
      const std::string status = run.status == RunStatus::running
                                     ? "running, or killed"
                                     : std::string(name_of(run.status));
      rows.push_back({arm_cell(arm), std::to_string(run.seed),
                      html(concat(status, ", ", run.committed, " of ", run.planned)),
                      run.digest.empty() ? "–"
                                         : "<code title=\"" + html(run.digest) + "\">" +
                                               html(run.digest.substr(0, 16)) + "…</code>",
                      "<code>" +
                          html(concat("motley train -c ", shell_word(config), " -o ",
                                      shell_word("again/" + run.folder), " && motley digest ",
                                      shell_word("again/" + run.folder))) +
                          "</code>"});
    }
  const std::string table =
      html_table({"arm", "seed", "status", "digest", "command"}, rows, "Runs", {4});
  std::string digests;
  for (const ReportRun& run : report.runs)
    if (!run.digest.empty()) digests += run.digest + "  " + run.folder + "\n";
  page.table(rows.size() > 12 ? html_fold(concat("All ", rows.size(), " runs"), table) : table,
             "One line a run: the command repeats it and prints the digest to compare with.",
             digests.empty() ? "" : html_text_fold("Digests in full", digests));
  page.text(html_fold("Versions and machine", versions_table(report)));
}

}  // namespace motley
