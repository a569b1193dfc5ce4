#include <algorithm>

#include "core/base/error.hpp"
#include "core/history.hpp"
#include "experiments/training_step.hpp"

namespace motley {

namespace {

/// [R] view of one field of every configuration.
template <class T, class Get>
View1<T> column(const char* name, const std::vector<RunConfig>& configs, const Get& get) {
  View1<T> view(std::string("motley::replicas::") + name, configs.size());
  auto host = Kokkos::create_mirror(view);
  for (std::size_t r = 0; r < configs.size(); ++r) host(r) = get(configs[r]);
  Kokkos::deep_copy(view, host);
  return view;
}

}  // namespace

ReplicaTable make_replica_table(const std::vector<RunConfig>& configs) {
  ReplicaTable t;
  t.seed = column<std::uint64_t>("seed", configs, [](const RunConfig& c) { return c.run.seed; });
  t.sampling = column<SamplingParams>("sampling", configs, [](const RunConfig& c) {
    SamplingParams p = c.rollout.sampling;
    p.noise_std = c.mismatch.noise_std;
    return p;
  });
  t.partition = column<PartitionParams>("partition", configs, [](const RunConfig& c) {
    PartitionParams p = c.partition;
    p.seed = c.run.seed;
    return p;
  });
  t.shaping = column<ShapingParams>("shaping", configs, [](const RunConfig& c) {
    ShapingParams p = c.diversity;
    p.seed = c.run.seed;
    return p;
  });
  t.advantage =
      column<AdvantageParams>("advantage", configs, [](const RunConfig& c) { return c.advantage; });
  t.loss = column<LossParams>("loss", configs, [](const RunConfig& c) {
    LossParams p = c.loss;
    p.inv_temperature = inverse_temperature(c.rollout.sampling);
    return p;
  });
  t.entropy =
      column<EntropyParams>("entropy", configs, [](const RunConfig& c) { return c.entropy; });
  t.needs_new_log_prob = column<int>("needs_new_log_prob", configs, [](const RunConfig& c) {
    return c.loss.needs_new_log_prob() ? 1 : 0;
  });
  t.optim = column<OptimConfig>("optim", configs, [](const RunConfig& c) { return c.optim; });
  t.lr = column<double>("lr", configs, [](const RunConfig& c) { return c.optim.lr; });
  t.active = column<int>("active", configs, [](const RunConfig&) { return 1; });
  t.has_reference = column<int>("has_reference", configs, [](const RunConfig& c) {
    return c.loss.needs_reference() ? 1 : 0;
  });
  t.reward_model = column<RewardParams>("reward_model", configs, [](const RunConfig& c) {
    return RewardParams{c.reward_model.squash, c.reward_model.format};
  });
  t.temperature = column<TemperatureSchedule>("temperature", configs, temperature_schedule);
  t.filter =
      column<FilterParams>("filter", configs, [](const RunConfig& c) { return c.filter_groups; });
  t.overlong =
      column<OverlongParams>("overlong", configs, [](const RunConfig& c) { return c.overlong; });
  t.mismatch =
      column<MismatchParams>("mismatch", configs, [](const RunConfig& c) { return c.mismatch; });
  return t;
}

namespace {

bool embeds_by_classifier(const PartitionParams& p) {
  return clusters_embeddings(p.method) && p.embedding == EmbeddingKind::classifier;
}

/// Registered methods with every replica's options.
void make_registered_methods(const std::vector<RunConfig>& configs, TrainingState& s) {
  std::vector<PartitionMethod> methods;
  std::vector<Shaping> shapings;
  std::vector<OwnSettings> of_methods, of_shapings;
  for (const RunConfig& c : configs) {
    methods.push_back(c.partition.method);
    shapings.push_back(c.diversity.shaping);
    of_methods.push_back(c.own_partitioner);
    of_shapings.push_back(c.own_shaping);
  }
  s.partitioners = partitioners_in_batch(methods, of_methods, s.shape.B, s.shape.G);
  s.shapings = shapings_in_batch(shapings, of_shapings);
}

/// What partitioning and its memory of earlier steps need.
void make_partition_state(const std::vector<RunConfig>& configs, TrainingState& s) {
  int width = 0;
  CarriedState classes{"partition.classes", {}, {}};
  bool any_history = false;
  for (const RunConfig& c : configs) {
    const PartitionParams& p = c.partition;
    s.any_classifier = s.any_classifier || p.method == PartitionMethod::classifier ||
                       embeds_by_classifier(p) || c.eval.partition == EvalPartition::classifier;
    MOTLEY_REQUIRE(!embeds_by_classifier(p) || s.classifier.net.form == ClassifierForm::bi_encoder,
                   ErrorKind::config, "partition.embedding: a ", name_of(s.classifier.net.form),
                   " embeds no single completion, got classifier; allowed: ngram, policy, or ",
                   "classifier.form = bi_encoder");
    s.any_judge = s.any_judge || p.method == PartitionMethod::noisy_oracle;
    if (clusters_embeddings(p.method)) {
      const bool by_policy = p.embedding == EmbeddingKind::policy;
      s.any_policy_embedding = s.any_policy_embedding || by_policy;
      width = std::max(width, embeds_by_classifier(p) ? s.classifier.net.width()
                              : by_policy             ? s.policy.net.width
                                                      : kNgramBins);
    }
    classes.kept.push_back(p.across_steps);
    any_history = any_history || p.across_steps;
  }
  const Shape& n = s.shape;
  s.any_clustering = width > 0;
  // The n-gram kernel fills whole bins, whoever is beside it.
  if (s.any_clustering)
    s.cluster_workspace = make_cluster_workspace(n.R, n.B, n.G, std::max(width, kNgramBins));
  if (any_history) {
    classes.values = View2<double>("motley::step::class_table", n.R,
                                   std::size_t(s.task->prompts().num_train) * kHistorySize);
    s.class_table = classes.values;
    s.carried.push_back(classes);
  }
  if (s.any_classifier) {
    s.classifier_weights = make_pair_weights<float>(n.R, s.classifier.net);
    s.pair_workspace = make_pair_workspace<float>(s.classifier.net, n.R, n.B, n.G, false);
  }
}

}  // namespace

TransformerConfig policy_model(const RunConfig& config, const Task& task) {
  TransformerConfig model = config.model;
  model.vocab = task.vocabulary().size();
  model.max_positions =
      task.max_prompt() + std::max(config.rollout.max_tokens, task.max_completion());
  return model;
}

TrainingState make_training_state(const std::vector<RunConfig>& configs, const Task& task) {
  MOTLEY_REQUIRE(!configs.empty(), ErrorKind::internal, "a batch without runs");
  const RunConfig& first = configs.front();
  TrainingState s;
  s.task = &task;
  const int R = static_cast<int>(configs.size());
  s.shape = {R,
             first.rollout.prompts,
             first.rollout.group_size,
             task.max_prompt(),
             first.rollout.max_tokens,
             task.vocabulary().size()};
  s.replicas = make_replica_table(configs);
  s.update = first.update;
  s.agreement_every = first.checkpoint.every_steps;
  s.symmetrize = first.classifier.symmetrize;
  bool exact_kl = false, logdet = false, answers = false;
  int top_k = 0;
  for (const RunConfig& c : configs) {
    s.any_reference = s.any_reference || c.loss.needs_reference();
    s.any_plan = s.any_plan || c.loss.needs_plan();
    s.any_new_log_prob = s.any_new_log_prob || c.loss.needs_new_log_prob();
    s.any_reset = s.any_reset || moves_reference(c.loss);
    s.any_schedule = s.any_schedule || c.rollout.temperature_schedule != "constant";
    s.any_filter = s.any_filter || c.filter_groups.metric != FilterMetric::none;
    s.any_noise = s.any_noise || c.mismatch.noise_std > 0;
    s.any_correction = s.any_correction || c.mismatch.correction != MismatchCorrection::none;
    logdet = logdet || c.diversity.shaping == Shaping::logdet;
    s.any_signed_product = s.any_signed_product || (is_product(c.diversity.shaping) &&
                                                    c.diversity.reward_bias == RewardBias::none);
    exact_kl = exact_kl || c.loss.exact_kl();
    answers = answers || (adds_bonus(c.diversity.shaping) && !c.diversity.bonus_on_answer);
    if (c.loss.policy == PolicyLoss::simko) top_k = std::max(top_k, c.loss.simko_top_k);
  }

  const TransformerConfig model = policy_model(first, task);
  s.policy = make_net_layout(model, true);
  const Net& net = s.policy.net;
  s.weights = make_weights<float>("policy", R, net, model.rope_theta);
  if (s.any_reference) s.reference = make_weights<float>("reference", R, net, model.rope_theta);
  s.adam = make_adam_state<float>("adam", R, net.size);
  s.classifier = make_pair_net_layout(first.classifier, s.shape.V, s.shape.T);
  make_partition_state(configs, s);
  make_registered_methods(configs, s);

  if (!task.verifiable()) {
    const int S = model.max_positions;
    const int texts = s.shape.B * s.shape.G;
    s.reward_model = make_reward_net_layout(first.reward_model, s.shape.V, S);
    s.reward_model_weights = make_reward_weights<float>(R, s.reward_model.net);
    s.reward_model_workspace =
        make_reward_model_workspace<float>(s.reward_model.net, R, texts, S, false);
    s.reward_texts = {View3<int>("motley::step::reward_token", R, texts, S),
                      View2<int>("motley::step::reward_length", R, texts)};
    s.reward_score = View2<float>("motley::step::reward_score", R, texts);
  }

  s.buffer = RolloutBuffer(s.shape);
  if (answers) s.buffer.allocate_answers();
  s.rollout_workspace =
      make_rollout_workspace<float>(net, R, s.shape.B, s.shape.G, s.shape.P, s.shape.T);
  s.policy_workspace =
      make_policy_workspace<float>(net, R, s.shape.B, s.shape.G, s.shape.P, s.shape.T, exact_kl);
  s.reward_workspace = make_reward_workspace(R, s.shape.B, s.shape.G, logdet);
  s.negative_products = View1<int>("motley::step::negative_products", R);
  s.member = View3<int>("motley::step::member", R, s.shape.B, s.shape.G);
  s.token_weight = View3<float>("motley::step::token_weight", R, s.shape.B, s.shape.G);
  if (s.any_correction)
    s.token_scale = View4<float>("motley::step::token_scale", R, s.shape.B, s.shape.G, s.shape.T);
  s.filter = make_filter_state(R, s.shape.B);
  s.pending_on_host = HostView1<int>("motley::step::pending", R);
  accept_groups(Exec(), s.filter);
  if (s.any_plan) s.token_plan = make_token_plan<float>(R, s.shape.B, s.shape.G, s.shape.T, top_k);
  if (s.any_new_log_prob && s.update.epochs * s.update.minibatches > 1)
    s.new_log_prob = View4<float>("motley::step::new_log_prob", R, s.shape.B, s.shape.G, s.shape.T);
  s.entropy_coef = View2<double>("motley::step::entropy_coef", R, 1);
  const auto coef = Kokkos::create_mirror(s.entropy_coef);
  for (int r = 0; r < R; ++r)
    coef(r, 0) = initial_entropy_coef(configs[r].entropy, configs[r].loss.entropy_coef);
  Kokkos::deep_copy(s.entropy_coef, coef);
  s.carried.push_back({kEntropyCoef, s.entropy_coef, {}});
  s.gradient = View2<float>("motley::step::gradient", R, net.size);
  s.update_sums = View2<double>("motley::step::update_sums", R, kUpdateSums);
  s.ratio_max = View1<double>("motley::step::ratio_max", R);
  s.grad_norm = View1<double>("motley::step::grad_norm", R);
  s.group_metrics = View3<double>("motley::step::group_metrics", R, s.shape.B, kGroupMetricTerms);
  s.generation_terms =
      View3<double>("motley::step::generation_terms", R, s.shape.B, kGenerationTerms);
  s.metrics = View2<double>("motley::step::metrics", R, kMetrics);
  s.status = View1<StatusWord>("motley::step::status", R);
  s.first_fault = View1<StatusWord>("motley::step::first_fault", R);
  s.fault_on_host = HostView1<StatusWord>("motley::step::fault_on_host", R);
  s.diagnostics = make_diagnostics(configs, s);
  return s;
}

bool any_fault(const Exec& exec, const TrainingState& s) {
  Kokkos::deep_copy(exec, s.fault_on_host, s.first_fault);
  exec.fence("motley::step::faults");
  const StatusWord* first = s.fault_on_host.data();
  return std::any_of(first, first + s.fault_on_host.extent(0),
                     [](StatusWord word) { return word != kStatusClear; });
}

}  // namespace motley
