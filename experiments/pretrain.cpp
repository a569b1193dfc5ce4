#include "experiments/pretrain.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/fault_injection.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/numeric_fault.hpp"
#include "experiments/pair_training.hpp"
#include "experiments/policy_file.hpp"
#include "experiments/reward_training.hpp"
#include "models/adamw.hpp"
#include "models/rollout.hpp"
#include "models/supervised.hpp"

namespace motley {

namespace {

constexpr int kWarmup = 50;
/// Texts of different stages stand at different steps of one stream.
constexpr std::uint32_t kStageStride = 1u << 24;

template <class View>
auto on_host(const View& view) {
  const auto host = Kokkos::create_mirror(view);
  Kokkos::deep_copy(host, view);
  return host;
}

TransformerConfig model_of(const RunConfig& config, const Task& task) {
  TransformerConfig model = config.model;
  model.vocab = task.vocabulary().size();
  model.max_positions = task.max_prompt() + task.max_completion();
  return model;
}

/// Everything the stages work on, but for the optimiser's moments.
struct PretrainArrays {
  PretrainArrays(const RunConfig& config, const Task& task, int R)
      : layout(make_net_layout(model_of(config, task), true)),
        weights(make_weights<float>("pretrain", R, layout.net, config.model.rope_theta)),
        seeds("motley::pretrain::seed", R),
        active("motley::pretrain::active", R),
        lr("motley::pretrain::lr", R),
        loss("motley::pretrain::loss", R),
        norm("motley::pretrain::norm", R),
        status("motley::pretrain::status", R),
        corpus("motley::pretrain::corpus", R),
        optim("motley::pretrain::optim", R),
        gradient("motley::pretrain::gradient", R, layout.net.size) {
    const int N = config.pretrain.batch;
    const int S = task.max_prompt() + task.max_completion();
    batch.token = View3<int>("motley::pretrain::token", R, N, S);
    batch.prompt_length = View2<int>("motley::pretrain::prompt_length", R, N);
    batch.length = View2<int>("motley::pretrain::length", R, N);
    batch.class_id = View2<int>("motley::pretrain::class_id", R, N);
    workspace = make_supervised_workspace<float>(layout.net, R, N, S);
  }

  /// For `count` samples of every held-out prompt.
  void make_samples(const Task& task, int R, int count) {
    const Shape shape{R,
                      task.prompts().num_eval,
                      count,
                      task.max_prompt(),
                      task.max_completion(),
                      layout.net.vocab};
    if (samples.shape == shape) return;
    samples = RolloutBuffer(shape);
    rollout = make_rollout_workspace<float>(layout.net, R, shape.B, count, shape.P, shape.T);
  }

  NetLayout layout;
  Weights<float> weights;
  View1<std::uint64_t> seeds;
  View1<int> active;
  View1<double> lr, loss, norm;
  View1<StatusWord> status;
  View1<CorpusParams> corpus;
  View1<OptimConfig> optim;
  View2<float> gradient;
  CorpusBatch batch;
  SupervisedWorkspace<float> workspace;
  RolloutBuffer samples;
  TileWorkspace<float> rollout;
};

/// Samples of every held-out prompt by which a finished base is described.
constexpr int kFreeSamples = 64;

std::vector<std::uint64_t> base_seeds(const std::vector<RunConfig>& configs) {
  std::vector<std::uint64_t> seeds;
  for (const RunConfig& c : configs) seeds.push_back(c.base_seed());
  return seeds;
}

class Pretrainer {
 public:
  Pretrainer(const std::vector<RunConfig>& configs, const Message& say)
      : configs_(configs),
        say_(say),
        R_(static_cast<int>(configs.size())),
        first_(configs.front()),
        task_(make_task(first_.task, base_seeds(configs))),
        a_(first_, *task_, R_) {
    copy_in(a_.seeds, base_seeds(configs));
    reports_.resize(configs.size());
    for (BaseReport& report : reports_)
      report.families = static_cast<int>(task_->families().size());
  }

