#include "io/schema.hpp"

#include <algorithm>

#include "core/record.hpp"

namespace motley {
namespace {

using h5::Type;

struct Alias {
  std::string_view column, trl, verl;
};

/// The same quantities as TRL's GRPO trainer and verl (DARLING's fork) log them.
constexpr Alias kAliases[] = {
    {"quality", "", "actor/quality"},
    {"reward", "reward", "critic/rewards/mean"},
    {"reward_std", "reward_std", ""},
    {"diversity", "", "actor/diversity"},
    {"frac_zero_std", "frac_reward_zero_std", ""},
    {"entropy", "entropy", "actor/entropy"},
    {"kl_ref", "kl", "actor/kl_loss"},
    {"kl_old", "", "actor/ppo_kl"},
    {"clip_frac_low", "clip_ratio/low_mean", ""},
    {"clip_frac_dual", "", "actor/pg_clipfrac_lower"},
    {"policy_loss", "", "actor/pg_loss"},
    {"lr", "learning_rate", "actor/lr"},
    {"tokens_total", "num_tokens", ""},
    {"clip_frac_high", "clip_ratio/high_mean", "actor/pg_clipfrac"},
    {"grad_norm", "", "actor/grad_norm"},
    {"length", "completions/mean_length", "response_length/mean"},
    {"truncated_frac", "completions/clipped_ratio", ""},
    {"total_s", "step_time", ""},
    {"tokens_per_s", "", "perf/throughput"},
};

void set_aliases(DatasetSpec& spec) {
  for (const Alias& alias : kAliases) {
    if (alias.column != spec.name()) continue;
    spec.alias_trl = alias.trl;
    spec.alias_verl = alias.verl;
  }
}

Type token_type(const RunHeader& header) {
  return header.vocab.size() <= 256 ? Type::u1 : Type::u2;
}

/// Collects the table.
struct Table {
  std::vector<DatasetSpec> rows;

