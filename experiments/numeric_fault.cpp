#include "experiments/numeric_fault.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include "experiments/fault_injection.hpp"
#include "experiments/options.hpp"
#include "version.hpp"

namespace motley {

namespace {

using Json = nlohmann::ordered_json;

std::string line_of(std::int64_t step, const ReplicaFault& fault) {
  return concat("step ", step, ", replica ", fault.replica, ", ", describe_status(fault.word));
}

bool is_mismatch(const ReplicaFault& fault) {
  return unpack_status(fault.word).stage == Stage::mismatch;
}

ErrorKind kind_of(const std::vector<ReplicaFault>& found) {
  return std::all_of(found.begin(), found.end(), is_mismatch) ? ErrorKind::internal
                                                              : ErrorKind::numeric;
}

template <class View>
auto on_host(const View& view) {
  const auto host = Kokkos::create_mirror(view);
  Kokkos::deep_copy(host, view);
  return host;
}

/// JSON knows no number that is not finite: such a one is written as a word.
Json number(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  return x;
}

std::string text_of(double x) {
  const Json value = number(x);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

template <class View, class... Index>
Json numbers(const View& view, int n, Index... index) {
  Json out = Json::array();
  for (int i = 0; i < n; ++i) {
    if constexpr (std::is_integral_v<typename View::non_const_value_type>)
      out.push_back(view(index..., i));
    else
      out.push_back(number(double(view(index..., i))));
  }
  return out;
}

/// The tensor that holds element n of the arena; nullptr in the padding.
const TensorSpec* tensor_at(const ParameterLayout& layout, std::int64_t n) {
  for (const TensorSpec& spec : layout.tensors())
    if (n >= spec.offset && n < spec.offset + spec.size()) return &spec;
  return nullptr;
}

/// One row of a [R,N] arena.
class Row {
 public:
  Row(const View2<float>& arena, std::size_t r) : host_(on_host(arena)), r_(r) {}
  double at(std::int64_t n) const { return double(host_(r_, n)); }
  double norm(const TensorSpec& spec) const {
    double sum = 0;
    for (std::int64_t i = 0; i < spec.size(); ++i) sum += at(spec.offset + i) * at(spec.offset + i);
    return std::sqrt(sum);
  }
  std::int64_t not_finite(const TensorSpec& spec) const {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < spec.size(); ++i)
      count += std::isfinite(at(spec.offset + i)) ? 0 : 1;
    return count;
  }

 private:
  HostView2<float> host_;
  std::size_t r_;
};

Json parameters_of(const TrainingState& s, std::size_t r) {
  const Row params(s.weights.params, r), gradient(s.gradient, r), m(s.adam.m, r), v(s.adam.v, r);
  Json out = Json::array();
  for (const TensorSpec& spec : s.policy.tensors.tensors()) {
    Json row{{"tensor", spec.name},
             {"rows", spec.rows},
             {"cols", spec.cols},
             {"norm", number(params.norm(spec))},
             {"gradient_norm", number(gradient.norm(spec))}};
    for (const auto& [name, arena] : {std::pair{"not_finite", &params},
                                      {"gradient_not_finite", &gradient},
                                      {"moment_not_finite", &m},
                                      {"second_moment_not_finite", &v}})
      row[name] = arena->not_finite(spec);
    out.push_back(row);
  }
  return out;
}

/// Fields of the rollout in which a number is not finite, how many, and where the first one is.
Json spread_of(const TrainingState& s, std::size_t r) {
  Json out = Json::object();
  RolloutBuffer buffer = s.buffer;
  for_each_field(buffer, [&](const char* name, auto& view, auto...) {
    using Value = typename std::decay_t<decltype(view)>::value_type;
    if constexpr (std::is_floating_point_v<Value>) {
      const auto host = on_host(view);
      const std::size_t row = host.span() / host.extent(0);
      std::size_t count = 0, first = 0;
      for (std::size_t i = row; i-- > 0;) {
        if (std::isfinite(host.data()[r * row + i])) continue;
        ++count;
        first = i;
      }
      if (count == 0) return;
      std::vector<std::size_t> at;
      for (unsigned axis = std::decay_t<decltype(view)>::rank() - 1; axis > 0; --axis) {
        at.insert(at.begin(), first % host.extent(axis));
        first /= host.extent(axis);
      }
      out[name] = {{"count", count}, {"first", at}};
    }
  });
  return out;
}

/// Tokens whose log-probabilities of sampler and trainer differ in a bit.
std::int64_t disagreeing_tokens(const TrainingState& s, std::size_t r) {
  const auto sampler = on_host(s.buffer.sampler_log_prob), trainer = on_host(s.buffer.old_log_prob);
  const auto length = on_host(s.buffer.length);
  std::int64_t count = 0;
  for (int b = 0; b < s.shape.B; ++b)
    for (int g = 0; g < s.shape.G; ++g)
      for (int t = 0; t < length(r, b, g); ++t)
        count += Kokkos::bit_cast<std::uint32_t>(sampler(r, b, g, t)) !=
                         Kokkos::bit_cast<std::uint32_t>(trainer(r, b, g, t))
                     ? 1
                     : 0;
  return count;
}

Json group_of(const TrainingState& s, std::size_t r, int b) {
  const RolloutBuffer& x = s.buffer;
  const Vocabulary& vocabulary = s.task->vocabulary();
  const auto prompt = on_host(x.prompt);
  const auto prompt_length = on_host(x.prompt_length), prompt_id = on_host(x.prompt_id);
  const auto token = on_host(x.token);
  const auto length = on_host(x.length), finish = on_host(x.finish), class_id = on_host(x.class_id),
             cluster = on_host(x.cluster), used = on_host(x.used);
  const auto sampler = on_host(x.sampler_log_prob), old = on_host(x.old_log_prob),
             ref = on_host(x.ref_log_prob), entropy = on_host(x.entropy),
             pair_score = on_host(x.pair_score);
  const auto quality = on_host(x.quality), quality_true = on_host(x.quality_true),
             diversity = on_host(x.diversity), reward = on_host(x.reward),
             advantage = on_host(x.advantage);
  const auto mean = on_host(x.group_mean), deviation = on_host(x.group_std);
  static constexpr const char* kFinish[] = {"eos", "length", "invalid"};
  Json completions = Json::array(), scores = Json::array();
  for (int g = 0; g < s.shape.G; ++g) {
    const int n = length(r, b, g);
    Json c{{"completion", g},
           {"text", vocabulary.text(&token(r, b, g, 0), n)},
           {"token", numbers(token, n, r, b, g)},
           {"finish", kFinish[std::clamp(finish(r, b, g), 0, 2)]},
           {"sampler_log_prob", numbers(sampler, n, r, b, g)},
           {"log_prob", numbers(old, n, r, b, g)}};
    if (s.any_reference) c["ref_log_prob"] = numbers(ref, n, r, b, g);
    c["entropy"] = numbers(entropy, n, r, b, g);
    c["quality"] = number(double(quality(r, b, g)));
    c["quality_true"] = number(double(quality_true(r, b, g)));
    c["class_id"] = class_id(r, b, g);
    c["cluster"] = cluster(r, b, g);
    c["diversity"] = number(double(diversity(r, b, g)));
    c["reward"] = number(double(reward(r, b, g)));
    c["used"] = used(r, b, g);
    c["advantage"] = number(double(advantage(r, b, g)));
    completions.push_back(c);
    scores.push_back(numbers(pair_score, s.shape.G, r, b, g));
  }
  const int n = prompt_length(r, b);
  return {{"prompt",
           {{"prompt", b},
            {"prompt_id", prompt_id(r, b)},
            {"text", vocabulary.text(&prompt(r, b, 0), n)},
            {"token", numbers(prompt, n, r, b)}}},
          {"group_mean", number(double(mean(r, b)))},
          {"group_std", number(double(deviation(r, b)))},
          {"completions", completions},
          {"pair_score", scores}};
}

}  // namespace

NumericFault::NumericFault(std::int64_t at_step, std::vector<ReplicaFault> faults)
    : Error(kind_of(faults), concat(line_of(at_step, faults.front()),
                                    is_mismatch(faults.front()) ? ": sampler and trainer disagree"
                                                                : ": a number is not finite")),
      step(at_step),
      found(std::move(faults)) {}

bool NumericFault::has(std::size_t replica) const {
  return std::any_of(found.begin(), found.end(),
                     [&](const ReplicaFault& f) { return f.replica == replica; });
}

void require_finite(const Exec& exec, const TrainingState& s, std::uint32_t step) {
  keep_first_fault(exec, s.status, s.first_fault);
  if (!any_fault(exec, s)) return;
  std::vector<ReplicaFault> found;
  for (std::size_t r = 0; r < s.fault_on_host.extent(0); ++r)
    if (s.fault_on_host(r) != kStatusClear) found.push_back({r, s.fault_on_host(r)});
  throw NumericFault(step, std::move(found));
}

void require_finite_pass(const Exec& exec, const View1<StatusWord>& status, const char* where,
                         const ConstView1<std::uint64_t>& seeds, std::int64_t step) {
  const auto host = Kokkos::create_mirror_view(status);
  Kokkos::deep_copy(exec, host, status);
  exec.fence("motley::pretrain::status");
  for (std::size_t r = 0; r < host.extent(0); ++r)
    if (host(r) != kStatusClear)
      throw Error(ErrorKind::numeric,
                  concat("pretrain: ", where, " of base seed ", on_host(seeds)(r), ", ",
                         line_of(step, {r, host(r)}), ": a number is not finite"));
}

std::string what_is_wrong(const TrainingState& s, const ReplicaFault& fault) {
  const StatusAddress a = unpack_status(fault.word);
  const RolloutBuffer& x = s.buffer;
  const std::size_t r = fault.replica;
  const int b = a.prompt, g = a.completion;
  const auto token = [&](const char* name, const View4<float>& view) {
    return concat(name, " is ", text_of(double(on_host(view)(r, b, g, a.position))));
  };
  const auto completion = [&](const char* name, const View3<float>& view) {
    return concat(name, " is ", text_of(double(on_host(view)(r, b, g))));
  };
  switch (a.stage) {
    case Stage::rollout: return token("the sampler's log-probability", x.sampler_log_prob);
    case Stage::score_tokens:
      return std::isfinite(on_host(x.old_log_prob)(r, b, g, a.position))
                 ? token("the reference's log-probability", x.ref_log_prob)
                 : token("the trainer's log-probability", x.old_log_prob);
    case Stage::mismatch:
      return concat("sampler and trainer disagree, ", token("sampler_log_prob", x.sampler_log_prob),
                    ", ", token("old_log_prob", x.old_log_prob), ", ", disagreeing_tokens(s, r),
                    " tokens in all");
    case Stage::score:
      return std::isfinite(on_host(x.quality)(r, b, g)) ? completion("quality_true", x.quality_true)
                                                        : completion("quality", x.quality);
    case Stage::pair_scores:
      if (a.other == g) return "its embedding is not finite";
      return concat("the pair's score is ",
                    text_of(double(on_host(x.pair_score)(r, b, g, a.other))));
    case Stage::shape_reward: return completion("reward", x.reward);
    case Stage::group_advantage: return completion("advantage", x.advantage);
    case Stage::policy_gradient: return "the token's loss is not finite";
    default: break;
  }
  if (a.parameter < 0) return "the norm of the gradient is not finite";
  const TensorSpec* spec = tensor_at(s.policy.tensors, a.parameter);
  const std::string place = spec == nullptr
                                ? "the padding"
                                : concat(spec->name, "[", (a.parameter - spec->offset) / spec->cols,
                                         ",", (a.parameter - spec->offset) % spec->cols, "]");
  for (const auto& [name, arena] : {std::pair{"the gradient of ", &s.gradient},
                                    {"the first moment of ", &s.adam.m},
                                    {"the second moment of ", &s.adam.v},
                                    {"", &s.weights.params}}) {
    const double value = Row(*arena, r).at(a.parameter);
    if (!std::isfinite(value)) return concat(name, place, " is ", text_of(value));
  }
  return concat(place, " was not finite");
}

std::string fault_dump_name(std::int64_t step) {
  return concat("fault-step-", step, ".json");
}

void remove_fault_dumps(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().filename().string().rfind("fault-step-", 0) == 0) old.push_back(entry.path());
  for (const std::filesystem::path& path : old) std::filesystem::remove(path, ignored);
}