  std::vector<BasePolicy> run() {
    if (first_.pretrain.from.empty()) {
      init_weights(exec_, a_.layout, ConstView1<std::uint64_t>(a_.seeds),
                   static_cast<std::uint32_t>(Stream::init), a_.weights.params);
      pack_weights(exec_, a_.layout.net, a_.weights);
      skill_stage();
    } else {
      take_given();
    }
    if (forced() && first_.pretrain.from.empty()) {
      const double prior = first_.task.rare_prior;
      // Two steps down to a very rare prior, as science would have it: the habit first, then its
      // depth.
      habit_stage(1, std::max(prior, 0.02));
      if (prior < 0.02) habit_stage(2, prior);
      for (int f = 0; f < reports_.front().families; ++f) measure(f, &BaseReport::forced_base);
    }
    measure_free();
    return collect();
  }

 private:
  bool forced() const { return task_->gate().measure == GateMeasure::forced; }

  template <class T>
  static void copy_in(const View1<T>& view, const std::vector<T>& values) {
    const auto host = Kokkos::create_mirror(view);
    for (std::size_t i = 0; i < values.size(); ++i) host(i) = values[i];
    Kokkos::deep_copy(view, host);
  }

  void set_corpus(CorpusParams params) {
    std::vector<CorpusParams> all;
    for (const RunConfig& c : configs_) {
      params.seed = c.base_seed();
      all.push_back(params);
    }
    copy_in(a_.corpus, all);
  }

  void update(const AdamState<float>& adam, const char* stage, int step, std::uint32_t address,
              double lr) {
    leave_if_stopped("training the base policy");
    Kokkos::deep_copy(exec_, a_.lr, lr);
    Kokkos::deep_copy(exec_, a_.status, kStatusClear);
    task_->corpus(exec_, a_.corpus, Stream::corpus, address, false, 1, a_.batch);
    supervised_gradient<float>(exec_, a_.layout.net, a_.weights, a_.workspace, a_.batch, a_.active,
                               a_.gradient, a_.loss);
    inject_gradient(exec_, FaultTarget::pretrain, step, a_.gradient);
    adamw_step<float>(exec_, a_.optim, a_.lr, a_.active, a_.gradient, adam, a_.weights.params,
                      a_.norm, a_.status);
    require_finite_pass(exec_, a_.status, stage, a_.seeds, step);
    pack_weights(exec_, a_.layout.net, a_.weights);
  }

  /// The policy of pretrain.from in every replica, and what the gate says of it.
  void take_given() {
    const std::vector<float> policy = adapted_policy(read_policy(first_.pretrain.from), first_,
                                                     task_->vocabulary().token, a_.layout);
    const auto host = Kokkos::create_mirror(a_.weights.params);
    for (int r = 0; r < R_; ++r) std::copy(policy.begin(), policy.end(), &host(r, 0));
    Kokkos::deep_copy(a_.weights.params, host);
    pack_weights(exec_, a_.layout.net, a_.weights);
    Kokkos::deep_copy(a_.active, 1);
    measure_skill(std::vector<int>(configs_.size(), 1));
    for (int r = 0; r < R_; ++r) {
      BaseReport& report = reports_[static_cast<std::size_t>(r)];
      report.passed = passes(report.skill, r);
      report.forced_base = report.forced_skill;
    }
    say_(concat("pretrain: took the policy of ", first_.pretrain.from, ", skill ",
                std::round(reports_.front().skill * 1000) / 1000));
  }

  /// Is a skill between the replica's lowest and the task's upper bound?
  bool passes(double skill, int r) const {
    return skill >= lowest_skill(configs_[static_cast<std::size_t>(r)], *task_) &&
           skill <= task_->gate().high;
  }

  /// Until every replica has passed the gate or the steps are spent. A replica that has passed is
  /// left alone, so the others cannot change it.
  void skill_stage() {
    const PretrainConfig& p = first_.pretrain;
    set_corpus(task_->skill_corpus());
    const AdamState<float> adam = make_adam_state<float>("pretrain_adam", R_, a_.layout.net.size);
    std::vector<int> active(configs_.size(), 1);
    copy_in(a_.active, active);
    for (int step = 0; step < p.steps; ++step) {
      update(adam, "skill stage", step, static_cast<std::uint32_t>(step),
             p.lr * std::min(1.0, (step + 1.0) / kWarmup));
      const int done = step + 1;
      if (done % p.gate_every != 0 && done != p.steps) continue;
      exec_.fence("motley::pretrain::gate");
      measure_skill(active);
      const auto loss = Kokkos::create_mirror_view(a_.loss);
      Kokkos::deep_copy(loss, a_.loss);
      int passed = 0;
      double worst = 1.0;
      for (int r = 0; r < R_; ++r) {
        BaseReport& report = reports_[static_cast<std::size_t>(r)];
        if (active[static_cast<std::size_t>(r)] != 0) {
          report.skill_steps = done;
          report.skill_loss = loss(r);
          const double low = lowest_skill(configs_[static_cast<std::size_t>(r)], *task_);
          report.passed = passes(report.skill, r);
          if (report.skill >= low) active[static_cast<std::size_t>(r)] = 0;
        }
        passed += report.passed ? 1 : 0;
        worst = std::min(worst, report.skill);
      }
      copy_in(a_.active, active);
      say_(concat("pretrain: skill step ", done, "/", p.steps, ", ", passed, " of ", R_,
                  " base policies pass the gate, lowest skill ", std::round(worst * 1000) / 1000));
      if (passed == R_) break;
    }
  }