  DatasetSpec& add(std::string path, std::vector<std::string> axes, Type type, Source source,
                   std::string units, std::string long_name) {
    DatasetSpec spec;
    spec.path = std::move(path);
    spec.axes = std::move(axes);
    spec.type = type;
    spec.source = source;
    spec.units = std::move(units);
    spec.long_name = std::move(long_name);
    rows.push_back(std::move(spec));
    return rows.back();
  }
  void scale(const std::string& group, const std::string& name, const std::string& long_name,
             Source source = Source::header, Type type = Type::i4) {
    add(group + "/" + name, {name}, type, source, "1", long_name);
  }
};

void add_static(Table& t, const RunHeader& header) {
  t.add("/committed", {}, Type::i8, Source::marker, "1",
        "steps whose rows are complete in all groups");
  t.add("/status", {}, Type::u1, Source::marker, "1", "how the run stands").flags =
      "running complete interrupted failed";
  t.add("/resumes", {"resumes"}, Type::i8, Source::resume, "1",
        "step at which each resume took place");
  t.scale("/vocab", "token_id", "token id");
  t.add("/vocab/token", {"token_id"}, Type::text, Source::header, "1", "surface form of the token");
  t.add("/vocab/special", {"token_id"}, Type::u1, Source::header, "1",
        "padding, end and other tokens that are no text")
      .flags = "no yes";
  t.scale("/prompts", "prompt_id", "row of the task's prompt table");
  t.scale("/prompts", "pos", "position inside the prompt");
  t.add("/prompts/text", {"prompt_id"}, Type::text, Source::header, "1", "the prompt as text");
  t.add("/prompts/token", {"prompt_id", "pos"}, token_type(header), Source::header, "token",
        "prompt token ids, left-aligned")
      .pad = true;
  t.add("/prompts/length", {"prompt_id"}, Type::u2, Source::header, "token",
        "tokens of the prompt");
  t.add("/prompts/split", {"prompt_id"}, Type::u1, Source::header, "1",
        "pool the prompt belongs to")
      .flags = "train eval";
  t.add("/prompts/n_classes", {"prompt_id"}, Type::i4, Source::header, "1",
        "true number of semantic classes of a correct answer, -1 unknown");
  t.add("/prompts/difficulty", {"prompt_id"}, Type::f4, Source::header, "1",
        "difficulty on the task's own scale");
}

void add_metrics(Table& t) {
  t.scale("/metrics", "step", "training step", Source::metric, Type::i8);
  for (int m = 0; m < kMetrics; ++m) {
    const MetricInfo& info = metric_info(static_cast<Metric>(m));
    const Type type = is_whole(static_cast<Metric>(m)) ? Type::i8 : Type::f4;
    DatasetSpec& spec = t.add(std::string("/metrics/") + info.name, {"step"}, type, Source::metric,
                              info.unit, info.text);
    spec.column = m;
    set_aliases(spec);
  }
  t.scale("/timing", "step", "training step", Source::metric, Type::i8);
  const char* const timing[][3] = {
      {"rollout_s", "s", "time of the rollout"},
      {"score_s", "s", "time of scoring and log-probabilities"},
      {"partition_s", "s", "time of pair decisions and partition"},
      {"update_s", "s", "time of gradient and optimiser"},
      {"log_s", "s", "time the step waited for the log"},
      {"total_s", "s", "time of the whole step"},
      {"tokens_per_s", "token s-1", "sampled tokens per second of the whole step"}};
  for (int i = 0; i < 7; ++i) {
    DatasetSpec& spec = t.add(std::string("/timing/") + timing[i][0], {"step"}, Type::f4,
                              Source::metric, timing[i][1], timing[i][2]);
    spec.column = i;
    set_aliases(spec);
  }
}

/// Unit, sentence and stage come from the field table of the rollout buffer.
void add_field(Table& t, const std::string& group, const std::string& name,
               std::vector<std::string> axes, Type type, const std::string& field = "") {
  RolloutBuffer none;
  const std::string wanted = field.empty() ? name : field;
  for_each_field(none, [&](const char* label, const auto&, const char*, const char* unit,
                           const char* stage, const char* text) {
    if (wanted == label)
      t.add(group + "/" + name, axes, type, Source::rollout, unit, text).stage = stage;
  });
}

void add_rollouts(Table& t, const RunHeader& header) {
  const std::string g = "/rollouts";
  t.scale(g, "step", "training step", Source::rollout, Type::i8);
  t.scale(g, "prompt", "prompt of the step");
  t.scale(g, "rollout", "completion of the prompt");
  t.scale(g, "pos", "position inside the completion");
  const std::vector<std::string> sb = {"step", "prompt"}, sbg = {"step", "prompt", "rollout"},
                                 sbgt = {"step", "prompt", "rollout", "pos"};
  add_field(t, g, "prompt_id", sb, Type::i4);
  add_field(t, g, "token", sbgt, token_type(header));
  t.rows.back().pad = true;
  if (header.log.log_prob != LogProbFormat::none) {
    add_field(t, g, "log_prob", sbgt,
              header.log.log_prob == LogProbFormat::f32 ? Type::f4 : Type::f2, "sampler_log_prob");
    t.rows.back().long_name =
        "log-probability of the sampled token under the full temperature-scaled softmax of the "
        "sampler; NaN after the end";
  }
  if (header.log.old_log_prob) {
    add_field(t, g, "old_log_prob", sbgt, Type::f4);
    t.rows.back().long_name += "; NaN after the end";
  }
  if (header.log.kept_mass) {
    add_field(t, g, "kept_mass", sbgt, Type::f4);
    t.rows.back().long_name += "; NaN after the end";
  }
  if (header.log.entropy) {
    add_field(t, g, "entropy", sbgt, Type::f2);
    t.rows.back().long_name =
        "entropy of the full temperature-scaled next-token distribution; NaN after the end";
  }
  add_field(t, g, "length", sbg, Type::u2);
  add_field(t, g, "finish", sbg, Type::u1);
  t.rows.back().flags = "eos length invalid";
  for (const char* name : {"quality", "diversity", "reward", "advantage"})
    add_field(t, g, name, sbg, Type::f4);
  add_field(t, g, "used", sbg, Type::u1);
  t.rows.back().flags = "no yes";
  add_field(t, g, "class_id", sbg, Type::i4);

  const std::string p = "/partition";
  t.scale(p, "step", "training step", Source::rollout, Type::i8);
  t.scale(p, "prompt", "prompt of the step");
  t.scale(p, "rollout", "completion of the prompt");
  if (header.log.pair_score) t.scale(p, "rollout_b", "the other completion of the pair");
  add_field(t, p, "cluster", sbg, Type::i2);
  add_field(t, p, "cluster_size", sbg, Type::i2);
  add_field(t, p, "num_clusters", sb, Type::i2);
  if (header.log.pair_score)
    add_field(t, p, "pair_score", {"step", "prompt", "rollout", "rollout_b"}, Type::f2);
}

void add_eval(Table& t, const RunHeader& header) {
  const std::string g = "/eval/";
  t.scale("/eval", "eval", "evaluation", Source::eval, Type::i8);
  t.add(g + "step", {"eval"}, Type::i8, Source::eval, "1",
        "steps done when the evaluation took place");
  t.scale("/eval", "k", "number of draws");
  t.scale("/eval", "eval_prompt", "evaluation prompt");
  if (header.log.eval_samples) {
    t.scale("/eval", "sample", "completion of the prompt");
    t.scale("/eval", "pos", "position inside the completion");
  }
  EvalRecord none;
  for_each_eval_column(none, [&](const char* name, const auto& values, EvalAxes axes,
                                 const char* unit, const char* text) {
    using Value = typename std::decay_t<decltype(values)>::value_type;
    if (!is_held(axes, header.log.eval_samples, header.log.eval_exact)) return;
    Type type = std::is_same_v<Value, int>     ? Type::i4
                : std::is_same_v<Value, float> ? Type::f4
                                               : Type::f8;
    std::vector<std::string> names = {"eval", is_over_k(axes) ? "k" : "eval_prompt"};
    if (is_sample(axes)) names.push_back("sample");
    if (axes == EvalAxes::token) {
      names.push_back("pos");
      type = token_type(header);
    }
    t.add(g + name, names, type, Source::eval, unit, text).pad = axes == EvalAxes::token;
  });
}

void add_diagnostics(Table& t) {
  t.scale("/diagnostics", "step", "training step", Source::diagnostic, Type::i8);
  for (int d = 0; d < kDiagnostics; ++d) {
    const MetricInfo& info = diagnostic_info(static_cast<Diagnostic>(d));
    t.add(std::string("/diagnostics/") + info.name, {"step"}, Type::f4, Source::diagnostic,
          info.unit, info.text)
        .column = d;
  }
}

bool has_eval(const RunHeader& header) {
  return header.eval_prompts > 0 && !header.eval_k.empty();
}

}  // namespace

std::vector<DatasetSpec> run_schema(const RunHeader& header) {
  Table t;
  add_static(t, header);
  add_metrics(t);
  if (header.log.rollouts_every > 0) add_rollouts(t, header);
  if (header.log.diagnostics_every > 0) add_diagnostics(t);
  if (has_eval(header)) add_eval(t, header);
  t.scale("/checkpoints", "checkpoint", "checkpoint", Source::checkpoint, Type::i8);
  t.scale("/checkpoints", "byte", "byte of the hash");
  t.add("/checkpoints/step", {"checkpoint"}, Type::i8, Source::checkpoint, "1",
        "steps done when the checkpoint was written");
  t.add("/checkpoints/sha256", {"checkpoint", "byte"}, Type::u1, Source::checkpoint, "1",
        "SHA-256 of the checkpoint's payload");
  t.add("/checkpoints/file", {"checkpoint"}, Type::name64, Source::checkpoint, "1",
        "file name inside checkpoints/");
  t.scale("/integrity", "dataset", "dataset of this file");
  t.scale("/integrity", "byte", "byte of the hash");
  t.add("/integrity/path", {"dataset"}, Type::text, Source::header, "1", "path of the dataset");
  t.add("/integrity/rows", {"dataset"}, Type::i8, Source::integrity, "1",
        "length of its first axis (1 for a scalar)");
  t.add("/integrity/sha256", {"dataset", "byte"}, Type::u1, Source::integrity, "1",
        "SHA-256 of its elements, row-major, little-endian; texts as length (i8) and bytes");
  t.add("/integrity/seal", {"byte"}, Type::u1, Source::integrity, "1",
        "SHA-256 of the closed file's bytes, these 32 as zeros; a text while it is written");
  return std::move(t.rows);
}

Axis axis_of(const RunHeader& header, const DatasetSpec& spec, const std::string& name) {
  const std::string group = spec.group();
  const auto size = [](auto n) { return Axis{static_cast<hsize_t>(n), false}; };
  constexpr Axis growing{0, true};
  if (name == "resumes" || name == "eval" || name == "checkpoint" || name == "step") return growing;
  if (name == "token_id") return size(header.vocab.size());
  if (name == "prompt_id") return size(header.prompts.length.size());
  if (name == "pos") return size(group == "/prompts" ? header.shape.P : header.shape.T);
  if (name == "prompt") return size(header.shape.B);
  if (name == "rollout" || name == "rollout_b") return size(header.shape.G);
  if (name == "k") return size(header.eval_k.size());
  if (name == "eval_prompt") return size(header.eval_prompts);
  if (name == "sample") return size(header.eval_samples);
  if (name == "byte") return size(32);
  if (name == "dataset") {
    const auto all = run_schema(header);
    return size(std::count_if(all.begin(), all.end(), [](const DatasetSpec& s) {
      return s.group() != "/integrity" && s.path != "/status";
    }));
  }
  throw Error(ErrorKind::internal,
              concat("schema: ", spec.path, " has an unknown axis, got ", name));
}

bool is_volatile(std::string_view path) {
  for (const std::string_view prefix :
       {"/timing", "/provenance", "/resumes", "/status", "/checkpoints"})
    if (path == prefix || (path.starts_with(prefix) && path[prefix.size()] == '/')) return true;
  return false;
}

int chunk_steps(const RunHeader& header) {
  constexpr std::size_t kWanted = 128 * 1024;
  const Shape& s = header.shape;
  const std::size_t completions = std::size_t(s.B) * std::size_t(s.G);
  std::size_t bytes = completions * std::size_t(s.T) * h5::size_of(token_type(header));
  if (header.log.log_prob == LogProbFormat::f32 || header.log.kept_mass || header.log.old_log_prob)
    bytes = completions * std::size_t(s.T) * 4;
  if (header.log.pair_score) bytes = std::max(bytes, completions * std::size_t(s.G) * 2);
  int c = 1;
  while (c < 64 && static_cast<std::size_t>(c) * bytes < kWanted) c *= 2;
  return c;
}

int column_chunk(const RunHeader& header, const DatasetSpec& spec) {
  constexpr std::int64_t kSteps = 1024, kRare = 32;  // evaluations, checkpoints, resumes
  if (spec.axes.at(0) != "step") return kRare;
  return static_cast<int>(std::clamp((header.steps + 63) / 64 * 64, std::int64_t{64}, kSteps));
}

std::string schema_markdown(const RunHeader& header) {
  std::string text = "| dataset | axes | type | units | what |\n| --- | --- | --- | --- | --- |\n";
  for (const DatasetSpec& s : run_schema(header)) {
    text += concat("| `", s.path, "` | ", join(s.axes), " | ", h5::name_of(s.type), " | ", s.units,
                   " | ", s.long_name);
    if (!s.flags.empty()) text += concat(" (flags: ", s.flags, ")");
    if (!s.alias_trl.empty()) text += concat("; TRL `", s.alias_trl, "`");
    if (!s.alias_verl.empty()) text += concat("; verl `", s.alias_verl, "`");
    text += " |\n";
  }
  return text;
}

}  // namespace motley
