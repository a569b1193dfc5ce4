#include "experiments/diagnostics.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/base/reduce.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"

namespace motley {

namespace {

/// Parts of a batch whose gradients are compared.
enum class Part : int { positive, negative, dominant, rare };

/// Smallest label of the largest cluster of a group; kNone where nothing is clustered.
KOKKOS_INLINE_FUNCTION int dominant_cluster(const RolloutBuffer& x, int r, int b) {
  int best = kNone, size = 0;
  for (int g = 0; g < x.shape.G; ++g)
    if (x.cluster(r, b, g) == g && x.cluster_size(r, b, g) > size) {
      best = g;
      size = x.cluster_size(r, b, g);
    }
  return best;
}

KOKKOS_INLINE_FUNCTION bool belongs(const RolloutBuffer& x, Part part, int r, int b, int g) {
  const float advantage = x.advantage(r, b, g);
  if (part == Part::positive) return advantage > 0.0f;
  if (part == Part::negative) return advantage < 0.0f;
  if (x.cluster(r, b, g) < 0) return false;
  return (x.cluster(r, b, g) == dominant_cluster(x, r, b)) == (part == Part::dominant);
}

void mask_weights(const Exec& exec, const RolloutBuffer& x, Part part, const View3<float>& share,
                  const View3<float>& weight) {
  const int B = x.shape.B, G = x.shape.G;
  Kokkos::parallel_for(
      "motley::diagnostics::mask_weights", Kokkos::RangePolicy<Exec>(exec, 0, x.shape.R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / (B * G), b = job / G % B, g = job % G;
        weight(r, b, g) = belongs(x, part, r, b, g) ? share(r, b, g) : 0.0f;
      });
}

/// The step's loss without divergence and entropy bonus.
void keep_policy_term(const Exec& exec, const View1<LossParams>& all,
                      const View1<LossParams>& kept) {
  Kokkos::parallel_for(
      "motley::diagnostics::policy_term", Kokkos::RangePolicy<Exec>(exec, 0, all.extent(0)),
      KOKKOS_LAMBDA(const int r) {
        kept(r) = all(r);
        kept(r).kl_coef = 0.0;
        kept(r).entropy_coef = 0.0;
      });
}

/// Inner products of two gradients, [R].
std::vector<double> inner_products(const Exec& exec, const Diagnostics& d, const View2<float>& a,
                                   const View2<float>& b) {
  const int R = static_cast<int>(a.extent(0));
  ordered_sum(
      exec, "motley::diagnostics::inner_products", R, static_cast<std::int64_t>(a.extent(1)),
      KOKKOS_LAMBDA(int r, std::int64_t n) { return double(a(r, n)) * double(b(r, n)); }, d.partial,
      d.total);
  const auto host = Kokkos::create_mirror(d.total);
  Kokkos::deep_copy(exec, host, d.total);
  exec.fence("motley::diagnostics::inner_products");
  return {host.data(), host.data() + R};
}

/// Two gradients by their inner products.
struct GradientPair {
  std::vector<double> aa, bb, ab;  // [R]
};
GradientPair compare(const Exec& exec, const Diagnostics& d) {
  return {inner_products(exec, d, d.first, d.first), inner_products(exec, d, d.second, d.second),
          inner_products(exec, d, d.first, d.second)};
}

double cosine(double aa, double bb, double ab) {
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : std::nan("");
}

void set(Diagnostics& d, std::size_t r, Diagnostic which, double value) {
  d.values(r, static_cast<int>(which)) = value;
}

}  // namespace

bool Diagnostics::due(std::int64_t step) const {
  return std::any_of(every.begin(), every.end(), [&](int n) { return n > 0 && step % n == 0; });
}

std::shared_ptr<Diagnostics> make_diagnostics(const std::vector<RunConfig>& configs,
                                              const TrainingState& s) {
  auto d = std::make_shared<Diagnostics>();
  for (const RunConfig& c : configs) d->every.push_back(steps_between(c.log.diagnostics));
  if (std::all_of(d->every.begin(), d->every.end(), [](int n) { return n == 0; })) return nullptr;
  const auto [R, B, G, P, T, V] = s.shape;
  const std::int64_t N = s.policy.net.size;
  d->loss = View1<LossParams>("motley::diagnostics::loss", R);
  d->share = View3<float>("motley::diagnostics::share", R, B, G);
  d->weight = View3<float>("motley::diagnostics::weight", R, B, G);
  d->first = View2<float>("motley::diagnostics::first", R, N);
  d->second = View2<float>("motley::diagnostics::second", R, N);
  d->update_sums = View2<double>("motley::diagnostics::update_sums", R, kUpdateSums);
  d->ratio_max = View1<double>("motley::diagnostics::ratio_max", R);
  d->partial = View2<double>("motley::diagnostics::partial", R, sum_chunks(N));
  d->total = View1<double>("motley::diagnostics::total", R);
  d->before = make_weights<float>("diagnostics", R, s.policy.net, configs.front().model.rope_theta);
  d->shift = make_entropy_shift_workspace<float>(s.policy.net, R, B, G, P, T);
  d->entropy_sums = View2<double>("motley::diagnostics::entropy_sums", R, kEntropySums);
  d->values = HostView2<double>("motley::diagnostics::values", R, kDiagnostics);
  return d;
}

void gradient_diagnostics(const Exec& exec, const TrainingState& s, std::uint32_t step,
                          Diagnostics& d) {
  const RolloutBuffer& x = s.buffer;
  const int B = s.shape.B;
  if (s.any_plan)
    token_plan<float>(exec, s.replicas.loss, {s.replicas.seed, step, 0}, x.old_log_prob, x, 0, B,
                      s.token_plan);
  const auto gradient_of = [&](const Minibatch& part, const View2<float>& gradient) {
    policy_gradient<float>(exec, s.policy.net, s.weights, s.reference, s.policy_workspace, d.loss,
                           x, d.weight, part, gradient, d.update_sums, d.ratio_max, s.status,
                           s.token_scale, s.token_plan);
  };
  const auto part_gradient = [&](Part part, const View2<float>& gradient) {
    mask_weights(exec, x, part, d.share, d.weight);
    gradient_of({0, B, 1}, gradient);
  };
  const auto half_gradient = [&](int b_first, int b_last, const View2<float>& gradient) {
    token_weights(exec, d.loss, x.length, x.used, s.shape.T, b_first, b_last, d.weight,
                  s.token_plan);
    gradient_of({b_first, b_last, 1}, gradient);
  };
  const auto put = [&](const GradientPair& p, Diagnostic a, Diagnostic b, Diagnostic angle) {
    for (std::size_t r = 0; r < p.aa.size(); ++r) {
      set(d, r, a, std::sqrt(p.aa[r]));
      set(d, r, b, std::sqrt(p.bb[r]));
      set(d, r, angle, cosine(p.aa[r], p.bb[r], p.ab[r]));
    }
  };
  keep_policy_term(exec, s.replicas.loss, d.loss);
  token_weights(exec, d.loss, x.length, x.used, s.shape.T, 0, B, d.share, s.token_plan);
  part_gradient(Part::positive, d.first);
  part_gradient(Part::negative, d.second);
  put(compare(exec, d), Diagnostic::grad_norm_positive, Diagnostic::grad_norm_negative,
      Diagnostic::grad_cosine_sign);
  part_gradient(Part::dominant, d.first);
  part_gradient(Part::rare, d.second);
  put(compare(exec, d), Diagnostic::grad_norm_dominant, Diagnostic::grad_norm_rare,
      Diagnostic::grad_cosine_mode);
  std::vector<double> noise(static_cast<std::size_t>(s.shape.R), std::nan(""));
  if (B > 1) {
    half_gradient(0, B / 2, d.first);
    half_gradient(B / 2, B, d.second);
    const GradientPair p = compare(exec, d);
    for (std::size_t r = 0; r < noise.size(); ++r) {
      const double sum = p.aa[r] + p.bb[r] + 2 * p.ab[r];
      const double difference = std::max(0.0, p.aa[r] + p.bb[r] - 2 * p.ab[r]);
      if (sum > 0) noise[r] = std::sqrt(difference / sum);
    }
  }
  for (std::size_t r = 0; r < noise.size(); ++r)
    set(d, r, Diagnostic::gradient_noise_ratio, noise[r]);
  Kokkos::deep_copy(exec, d.before.params, s.weights.params);
  Kokkos::deep_copy(exec, d.before.packed, s.weights.packed);
}

void entropy_diagnostics(const Exec& exec, const TrainingState& s, Diagnostics& d,
                         StepRecord& record) {
  entropy_shift<float>(exec, s.policy.net, d.before, s.weights, d.shift, d.loss, s.buffer,
                       d.entropy_sums);
  const auto sums = Kokkos::create_mirror(d.entropy_sums);
  Kokkos::deep_copy(exec, sums, d.entropy_sums);
  exec.fence("motley::diagnostics::entropy_change");
  for (int r = 0; r < s.shape.R; ++r) {
    const auto sum = [&](EntropySum which) { return sums(r, static_cast<int>(which)); };
    const double tokens = sum(EntropySum::tokens);
    const auto at = static_cast<std::size_t>(r);
    set(d, at, Diagnostic::entropy_change,
        (sum(EntropySum::after) - sum(EntropySum::before)) / tokens);
    set(d, at, Diagnostic::entropy_change_predicted, sum(EntropySum::predicted) / tokens);
    set(d, at, Diagnostic::mode_log_odds, mode_log_odds(record.class_id, r));
  }
  Kokkos::deep_copy(record.diagnostics, d.values);
}

double mode_log_odds(const HostView3<int>& class_id, int replica) {
  const int B = static_cast<int>(class_id.extent(1)), G = static_cast<int>(class_id.extent(2));
  double sum = 0;
  for (int b = 0; b < B; ++b) {
    std::map<int, int> members;
    int most = 0;
    for (int g = 0; g < G; ++g) {
      if (class_id(replica, b, g) < 0) return std::nan("");
      most = std::max(most, ++members[class_id(replica, b, g)]);
    }
    sum += std::log((most + 0.5) / (G - most + 0.5));
  }
  return sum / B;
}

}  // namespace motley
