#include "experiments/pair_training.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "experiments/fault_injection.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/numeric_fault.hpp"
#include "models/adamw.hpp"

namespace motley {

namespace {

constexpr int kGroup = 8;  // texts of one prompt: 28 pairs

/// Labelled groups of texts.
struct PairBatch {
  CorpusBatch texts;   // [R,groups * kGroup,S]
  View4<int> token;    // [R,groups,kGroup,T]
  View3<int> length;   // [R,groups,kGroup]
  View4<float> label;  // [R,groups,kGroup,kGroup]
};

PairBatch make_pair_batch(const Task& task, int R, int groups) {
  const int N = groups * kGroup;
  const int T = task.max_completion();
  PairBatch b;
  b.texts.token = View3<int>("motley::pairs::text", R, N, task.max_prompt() + T);
  b.texts.prompt_length = View2<int>("motley::pairs::prompt_length", R, N);
  b.texts.length = View2<int>("motley::pairs::text_length", R, N);
  b.texts.class_id = View2<int>("motley::pairs::class_id", R, N);
  b.token = View4<int>("motley::pairs::token", R, groups, kGroup, T);
  b.length = View3<int>("motley::pairs::length", R, groups, kGroup);
  b.label = View4<float>("motley::pairs::label", R, groups, kGroup, kGroup);
  return b;
}

/// Cuts the completions out of the texts and labels every pair; `noise` of the labels are flipped
/// (the training set's, never the held-out set's).
void label_pairs(const Exec& exec, const PairBatch& batch, const ConstView1<std::uint64_t>& seeds,
                 std::uint32_t step, float noise) {
  const PairBatch b = batch;
  const int R = static_cast<int>(b.token.extent(0));
  const int groups = static_cast<int>(b.token.extent(1));
  const int T = static_cast<int>(b.token.extent(3));
  Kokkos::parallel_for(
      "motley::pairs::label", Kokkos::RangePolicy<Exec>(exec, 0, R * groups),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / groups;
        const int group = job % groups;
        for (int g = 0; g < kGroup; ++g) {
          const int n = group * kGroup + g;
          const int start = b.texts.prompt_length(r, n);
          const int length = b.texts.length(r, n) - start;
          b.length(r, group, g) = length;
          for (int t = 0; t < T; ++t)
            b.token(r, group, g, t) = t < length ? b.texts.token(r, n, start + t) : kPad;
        }
        const DrawKey key{seeds(r), Stream::classifier_data, step};
        for (int i = 0; i < kGroup; ++i)
          for (int j = i + 1; j < kGroup; ++j) {
            bool same =
                b.texts.class_id(r, group * kGroup + i) == b.texts.class_id(r, group * kGroup + j);
            const auto item =
                static_cast<std::uint32_t>((group * kGroup + i) * kGroup + j) | 0x40000000u;
            if (draw_uniform(key, item, 0) < noise) same = !same;
            b.label(r, group, i, j) = same ? 1.0f : 0.0f;
          }
      });
}

View1<CorpusParams> corpus_table(const std::vector<RunConfig>& configs, const Task& task) {
  View1<CorpusParams> table("motley::pairs::corpus", configs.size());
  const auto host = Kokkos::create_mirror(table);
  for (std::size_t r = 0; r < configs.size(); ++r) {
    host(r) = task.classifier_corpus();
    host(r).seed = configs[r].base_seed();
  }
  Kokkos::deep_copy(table, host);
  return table;
}

/// Pairs of distinct texts on held-out prompts, scored as the partition would score them.
PairQuality held_out_quality(const PairBatch& batch, const View4<float>& score, int r,
                             double threshold) {
  const auto scores = Kokkos::create_mirror_view(score);
  const auto label = Kokkos::create_mirror_view(batch.label);
  const auto token = Kokkos::create_mirror_view(batch.token);
  Kokkos::deep_copy(scores, score);
  Kokkos::deep_copy(label, batch.label);
  Kokkos::deep_copy(token, batch.token);
  std::vector<float> s;
  std::vector<int> y;
  for (std::size_t b = 0; b < batch.token.extent(1); ++b)
    for (int i = 0; i < kGroup; ++i)
      for (int j = i + 1; j < kGroup; ++j) {
        // Equal texts are never put to the classifier, so they do not count for it.
        bool equal = true;
        for (std::size_t t = 0; t < token.extent(3); ++t)
          equal = equal && token(r, b, i, t) == token(r, b, j, t);
        if (equal) continue;
        s.push_back(scores(r, b, i, j));
        y.push_back(label(r, b, i, j) > 0.5f ? 1 : 0);
      }
  return pair_quality(s, y, threshold);
}

constexpr int kHeldOutGroups = 72;  // 2016 pairs, those of equal texts included

/// Everything the training and its measure work on.
struct PairTraining {
  PairTraining(const RunConfig& config, const Task& task, int R)
      : layout(make_pair_net_layout(config.classifier, task.vocabulary().size(),
                                    task.max_completion())),
        weights(make_pair_weights<float>(R, layout.net)),
        adam(make_adam_state<float>("classifier_adam", R, layout.net.size)),
        optim("motley::pairs::optim", R),
        lr("motley::pairs::lr", R),
        loss("motley::pairs::loss", R),
        norm("motley::pairs::norm", R),
        active("motley::pairs::active", R),
        status("motley::pairs::status", R),
        gradient("motley::pairs::gradient", R, layout.net.size) {
    const int groups = std::max(1, config.classifier.batch / (kGroup * (kGroup - 1) / 2));
    batch = make_pair_batch(task, R, groups);
    train = make_pair_workspace<float>(layout.net, R, groups, kGroup, true);
    held_out = make_pair_batch(task, R, kHeldOutGroups);
    scoring = make_pair_workspace<float>(layout.net, R, kHeldOutGroups, kGroup, false);
    score = View4<float>("motley::pairs::score", R, kHeldOutGroups, kGroup, kGroup);
    calls = View2<int>("motley::pairs::calls", R, kHeldOutGroups);
    params = View1<PartitionParams>("motley::pairs::params", R);
  }

