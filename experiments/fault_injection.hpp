#pragma once
/// Faults injected on purpose, to test that they are found: MOTLEY_INJECT in the environment.
///
///     MOTLEY_INJECT="quality=nan step=3 replica=0 prompt=2 completion=1" motley train ...
///
/// The first word says what is overwritten and with which number (nan, inf, -inf, or a finite one);
/// addresses left out are 0. It is read once, strikes once, and is off unless asked for. It is no
/// option of a run: no configuration, digest or seed knows of it, and the run file's provenance
/// names it.

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/describe.hpp"
#include "core/base/types.hpp"
#include "models/rollout.hpp"

namespace motley {

struct TrainingState;

/// What is overwritten, in the order of a step. `mismatch` turns the last bit of a
/// sampler_log_prob, whatever the number says.
enum class FaultTarget : int {
  weights,       ///< a parameter of the policy (position), before the rollout
  logits,        ///< the sampler's first logit of a token
  mismatch,      ///< sampler_log_prob of a token, by its last bit
  log_prob,      ///< old_log_prob of a token
  reward_model,  ///< the reward model's score of a completion
  quality,       ///< of a completion
  classifier,    ///< pair_score of completions `completion` and `position`
  embedding,     ///< element `position` of a completion's embedding
  reward,        ///< of a completion
  advantage,     ///< of a completion
  gradient,      ///< element `position`, in the step's last pass
  moment,        ///< first moment of parameter `position`
  pretrain,      ///< element `position` of the base policy's gradient
  pretrain_classifier,
  pretrain_reward,
};
template <>
struct EnumNames<FaultTarget> {
  static constexpr std::array<std::string_view, 15> names = {
      "weights",        "logits",
      "mismatch",       "log_prob",
      "reward_model",   "quality",
      "classifier",     "embedding",
      "reward",         "advantage",
      "gradient",       "moment",
      "pretrain",       "pretrain_classifier",
      "pretrain_reward"};
};

struct FaultInjection {
  FaultTarget target = FaultTarget::quality;
  float value = 0.0f;
  std::int64_t step = 0;
  int replica = 0, prompt = 0, completion = 0, position = 0;
  std::string text;  ///< as it was written
};

/// \throws Error(config) naming the word that is wrong
FaultInjection parse_injection(const std::string& text);

/// That of MOTLEY_INJECT; nothing where it is not set. \throws Error(config)
const std::optional<FaultInjection>& fault_injection();

/// Overwrites the target in the state, where the injection is of this target and step.
void inject(const Exec& exec, FaultTarget target, std::uint32_t step, TrainingState& state);
/// Of the sampler's logits in this step.
LogitFault logit_fault(std::uint32_t step);
/// Overwrites an element of a gradient [R,N] of pretraining.
void inject_gradient(const Exec& exec, FaultTarget target, std::int64_t step,
                     const View2<float>& gradient);

}  // namespace motley
