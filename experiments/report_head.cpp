/// The head of a report: what it is, what is compared, how it stands; and its glossary.

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "experiments/html.hpp"
#include "experiments/presets.hpp"
#include "experiments/report.hpp"

namespace motley {

namespace {

std::string option(const ReportRun& run, const std::string& key) {
  const auto found = run.config.find(key);
  return found == run.config.end() ? "?" : found->second;
}

std::string fact(const ReportRun& run, const std::string& key) {
  const auto found = run.facts.find(key);
  return found == run.facts.end() ? "" : found->second;
}

std::string task_line(const ReportRun& run) {
  const std::string name = option(run, "task.name");
  if (name == "scratchpad") {
    const std::string m = option(run, "task.modulus"), digits = option(run, "task.digits");
    return concat("scratchpad: the ", m == "2" ? "parity" : "sum modulo " + m, " of ", digits,
                  " digits. A habit answers 0 without looking, which is right in a share of ",
                  option(run, "task.skew"),
                  " of the training prompts; three rarer ways work it out, each with a prior of ",
                  option(run, "task.rare_prior"), " in the base policy.");
  }
  if (name == "countdown")
    return "countdown: reach a number from given ones with + − × ÷. Many expressions are right; "
           "those of one meaning count as one class.";
  if (name == "ideas")
    return "ideas: short ideas for a theme. No verifier: training sees a learned reward model, "
           "evaluation a hidden judge.";
  return name;
}

std::string plural(std::size_t n, const std::string& word) {
  return concat(n, " ", word, n == 1 ? "" : "s");
}

std::string status_line(const Report& report) {
  if (report.single()) {
    const ReportRun& run = report.runs.front();
    return concat(
        run.status == RunStatus::running ? "running, or killed" : std::string(name_of(run.status)),
        ", ", run.committed, " of ", run.planned, " updates");
  }
  std::size_t complete = 0;
  for (const ReportRun& run : report.runs) complete += run.status == RunStatus::complete ? 1 : 0;
  return concat(complete, " of ", report.runs.size(), " runs complete");
}

/// The options of an arm that its preset does not set and the baseline has otherwise.
std::string arm_text(const Report& report, const ReportArm& arm) {
  const ReportRun& run = report.runs[arm.runs.front()];
  const Preset* preset = find_preset(option(run, "run.method"));
  std::string out = preset == nullptr ? option(run, "run.method") : preset->title;
  const ReportRun& base = report.runs[report.arms.front().runs.front()];
  const auto of_preset = [&](const std::string& name, const std::string& text) {
    return preset != nullptr &&
           std::any_of(preset->settings.begin(), preset->settings.end(),
                       [&](const Setting& s) { return s.key == name && s.value == text; });
  };
  std::vector<std::string> own;
  for (const auto& [key, value] : run.config) {
    if (key.rfind("run.", 0) == 0 || option(base, key) == value || of_preset(key, value)) continue;
    own.push_back(key + " = " + value);
  }
  if (!own.empty() && own.size() <= 4) out += "; with " + join(own);
  return out;
}

std::string arms_table(const Report& report) {
  std::vector<std::vector<std::string>> rows;
  for (const ReportArm& arm : report.arms) {
    std::string name = arm_cell(arm);
    if (&arm == &report.arms.front()) name += " <small>(baseline)</small>";
    rows.push_back({name, html(arm_text(report, arm)), std::to_string(arm.runs.size())});
  }
  return html_table({"arm", "what it is", "runs"}, rows, "Arms", {1});
}

std::string dates(const Report& report) {
  std::set<std::string> all;
  for (const ReportRun& run : report.runs) all.insert(fact(run, "created_utc").substr(0, 10));
  all.erase("");
  if (all.empty()) return "";
  return *all.begin() == *all.rbegin() ? *all.begin() : *all.begin() + " to " + *all.rbegin();
}

}  // namespace

std::string report_head(const Report& report) {
  const ReportRun& run = report.runs.front();
  std::string out =
      "<header>\n<p class=\"eyebrow\">motley report</p>\n<h1>" + html(report.title) + "</h1>\n";
  if (report.single())
    out += concat(
        "<p class=\"lead\">This page shows one training of a small language policy by "
        "reinforcement learning: method ",
        html(option(run, "run.method")), ", seed ", run.seed,
        ". It follows how often its answers became right, how varied they stayed in meaning, and "
        "which answers were rewarded on the way.</p>\n");
  else
    out += concat(
        "<p class=\"lead\">This page compares ", plural(report.arms.size(), "way"),
        " of training the same small language policy by reinforcement learning, each with ",
        plural(report.seeds(), "seed"),
        ". The question: does rewarding answers that differ in meaning, besides being right, "
        "change how often the policy is right and how many different right answers it "
        "finds?</p>\n");
  std::vector<std::pair<std::string, std::string>> facts = {
      {"Task", task_line(run)},
      {"Policy",
       concat("transformer of ", option(run, "model.layers"), " layers, width ",
              option(run, "model.width"), ", pretrained from nothing on the task's ", "own texts")},
      {"Each update",
       concat(option(run, "rollout.prompts"), " prompts × ", option(run, "rollout.group_size"),
              " completions of at most ", option(run, "rollout.max_tokens"), " tokens; ",
              option(run, "run.steps"), " updates")},
      {"Status", status_line(report)},
      {"Recorded", dates(report)},
      {"Program", concat("motley ", fact(run, "motley_version"), ", commit ",
                         fact(run, "git_commit").substr(0, 12),
                         fact(run, "git_dirty") == "yes" ? ", modified" : "")}};
  out += "<dl>";
  for (const auto& [name, text] : facts)
    if (!text.empty()) out += "<dt>" + name + "</dt><dd>" + html(text) + "</dd>\n";
  out += "</dl>\n";
  if (report.arms.size() > 1) out += arms_table(report);
  return out + "</header>\n";
}

void add_glossary(ReportPage& page) {
  page.section("words", "Words", "");
  const std::pair<const char*, const char*> words[] = {
      {"policy",
       "the language model that is trained; it maps a prompt to a distribution over "
       "completions"},
      {"rollout, completion",
       "one answer drawn from the policy; a group is all answers to one "
       "prompt in one update"},
      {"quality", "the task's score of one completion, before anything is added to it"},
      {"class, cluster",
       "a class is one meaning, as the task knows it; a cluster is what the "
       "training's own partition took for one meaning"},
      {"diversity",
       "how unlike the rest of its group a completion is in meaning, from the sizes "
       "of the clusters"},
      {"reward", "what the learner is paid: quality after shaping by diversity"},
      {"advantage", "the reward relative to the group's baseline; positive: made more likely"},
      {"pass@k",
       "probability that at least one of k completions is right, estimated without bias "
       "from all samples"},
      {"distinct correct",
       "number of different classes among the right answers to a held-out "
       "prompt"},
      {"token entropy",
       "mean uncertainty about the next token, in nats; it falls as the policy "
       "commits itself"},
      {"IQM", "interquartile mean: the mean of the middle half of the seeds"},
      {"95 % interval",
       "percentile bootstrap: the seeds are drawn again with replacement, and the "
       "middle 95 % of the results are kept"},
      {"paired difference",
       "arm minus baseline on the same seed: same base policy, prompts and "
       "random draws"},
      {"Holm", "p-values of all arms on one metric, corrected for being looked at together"}};
  std::string out = "<dl>";
  for (const auto& [word, text] : words)
    out += "<dt>" + html(word) + "</dt><dd>" + html(text) + "</dd>\n";
  page.text(out + "</dl>\n");
}

}  // namespace motley
