#include "experiments/counterfactual.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/base/error.hpp"
#include "core/base/rng.hpp"
#include "experiments/numeric_fault.hpp"
#include "experiments/options.hpp"
#include "experiments/step_stages.hpp"
#include "experiments/trainer.hpp"
#include "io/checkpoint.hpp"

namespace motley {

namespace {

/// Copies `values`, one replica's array, into every replica of a view.
template <class View, class T>
void put(const View& view, const std::vector<T>& values, const std::string& what) {
  const std::size_t R = view.extent(0), one = view.span() / std::max<std::size_t>(1, R);
  MOTLEY_REQUIRE(values.size() == one, ErrorKind::input, what, ": the file holds ", values.size(),
                 " values of a step, expected ", one);
  const auto host = Kokkos::create_mirror(view);
  for (std::size_t r = 0; r < R; ++r)
    std::copy(values.begin(), values.end(), host.data() + r * one);
  Kokkos::deep_copy(view, host);
}

template <class T, class View>
void get(const View& view, std::vector<T>& out) {
  const auto host = Kokkos::create_mirror(view);
  Kokkos::deep_copy(host, view);
  out.assign(host.data(), host.data() + host.span());
}

/// Overwrites replica r of `out`, [R,...], by one replica's values.
template <class T>
void overwrite(std::vector<T>& out, std::size_t r, const std::vector<T>& values) {
  std::copy(values.begin(), values.end(), out.begin() + static_cast<long>(r * values.size()));
}

/// Refuses settings that have shaped the rollouts: a replay cannot change them.
void require_same_rollouts(const RunConfig& own, const Variant& variant) {
  static const char* const kFree[] = {
      "run.method",  "run.name",         "partition.", "diversity.", "unlikeliness.", "ips.",
      "uniqueness.", "outcome_bonus.",   "mmr.",       "gapo.",      "coverage.",     "set_rl.",
      "logdet.",     "outcome_entropy.", "advantage.", "loss.agg",   "log."};
  const auto left = list_options(own), right = list_options(variant.config);
  const std::vector<std::string> free(std::begin(kFree), std::end(kFree));
  for (std::size_t i = 0; i < left.size(); ++i) {
    const bool allowed = belongs_to_method(left[i].key) ||
                         std::any_of(free.begin(), free.end(), [&](const std::string& prefix) {
                           return left[i].key.rfind(prefix, 0) == 0;
                         });
    MOTLEY_REQUIRE(allowed || left[i].text == right[i].text, ErrorKind::config, variant.name, ": ",
                   left[i].key, " has shaped the logged rollouts, got ", right[i].text,
                   ", the run has ", left[i].text, "; allowed: partition.*, diversity.* and ",
                   "the sections of its methods, advantage.*, loss.agg");
  }
}

}  // namespace

Counterfactual::Counterfactual(const std::string& file, std::vector<Variant> variants,
                               const Message& say)
    : reader_(file),
      file_(file),
      own_(config_from_ini(reader_.ini(), file)),
      variants_(std::move(variants)),
      steps_(reader_.rollout_steps()),
      say_(say) {
  MOTLEY_REQUIRE(!steps_.empty(), ErrorKind::input, file,
                 ": no rollouts are logged (log.rollouts of the run is ", own_.log.rollouts, ")");
  MOTLEY_REQUIRE(
      own_.loss.kl_coef == 0 || own_.loss.kl_placement == KlPlacement::loss, ErrorKind::config,
      file,
      ": kl.placement = reward enters every reward by log-probabilities of the reference, "
      "which the file does not hold, got kl.coef = ",
      own_.loss.kl_coef, "; allowed: runs with kl.placement = loss");
  std::vector<RunConfig> configs;
  for (Variant& v : variants_) {
    if (v.logged) v.config = own_;
    require_same_rollouts(own_, v);
    MOTLEY_REQUIRE(
        own_.log.log_prob != "none" || v.logged || !needs_log_prob(v.config.diversity.shaping),
        ErrorKind::config, v.name, ": diversity.shaping = ", name_of(v.config.diversity.shaping),
        " reads log-probabilities, which the run did not log (log.log_prob = none); ",
        "allowed: other shapings, or a run with log.log_prob = f32");
    MOTLEY_REQUIRE(
        own_.log.rollouts == "all" || v.logged || !v.config.partition.across_steps,
        ErrorKind::config, v.name,
        ": partition.across_steps counts the completions of every step, and the run has ",
        "log.rollouts = ", own_.log.rollouts, "; allowed: a run with log.rollouts = all");
    MOTLEY_REQUIRE(v.logged || !clusters_embeddings(v.config.partition.method) ||
                       v.config.partition.embedding != EmbeddingKind::policy,
                   ErrorKind::config, v.name,
                   ": partition.embedding = policy reads the states of the policy of every step, ",
                   "which the file does not hold; allowed: classifier, ngram");
    // The policy term alone is compared: it is what the advantages act on.
    v.config.loss.kl_coef = 0;
    v.config.loss.entropy_coef = 0;
    configs.push_back(v.config);
    // What the file says needs no classifier.
    if (v.logged) configs.back().partition = {.method = PartitionMethod::exact};
  }
  task_ = make_task(own_.task, std::vector<std::uint64_t>(configs.size(), own_.base_seed()));
  state_ = make_training_state(configs, *task_);
  if (state_.any_classifier) load_classifiers();
}

Counterfactual::~Counterfactual() = default;

void Counterfactual::load_classifiers() {
  if (bases_.empty()) bases_ = obtain_bases({own_}, say_);
  const auto& params = state_.classifier_weights.encoder.params;
  put(params, bases_.front().classifier, bases_.front().file + ": classifier");
  pack_pair_weights(exec_, state_.classifier.net, state_.classifier_weights);
}

void Counterfactual::load_rollouts(std::int64_t step) {
  logged_ = reader_.rollouts(step);
  step_ = step;
  RolloutBuffer& x = state_.buffer;
  const std::string where = concat(file_, ": step ", step);
  put(x.prompt_id, logged_.prompt_id, where + ", prompt_id");
  put(x.token, logged_.token, where + ", token");
  put(x.length, logged_.length, where + ", length");
  put(x.finish, logged_.finish, where + ", finish");
  put(x.quality, logged_.quality, where + ", quality");
  put(x.class_id, logged_.class_id, where + ", class_id");
  // NaN marks the end in the file, 0 in the buffer. Without the log the field stays 0: nothing
  // reads it.
  std::vector<float> log_prob = logged_.log_prob;
  log_prob.resize(logged_.token.size(), 0.0f);
  for (float& value : log_prob) value = std::isnan(value) ? 0.0f : value;
  put(x.sampler_log_prob, log_prob, where + ", log_prob");
  if (!logged_.old_log_prob.empty()) log_prob = logged_.old_log_prob;
  for (float& value : log_prob) value = std::isnan(value) ? 0.0f : value;
  put(x.old_log_prob, log_prob, where + ", old_log_prob");

  // Groups that dynamic sampling has given up stay out of the loss.
  std::vector<int> good(logged_.prompt_id.size(), 0);
  const std::size_t G = static_cast<std::size_t>(state_.shape.G);
  for (std::size_t i = 0; i < logged_.used.size(); ++i)
    if (logged_.used[i] != 0) good.at(i / G) = 1;
  put(state_.filter.good, good, where + ", used");
  begin_step(exec_, state_, static_cast<std::uint32_t>(step));

  const PromptColumns prompts = reader_.prompts();
  const auto P = static_cast<std::size_t>(state_.shape.P);
  std::vector<int> token, length;
  for (const int id : logged_.prompt_id) {
    const auto row = static_cast<std::size_t>(id);
    MOTLEY_REQUIRE(row < prompts.length.size(), ErrorKind::input, where, ": prompt_id ", id,
                   " is not in /prompts, which has ", prompts.length.size());
    token.insert(token.end(), prompts.token.begin() + static_cast<long>(row * P),
                 prompts.token.begin() + static_cast<long>((row + 1) * P));
    length.push_back(prompts.length[row]);
  }
  put(x.prompt, token, where + ", prompt");
  put(x.prompt_length, length, where + ", prompt length");
}

const Rewarded& Counterfactual::reward(std::int64_t step) {
  // Classes that live across steps need the steps before this one.
  if (state_.class_table.span() > 0)
    for (const std::int64_t earlier : steps_)
      if (earlier > step_ && earlier < step) reward_step(earlier);
  reward_step(step);
  RolloutBuffer& x = state_.buffer;
  get(x.cluster, rewarded_.cluster);
  get(x.cluster_size, rewarded_.cluster_size);
  get(x.num_clusters, rewarded_.num_clusters);
  get(x.num_calls, rewarded_.num_calls);
  get(x.diversity, rewarded_.diversity);
  get(x.reward, rewarded_.reward);
  get(x.advantage, rewarded_.advantage);
  get(x.pair_score, rewarded_.pair_score);
  restore_logged();
  return rewarded_;
}

void Counterfactual::reward_step(std::int64_t step) {
  load_rollouts(step);
  Kokkos::deep_copy(exec_, state_.status, kStatusClear);
  const auto at = static_cast<std::uint32_t>(step);
  stage_pair_scores(exec_, state_, at);
  stage_partition(exec_, state_, at);
  stage_shape_reward(exec_, state_, at);
  stage_group_advantage(exec_, state_, at);
  require_finite(exec_, state_, at);
}

void Counterfactual::restore_logged() {
  bool any = false;
  for (std::size_t r = 0; r < variants_.size(); ++r) {
    if (!variants_[r].logged) continue;
    any = true;
    overwrite(rewarded_.cluster, r, logged_.cluster);
    overwrite(rewarded_.cluster_size, r, logged_.cluster_size);
    overwrite(rewarded_.num_clusters, r, logged_.num_clusters);
    overwrite(rewarded_.diversity, r, logged_.diversity);
    overwrite(rewarded_.reward, r, logged_.reward);
    overwrite(rewarded_.advantage, r, logged_.advantage);
    std::vector<float> scores = logged_.pair_score;
    scores.resize(rewarded_.pair_score.size() / variants_.size(), 0.0f);
    overwrite(rewarded_.pair_score, r, scores);
  }
  if (!any) return;
  const auto advantage = Kokkos::create_mirror(state_.buffer.advantage);
  std::copy(rewarded_.advantage.begin(), rewarded_.advantage.end(), advantage.data());
  Kokkos::deep_copy(state_.buffer.advantage, advantage);
}

void Counterfactual::permute_embeddings(const std::vector<std::size_t>& order) {
  if (!state_.any_clustering) return;
  const auto& view = state_.cluster_workspace.embedding;
  const std::size_t G = view.extent(2), E = view.extent(3), BG = order.size();
  std::vector<float> old;
  get(view, old);
  const auto host = Kokkos::create_mirror(view);
  for (std::size_t i = 0; i < view.extent(0) * BG; ++i) {
    const std::size_t from = i / G * G + order[i % BG];
    std::copy(&old[from * E], &old[from * E] + E, host.data() + i * E);
  }
  Kokkos::deep_copy(view, host);
}

const std::vector<int>& Counterfactual::permuted_clusters() {
  const Shape& n = state_.shape;
  RolloutBuffer& x = state_.buffer;
  const auto G = static_cast<std::size_t>(n.G);
  // The same order for every variant: they are compared on equal terms.
  std::vector<std::size_t> order(static_cast<std::size_t>(n.B) * G);
  for (std::size_t b = 0; b < static_cast<std::size_t>(n.B); ++b) {
    const auto at = order.begin() + static_cast<long>(b * G);
    std::iota(at, at + static_cast<long>(G), std::size_t{0});
    const DrawKey key{own_.run.seed, Stream::bootstrap, static_cast<std::uint32_t>(step_)};
    for (std::size_t i = G - 1; i > 0; --i)
      std::swap(
          at[static_cast<long>(i)],
          at[static_cast<long>(uniform_below(
              draw_bits(key, static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(i)).x[0],
              static_cast<std::uint32_t>(i + 1)))]);
  }
  const auto host = Kokkos::create_mirror(x.pair_score);
  const auto members = Kokkos::create_mirror(state_.member);
  Kokkos::deep_copy(members, state_.member);
  const std::size_t BG = order.size();
  std::vector<int> member(members.data(), members.data() + members.span());
  for (std::size_t r = 0; r < variants_.size(); ++r)
    for (std::size_t i = 0; i < BG; ++i) {
      const std::size_t first = i / G * G;  // of the group
      const std::size_t row = r * BG + first + order[i];
      members.data()[r * BG + i] = member[row];
      for (std::size_t j = 0; j < G; ++j)
        host.data()[(r * BG + i) * G + j] = rewarded_.pair_score[row * G + order[first + j]];
    }
  Kokkos::deep_copy(x.pair_score, host);
  Kokkos::deep_copy(state_.member, members);
  permute_embeddings(order);
  partition(exec_, state_.replicas.partition, x.pair_score, state_.member, x.cluster,
            x.cluster_size, x.num_clusters);
  if (state_.any_clustering)
    cluster_embeddings(exec_, state_.replicas.partition, static_cast<std::uint32_t>(step_),
                       state_.cluster_workspace, state_.member, x.cluster, x.cluster_size,
                       x.num_clusters);
  std::vector<int> label;
  get(x.cluster, label);
  permuted_.assign(label.size(), -1);
  for (std::size_t r = 0; r < variants_.size(); ++r)
    for (std::size_t i = 0; i < BG; ++i)
      permuted_[r * BG + i / G * G + order[i]] = label[r * BG + i];
  return permuted_;
}

std::vector<std::int64_t> Counterfactual::gradient_steps() const {
  const std::set<std::int64_t> logged(steps_.begin(), steps_.end());
  std::vector<std::int64_t> out;
  // Pairs read the reference and no advantage: nothing to compare.
  if (own_.loss.policy == PolicyLoss::divpo) return out;
  if (logged.count(0) > 0) out.push_back(0);
  for (const CheckpointEntry& entry :
       list_checkpoints(std::filesystem::path(file_).parent_path() / "checkpoints"))
    if (logged.count(entry.step) > 0) out.push_back(entry.step);
  return out;
}

void Counterfactual::load_policy() {
  std::vector<float> policy;
  if (step_ == 0) {
    if (bases_.empty()) bases_ = obtain_bases({own_}, say_);
    policy = bases_.front().policy;
  } else {
    const auto folder = std::filesystem::path(file_).parent_path() / "checkpoints";
    for (const CheckpointEntry& entry : list_checkpoints(folder))
      if (entry.step == step_)
        policy = policy_of_checkpoint(load_checkpoint(entry.path), state_.policy.tensors);
  }
  put(state_.weights.params, policy, concat(file_, ": policy of step ", step_));
  pack_weights(exec_, state_.policy.net, state_.weights);
}

const std::vector<float>& Counterfactual::gradient() {
  load_policy();
  const Shape& n = state_.shape;
  const ReplicaTable& table = state_.replicas;
  token_weights(exec_, table.loss, state_.buffer.length, state_.buffer.used, n.T, 0, n.B,
                state_.token_weight);
  if (state_.any_correction)
    mismatch_weights(exec_, table.mismatch, state_.buffer.old_log_prob,
                     state_.buffer.sampler_log_prob, state_.buffer.length, state_.token_scale);
  policy_gradient<float>(exec_, state_.policy.net, state_.weights, state_.reference,
                         state_.policy_workspace, table.loss, state_.buffer, state_.token_weight,
                         {0, n.B, 1}, state_.gradient, state_.update_sums, state_.ratio_max,
                         state_.status, state_.token_scale);
  require_finite(exec_, state_, static_cast<std::uint32_t>(step_));
  get(state_.gradient, gradient_);
  return gradient_;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += double(a[i]) * double(a[i]);
    bb += double(b[i]) * double(b[i]);
    ab += double(a[i]) * double(b[i]);
  }
  if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
  return ab / std::sqrt(aa * bb);
}

}  // namespace motley
