#include "experiments/evaluate.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/eval_metrics.hpp"
#include "experiments/numeric_fault.hpp"

namespace motley {

void load_held_out_prompts(const Exec& exec, const PromptTable& table,
                           const RolloutBuffer& buffer) {
  const View3<int> token = table.token;
  const View2<int> length = table.length;
  const View3<int> prompt = buffer.prompt;
  const View2<int> prompt_length = buffer.prompt_length;
  const View2<int> prompt_id = buffer.prompt_id;
  const int first = table.num_train;
  const int Q = buffer.shape.B;
  const int P = buffer.shape.P;
  Kokkos::parallel_for(
      "motley::evaluate::load_prompts", Kokkos::RangePolicy<Exec>(exec, 0, buffer.shape.R * Q),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / Q;
        const int q = job % Q;
        prompt_id(r, q) = first + q;
        prompt_length(r, q) = length(r, first + q);
        for (int p = 0; p < P; ++p) prompt(r, q, p) = token(r, first + q, p);
      });
}

namespace {

/// Only what an evaluation needs; the fields of later stages stay empty.
RolloutBuffer evaluation_buffer(const Shape& s) {
  RolloutBuffer b;
  b.shape = s;
  b.prompt = View3<int>("motley::evaluate::prompt", s.R, s.B, s.P);
  b.prompt_length = View2<int>("motley::evaluate::prompt_length", s.R, s.B);
  b.prompt_id = View2<int>("motley::evaluate::prompt_id", s.R, s.B);
  b.token = View4<int>("motley::evaluate::token", s.R, s.B, s.G, s.T);
  b.length = View3<int>("motley::evaluate::length", s.R, s.B, s.G);
  b.finish = View3<int>("motley::evaluate::finish", s.R, s.B, s.G);
  b.sampler_log_prob = View4<float>("motley::evaluate::log_prob", s.R, s.B, s.G, s.T);
  b.entropy = View4<float>("motley::evaluate::entropy", s.R, s.B, s.G, s.T);
  b.kept_mass = View4<float>("motley::evaluate::kept_mass", s.R, s.B, s.G, s.T);
  b.quality = View3<float>("motley::evaluate::quality", s.R, s.B, s.G);
  b.class_id = View3<int>("motley::evaluate::class_id", s.R, s.B, s.G);
  return b;
}

}  // namespace

Evaluator::Evaluator(const std::vector<RunConfig>& configs, const Task& task, const Net& net, int T)
    : task_(task), net_(net) {
  const int R = static_cast<int>(configs.size());
  const Shape shape{
      R, task.prompts().num_eval, configs.front().eval.samples, task.max_prompt(), T, net.vocab};
  samples_ = evaluation_buffer(shape);
  workspace_ = make_rollout_workspace<float>(net, R, shape.B, shape.G, shape.P, shape.T);
  sampling_ = View1<SamplingParams>("motley::evaluate::sampling", R);
  seeds_ = View1<std::uint64_t>("motley::evaluate::seed", R);
  status_ = View1<StatusWord>("motley::evaluate::status", R);
  const auto sampling = Kokkos::create_mirror(sampling_);
  const auto seeds = Kokkos::create_mirror(seeds_);
  partition_ = View1<PartitionParams>("motley::evaluate::partition", R);
  const auto partition = Kokkos::create_mirror(partition_);
  for (int r = 0; r < R; ++r) {
    const RunConfig& c = configs[static_cast<std::size_t>(r)];
    sampling(r) = SamplingParams{};
    sampling(r).temperature = c.eval.temperature;
    temperature_.push_back(c.eval.temperature);
    seeds(r) = c.run.seed;
    settings_.push_back({c.eval.k, c.eval.ngram_n, net.vocab, c.run.seed, task_.pass_above()});
    by_classifier_.push_back(c.eval.partition == EvalPartition::classifier);
    keep_.push_back(c.log.eval_samples);
    needs_classifier_ = needs_classifier_ || by_classifier_.back();
    // NoveltyBench's evaluation partition: greedy, against the first member of a class.
    partition(r) = c.partition;
    partition(r).linkage = Linkage::greedy_first;
    partition(r).method =
        by_classifier_.back() ? PartitionMethod::classifier : PartitionMethod::oracle;
  }
  Kokkos::deep_copy(partition_, partition);
  Kokkos::deep_copy(sampling_, sampling);
  Kokkos::deep_copy(seeds_, seeds);
  const EvalConfig& eval = configs.front().eval;
  if (eval.exact)
    enumerator_.emplace(
        net, task, R, T,
        EnumerationLimits{eval.exact_prompts, eval.exact_prefixes, eval.exact_min_mass});
  class_id_ = HostView3<int>("motley::evaluate::host_class", R, shape.B, shape.G);
  length_ = HostView3<int>("motley::evaluate::host_length", R, shape.B, shape.G);
  finish_ = HostView3<int>("motley::evaluate::host_finish", R, shape.B, shape.G);
  quality_ = HostView3<float>("motley::evaluate::host_quality", R, shape.B, shape.G);
  token_ = HostView4<int>("motley::evaluate::host_token", R, shape.B, shape.G, shape.T);
  log_prob_ = HostView4<float>("motley::evaluate::host_log_prob", R, shape.B, shape.G, shape.T);
}