  /// Fills `skill` of the replicas in `active` with what the task's gate measures.
  void measure_skill(const std::vector<int>& active) {
    if (forced()) {
      for (int f = 0; f < reports_.front().families; ++f)
        measure(f, &BaseReport::forced_skill, &active);
      for (std::size_t r = 0; r < active.size(); ++r) {
        if (active[r] == 0) continue;
        BaseReport& report = reports_[r];
        std::vector<double> rare(report.forced_skill.begin() + 1,
                                 report.forced_skill.begin() + report.families);
        std::sort(rare.rbegin(), rare.rend());
        // Two ways must be mastered: with one alone there is nothing for diversity to keep.
        report.skill = rare.size() > 1 ? rare[1] : rare[0];
      }
      return;
    }
    sample_held_out(first_.pretrain.gate_samples, -1, 0);
    const bool by_quality = task_->gate().measure == GateMeasure::quality;
    const auto quality = on_host(a_.samples.quality);
    const auto class_id = on_host(a_.samples.class_id);
    for (int r = 0; r < R_; ++r) {
      if (active[static_cast<std::size_t>(r)] == 0) continue;
      double sum = 0;
      for (int q = 0; q < a_.samples.shape.B; ++q)
        for (int g = 0; g < a_.samples.shape.G; ++g)
          sum += by_quality ? double(quality(r, q, g))
                            : (task_->family_of(class_id(r, q, g)) >= 0 ? 1.0 : 0.0);
      reports_[static_cast<std::size_t>(r)].skill = sum / (a_.samples.shape.B * a_.samples.shape.G);
    }
  }

  void habit_stage(std::uint32_t stage, double prior) {
    set_corpus(task_->habit_corpus(prior));
    const AdamState<float> adam = make_adam_state<float>("habit_adam", R_, a_.layout.net.size);
    Kokkos::deep_copy(a_.active, 1);
    for (int step = 0; step < first_.pretrain.habit_steps; ++step)
      update(adam, "habit stage", step, stage * kStageStride + static_cast<std::uint32_t>(step),
             first_.pretrain.habit_lr * std::min(1.0, (step + 1.0) / 10));
    exec_.fence("motley::pretrain::habit");
    say_(concat("pretrain: habit stage at rare prior ", prior, " done"));
  }

  /// Rollouts on all held-out prompts, `samples` each; fills quality and class [R,Q,samples].
  void sample_held_out(int samples, int forced_family, std::uint32_t address) {
    const int Q = task_->prompts().num_eval;
    a_.make_samples(*task_, R_, samples);
    load_held_out_prompts(exec_, task_->prompts(), a_.samples);
    View2<int> forced;
    if (forced_family >= 0) {
      const auto prefix = task_->forced_prefixes()[static_cast<std::size_t>(forced_family)];
      forced = View2<int>("motley::pretrain::forced", Q, prefix.size());
      const auto host = Kokkos::create_mirror(forced);
      for (int q = 0; q < Q; ++q)
        for (std::size_t t = 0; t < prefix.size(); ++t) host(q, t) = prefix[t];
      Kokkos::deep_copy(forced, host);
    }
    View1<SamplingParams> sampling("motley::pretrain::sampling", R_);
    copy_in(sampling, std::vector<SamplingParams>(configs_.size()));
    Kokkos::deep_copy(exec_, a_.status, kStatusClear);
    rollout<float>(exec_, a_.layout.net, a_.weights, a_.rollout,
                   {sampling, a_.seeds, Stream::gate, address}, a_.samples.prompt,
                   a_.samples.prompt_length, forced, rollout_output(a_.samples), a_.status);
    task_->score(exec_, a_.samples.prompt_id, a_.samples.token, a_.samples.length,
                 a_.samples.finish, a_.samples.quality, a_.samples.class_id);
    require_finite_pass(exec_, a_.status, "samples of the gate", a_.seeds, address);
  }

