#include "experiments/fault_injection.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <sstream>

#include "core/base/error.hpp"
#include "experiments/options.hpp"
#include "experiments/training_step.hpp"

namespace motley {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::config, "MOTLEY_INJECT: " + what);
}

float value_of(const std::string& text) {
  if (text == "nan") return std::numeric_limits<float>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<float>::infinity();
  if (text == "-inf") return -std::numeric_limits<float>::infinity();
  double value = 0;
  if (!parse_number(text, value))
    refuse(concat("got \"", text, "\"; allowed: nan, inf, -inf, or a number"));
  return static_cast<float>(value);
}

/// One element of a view of any rank.
template <class View, class Value, class... Index>
void overwrite(const Exec& exec, const View& view, Value value, Index... index) {
  const std::size_t at[] = {static_cast<std::size_t>(index)...};
  for (unsigned i = 0; i < View::rank(); ++i)
    if (at[i] >= view.extent(i))
      refuse(concat(view.label(), " has no element ", at[i], " on axis ", i, "; allowed: below ",
                    view.extent(i)));
  Kokkos::deep_copy(exec, Kokkos::subview(view, index...), value);
}

/// Is it the injection's turn? A fault strikes once, so that what goes on after it is not struck.
bool strikes(const std::optional<FaultInjection>& f, FaultTarget target, std::int64_t step) {
  static bool struck = false;
  if (struck || !f || f->target != target || f->step != step) return false;
  struck = true;
  return true;
}

}  // namespace

FaultInjection parse_injection(const std::string& text) {
  FaultInjection out;
  out.text = text;
  std::istringstream words(text);
  bool first = true;
  for (std::string word; words >> word; first = false) {
    const auto equal = word.find('=');
    const std::string key = word.substr(0, equal);
    const std::string value = equal == std::string::npos ? "" : word.substr(equal + 1);
    if (first) {
      const std::vector<std::string> targets = choices<FaultTarget>();
      const auto found = std::find(targets.begin(), targets.end(), key);
      if (found == targets.end() || value.empty())
        refuse(concat("got \"", word, "\"; allowed: WHAT=NUMBER with WHAT one of ", join(targets),
                      did_you_mean(key, targets)));
      out.target = static_cast<FaultTarget>(found - targets.begin());
      out.value = value_of(value);
      continue;
    }
    std::int64_t n = 0;
    if (!parse_integer(value, n) || n < 0)
      refuse(concat("got \"", word, "\"; allowed: ADDRESS=COUNT"));
    if (key == "step")
      out.step = n;
    else if (int* at = key == "replica"      ? &out.replica
                       : key == "prompt"     ? &out.prompt
                       : key == "completion" ? &out.completion
                       : key == "position"   ? &out.position
                                             : nullptr)
      *at = static_cast<int>(n);
    else
      refuse(concat("got \"", word, "\"; allowed: step, replica, prompt, completion, position"));
  }
  if (first) refuse("got nothing; allowed: WHAT=NUMBER and an address");
  return out;
}

const std::optional<FaultInjection>& fault_injection() {
  static const std::optional<FaultInjection> injection = [] {
    const char* text = std::getenv("MOTLEY_INJECT");
    return text == nullptr ? std::nullopt : std::optional(parse_injection(text));
  }();
  return injection;
}

void inject(const Exec& exec, FaultTarget target, std::uint32_t step, TrainingState& s) {
  const std::optional<FaultInjection>& f = fault_injection();
  if (!strikes(f, target, step)) return;
  const RolloutBuffer& x = s.buffer;
  const int r = f->replica, b = f->prompt, g = f->completion, t = f->position;
  switch (target) {
    case FaultTarget::weights:
      overwrite(exec, s.weights.params, f->value, r, t);
      pack_weights(exec, s.policy.net, s.weights);
      break;
    case FaultTarget::mismatch: {
      const auto at = Kokkos::subview(x.sampler_log_prob, r, b, g, t);
      float value = 0;
      Kokkos::deep_copy(value, at);
      Kokkos::deep_copy(exec, at,
                        Kokkos::bit_cast<float>(Kokkos::bit_cast<std::uint32_t>(value) ^ 1u));
      break;
    }
    case FaultTarget::log_prob: overwrite(exec, x.old_log_prob, f->value, r, b, g, t); break;
    case FaultTarget::reward_model:
      overwrite(exec, s.reward_score, f->value, r, b * s.shape.G + g);
      break;
    case FaultTarget::quality: overwrite(exec, x.quality, f->value, r, b, g); break;
    case FaultTarget::classifier: overwrite(exec, x.pair_score, f->value, r, b, g, t); break;
    case FaultTarget::embedding:
      overwrite(exec, s.cluster_workspace.embedding, f->value, r, b, g, t);
      break;
    case FaultTarget::reward: overwrite(exec, x.reward, f->value, r, b, g); break;
    case FaultTarget::advantage: overwrite(exec, x.advantage, f->value, r, b, g); break;
    case FaultTarget::gradient: overwrite(exec, s.gradient, f->value, r, t); break;
    case FaultTarget::moment: overwrite(exec, s.adam.m, f->value, r, t); break;
    default: break;
  }
}

LogitFault logit_fault(std::uint32_t step) {
  const std::optional<FaultInjection>& f = fault_injection();
  if (!strikes(f, FaultTarget::logits, step)) return {};
  return {f->replica, f->prompt, f->completion, f->position, f->value};
}

void inject_gradient(const Exec& exec, FaultTarget target, std::int64_t step,
                     const View2<float>& gradient) {
  const std::optional<FaultInjection>& f = fault_injection();
  if (strikes(f, target, step)) overwrite(exec, gradient, f->value, f->replica, f->position);
}

}  // namespace motley
