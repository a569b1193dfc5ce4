#include "experiments/pretrain.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/interrupt.hpp"
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

class Pretrainer {
 public:
  Pretrainer(const std::vector<RunConfig>& configs, const Message& say)
      : configs_(configs),
        say_(say),
        R_(static_cast<int>(configs.size())),
        first_(configs.front()) {
    std::vector<std::uint64_t> seeds;
    for (const RunConfig& c : configs) seeds.push_back(c.base_seed());
    task_ = make_task(first_.task, seeds);
    TransformerConfig model = first_.model;
    model.vocab = task_->vocabulary().size();
    model.max_positions = task_->max_prompt() + task_->max_completion();
    layout_ = make_net_layout(model, true);
    weights_ = make_weights<float>("pretrain", R_, layout_.net, model.rope_theta);
    seeds_ = View1<std::uint64_t>("motley::pretrain::seed", R_);
    copy_in(seeds_, seeds);
    active_ = View1<int>("motley::pretrain::active", R_);
    lr_ = View1<double>("motley::pretrain::lr", R_);
    loss_ = View1<double>("motley::pretrain::loss", R_);
    norm_ = View1<double>("motley::pretrain::norm", R_);
    status_ = View1<StatusWord>("motley::pretrain::status", R_);
    corpus_ = View1<CorpusParams>("motley::pretrain::corpus", R_);
    optim_ = View1<OptimConfig>("motley::pretrain::optim", R_);
    gradient_ = View2<float>("motley::pretrain::gradient", R_, layout_.net.size);
    const int N = first_.pretrain.batch;
    const int S = task_->max_prompt() + task_->max_completion();
    batch_.token = View3<int>("motley::pretrain::token", R_, N, S);
    batch_.prompt_length = View2<int>("motley::pretrain::prompt_length", R_, N);
    batch_.length = View2<int>("motley::pretrain::length", R_, N);
    batch_.class_id = View2<int>("motley::pretrain::class_id", R_, N);
    workspace_ = make_supervised_workspace<float>(layout_.net, R_, N, S);
    reports_.resize(configs.size());
    for (BaseReport& report : reports_)
      report.families = static_cast<int>(task_->families().size());
  }

