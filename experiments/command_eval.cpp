/// motley eval: a checkpoint on held-out prompts, at one temperature or along a front of them.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/eval_metrics.hpp"
#include "experiments/base_policy.hpp"
#include "experiments/cli.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"
#include "io/checkpoint.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

/// Gives the evaluator the pair classifier of the run's base.
void use_base_classifier(const Exec& exec, const RunConfig& config, const Task& task,
                         Evaluator& evaluator) {
  const auto bases = obtain_bases(
      {config}, [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); });
  const PairNet net =
      make_pair_net_layout(config.classifier, task.vocabulary().size(), config.rollout.max_tokens)
          .net;
  const PairWeights<float> weights = make_pair_weights<float>(1, net);
  const auto host = Kokkos::create_mirror(weights.encoder.params);
  const std::vector<float>& values = bases.front().classifier;
  MOTLEY_REQUIRE(values.size() == host.extent(1), ErrorKind::input, bases.front().file,
                 ": the pair classifier has ", values.size(), " numbers, expected ",
                 host.extent(1));
  std::copy(values.begin(), values.end(), &host(0, 0));
  Kokkos::deep_copy(weights.encoder.params, host);
  pack_pair_weights(exec, net, weights);
  evaluator.use_classifier(net, weights, config.classifier.symmetrize);
}

struct NamedCheckpoint {
  Checkpoint checkpoint;
  std::string name;
};

NamedCheckpoint checkpoint_of(const fs::path& what) {
  MOTLEY_REQUIRE(fs::exists(what), ErrorKind::input, what.string(), ": no such run or checkpoint");
  if (!fs::is_directory(what)) return {load_checkpoint(what), what.string()};
  const auto found = load_newest_checkpoint(what / "checkpoints");
  MOTLEY_REQUIRE(found.has_value(), ErrorKind::input, what.string(), ": no checkpoint in the run");
  return {found->checkpoint, (what / "checkpoints" / found->file).string()};
}

std::vector<std::string> temperatures_of(const CommandLine& line) {
  if (!line.has("temperature")) return {""};
  std::vector<std::string> out;
  std::istringstream in(line.get("temperature", ""));
  for (std::string word; std::getline(in, word, ',');) out.push_back(word);
  return out;
}

/// The run's own configuration with what the command line says of evaluation, one per temperature.
std::vector<RunConfig> configs_of(const CommandLine& line, const NamedCheckpoint& from) {
  Faults faults;
  Layer layer = read_overrides(line.overrides, faults);
  for (const auto& assignment : layer.assignments)
    if (assignment.key.rfind("eval.", 0) != 0)
      faults.add(concat(assignment.key,
                        " (command line): not an option of an evaluation; allowed: eval.*"));
  const auto set = [&](const char* flag, const char* key, const char* place) {
    if (line.has(flag)) layer.assignments.push_back({key, line.get(flag, ""), place});
  };
  set("samples", "eval.samples", "--samples");
  set("k", "eval.k", "-k");
  if (line.has("exact")) layer.assignments.push_back({"eval.exact", "on", "--exact"});
  const std::string ini = effective_ini(config_from_ini(from.checkpoint.text("ini"), from.name));
  const Layer own = read_ini(ini, from.name, "", faults);
  std::vector<RunConfig> out;
  for (const std::string& temperature : temperatures_of(line)) {
    Layer all = layer;
    if (line.has("temperature"))
      all.assignments.push_back({"eval.temperature", temperature, "--temperature"});
    out.push_back(configure({own, all}, faults).config);
  }
  faults.raise();
  return out;
}

/// Mean of the finite values; NaN where none.
template <class Values>
double mean(const Values& values) {
  double sum = 0, n = 0;
  for (const auto x : values) {
    if (!std::isfinite(double(x))) continue;
    sum += double(x);
    n += 1;
  }
  return n > 0 ? sum / n : std::nan("");
}

double least(const std::vector<double>& values) {
  double out = 1;
  for (const double x : values) out = x < out ? x : out;
  return out;
}

/// One evaluation: what was asked for and what came out.
struct Evaluated {
  RunConfig config;
  EvalRecord record;
  FrontPoint point() const { return {mean(record.mean_quality), mean(record.class_entropy)}; }
};

std::vector<Evaluated> evaluate_all(const std::vector<RunConfig>& configs,
                                    const NamedCheckpoint& from) {
  const RunConfig& first = configs.front();
  const auto task = make_task(first.task, {first.base_seed()});
  const TransformerConfig model = policy_model(first, *task);
  const NetLayout layout = make_net_layout(model, true);
  const Weights<float> weights = make_weights<float>("policy", 1, layout.net, model.rope_theta);
  const std::vector<float> policy = policy_of_checkpoint(from.checkpoint, layout.tensors);
  const auto host = Kokkos::create_mirror(weights.params);
  std::copy(policy.begin(), policy.end(), &host(0, 0));
  Kokkos::deep_copy(weights.params, host);
  const Exec exec;
  pack_weights(exec, layout.net, weights);
  std::vector<Evaluated> out;
  for (const RunConfig& config : configs) {
    Evaluator evaluator({config}, *task, layout.net, config.rollout.max_tokens);
    if (evaluator.needs_classifier()) use_base_classifier(exec, config, *task, evaluator);
    out.push_back({config, evaluator.evaluate(exec, weights, from.checkpoint.step).front()});
  }
  return out;
}

