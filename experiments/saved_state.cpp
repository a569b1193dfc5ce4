#include "experiments/saved_state.hpp"

#include <cstring>
#include <span>

#include "core/base/error.hpp"
#include "experiments/options.hpp"

namespace motley {

namespace {

/// Host copies of what both directions move.
struct HostState {
  explicit HostState(const TrainingState& s)
      : params(Kokkos::create_mirror(s.weights.params)),
        m(Kokkos::create_mirror(s.adam.m)),
        v(Kokkos::create_mirror(s.adam.v)),
        updates(Kokkos::create_mirror(s.adam.step)),
        reference(Kokkos::create_mirror(s.reference.params)) {}

  HostView2<float> params, m, v;  // [R,N]
  HostView1<int> updates;         // [R]
  HostView2<float> reference;     // [R,N], empty unless any_reference

  /// Calls f(tensor name, first value, spec) for every tensor replica r keeps.
  template <class F>
  void for_each_tensor(const TrainingState& s, std::size_t r, bool with_reference, const F& f) {
    for (const TensorSpec& spec : s.policy.tensors.tensors()) {
      f(spec.name, &params(r, spec.offset), spec);
      f("adam.m." + spec.name, &m(r, spec.offset), spec);
      f("adam.v." + spec.name, &v(r, spec.offset), spec);
      if (with_reference) f("reference." + spec.name, &reference(r, spec.offset), spec);
    }
  }
};

void restore(const RunConfig& config, const StartPoint& start, std::size_t r, HostState& host,
             TrainingState& state) {
  const Checkpoint& c = start.checkpoint;
  const std::string mine = config_sha256(config), where = start.file.string();
  MOTLEY_REQUIRE(c.text("config_sha256") == mine, ErrorKind::input, where,
                 ": written by another configuration, got ", c.text("config_sha256").substr(0, 16),
                 ", expected ", mine.substr(0, 16));
  host.for_each_tensor(state, r, moves_reference(config.loss),
                       [&](const std::string& name, float* to, const TensorSpec& spec) {
                         const std::vector<float> values = c.tensor(name).floats();
                         MOTLEY_REQUIRE(static_cast<std::int64_t>(values.size()) == spec.size(),
                                        ErrorKind::input, where, ": tensor ", name, " has ",
                                        values.size(), " values, expected ", spec.size());
                         std::copy(values.begin(), values.end(), to);
                       });
  for (const CarriedState& carried : state.carried) {
    if (!carried.keeps(r)) continue;
    const auto values = Kokkos::create_mirror_view(carried.values);
    Kokkos::deep_copy(values, carried.values);
    const std::vector<std::byte>& bytes = c.tensor("state." + carried.name).data;
    const std::size_t size = values.extent(1) * sizeof(double);
    MOTLEY_REQUIRE(bytes.size() == size, ErrorKind::input, where, ": tensor state.", carried.name,
                   " has ", bytes.size(), " bytes, expected ", size);
    std::memcpy(&values(r, 0), bytes.data(), size);
    Kokkos::deep_copy(carried.values, values);
  }
  host.updates(r) = std::stoi(c.text("updates"));
}

void load_reward_models(const Exec& exec, const std::vector<RunConfig>& configs,
                        const std::vector<BasePolicy>& bases, TrainingState& state) {
  const auto weights = Kokkos::create_mirror(state.reward_model_weights.params);
  const auto params = Kokkos::create_mirror(state.replicas.reward_model);
  for (std::size_t r = 0; r < configs.size(); ++r) {
    const BasePolicy& base = bases[r];
    MOTLEY_REQUIRE(static_cast<std::int64_t>(base.reward.size()) == state.reward_model.net.size,
                   ErrorKind::input, base.file, ": the reward model has ", base.reward.size(),
                   " numbers, expected ", state.reward_model.net.size);
    std::copy(base.reward.begin(), base.reward.end(), &weights(r, 0));
    params(r) = {configs[r].reward_model.squash, configs[r].reward_model.format,
                 base.report.reward_mean, base.report.reward_deviation};
  }
  Kokkos::deep_copy(state.reward_model_weights.params, weights);
  Kokkos::deep_copy(state.replicas.reward_model, params);
  pack_weights(exec, state.reward_model.net.encoder, state.reward_model_weights);
}

}  // namespace

void load_state(const Exec& exec, const std::vector<RunConfig>& configs,
                const std::vector<BasePolicy>& bases, const std::vector<const StartPoint*>& starts,
                TrainingState& state) {
  HostState host(state);
  Kokkos::deep_copy(host.m, 0.0f);
  Kokkos::deep_copy(host.v, 0.0f);
  Kokkos::deep_copy(host.updates, 0);
  for (std::size_t r = 0; r < configs.size(); ++r) {
    const std::vector<float>& policy = bases[r].policy;
    MOTLEY_REQUIRE(static_cast<std::int64_t>(policy.size()) == state.policy.net.size,
                   ErrorKind::input, bases[r].file, ": the base policy has ", policy.size(),
                   " numbers, expected ", state.policy.net.size);
    std::copy(policy.begin(), policy.end(), &host.params(r, 0));
    if (state.any_reference) std::copy(policy.begin(), policy.end(), &host.reference(r, 0));
    if (starts[r] != nullptr) restore(configs[r], *starts[r], r, host, state);
  }
  Kokkos::deep_copy(state.weights.params, host.params);
  Kokkos::deep_copy(state.adam.m, host.m);
  Kokkos::deep_copy(state.adam.v, host.v);
  Kokkos::deep_copy(state.adam.step, host.updates);
  pack_weights(exec, state.policy.net, state.weights);
  if (state.any_reference) {
    Kokkos::deep_copy(state.reference.params, host.reference);
    pack_weights(exec, state.policy.net, state.reference);
  }
  if (state.any_classifier) {
    const auto classifier = Kokkos::create_mirror(state.classifier_weights.encoder.params);
    for (std::size_t r = 0; r < configs.size(); ++r)
      std::copy(bases[r].classifier.begin(), bases[r].classifier.end(), &classifier(r, 0));
    Kokkos::deep_copy(state.classifier_weights.encoder.params, classifier);
    pack_pair_weights(exec, state.classifier.net, state.classifier_weights);
  }
  if (!state.task->verifiable()) load_reward_models(exec, configs, bases, state);
  exec.fence("motley::train::load_state");
}

struct SavedState::Host : HostState {
  using HostState::HostState;
};

SavedState::SavedState(const TrainingState& state)
    : state_(state), host_(std::make_unique<Host>(state)) {
  Kokkos::deep_copy(host_->params, state.weights.params);
  Kokkos::deep_copy(host_->m, state.adam.m);
  Kokkos::deep_copy(host_->v, state.adam.v);
  Kokkos::deep_copy(host_->updates, state.adam.step);
  if (state.any_reset) Kokkos::deep_copy(host_->reference, state.reference.params);
}

SavedState::~SavedState() = default;

Checkpoint SavedState::checkpoint(const RunConfig& config, std::size_t r, std::int64_t step) const {
  Checkpoint c;
  c.step = step;
  c.meta["config_sha256"] = config_sha256(config);
  c.meta["ini"] = effective_ini(config);
  c.meta["seed"] = std::to_string(config.run.seed);
  c.meta["updates"] = std::to_string(host_->updates(r));
  host_->for_each_tensor(
      state_, r, moves_reference(config.loss),
      [&](const std::string& name, const float* from, const TensorSpec& spec) {
        const std::vector<std::int64_t> dims = spec.matrix()
                                                   ? std::vector<std::int64_t>{spec.rows, spec.cols}
                                                   : std::vector<std::int64_t>{spec.cols};
        c.tensors.push_back(Tensor::from_floats(
            name, dims, std::span<const float>(from, static_cast<std::size_t>(spec.size()))));
      });
  for (const CarriedState& carried : state_.carried) {
    if (!carried.keeps(r)) continue;
    const auto values = Kokkos::create_mirror_view(carried.values);
    Kokkos::deep_copy(values, carried.values);
    c.tensors.push_back(Tensor::from_bytes(
        "state." + carried.name,
        std::as_bytes(std::span<const double>(&values(r, 0), values.extent(1)))));
  }
  return c;
}

}  // namespace motley