  PairNetLayout layout;
  PairWeights<float> weights;
  AdamState<float> adam;
  View1<OptimConfig> optim;
  View1<double> lr, loss, norm;
  View1<int> active;
  View1<StatusWord> status;
  View2<float> gradient;
  PairBatch batch, held_out;
  PairWorkspace<float> train, scoring;
  View4<float> score;
  View2<int> calls;
  View1<PartitionParams> params;
};

}  // namespace

void allocate_pair_training(const std::vector<RunConfig>& configs, const Task& task) {
  const PairTraining arrays(configs.front(), task, static_cast<int>(configs.size()));
}

std::vector<std::vector<float>> train_pair_classifiers(const std::vector<RunConfig>& configs,
                                                       const Task& task,
                                                       const View1<std::uint64_t>& seeds,
                                                       std::vector<PairQuality>& quality,
                                                       const Message& say) {
  const Exec exec;
  const RunConfig& first = configs.front();
  const ClassifierConfig& c = first.classifier;
  const int R = static_cast<int>(configs.size());
  const PairTraining a(first, task, R);
  const PairNetLayout& layout = a.layout;
  const PairWeights<float>& weights = a.weights;
  init_pair_weights<float>(exec, layout, seeds, weights);
  pack_pair_weights(exec, layout.net, weights);
  const View1<CorpusParams> corpus = corpus_table(configs, task);
  Kokkos::deep_copy(a.active, 1);
  Kokkos::deep_copy(a.status, kStatusClear);
  const auto host_optim = Kokkos::create_mirror(a.optim);
  for (int r = 0; r < R; ++r) host_optim(r) = OptimConfig{};
  Kokkos::deep_copy(a.optim, host_optim);
  for (int step = 0; step < c.steps; ++step) {
    leave_if_stopped("training the classifier");
    const auto address = static_cast<std::uint32_t>(step);
    const double progress = double(step) / c.steps;
    Kokkos::deep_copy(exec, a.lr,
                      c.lr * std::min(1.0, (step + 1.0) / 20) * 0.5 *
                          (1.1 + 0.9 * std::cos(3.14159265358979 * progress)));
    task.corpus(exec, corpus, Stream::classifier_data, address, false, kGroup, a.batch.texts);
    label_pairs(exec, a.batch, seeds, address, static_cast<float>(c.train_noise));
    pair_gradient<float>(exec, layout.net, weights, a.train, a.batch.token, a.batch.length,
                         a.batch.label, a.gradient, a.loss);
    inject_gradient(exec, FaultTarget::pretrain_classifier, step, a.gradient);
    adamw_step<float>(exec, a.optim, a.lr, a.active, a.gradient, a.adam, weights.encoder.params,
                      a.norm, a.status);
    require_finite_pass(exec, a.status, "pair classifier", seeds, step);
    pack_pair_weights(exec, layout.net, weights);
  }

  task.corpus(exec, corpus, Stream::holdout, 0, true, kGroup, a.held_out.texts);
  label_pairs(exec, a.held_out, seeds, 0, 0.0f);
  const auto host_params = Kokkos::create_mirror(a.params);
  for (int r = 0; r < R; ++r) host_params(r) = PartitionParams{};
  Kokkos::deep_copy(a.params, host_params);
  pair_scores<float>(exec, layout.net, weights, a.scoring, c.symmetrize, a.params, a.held_out.token,
                     a.held_out.length, a.score, a.calls, a.status);
  require_finite_pass(exec, a.status, "pair classifier on held-out pairs", seeds, c.steps);
  quality.clear();
  std::vector<std::vector<float>> out;
  const auto host = Kokkos::create_mirror_view(weights.encoder.params);
  Kokkos::deep_copy(host, weights.encoder.params);
  double lowest = 1.0;
  for (int r = 0; r < R; ++r) {
    quality.push_back(held_out_quality(a.held_out, a.score, r,
                                       configs[static_cast<std::size_t>(r)].partition.threshold));
    lowest = std::min(lowest, quality.back().f1);
    out.emplace_back(&host(r, 0), &host(r, 0) + layout.net.size);
  }
  say(concat("pretrain: ", R, " pair classifier(s) trained, lowest held-out F1 ",
             std::round(lowest * 1e4) / 1e4));
  return out;
}

}  // namespace motley
