#include "experiments/reward_training.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "experiments/fault_injection.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/numeric_fault.hpp"
#include "models/adamw.hpp"
#include "models/reward_model.hpp"

namespace motley {

namespace {

/// What the steps of Stream::reward_data are for.
enum Address : std::uint32_t { kTraining, kLabels, kHeldOutPairs, kUniformTexts };

constexpr int kMeasured = 2048;  // held-out texts of either kind

CorpusBatch make_texts(const Task& task, int R, int N) {
  CorpusBatch b;
  b.token =
      View3<int>("motley::reward_data::token", R, N, task.max_prompt() + task.max_completion());
  b.prompt_length = View2<int>("motley::reward_data::prompt_length", R, N);
  b.length = View2<int>("motley::reward_data::length", R, N);
  b.class_id = View2<int>("motley::reward_data::class_id", R, N);
  b.utility = View2<float>("motley::reward_data::utility", R, N);
  return b;
}

/// P(first preferred) = sigmoid(difference of utilities / noise).
void label_preferences(const Exec& exec, const ConstView2<float>& utility,
                       const ConstView1<std::uint64_t>& seeds, double noise,
                       const View2<float>& label) {
  const int R = static_cast<int>(label.extent(0));
  const int pairs = static_cast<int>(label.extent(1));
  Kokkos::parallel_for(
      "motley::reward_data::label", Kokkos::RangePolicy<Exec>(exec, 0, R * pairs),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / pairs;
        const int k = job % pairs;
        const double better = double(utility(r, 2 * k)) - double(utility(r, 2 * k + 1));
        double preferred = better > 0 ? 1.0 : (better < 0 ? 0.0 : 0.5);
        if (noise > 0) preferred = 1.0 / (1.0 + Kokkos::exp(-better / noise));
        const DrawKey key{seeds(r), Stream::reward_data, kLabels};
        const double u = double(draw_uniform(key, static_cast<std::uint32_t>(k), 0));
        label(r, k) = u < preferred ? 1.0f : 0.0f;
      });
}

View1<CorpusParams> corpus_table(const std::vector<RunConfig>& configs, CorpusParams params) {
  View1<CorpusParams> table("motley::reward_data::corpus", configs.size());
  const auto host = Kokkos::create_mirror(table);
  for (std::size_t r = 0; r < configs.size(); ++r) {
    params.seed = configs[r].base_seed();
    host(r) = params;
  }
  Kokkos::deep_copy(table, host);
  return table;
}

/// Pearson's correlation; 0 where one side is constant.
double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    mx += x[i] / n;
    my += y[i] / n;
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0.0;
}

/// Everything the training works on.
struct RewardTraining {
  RewardTraining(const RewardModelConfig& c, const Task& task, int R)
      : texts_length(task.max_prompt() + task.max_completion()),
        layout(make_reward_net_layout(c, task.vocabulary().size(), texts_length)),
        weights(make_reward_weights<float>(R, layout.net)),
        texts(make_texts(task, R, 2 * c.pairs)),
        label("motley::reward_data::label", R, c.pairs),
        adam(make_adam_state<float>("reward_adam", R, layout.net.size)),
        optim("motley::reward_data::optim", R),
        lr("motley::reward_data::lr", R),
        loss("motley::reward_data::loss", R),
        norm("motley::reward_data::norm", R),
        active("motley::reward_data::active", R),
        status("motley::reward_data::status", R),
        gradient("motley::reward_data::gradient", R, layout.net.size),
        workspace(make_reward_model_workspace<float>(layout.net, R, 2 * std::min(c.batch, c.pairs),
                                                     texts_length, true)) {}

  int texts_length;
  RewardNetLayout layout;
  Weights<float> weights;
  CorpusBatch texts;
  View2<float> label;
  AdamState<float> adam;
  View1<OptimConfig> optim;
  View1<double> lr, loss, norm;
  View1<int> active;
  View1<StatusWord> status;
  View2<float> gradient;
  RewardModelWorkspace<float> workspace;
};

