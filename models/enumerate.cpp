#include "models/enumerate.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/base/error.hpp"

namespace motley {

namespace {

/// Strings of a prompt that stand side by side, and prompts: a batch that keeps every core busy.
constexpr int kStrings = 32;
constexpr int kRows = 16;
/// Completions of a prompt that wait for their score.
constexpr std::size_t kEnded = 4096;

/// Only what prefixes and scoring need; the other fields stay empty.
RolloutBuffer enumeration_buffer(const Shape& s) {
  RolloutBuffer b;
  b.shape = s;
  b.prompt = View3<int>("motley::enumerate::prompt", s.R, s.B, s.P);
  b.prompt_length = View2<int>("motley::enumerate::prompt_length", s.R, s.B);
  b.prompt_id = View2<int>("motley::enumerate::prompt_id", s.R, s.B);
  b.token = View4<int>("motley::enumerate::token", s.R, s.B, s.G, s.T);
  b.length = View3<int>("motley::enumerate::length", s.R, s.B, s.G);
  b.finish = View3<int>("motley::enumerate::finish", s.R, s.B, s.G);
  b.quality = View3<float>("motley::enumerate::quality", s.R, s.B, s.G);
  b.class_id = View3<int>("motley::enumerate::class_id", s.R, s.B, s.G);
  return b;
}

/// The probabilities of a row of logits, [V].
std::vector<double> probabilities(const double* logit, int V, bool greedy) {
  std::vector<double> p(static_cast<std::size_t>(V), 0.0);
  if (greedy) {  // the smallest id among equals, as the sampler has it
    p[static_cast<std::size_t>(std::max_element(logit, logit + V) - logit)] = 1.0;
    return p;
  }
  double sum = 0;
  for (int v = 0; v < V; ++v) sum += p[static_cast<std::size_t>(v)] = std::exp(logit[v]);
  for (double& x : p) x /= sum;
  return p;
}

/// Places of the `most` largest, in increasing order; of equals the first.
std::vector<std::size_t> heaviest(const std::vector<double>& mass, std::size_t most) {
  std::vector<std::size_t> order(mass.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::nth_element(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end(),
      [&](std::size_t a, std::size_t b) { return mass[a] != mass[b] ? mass[a] > mass[b] : a < b; });
  order.resize(most);
  std::sort(order.begin(), order.end());
  return order;
}

/// -sum p/mass ln(p/mass) = ln mass - (sum p ln p) / mass
double entropy_of(double p_ln_p, const std::map<int, double>& classes, double mass) {
  for (const auto& [label, p] : classes) p_ln_p += p * std::log(p);
  return mass > 0 ? std::max(0.0, std::log(mass) - p_ln_p / mass) : 0.0;
}

}  // namespace

template <class Scalar>
Enumerator<Scalar>::Enumerator(const Net& net, const Task& task, int R, int T,
                               const EnumerationLimits& limits)
    : net_(net), task_(task), T_(T), limits_(limits) {
  MOTLEY_REQUIRE(limits.prefixes >= 1 && limits.prompts >= 0 && limits.min_mass >= 0,
                 ErrorKind::internal, "enumeration without prefixes");
  const PromptTable& table = task.prompts();
  prompts_ = limits.prompts > 0 ? std::min(limits.prompts, table.num_eval) : table.num_eval;
  const Shape s{R,        std::max(1, std::min(kRows, prompts_)), kStrings, task.max_prompt(), T,
                net.vocab};
  buffer_ = enumeration_buffer(s);
  workspace_ = make_next_token_workspace<Scalar>(net, R, s.B, s.G, s.P, s.T);
  inv_temperature_ = View1<double>("motley::enumerate::inv_temperature", R);
  logits_ = View4<double>("motley::enumerate::logits", s.R, s.B, s.G, s.V);
  host_logits_ = HostView4<double>("motley::enumerate::host_logits", s.R, s.B, s.G, s.V);
  prompt_table_ =
      HostView3<int>("motley::enumerate::host_prompts", R, table.size(), table.token.extent(2));
  prompt_lengths_ = HostView2<int>("motley::enumerate::host_lengths", R, table.size());
  Kokkos::deep_copy(prompt_table_, table.token);
  Kokkos::deep_copy(prompt_lengths_, table.length);
  prompt_ = HostView3<int>("motley::enumerate::host_prompt", s.R, s.B, s.P);
  prompt_length_ = HostView2<int>("motley::enumerate::host_prompt_length", s.R, s.B);
  prompt_id_ = HostView2<int>("motley::enumerate::host_prompt_id", s.R, s.B);
  token_ = HostView4<int>("motley::enumerate::host_token", s.R, s.B, s.G, s.T);
  length_ = HostView3<int>("motley::enumerate::host_length", s.R, s.B, s.G);
  finish_ = HostView3<int>("motley::enumerate::host_finish", s.R, s.B, s.G);
  class_id_ = HostView3<int>("motley::enumerate::host_class", s.R, s.B, s.G);
  quality_ = HostView3<float>("motley::enumerate::host_quality", s.R, s.B, s.G);
}

template <class Scalar>
typename Enumerator<Scalar>::Slots Enumerator<Scalar>::slots_of(const std::vector<Walk>& walks,
                                                                Strings Walk::*which) const {
  Slots slots(static_cast<std::size_t>(buffer_.shape.R));
  for (std::size_t w = 0; w < walks.size(); ++w) {
    const std::size_t n = (walks[w].*which).mass.size();
    for (std::size_t first = 0; first < n; first += kStrings)
      slots[static_cast<std::size_t>(walks[w].r)].push_back(
          {w, first, static_cast<int>(std::min<std::size_t>(kStrings, n - first))});
  }
  return slots;
}

template <class Scalar>
std::size_t Enumerator<Scalar>::rounds_of(const Slots& slots) const {
  std::size_t most = 0;
  for (const auto& of_replica : slots) most = std::max(most, of_replica.size());
  const auto B = static_cast<std::size_t>(buffer_.shape.B);
  return (most + B - 1) / B;
}

/// Calls f(r, b, slot) for the slots of a round.
template <class Scalar>
template <class F>
void Enumerator<Scalar>::for_each_loaded(const Slots& slots, std::size_t round, const F& f) const {
  const auto B = static_cast<std::size_t>(buffer_.shape.B);
  for (std::size_t r = 0; r < slots.size(); ++r)
    for (std::size_t b = 0; b < B && round * B + b < slots[r].size(); ++b)
      f(static_cast<int>(r), static_cast<int>(b), slots[r][round * B + b]);
}

/// Puts the strings of a round into the buffer. \param counted what `length` says of each
template <class Scalar>
void Enumerator<Scalar>::load(const Exec& exec, const std::vector<Walk>& walks,
                              Strings Walk::*which, const Slots& slots, std::size_t round,
                              int length, int counted) {
  const int first_prompt = task_.prompts().num_train;
  Kokkos::deep_copy(prompt_, kPad);
  Kokkos::deep_copy(prompt_length_, 0);
  Kokkos::deep_copy(prompt_id_, first_prompt);
  Kokkos::deep_copy(token_, kPad);
  Kokkos::deep_copy(length_, 0);
  Kokkos::deep_copy(finish_, static_cast<int>(Finish::eos));
  for_each_loaded(slots, round, [&](int r, int b, const Slot& slot) {
    const Walk& walk = walks[slot.walk];
    const int id = first_prompt + walk.q;
    prompt_id_(r, b) = id;
    prompt_length_(r, b) = prompt_lengths_(r, id);
    for (int p = 0; p < prompt_lengths_(r, id); ++p) prompt_(r, b, p) = prompt_table_(r, id, p);
    for (int g = 0; g < slot.count; ++g) {
      length_(r, b, g) = counted;
      const std::size_t row =
          (slot.first + static_cast<std::size_t>(g)) * static_cast<std::size_t>(length);
      for (int t = 0; t < length; ++t)
        token_(r, b, g, t) = (walk.*which).token[row + static_cast<std::size_t>(t)];
      if (length > 0 && token_(r, b, g, length - 1) != kEos)
        finish_(r, b, g) = static_cast<int>(Finish::length);
    }
  });
  Kokkos::deep_copy(exec, buffer_.prompt, prompt_);
  Kokkos::deep_copy(exec, buffer_.prompt_length, prompt_length_);
  Kokkos::deep_copy(exec, buffer_.prompt_id, prompt_id_);
  Kokkos::deep_copy(exec, buffer_.token, token_);
  Kokkos::deep_copy(exec, buffer_.length, length_);
  Kokkos::deep_copy(exec, buffer_.finish, finish_);
}

template <class Scalar>
void Enumerator<Scalar>::Strings::add(const int* first, int length, double p) {
  token.insert(token.end(), first, first + length);
  mass.push_back(p);
}

/// Drops all but the `most` heaviest; the others stay in their order.
template <class Scalar>
void Enumerator<Scalar>::Strings::keep_heaviest(std::size_t most, int length) {
  if (mass.size() <= most) return;
  std::size_t to = 0;
  for (const std::size_t from : heaviest(mass, most)) {
    mass[to] = mass[from];
    std::copy_n(token.begin() + static_cast<std::ptrdiff_t>(from) * length, length,
                token.begin() + static_cast<std::ptrdiff_t>(to) * length);
    ++to;
  }
  mass.resize(most);
  token.resize(most * static_cast<std::size_t>(length));
}

/// Prefixes of t tokens of one prompt that are followed at most.
template <class Scalar>
std::size_t Enumerator<Scalar>::prefixes_at(int t) const {
  // Not more than 1/m of them are m probable.
  const double by_mass = limits_.min_mass > 0 ? std::floor(1 / limits_.min_mass) + 1 : 1e9;
  const auto most = static_cast<std::size_t>(std::min<double>(limits_.prefixes, by_mass));
  std::size_t n = 1;
  for (int i = 0; i < t && n < most; ++i) n *= static_cast<std::size_t>(net_.vocab);
  return std::min(n, most);
}

template <class Scalar>
std::size_t Enumerator<Scalar>::most_bytes() const {
  const auto of_strings = [](std::size_t n, int length) {
    return n * (sizeof(double) + static_cast<std::size_t>(length) * sizeof(int));
  };
  std::size_t of_walk = 0, order = 0;
  for (int t = 0; t < T_; ++t) {
    const std::size_t longer = t + 1 < T_ ? 2 * prefixes_at(t + 1) : 0;
    of_walk = std::max(of_walk, of_strings(prefixes_at(t), t) + of_strings(longer, t + 1));
    order = std::max(order, longer * sizeof(std::size_t));  // of the masses, one prompt at a time
  }
  of_walk += 2 * of_strings(kEnded, T_);  // a vector that grows is there twice
  return static_cast<std::size_t>(buffer_.shape.R) *
             static_cast<std::size_t>(std::min(kRows, prompts_)) * of_walk +
         order;
}

/// From the prefixes of t tokens: those of t + 1, and the completions that end there, scored.
template <class Scalar>
void Enumerator<Scalar>::expand(const Exec& exec, const Weights<Scalar>& weights, int t,
                                std::vector<Walk>& walks) {
  const Slots slots = slots_of(walks, &Walk::open);
  // Twice what goes on, so that the lighter half is dropped now and then.
  const std::size_t most = prefixes_at(t + 1);
  for (Walk& walk : walks) {
    walk.longer.mass.reserve(
        std::min(2 * most, walk.open.mass.size() * static_cast<std::size_t>(net_.vocab)));
    walk.longer.token.reserve(walk.longer.mass.capacity() * static_cast<std::size_t>(t + 1));
  }
  std::vector<int> text(static_cast<std::size_t>(t + 1));
  for (std::size_t round = 0; round < rounds_of(slots); ++round) {
    load(exec, walks, &Walk::open, slots, round, t, t + 1);
    next_token_logits<Scalar>(exec, net_, weights, workspace_, inv_temperature_, buffer_, logits_);
    Kokkos::deep_copy(exec, host_logits_, logits_);
    exec.fence("motley::enumerate::expand");
    for_each_loaded(slots, round, [&](int r, int b, const Slot& slot) {
      Walk& walk = walks[slot.walk];
      for (int g = 0; g < slot.count; ++g) {
        const std::size_t parent = slot.first + static_cast<std::size_t>(g);
        std::copy_n(walk.open.token.begin() + static_cast<std::ptrdiff_t>(parent) * t, t,
                    text.begin());
        const auto p = probabilities(&host_logits_(r, b, g, 0), net_.vocab,
                                     greedy_[static_cast<std::size_t>(r)]);
        for (int v = 0; v < net_.vocab; ++v) {
          const double mass = walk.open.mass[parent] * p[static_cast<std::size_t>(v)];
          MOTLEY_REQUIRE(std::isfinite(mass), ErrorKind::numeric,
                         "enumeration: a logit is not finite, replica ", r, ", held-out prompt ",
                         walk.q, ", position ", t);
          if (mass == 0.0 || mass < limits_.min_mass) continue;
          text.back() = v;
          if (v == kEos || t + 1 == T_) {
            walk.ended.add(text.data(), t + 1, mass);
            if (walk.ended.mass.size() == kEnded) score(exec, t + 1, walks);
          } else {
            walk.longer.add(text.data(), t + 1, mass);
            if (walk.longer.mass.size() == 2 * most) walk.longer.keep_heaviest(most, t + 1);
          }
        }
      }
    });
  }
  score(exec, t + 1, walks);
  for (Walk& walk : walks) {
    walk.longer.keep_heaviest(most, t + 1);
    walk.open = {};
    walk.open = walk.longer;  // no larger than it must be
    walk.longer = {};
  }
}

/// Quality and class of the completions that have just ended, added to the sums of their prompt.
template <class Scalar>
void Enumerator<Scalar>::score(const Exec& exec, int length, std::vector<Walk>& walks) {
  const Slots slots = slots_of(walks, &Walk::ended);
  for (std::size_t round = 0; round < rounds_of(slots); ++round) {
    load(exec, walks, &Walk::ended, slots, round, length, length);
    task_.score(exec, buffer_.prompt_id, buffer_.token, buffer_.length, buffer_.finish,
                buffer_.quality, buffer_.class_id);
    Kokkos::deep_copy(exec, quality_, buffer_.quality);
    Kokkos::deep_copy(exec, class_id_, buffer_.class_id);
    exec.fence("motley::enumerate::score");
    for_each_loaded(slots, round, [&](int r, int b, const Slot& slot) {
      Walk& walk = walks[slot.walk];
      for (int g = 0; g < slot.count; ++g) {
        const double p = walk.ended.mass[slot.first + static_cast<std::size_t>(g)];
        const double quality = double(quality_(r, b, g));
        walk.sum.mass += p;
        walk.sum.quality += p * quality;
        walk.sum.tokens += p * length;
        if (quality > task_.pass_above()) walk.sum.correct += p;
        walk.sum.completions += 1;
        if (class_id_(r, b, g) >= 0)
          walk.classes[class_id_(r, b, g)] += p;
        else
          walk.p_ln_p += p * std::log(p);
      }
    });
  }
  for (Walk& walk : walks) walk.ended = {};
}

/// The whole tree of some prompts; their sums are then complete.
template <class Scalar>
void Enumerator<Scalar>::walk_prompts(const Exec& exec, const Weights<Scalar>& weights,
                                      std::vector<Walk>& walks) {
  for (int t = 0; t < T_; ++t) expand(exec, weights, t, walks);
  for (Walk& walk : walks)
    walk.sum.class_entropy = entropy_of(walk.p_ln_p, walk.classes, walk.sum.mass);
}

template <class Scalar>
std::vector<std::vector<Enumeration>> Enumerator<Scalar>::enumerate(
    const Exec& exec, const Weights<Scalar>& weights, const std::vector<double>& temperature) {
  const int R = buffer_.shape.R;
  MOTLEY_REQUIRE(static_cast<int>(temperature.size()) == R, ErrorKind::internal,
                 "enumerate: ", temperature.size(), " temperatures of ", R, " replicas");
  const auto scale = Kokkos::create_mirror(inv_temperature_);
  greedy_.clear();
  for (int r = 0; r < R; ++r) {
    const double at = temperature[static_cast<std::size_t>(r)];
    greedy_.push_back(at <= 0);
    scale(r) = at > 0 ? 1.0 / at : 1.0;
  }
  Kokkos::deep_copy(inv_temperature_, scale);
  std::vector<std::vector<Enumeration>> out(static_cast<std::size_t>(R));
  for (int first = 0; first < prompts_; first += kRows) {
    std::vector<Walk> walks;
    for (int r = 0; r < R; ++r)
      for (int q = first; q < std::min(first + kRows, prompts_); ++q) {
        Walk& walk = walks.emplace_back();
        walk.r = r;
        walk.q = q;
        walk.open.mass = {1.0};
      }
    walk_prompts(exec, weights, walks);
    for (const Walk& walk : walks) out[static_cast<std::size_t>(walk.r)].push_back(walk.sum);
  }
  return out;
}

template class Enumerator<float>;
template class Enumerator<double>;

}  // namespace motley