/// Numbers of no value are null.
nlohmann::json number(double x) {
  return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json();
}

nlohmann::json json_of(const Evaluated& e) {
  const EvalRecord& x = e.record;
  nlohmann::json out{{"temperature", e.config.eval.temperature},
                     {"pass_at_k", x.pass_at_k},
                     {"distinct_at_k", x.distinct_at_k},
                     {"coverage_at_k", x.coverage_at_k},
                     {"maj_at_k", x.maj_at_k},
                     {"utility_at_k", x.utility_at_k},
                     {"maxg_at_k", x.maxg_at_k},
                     {"num_distinct_correct", mean(x.num_distinct_correct)},
                     {"quality", mean(x.mean_quality)},
                     {"class_entropy", mean(x.class_entropy)},
                     {"semantic_entropy", mean(x.semantic_entropy)},
                     {"vendi", mean(x.vendi)},
                     {"distinct_n", mean(x.distinct_n)},
                     {"ead", mean(x.ead)},
                     {"self_bleu", number(mean(x.self_bleu))},
                     {"length", mean(x.length)}};
  if (!e.config.eval.exact) return out;
  out["exact_pass_at_1"] = mean(x.exact_pass_at_1);
  out["exact_pass_at_k"] = x.exact_pass_at_k;
  out["exact_quality"] = mean(x.exact_quality);
  out["exact_class_entropy"] = mean(x.exact_class_entropy);
  out["exact_mass_least"] = least(x.exact_mass);
  return out;
}

/// The best number of draws and temperature that a budget of tokens per prompt buys.
struct Purchase {
  ComputePoint point;
  double temperature = 0;
};
using Curve = std::vector<double> EvalRecord::*;

Purchase best_purchase(const std::vector<Evaluated>& all, Curve curve, double budget) {
  Purchase best;
  for (const Evaluated& e : all) {
    const ComputePoint p =
        best_within(compute_curve(e.config.eval.k, e.record.*curve, mean(e.record.length)), budget);
    if (p.k == 0) continue;
    if (best.point.k == 0 || p.value > best.point.value ||
        (p.value == best.point.value && p.tokens < best.point.tokens))
      best = {p, e.config.eval.temperature};
  }
  return best;
}

/// Powers of two from the cheapest draw to the dearest curve's end.
std::vector<double> budgets_of(const std::vector<Evaluated>& all) {
  double low = 0, high = 0;
  for (const Evaluated& e : all) {
    const double length = mean(e.record.length);
    const auto [least_k, most_k] =
        std::minmax_element(e.config.eval.k.begin(), e.config.eval.k.end());
    low = low == 0 ? *least_k * length : std::min(low, *least_k * length);
    high = std::max(high, *most_k * length);
  }
  std::vector<double> out;
  for (double budget = std::exp2(std::ceil(std::log2(low)));; budget *= 2) {
    out.push_back(budget);
    if (budget >= high) return out;
  }
}

const std::pair<const char*, Curve> kCurves[] = {{"pass@k", &EvalRecord::pass_at_k},
                                                 {"maj@k", &EvalRecord::maj_at_k},
                                                 {"maxg@k", &EvalRecord::maxg_at_k}};

double front_volume(const std::vector<Evaluated>& all) {
  std::vector<FrontPoint> points;
  for (const Evaluated& e : all) points.push_back(e.point());
  return hypervolume(points, {0, 0});
}

void print_json(const NamedCheckpoint& from, const std::vector<Evaluated>& all) {
  nlohmann::json out = all.size() == 1 ? json_of(all.front()) : nlohmann::json::object();
  const EvalConfig& eval = all.front().config.eval;
  out["checkpoint"] = from.name;
  out["step"] = from.checkpoint.step;
  out["samples"] = eval.samples;
  out["k"] = eval.k;
  if (all.size() > 1) {
    for (const Evaluated& e : all) out["front"].push_back(json_of(e));
    out["hypervolume"] = front_volume(all);
    out["reference"] = {0, 0};
  }
  for (const double budget : budgets_of(all))
    for (const auto& [name, curve] : kCurves)
      if (const Purchase p = best_purchase(all, curve, budget); p.point.k > 0)
        out["compute"].push_back({{"metric", name},
                                  {"budget", budget},
                                  {"k", p.point.k},
                                  {"temperature", p.temperature},
                                  {"tokens", p.point.tokens},
                                  {"value", p.point.value}});
  std::printf("%s\n", out.dump(2).c_str());
}