std::filesystem::path write_fault_dump(const FaultDump& d, const TrainingState& s,
                                       const StepRecord& record) {
  const StatusAddress a = unpack_status(d.fault.word);
  const std::size_t r = d.fault.replica;
  Json out{{"kind", "motley-fault"},
           {"kind_version", 1},
           {"what", what_is_wrong(s, d.fault)},
           {"stage", name_of(a.stage)},
           {"address", Json{{"seed", d.config.run.seed}, {"step", d.step}}}};
  Json& address = out["address"];
  for (const auto& [name, value] : {std::pair{"prompt", a.prompt},
                                    {"completion", a.completion},
                                    {"with_completion", a.other},
                                    {"position", a.position}})
    if (value >= 0) address[name] = value;
  if (a.parameter >= 0) address["parameter"] = a.parameter;
  const std::string folder = d.folder.string();
  out["run"] = {{"folder", folder},
                {"name", d.config.run.name},
                {"config_sha256", config_sha256(d.config)},
                {"replica", r},
                {"replicas", d.replicas},
                {"motley_version", kVersion},
                {"git_commit", kGitCommit}};
  if (fault_injection()) out["injected"] = fault_injection()->text;
  out["last_checkpoint"] = d.checkpoint >= 0 ? Json(d.checkpoint) : Json();
  out["next"] = {concat("motley replay ", folder, " --step ", d.step),
                 concat("motley train -r ", folder)};
  out["not_finite"] = spread_of(s, r);
  out["disagreeing_tokens"] = disagreeing_tokens(s, r);
  out["group"] = a.prompt >= 0 ? group_of(s, r, a.prompt) : Json();
  const auto norm = on_host(s.grad_norm);
  const auto lr = on_host(s.replicas.lr);
  out["grad_norm"] = number(norm(r));
  out["lr"] = number(lr(r));
  for (int m = 0; m < kMetrics; ++m)
    out["metrics"][std::string(metric_info(static_cast<Metric>(m)).name)] =
        number(record.metrics(r, m));
  out["parameters"] = parameters_of(s, r);

  const std::filesystem::path path = d.folder / fault_dump_name(d.step);
  std::ofstream file(path);
  file << out.dump(1) << "\n";
  file.close();
  MOTLEY_REQUIRE(file.good(), ErrorKind::io, path.string(), ": cannot be written");
  return path;
}

}  // namespace motley