class RewardTrainer {
 public:
  RewardTrainer(const std::vector<RunConfig>& configs, const Task& task,
                const View1<std::uint64_t>& seeds)
      : configs_(configs),
        task_(task),
        seeds_(seeds),
        c_(configs.front().reward_model),
        R_(static_cast<int>(configs.size())),
        a_(c_, task, R_) {
    init_reward_weights<float>(exec_, a_.layout, seeds, a_.weights);
    pack_weights(exec_, a_.layout.net.encoder, a_.weights);
    task.corpus(exec_, corpus_table(configs, task.preference_corpus()), Stream::reward_data,
                kTraining, false, 2, a_.texts);
    label_preferences(exec_, a_.texts.utility, seeds, c_.noise, a_.label);
  }

  void train(std::vector<BaseReport>& reports) {
    Kokkos::deep_copy(a_.active, 1);
    Kokkos::deep_copy(a_.status, kStatusClear);
    const auto host_optim = Kokkos::create_mirror(a_.optim);
    for (int r = 0; r < R_; ++r) host_optim(r) = OptimConfig{};
    Kokkos::deep_copy(a_.optim, host_optim);
    const int pairs = std::min(c_.batch, c_.pairs);
    for (int step = 0; step < c_.steps; ++step) {
      leave_if_stopped("training the reward model");
      const double progress = double(step) / c_.steps;
      Kokkos::deep_copy(exec_, a_.lr,
                        c_.lr * std::min(1.0, (step + 1.0) / 20) * 0.5 *
                            (1.1 + 0.9 * std::cos(3.14159265358979 * progress)));
      const auto first = static_cast<int>(std::int64_t{step} * pairs % c_.pairs);
      preference_gradient<float>(exec_, a_.layout.net, a_.weights, a_.workspace,
                                 {a_.texts.token, a_.texts.length}, a_.label, first, pairs,
                                 a_.gradient, a_.loss);
      inject_gradient(exec_, FaultTarget::pretrain_reward, step, a_.gradient);
      adamw_step<float>(exec_, a_.optim, a_.lr, a_.active, a_.gradient, a_.adam, a_.weights.params,
                        a_.norm, a_.status);
      require_finite_pass(exec_, a_.status, "reward model", seeds_, step);
      pack_weights(exec_, a_.layout.net.encoder, a_.weights);
    }
    exec_.fence("motley::reward_data::train");
    const auto host = Kokkos::create_mirror_view(a_.loss);
    Kokkos::deep_copy(host, a_.loss);
    for (int r = 0; r < R_; ++r) reports[static_cast<std::size_t>(r)].reward_loss = host(r);
  }

  void measure(std::vector<BaseReport>& reports) {
    const auto own = scores(a_.texts);
    const CorpusBatch pairs = draw(task_.preference_corpus(), kHeldOutPairs, 2);
    const auto pair_score = scores(pairs);
    const CorpusBatch uniform = draw(task_.uniform_corpus(), kUniformTexts, 1);
    const auto uniform_score = scores(uniform);
    const auto pair_utility = Kokkos::create_mirror_view(pairs.utility);
    const auto uniform_utility = Kokkos::create_mirror_view(uniform.utility);
    Kokkos::deep_copy(pair_utility, pairs.utility);
    Kokkos::deep_copy(uniform_utility, uniform.utility);
    for (int r = 0; r < R_; ++r) {
      BaseReport& report = reports[static_cast<std::size_t>(r)];
      double sum = 0, squares = 0;
      const double n = 2.0 * c_.pairs;
      for (int i = 0; i < 2 * c_.pairs; ++i) sum += double(own(r, i));
      for (int i = 0; i < 2 * c_.pairs; ++i) squares += std::pow(double(own(r, i)) - sum / n, 2);
      report.reward_mean = sum / n;
      // An untrained model may be constant; the scale is then of no account.
      report.reward_deviation = squares > 0 ? std::sqrt(squares / n) : 1.0;
      int right = 0, asked = 0;
      for (int k = 0; k < kMeasured / 2; ++k) {
        const float better = pair_utility(r, 2 * k) - pair_utility(r, 2 * k + 1);
        const float said = pair_score(r, 2 * k) - pair_score(r, 2 * k + 1);
        if (better == 0.0f) continue;
        ++asked;
        right += (better > 0.0f) == (said > 0.0f) ? 1 : 0;
      }
      report.reward_accuracy = asked > 0 ? double(right) / asked : 0.0;
      std::vector<double> x, y;
      for (int i = 0; i < kMeasured; ++i) {
        x.push_back(double(uniform_score(r, i)));
        y.push_back(double(uniform_utility(r, i)));
      }
      report.reward_correlation = pearson(x, y);
    }
  }