void Evaluator::use_classifier(const PairNet& net, const PairWeights<float>& weights,
                               Symmetrize symmetrize) {
  const Shape& s = samples_.shape;
  pair_net_ = net;
  pair_weights_ = weights;
  symmetrize_ = symmetrize;
  pair_workspace_ = make_pair_workspace<float>(net, s.R, s.B, s.G, false);
  samples_.pair_score = View4<float>("motley::evaluate::pair_score", s.R, s.B, s.G, s.G);
  samples_.num_calls = View2<int>("motley::evaluate::num_calls", s.R, s.B);
  samples_.cluster = View3<int>("motley::evaluate::cluster", s.R, s.B, s.G);
  samples_.cluster_size = View3<int>("motley::evaluate::cluster_size", s.R, s.B, s.G);
  samples_.num_clusters = View2<int>("motley::evaluate::num_clusters", s.R, s.B);
  cluster_ = HostView3<int>("motley::evaluate::host_cluster", s.R, s.B, s.G);
}

void Evaluator::classify(const Exec& exec) {
  MOTLEY_REQUIRE(cluster_.size() > 0, ErrorKind::internal,
                 "evaluation by the pair classifier without one");
  RolloutBuffer& x = samples_;
  rule_pair_scores(exec, partition_, x.token, x.length, x.class_id, x.pair_score, x.num_calls);
  pair_scores<float>(exec, pair_net_, pair_weights_, pair_workspace_, symmetrize_, partition_,
                     x.token, x.length, x.pair_score, x.num_calls, status_);
  partition(exec, partition_, x.pair_score, ConstView3<int>(), x.cluster, x.cluster_size,
            x.num_clusters);
  Kokkos::deep_copy(exec, cluster_, x.cluster);
}

std::vector<EvalRecord> Evaluator::evaluate(const Exec& exec, const Weights<float>& weights,
                                            std::int64_t step) {
  RolloutBuffer& x = samples_;
  load_held_out_prompts(exec, task_.prompts(), x);
  Kokkos::deep_copy(exec, status_, kStatusClear);
  rollout<float>(exec, net_, weights, workspace_,
                 {sampling_, seeds_, Stream::eval, static_cast<std::uint32_t>(step)}, x.prompt,
                 x.prompt_length, ConstView2<int>(), rollout_output(x), status_);
  task_.score(exec, x.prompt_id, x.token, x.length, x.finish, x.quality, x.class_id);
  if (needs_classifier_) classify(exec);
  Kokkos::deep_copy(exec, token_, x.token);
  Kokkos::deep_copy(exec, log_prob_, x.sampler_log_prob);
  Kokkos::deep_copy(exec, class_id_, x.class_id);
  Kokkos::deep_copy(exec, length_, x.length);
  Kokkos::deep_copy(exec, finish_, x.finish);
  Kokkos::deep_copy(exec, quality_, x.quality);
  const auto status = Kokkos::create_mirror(status_);
  Kokkos::deep_copy(exec, status, status_);
  exec.fence("motley::evaluate");
  std::vector<ReplicaFault> faults;
  for (std::size_t r = 0; r < status.extent(0); ++r)
    if (status(r) != kStatusClear) faults.push_back({r, status(r)});
  if (!faults.empty()) throw NumericFault(step, std::move(faults));
  std::vector<EvalRecord> records;
  for (int r = 0; r < x.shape.R; ++r) records.push_back(summarise(r, step));
  if (!enumerator_) return records;
  const auto exact = enumerator_->enumerate(exec, weights, temperature_);
  for (std::size_t r = 0; r < records.size(); ++r) add_exact(exact[r], records[r]);
  return records;
}