  std::vector<BasePolicy> run() {
    if (first_.pretrain.from.empty()) {
      init_weights(exec_, layout_, ConstView1<std::uint64_t>(seeds_),
                   static_cast<std::uint32_t>(Stream::init), weights_.params);
      pack_weights(exec_, layout_.net, weights_);
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
    copy_in(corpus_, all);
  }

  void update(const AdamState<float>& adam, std::uint32_t address, double lr) {
    leave_if_stopped("training the base policy");
    Kokkos::deep_copy(exec_, lr_, lr);
    Kokkos::deep_copy(exec_, status_, kStatusClear);
    task_->corpus(exec_, corpus_, Stream::corpus, address, false, 1, batch_);
    supervised_gradient<float>(exec_, layout_.net, weights_, workspace_, batch_, active_, gradient_,
                               loss_);
    adamw_step<float>(exec_, optim_, lr_, active_, gradient_, adam, weights_.params, norm_,
                      status_);
    pack_weights(exec_, layout_.net, weights_);
  }

  /// The policy of pretrain.from in every replica, and what the gate says of it.
  void take_given() {
    const std::vector<float> policy = adapted_policy(read_policy(first_.pretrain.from), first_,
                                                     task_->vocabulary().token, layout_);
    const auto host = Kokkos::create_mirror(weights_.params);
    for (int r = 0; r < R_; ++r) std::copy(policy.begin(), policy.end(), &host(r, 0));
    Kokkos::deep_copy(weights_.params, host);
    pack_weights(exec_, layout_.net, weights_);
    Kokkos::deep_copy(active_, 1);
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
    const AdamState<float> adam = make_adam_state<float>("pretrain_adam", R_, layout_.net.size);
    std::vector<int> active(configs_.size(), 1);
    copy_in(active_, active);
    for (int step = 0; step < p.steps; ++step) {
      update(adam, static_cast<std::uint32_t>(step), p.lr * std::min(1.0, (step + 1.0) / kWarmup));
      const int done = step + 1;
      if (done % p.gate_every != 0 && done != p.steps) continue;
      exec_.fence("motley::pretrain::gate");
      measure_skill(active);
      const auto loss = Kokkos::create_mirror_view(loss_);
      Kokkos::deep_copy(loss, loss_);
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
      copy_in(active_, active);
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
    const auto quality = on_host(samples_.quality);
    const auto class_id = on_host(samples_.class_id);
    for (int r = 0; r < R_; ++r) {
      if (active[static_cast<std::size_t>(r)] == 0) continue;
      double sum = 0;
      for (int q = 0; q < samples_.shape.B; ++q)
        for (int g = 0; g < samples_.shape.G; ++g)
          sum += by_quality ? double(quality(r, q, g))
                            : (task_->family_of(class_id(r, q, g)) >= 0 ? 1.0 : 0.0);
      reports_[static_cast<std::size_t>(r)].skill = sum / (samples_.shape.B * samples_.shape.G);
    }
  }

  void habit_stage(std::uint32_t stage, double prior) {
    set_corpus(task_->habit_corpus(prior));
    const AdamState<float> adam = make_adam_state<float>("habit_adam", R_, layout_.net.size);
    Kokkos::deep_copy(active_, 1);
    for (int step = 0; step < first_.pretrain.habit_steps; ++step)
      update(adam, stage * kStageStride + static_cast<std::uint32_t>(step),
             first_.pretrain.habit_lr * std::min(1.0, (step + 1.0) / 10));
    exec_.fence("motley::pretrain::habit");
    say_(concat("pretrain: habit stage at rare prior ", prior, " done"));
  }

  /// Rollouts on all held-out prompts, `samples` each; fills quality and class [R,Q,samples].
  void sample_held_out(int samples, int forced_family, std::uint32_t address) {
    const int Q = task_->prompts().num_eval;
    const int T = task_->max_completion();
    const Shape shape{R_, Q, samples, task_->max_prompt(), T, layout_.net.vocab};
    if (!(samples_.shape == shape)) {
      samples_ = RolloutBuffer(shape);
      rollout_workspace_ = make_rollout_workspace<float>(layout_.net, R_, Q, samples, shape.P, T);
    }
    load_held_out_prompts(exec_, task_->prompts(), samples_);
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
    Kokkos::deep_copy(exec_, status_, kStatusClear);
    rollout<float>(exec_, layout_.net, weights_, rollout_workspace_,
                   {sampling, seeds_, Stream::gate, address}, samples_.prompt,
                   samples_.prompt_length, forced, rollout_output(samples_), status_);
    task_->score(exec_, samples_.prompt_id, samples_.token, samples_.length, samples_.finish,
                 samples_.quality, samples_.class_id);
    exec_.fence("motley::pretrain::sample");
  }

  void measure(int family, std::array<double, kMaxFamilies> BaseReport::*where,
               const std::vector<int>* only = nullptr) {
    sample_held_out(first_.pretrain.gate_samples, family, static_cast<std::uint32_t>(family));
    const auto quality = Kokkos::create_mirror_view(samples_.quality);
    Kokkos::deep_copy(quality, samples_.quality);
    for (int r = 0; r < R_; ++r) {
      if (only != nullptr && (*only)[static_cast<std::size_t>(r)] == 0) continue;
      double sum = 0;
      for (int q = 0; q < samples_.shape.B; ++q)
        for (int g = 0; g < samples_.shape.G; ++g) sum += quality(r, q, g);
      (reports_[static_cast<std::size_t>(r)].*where)[static_cast<std::size_t>(family)] =
          sum / (samples_.shape.B * samples_.shape.G);
    }
  }

  void measure_free() {
    sample_held_out(64, -1, 100);
    const auto quality = Kokkos::create_mirror_view(samples_.quality);
    const auto class_id = Kokkos::create_mirror_view(samples_.class_id);
    Kokkos::deep_copy(quality, samples_.quality);
    Kokkos::deep_copy(class_id, samples_.class_id);
    const double n = double(samples_.shape.B) * samples_.shape.G;
    for (int r = 0; r < R_; ++r)
      for (int q = 0; q < samples_.shape.B; ++q)
        for (int g = 0; g < samples_.shape.G; ++g) {
          BaseReport& report = reports_[static_cast<std::size_t>(r)];
          report.quality += quality(r, q, g) / n;
          const int family = task_->family_of(class_id(r, q, g));
          if (family >= 0) report.share[static_cast<std::size_t>(family)] += 1.0 / n;
        }
  }

  std::vector<BasePolicy> collect() {
    std::vector<PairQuality> quality;
    const std::vector<std::vector<float>> classifiers =
        train_pair_classifiers(configs_, *task_, seeds_, quality, say_);
    std::vector<std::vector<float>> rewards(configs_.size());
    if (!task_->verifiable())
      rewards = train_reward_models(configs_, *task_, seeds_, reports_, say_);
    const auto params = Kokkos::create_mirror_view(weights_.params);
    Kokkos::deep_copy(params, weights_.params);
    std::vector<BasePolicy> out(configs_.size());
    for (std::size_t r = 0; r < out.size(); ++r) {
      out[r].key = base_key(configs_[r]);
      out[r].policy.assign(&params(r, 0), &params(r, 0) + layout_.net.size);
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
  NetLayout layout_;
  Weights<float> weights_;
  View1<std::uint64_t> seeds_;
  View1<int> active_;
  View1<double> lr_, loss_, norm_;
  View1<StatusWord> status_;
  View1<CorpusParams> corpus_;
  View1<OptimConfig> optim_;
  View2<float> gradient_;
  CorpusBatch batch_;
  SupervisedWorkspace<float> workspace_;
  RolloutBuffer samples_;
  TileWorkspace<float> rollout_workspace_;
  std::vector<BaseReport> reports_;
};

}  // namespace

std::vector<BasePolicy> train_bases(const std::vector<RunConfig>& configs, const Message& say) {
  return Pretrainer(configs, say).run();
}

}  // namespace motley