  std::vector<std::vector<float>> parameters() const {
    const auto host = Kokkos::create_mirror_view(a_.weights.params);
    Kokkos::deep_copy(host, a_.weights.params);
    std::vector<std::vector<float>> out;
    for (int r = 0; r < R_; ++r) out.emplace_back(&host(r, 0), &host(r, 0) + a_.layout.net.size);
    return out;
  }

 private:
  CorpusBatch draw(const CorpusParams& params, std::uint32_t address, int same_prompt) {
    const CorpusBatch batch = make_texts(task_, R_, kMeasured);
    task_.corpus(exec_, corpus_table(configs_, params), Stream::reward_data, address, true,
                 same_prompt, batch);
    return batch;
  }

  HostView2<float> scores(const CorpusBatch& batch) {
    const int N = static_cast<int>(batch.token.extent(1));
    const auto workspace =
        make_reward_model_workspace<float>(a_.layout.net, R_, N, a_.texts_length, false);
    const View2<float> score("motley::reward_data::score", R_, N);
    reward_scores<float>(exec_, a_.layout.net, a_.weights, workspace, {batch.token, batch.length},
                         score);
    exec_.fence("motley::reward_data::scores");
    const HostView2<float> host("motley::reward_data::host_score", R_, N);
    Kokkos::deep_copy(host, score);
    return host;
  }

  Exec exec_;
  const std::vector<RunConfig>& configs_;
  const Task& task_;
  View1<std::uint64_t> seeds_;
  const RewardModelConfig& c_;
  int R_;
  RewardTraining a_;
};

}  // namespace

void allocate_reward_training(const std::vector<RunConfig>& configs, const Task& task) {
  const int R = static_cast<int>(configs.size());
  const RewardTraining arrays(configs.front().reward_model, task, R);
  // While it is measured: held-out texts of both kinds, and the largest batch of scores.
  const int most = std::max(kMeasured, 2 * configs.front().reward_model.pairs);
  const CorpusBatch pairs = make_texts(task, R, kMeasured),
                    uniform = make_texts(task, R, kMeasured);
  const auto workspace =
      make_reward_model_workspace<float>(arrays.layout.net, R, most, arrays.texts_length, false);
}

std::vector<std::vector<float>> train_reward_models(const std::vector<RunConfig>& configs,
                                                    const Task& task,
                                                    const View1<std::uint64_t>& seeds,
                                                    std::vector<BaseReport>& reports,
                                                    const Message& say) {
  RewardTrainer trainer(configs, task, seeds);
  trainer.train(reports);
  trainer.measure(reports);
  double lowest = 1.0;
  for (const BaseReport& report : reports) lowest = std::min(lowest, report.reward_accuracy);
  say(concat("pretrain: ", configs.size(), " reward model(s) trained, lowest held-out accuracy ",
             std::round(lowest * 1e4) / 1e4));
  return trainer.parameters();
}

}  // namespace motley