void Evaluator::add_exact(const std::vector<Enumeration>& prompts, EvalRecord& e) const {
  const auto Q = static_cast<std::size_t>(samples_.shape.B);
  for (auto* column : {&e.exact_pass_at_1, &e.exact_class_entropy, &e.exact_quality, &e.exact_mass})
    column->assign(Q, std::nan(""));
  const std::vector<int>& k = settings_.front().k;
  e.exact_pass_at_k.assign(k.size(), 0.0);
  for (std::size_t q = 0; q < prompts.size(); ++q) {
    const Enumeration& x = prompts[q];
    e.exact_pass_at_1[q] = x.correct;
    e.exact_class_entropy[q] = x.class_entropy;
    e.exact_quality[q] = x.quality;
    e.exact_mass[q] = x.mass;
    // A sum of rounded probabilities may end an ulp above 1.
    for (std::size_t i = 0; i < k.size(); ++i)
      e.exact_pass_at_k[i] +=
          exact_pass_at_k(std::min(1.0, x.correct), k[i]) / static_cast<double>(prompts.size());
  }
}

PromptSamples Evaluator::samples_of(int r, int q) const {
  const int M = samples_.shape.G;
  PromptSamples x;
  std::vector<int> class_id;
  for (int m = 0; m < M; ++m) {
    const int length = length_(r, q, m);
    const int* token = &token_(r, q, m, 0);
    x.token.emplace_back(token, token + length);
    double log_prob = 0;
    for (int t = 0; t < length; ++t) log_prob += double(log_prob_(r, q, m, t));
    x.log_prob.push_back(log_prob);
    x.quality.push_back(double(quality_(r, q, m)));
    x.truncated.push_back(finish_(r, q, m) == static_cast<int>(Finish::length));
    class_id.push_back(class_id_(r, q, m));
    if (by_classifier_[static_cast<std::size_t>(r)]) x.cluster.push_back(cluster_(r, q, m));
  }
  if (x.cluster.empty()) x.cluster = canonical_classes(class_id);
  return x;
}

EvalRecord Evaluator::summarise(int r, std::int64_t step) const {
  const EvalSettings& settings = settings_[static_cast<std::size_t>(r)];
  const int Q = samples_.shape.B;
  EvalRecord e;
  e.step = step;
  for (auto* column : {&e.pass_at_k, &e.maj_at_k, &e.distinct_at_k, &e.coverage_at_k,
                       &e.utility_at_k, &e.maxg_at_k})
    column->assign(settings.k.size(), 0.0);
  for (int q = 0; q < Q; ++q) {
    const PromptSamples x = samples_of(r, q);
    add_prompt(settings, x, q, Q, e);
    if (!keep_[static_cast<std::size_t>(r)]) continue;
    e.cluster.insert(e.cluster.end(), x.cluster.begin(), x.cluster.end());
    for (int m = 0; m < samples_.shape.G; ++m) {
      e.quality.push_back(quality_(r, q, m));
      e.class_id.push_back(class_id_(r, q, m));
      for (int t = 0; t < samples_.shape.T; ++t)
        e.token.push_back(t < length_(r, q, m) ? token_(r, q, m, t) : kPad);
    }
  }
  return e;
}

}  // namespace motley