void print_one(const Evaluated& e) {
  const EvalRecord& x = e.record;
  std::vector<std::vector<std::string>> rows = {
      {"k", "pass@k", "maj@k", "maxg@k", "distinct@k", "coverage@k", "utility@k"}};
  if (e.config.eval.exact) rows[0].push_back("exact pass@k");
  for (std::size_t i = 0; i < e.config.eval.k.size(); ++i) {
    rows.push_back({std::to_string(e.config.eval.k[i]), fixed(x.pass_at_k[i], 4),
                    fixed(x.maj_at_k[i], 4), fixed(x.maxg_at_k[i], 4), fixed(x.distinct_at_k[i], 3),
                    fixed(x.coverage_at_k[i], 3), fixed(x.utility_at_k[i], 3)});
    if (e.config.eval.exact) rows.back().push_back(fixed(x.exact_pass_at_k[i], 4));
  }
  std::printf(
      "%squality %.3f, class entropy %.3f nat, distinct correct classes %.2f, length %.2f tokens\n",
      table(rows).c_str(), mean(x.mean_quality), mean(x.class_entropy),
      mean(x.num_distinct_correct), mean(x.length));
  if (e.config.eval.exact)
    std::printf("by enumeration: quality %.6f, class entropy %.6f nat, mass at least %.9f\n",
                mean(x.exact_quality), mean(x.exact_class_entropy), least(x.exact_mass));
}

void print_front(const std::vector<Evaluated>& all) {
  const bool exact = all.front().config.eval.exact;
  std::vector<FrontPoint> points;
  for (const Evaluated& e : all) points.push_back(e.point());
  std::vector<std::vector<std::string>> rows = {{"temperature", "quality", "class entropy",
                                                 "distinct", "distinct correct", "length",
                                                 "front"}};
  if (exact)
    for (const char* name : {"exact quality", "exact class entropy", "least mass"})
      rows[0].push_back(name);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const EvalRecord& x = all[i].record;
    rows.push_back({fixed(all[i].config.eval.temperature, 2), fixed(points[i].quality, 4),
                    fixed(points[i].diversity, 4), fixed(mean(x.num_distinct), 2),
                    fixed(mean(x.num_distinct_correct), 2), fixed(mean(x.length), 2),
                    is_dominated(points, i) ? "" : "*"});
    if (!exact) continue;
    rows.back().push_back(fixed(mean(x.exact_quality), 5));
    rows.back().push_back(fixed(mean(x.exact_class_entropy), 5));
    rows.back().push_back(fixed(least(x.exact_mass), 7));
  }
  std::printf(
      "%shypervolume %.4f (quality x class entropy above the point 0, 0); * = on the front\n",
      table(rows).c_str(), front_volume(all));
}

void print_budgets(const std::vector<Evaluated>& all) {
  std::vector<std::vector<std::string>> rows = {{"tokens per prompt"}};
  for (const auto& [name, curve] : kCurves) {
    rows[0].push_back(name);
    rows[0].push_back("k, T");
  }
  for (const double budget : budgets_of(all)) {
    rows.push_back({fixed(budget, 0)});
    for (const auto& [name, curve] : kCurves) {
      const Purchase p = best_purchase(all, curve, budget);
      rows.back().push_back(p.point.k > 0 ? fixed(p.point.value, 4) : "-");
      rows.back().push_back(p.point.k > 0 ? concat(p.point.k, ", ", fixed(p.temperature, 2)) : "-");
    }
  }
  std::printf("best draws and temperature for a budget\n%s", table(rows).c_str());
}

int run_eval(const CommandLine& line) {
  require_words(line, "eval", 1, 1, "RUN or CHECKPOINT");
  const NamedCheckpoint from = checkpoint_of(line.positional[0]);
  const std::vector<Evaluated> all = evaluate_all(configs_of(line, from), from);
  if (line.has("json")) {
    print_json(from, all);
    return 0;
  }
  const Evaluated& first = all.front();
  std::printf("%s, step %lld, %zu held-out prompts, %d samples each", from.name.c_str(),
              static_cast<long long>(from.checkpoint.step), first.record.num_samples.size(),
              first.config.eval.samples);
  if (all.size() == 1) {
    std::printf(", temperature %g\n", first.config.eval.temperature);
    print_one(first);
    return 0;
  }
  std::printf("\n");
  print_front(all);
  print_budgets(all);
  return 0;
}

}  // namespace

const Command kEval = {
    "eval",
    "RUN|CHECKPOINT [-k 1,4,16,64] [--samples 256] [--temperature 1.0[,...]] [--exact] [eval.KEY=VALUE ...]",
    "evaluates a checkpoint on held-out prompts; several temperatures give the quality-diversity front",
    "  motley eval runs/first --samples 256 -k 1,8,64,256\n  motley eval runs/first/checkpoints/step-00000400.safetensors --temperature .6\n"
    "  motley eval runs/first --temperature .2,.4,.6,.8,1,1.2     # front, hypervolume, best k and T per budget\n"
    "  motley eval runs/first --exact eval.exact_prompts=8        # enumerated, with the mass that was reached\n",
    {{"k", 'k', 0, "LIST", "the k of pass@k"},
     {"samples", 0, 0, "N", "completions per prompt"},
     {"temperature", 0, 0, "T[,T...]", "sampling temperature, or several"},
     {"exact", 0, 0, "", "enumerate the completions too (eval.exact = on)"}},
    true,
    run_eval,
    believes};

}  // namespace motley
