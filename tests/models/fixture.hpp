#pragma once
/// A small random policy with random prompts and rollouts, in float or double.

#include <random>
#include <vector>

#include "core/rollout.hpp"
#include "models/net.hpp"
#include "models/policy.hpp"
#include "models/rollout.hpp"

namespace motley::test {

inline TransformerConfig small_config(int vocab, int positions, int kv_heads = 2,
                                      bool tied = false) {
  TransformerConfig c;
  c.layers = 2;
  c.width = 24;
  c.heads = 4;
  c.kv_heads = kv_heads;
  c.ff = 40;
  c.tied = tied;
  c.vocab = vocab;
  c.max_positions = positions;
  return c;
}

/// Views from host values.
template <class T>
View1<T> device(const std::vector<T>& values, const char* label = "motley::test::values") {
  View1<T> view(label, values.size());
  auto host = Kokkos::create_mirror(view);
  for (std::size_t i = 0; i < values.size(); ++i) host(i) = values[i];
  Kokkos::deep_copy(view, host);
  return view;
}

template <class View>
auto on_host(const View& view) {
  auto host = Kokkos::create_mirror(view);
  Kokkos::deep_copy(host, view);
  return host;
}

template <class Scalar>
struct PolicyFixture {
  Shape shape;
  NetLayout layout;
  Weights<Scalar> weights, reference;
  RolloutBuffer buffer;
  View1<std::uint64_t> seeds;
  View1<StatusWord> status;
  View1<SamplingParams> sampling;
  View1<LossParams> loss;
  View1<int> active;

  PolicyFixture(const Shape& s, const TransformerConfig& config,
                const std::vector<std::uint64_t>& seed_list, double weight_scale = 6.0)
      : shape(s), layout(make_net_layout(config, true)), buffer(s) {
    const Net& net = layout.net;
    weights = make_weights<Scalar>("test", s.R, net, 10000.0);
    reference = make_weights<Scalar>("test_reference", s.R, net, 10000.0);
    seeds = device(seed_list);
    Exec exec;
    init_weights(exec, layout, ConstView1<std::uint64_t>(seeds), 4, weights.params);
    init_weights(exec, layout, ConstView1<std::uint64_t>(seeds), 5, reference.params);
    // Larger than at initialisation, so that attention and the gates are far from linear.
    for (auto* w : {&weights, &reference}) {
      auto host = on_host(w->params);
      for (const TensorSpec& t : layout.tensors.tensors())
        if (t.matrix())
          for (int r = 0; r < s.R; ++r)
            for (std::int64_t i = 0; i < t.size(); ++i)
              host(r, t.offset + i) *= static_cast<Scalar>(weight_scale);
      Kokkos::deep_copy(w->params, host);
      pack_weights(exec, net, *w);
    }
    status = View1<StatusWord>("motley::test::status", s.R);
    Kokkos::deep_copy(status, kStatusClear);
    sampling = device(std::vector<SamplingParams>(s.R));
    loss = device(std::vector<LossParams>(s.R));
    active = device(std::vector<int>(s.R, 1));
    auto prompt = on_host(buffer.prompt);
    auto prompt_length = on_host(buffer.prompt_length);
    for (int r = 0; r < s.R; ++r) {
      std::mt19937 engine(static_cast<unsigned>(seed_list[r]));
      for (int b = 0; b < s.B; ++b) {
        prompt_length(r, b) = 1 + static_cast<int>(engine() % static_cast<unsigned>(s.P));
        for (int p = 0; p < prompt_length(r, b); ++p)
          prompt(r, b, p) = 2 + static_cast<int>(engine() % static_cast<unsigned>(s.V - 2));
      }
    }
    Kokkos::deep_copy(buffer.prompt, prompt);
    Kokkos::deep_copy(buffer.prompt_length, prompt_length);
  }

  void sample(std::uint32_t step = 3) {
    Exec exec;
    const auto workspace =
        make_rollout_workspace<Scalar>(layout.net, shape.R, shape.B, shape.G, shape.P, shape.T);
    const RolloutKey key{sampling, seeds, Stream::sample, step};
    rollout<Scalar>(exec, layout.net, weights, workspace, key, buffer.prompt, buffer.prompt_length,
                    ConstView2<int>(), rollout_output(buffer), status);
    exec.fence();
  }

  PolicyWorkspace<Scalar> workspace(bool exact_kl = false) const {
    return make_policy_workspace<Scalar>(layout.net, shape.R, shape.B, shape.G, shape.P, shape.T,
                                         exact_kl);
  }
};

}  // namespace motley::test