  void measure(int family, std::array<double, kMaxFamilies> BaseReport::*where,
               const std::vector<int>* only = nullptr) {
    sample_held_out(first_.pretrain.gate_samples, family, static_cast<std::uint32_t>(family));
    const auto quality = Kokkos::create_mirror_view(a_.samples.quality);
    Kokkos::deep_copy(quality, a_.samples.quality);
    for (int r = 0; r < R_; ++r) {
      if (only != nullptr && (*only)[static_cast<std::size_t>(r)] == 0) continue;
      double sum = 0;
      for (int q = 0; q < a_.samples.shape.B; ++q)
        for (int g = 0; g < a_.samples.shape.G; ++g) sum += quality(r, q, g);
      (reports_[static_cast<std::size_t>(r)].*where)[static_cast<std::size_t>(family)] =
          sum / (a_.samples.shape.B * a_.samples.shape.G);
    }
  }

  void measure_free() {
    sample_held_out(kFreeSamples, -1, 100);
    const auto quality = Kokkos::create_mirror_view(a_.samples.quality);
    const auto class_id = Kokkos::create_mirror_view(a_.samples.class_id);
    Kokkos::deep_copy(quality, a_.samples.quality);
    Kokkos::deep_copy(class_id, a_.samples.class_id);
    const double n = double(a_.samples.shape.B) * a_.samples.shape.G;
    for (int r = 0; r < R_; ++r)
      for (int q = 0; q < a_.samples.shape.B; ++q)
        for (int g = 0; g < a_.samples.shape.G; ++g) {
          BaseReport& report = reports_[static_cast<std::size_t>(r)];
          report.quality += quality(r, q, g) / n;
          const int family = task_->family_of(class_id(r, q, g));
          if (family >= 0) report.share[static_cast<std::size_t>(family)] += 1.0 / n;
        }
  }

  std::vector<BasePolicy> collect() {
    std::vector<PairQuality> quality;
    const std::vector<std::vector<float>> classifiers =
        train_pair_classifiers(configs_, *task_, a_.seeds, quality, say_);
    std::vector<std::vector<float>> rewards(configs_.size());
    if (!task_->verifiable())
      rewards = train_reward_models(configs_, *task_, a_.seeds, reports_, say_);
    const auto params = Kokkos::create_mirror_view(a_.weights.params);
    Kokkos::deep_copy(params, a_.weights.params);
    std::vector<BasePolicy> out(configs_.size());
    for (std::size_t r = 0; r < out.size(); ++r) {
      out[r].key = base_key(configs_[r]);
      out[r].policy.assign(&params(r, 0), &params(r, 0) + a_.layout.net.size);
      out[r].classifier = classifiers[r];
      out[r].reward = rewards[r];
      out[r].report = reports_[r];
      out[r].report.classifier = quality[r];
    }
    return out;
  }

  Exec exec_;
  const std::vector<RunConfig>& configs_;
  const Message& say_;
  int R_;
  const RunConfig& first_;
  std::unique_ptr<Task> task_;
  PretrainArrays a_;
  std::vector<BaseReport> reports_;
};

}  // namespace

void allocate_pretraining(const std::vector<RunConfig>& configs, const Task& task) {
  const RunConfig& first = configs.front();
  const int R = static_cast<int>(configs.size());
  PretrainArrays arrays(first, task, R);
  arrays.make_samples(task, R, first.pretrain.gate_samples);
  {
    const AdamState<float> adam =
        make_adam_state<float>("pretrain_adam", R, arrays.layout.net.size);
  }
  arrays.make_samples(task, R, kFreeSamples);
  allocate_pair_training(configs, task);
  if (!task.verifiable()) allocate_reward_training(configs, task);
}

std::vector<BasePolicy> train_bases(const std::vector<RunConfig>& configs, const Message& say) {
  return Pretrainer(configs, say).run();
}

}  // namespace motley
