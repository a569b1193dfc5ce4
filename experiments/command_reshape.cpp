/// motley reshape: what other settings would have rewarded in a finished run.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/counterfactual_output.hpp"

namespace motley {

namespace {

/// The run itself, and one variant per --set: its configuration with these keys on top.
std::vector<Variant> parse_variants(const CommandLine& line, const RunReader& reader,
                                    const std::string& file) {
  const RunConfig own = config_from_ini(reader.ini(), file);
  std::vector<Variant> out = {{"logged", own, true}};
  const auto found = line.flags.find("set");
  MOTLEY_REQUIRE(found != line.flags.end(), ErrorKind::config,
                 "reshape: nothing to change, give --set key=value[,key=value] once or more");
  Faults faults;
  for (const std::string& text : found->second) {
    std::vector<std::string> words;
    std::istringstream in(text);
    for (std::string word; std::getline(in, word, ',');) words.push_back(word);
    const Layer base = read_ini(reader.ini(), file, "", faults);
    out.push_back({text, configure({base, read_overrides(words, faults)}, faults).config, false});
  }
  faults.raise();
  return out;
}

/// One variant beside the run itself, sums over completions.
struct Tally {
  double n = 0, diversity = 0, reward = 0, magnitude = 0;
  double flipped = 0, born = 0, gone = 0;  ///< signs of advantages
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  double correct = 0, advantage_correct = 0, wrong = 0, advantage_wrong = 0;
  double silent = 0, groups = 0;  ///< groups whose advantages are all zero
  double cosine = 0;

  void add(float own, float other) {
    const double a = double(own), b = double(other);
    n += 1;
    magnitude += std::abs(b);
    flipped += a * b < 0 ? 1 : 0;
    born += own == 0.0f && other != 0.0f ? 1 : 0;
    gone += own != 0.0f && other == 0.0f ? 1 : 0;
    x += a;
    y += b;
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  double correlation() const {
    const double vx = xx - x * x / n, vy = yy - y * y / n;
    if (vx <= 0 || vy <= 0) return vx <= 0 && vy <= 0 ? 1 : 0;
    return (xy - x * y / n) / std::sqrt(vx * vy);
  }
};

void add_step(const Counterfactual& replay, std::vector<Tally>& tallies) {
  const Rewarded& x = replay.rewarded();
  const std::vector<float>& quality = replay.logged().quality;
  const auto G = static_cast<std::size_t>(replay.shape().G);
  const std::size_t n = quality.size();
  for (std::size_t r = 0; r < tallies.size(); ++r) {
    Tally& t = tallies[r];
    bool any = false;
    for (std::size_t i = 0; i < n; ++i) {
      const float advantage = x.advantage[r * n + i];
      t.add(x.advantage[i], advantage);
      t.diversity += double(x.diversity[r * n + i]);
      t.reward += double(x.reward[r * n + i]);
      const bool right = quality[i] > 0.5f;
      (right ? t.correct : t.wrong) += 1;
      (right ? t.advantage_correct : t.advantage_wrong) += double(advantage);
      any = any || advantage != 0.0f;
      if ((i + 1) % G != 0) continue;
      t.groups += 1;
      t.silent += any ? 0 : 1;
      any = false;
    }
  }
}

double ratio(double a, double b) {
  return b > 0 ? a / b : std::nan("");
}

void print_result(const std::vector<Variant>& variants, const std::vector<Tally>& tallies,
                  int gradients, bool json) {
  std::vector<std::vector<std::string>> rows = {
      {"setting", "diversity", "reward", "mean |A|", "A correct", "A wrong", "silent groups",
       "sign flips", "0 -> signal", "signal -> 0", "A correlation", "gradient cosine"}};
  nlohmann::json out = nlohmann::json::array();
  for (std::size_t r = 0; r < variants.size(); ++r) {
    const Tally& t = tallies[r];
    const double cosine = gradients > 0 ? t.cosine / gradients : std::nan("");
    const double values[] = {t.diversity / t.n,
                             t.reward / t.n,
                             t.magnitude / t.n,
                             ratio(t.advantage_correct, t.correct),
                             ratio(t.advantage_wrong, t.wrong),
                             t.silent / t.groups,
                             t.flipped / t.n,
                             t.born / t.n,
                             t.gone / t.n,
                             t.correlation(),
                             cosine};
    static const char* const kNames[] = {"diversity",           "reward",
                                         "advantage_magnitude", "advantage_correct",
                                         "advantage_wrong",     "silent_groups",
                                         "sign_flips",          "signal_born",
                                         "signal_lost",         "advantage_correlation",
                                         "gradient_cosine"};
    nlohmann::json entry = {{"setting", variants[r].name}};
    rows.push_back({variants[r].name});
    for (std::size_t i = 0; i < std::size(values); ++i) {
      rows.back().push_back(fixed(values[i], 3));
      entry[kNames[i]] = std::isfinite(values[i]) ? nlohmann::json(values[i]) : nlohmann::json();
    }
    out.push_back(entry);
  }
  if (json)
    std::printf("%s\n", out.dump().c_str());
  else
    std::printf("%.0f groups; changes are against the run itself\n%s", tallies[0].groups,
                table(rows).c_str());
}

int run_reshape(const CommandLine& line) {
  require_words(line, "reshape", 1, 1, "RUN");
  const std::string file = run_file_of(line.positional[0]);
  Counterfactual replay(file, parse_variants(line, RunReader(file), file), say_on_stderr);
  const std::vector<std::int64_t> steps = chosen_steps(line, replay);
  SideOutput side(line, replay, steps);
  const std::vector<std::int64_t> with_policy = replay.gradient_steps();
  std::vector<Tally> tallies(replay.variants().size());
  int gradients = 0;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    replay.reward(steps[s]);
    add_step(replay, tallies);
    side.write(s);
    if (std::find(with_policy.begin(), with_policy.end(), steps[s]) == with_policy.end()) continue;
    const std::vector<float>& gradient = replay.gradient();
    const std::size_t N = gradient.size() / tallies.size();
    for (std::size_t r = 0; r < tallies.size(); ++r)
      tallies[r].cosine += cosine(std::span(&gradient[0], N), std::span(&gradient[r * N], N));
    ++gradients;
  }
  side.close();
  print_result(replay.variants(), tallies, gradients, line.has("json"));
  if (gradients == 0)
    say_on_stderr("no gradient cosine: none of these steps has a checkpoint in the run's folder");
  return 0;
}

}  // namespace

const Command kReshape = {
    "reshape",
    "RUN --set key=value[,...] [--set ...] [--step S] [-o SIDE.h5]",
    "what another shaping, partition or baseline would have rewarded in a run; no new rollouts",
    "  motley reshape runs/first --set diversity.shaping=none --set diversity.shaping=difficulty\n"
    "  motley reshape runs/first --set partition.method=oracle,advantage.norm=group -o other.h5\n",
    {{"set", 's', 0, "KEY=VALUE,...",
      "keys of partition, diversity, advantage and loss.agg to change; once per setting to look at"},
     kStepFlag,
     kOutputFlag,
     kOverwriteFlag},
    true,
    run_reshape,
    believes};

}  // namespace motley
