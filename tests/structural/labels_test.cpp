/// What Kokkos' profiling tools see of a run: every label says whose it is, and a step allocates
/// nothing once it is warm.

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <Kokkos_Core.hpp>
#include <gtest/gtest.h>

#include "experiments/base_policy.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/options.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"
#include "tests/temporary_folder.hpp"

namespace motley::test {
namespace {

namespace tools = Kokkos::Tools::Experimental;

/// What the callbacks have seen since `watch()`; they are C functions and so need a global.
struct Seen {
  std::set<std::string> kernels, regions, views;
  std::vector<std::string> allocations;  ///< in order
};
Seen seen;

void see_kernel(const char* name, std::uint32_t, std::uint64_t*) {
  seen.kernels.insert(name);
}
void see_region(const char* name) {
  seen.regions.insert(name);
}
void see_allocation(Kokkos_Profiling_SpaceHandle, const char* name, const void*, std::uint64_t) {
  seen.views.insert(name);
  seen.allocations.emplace_back(name);
}
void see_copy(Kokkos_Profiling_SpaceHandle, const char* to, const void*,
              Kokkos_Profiling_SpaceHandle, const char* from, const void*, std::uint64_t) {
  seen.views.insert(to);
  seen.views.insert(from);
}

/// Listens while it lives.
class Watch {
 public:
  Watch() {
    seen = Seen{};
    tools::set_begin_parallel_for_callback(see_kernel);
    tools::set_begin_parallel_reduce_callback(see_kernel);
    tools::set_begin_parallel_scan_callback(see_kernel);
    tools::set_push_region_callback(see_region);
    tools::set_allocate_data_callback(see_allocation);
    tools::set_begin_deep_copy_callback(see_copy);
  }
  ~Watch() {
    tools::set_begin_parallel_for_callback(nullptr);
    tools::set_begin_parallel_reduce_callback(nullptr);
    tools::set_begin_parallel_scan_callback(nullptr);
    tools::set_push_region_callback(nullptr);
    tools::set_allocate_data_callback(nullptr);
    tools::set_begin_deep_copy_callback(nullptr);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
};

bool begins(const std::string& text, const char* with) {
  return text.rfind(with, 0) == 0;
}

/// Kernels Kokkos launches itself for a view: the brackets name the view where it has a name.
bool kokkos_kernel(const std::string& name) {
  if (begins(name, "Kokkos::View::initialization [") || begins(name, "Kokkos::View::destruction ["))
    return name.find("[motley::") != std::string::npos;
  // The last: a large deep copy; `see_copy` has the names of its views.
  return begins(name, "Kokkos::ViewFill") || begins(name, "Kokkos::ViewCopy") ||
         begins(name, "Kokkos::Impl::host_space_deepcopy");
}
/// Views of Kokkos: team scratch of the backend, and a deep copy's scalar or unmanaged side.
bool kokkos_view(const std::string& name) {
  return begins(name, "Kokkos::") || name == "Scalar" || name == "(none)";
}

std::vector<std::string> faults() {
  std::vector<std::string> out;
  for (const std::string& name : seen.kernels)
    if (!begins(name, "motley::") && !kokkos_kernel(name)) out.push_back("kernel " + name);
  for (const std::string& name : seen.regions)
    if (!begins(name, "motley::")) out.push_back("region " + name);
  for (const std::string& name : seen.views)
    if (!begins(name, "motley::") && !kokkos_view(name)) out.push_back("view " + name);
  return out;
}

std::vector<RunConfig> packed_configs(const std::filesystem::path& cache) {
  const std::string common =
      "[run]\nsteps = 3\n[task]\nmodulus = 2\ndigits = 6\ntrain_prompts = 16\neval_prompts = 4\n"
      "[model]\nlayers = 1\nwidth = 16\nheads = 2\nkv_heads = 1\nff = 24\n"
      "[pretrain]\nsteps = 2\ngate_every = 2\nbatch = 4\nhabit_steps = 2\ngate = off\ncache = " +
      cache.string() +
      "\n[classifier]\nlayers = 1\nwidth = 16\nheads = 2\nff = 16\nsteps = 2\nbatch = 8\n"
      "[rollout]\nprompts = 4\ngroup_size = 4\nmax_tokens = 12\n"
      "[eval]\nsamples = 4\nk = 1,4\n[loss]\nepochs = 2\nminibatches = 2\n";
  std::vector<RunConfig> out;
  for (const char* method :
       {"run.method=grpo", "run.method=darling", "run.method=ngram", "run.method=additive",
        "run.method=permuted", "run.method=difficulty", "run.method=ucb_con", "run.method=divpo"}) {
    Faults found;
    std::vector<Layer> layers = {
        read_ini(common, "common", "", found),
        read_overrides(
            {method, std::string(method) == "run.method=divpo" ? "kl.coef=0" : "kl.coef=0.01"},
            found)};
    found.raise();
    out.push_back(configure(layers).config);
  }
  out[1].loss.kl_estimator = KlEstimator::exact;
  out[1].loss.entropy_coef = 0.01;
  out[2].rollout.sampling.top_p = 0.9;
  out[3].partition.linkage = Linkage::soft;
  out[0].filter_groups.metric = FilterMetric::shaped;
  out[0].rollout.temperature_schedule = "cosine:0.5";
  out[3].overlong.max_length = 6;
  out[4].mismatch.noise_std = 0.1;
  out[4].mismatch.correction = MismatchCorrection::tis;
  out[5].loss.kl_placement = KlPlacement::reward;
  out[1].loss.kl_direction = KlDirection::js;
  out[1].loss.kl_reset_every = 1;
  out[2].loss.policy = PolicyLoss::clip_cov;
  out[3].loss.policy = PolicyLoss::gspo;
  out[4].loss.top_entropy_quantile = 0.2;
  out[5].entropy.adaptive = EntropyAdaptive::threshold;
  out[6].loss.policy = PolicyLoss::simko;
  out[6].partition.method = PartitionMethod::kmeans;
  out[6].partition.embedding = EmbeddingKind::policy;
  for (const RunConfig& c : out) EXPECT_TRUE(same_shape(c, out.front()));
  return out;
}

/// The bases' weights into the state, as the trainer loads them.
void load(TrainingState& s, const std::vector<BasePolicy>& bases) {
  const auto params = Kokkos::create_mirror(s.weights.params);
  const auto pairs = Kokkos::create_mirror(s.classifier_weights.encoder.params);
  for (std::size_t r = 0; r < bases.size(); ++r) {
    std::copy(bases[r].policy.begin(), bases[r].policy.end(), &params(r, 0));
    std::copy(bases[r].classifier.begin(), bases[r].classifier.end(), &pairs(r, 0));
  }
  Kokkos::deep_copy(s.weights.params, params);
  Kokkos::deep_copy(s.reference.params, params);
  Kokkos::deep_copy(s.classifier_weights.encoder.params, pairs);
  const Exec exec;
  pack_weights(exec, s.policy.net, s.weights);
  pack_weights(exec, s.policy.net, s.reference);
  pack_pair_weights(exec, s.classifier.net, s.classifier_weights);
}

TEST(KokkosTools, EveryLabelIsMotleysAndAWarmStepAllocatesNothing) {
  const TemporaryFolder folder;
  const std::vector<RunConfig> configs = packed_configs(folder.path());
  const Watch watch;
  const std::vector<BasePolicy> bases = obtain_bases(configs, [](const std::string&) {});
  EXPECT_GT(seen.kernels.size(), 10u);
  std::vector<std::uint64_t> seeds;
  for (const RunConfig& c : configs) seeds.push_back(c.base_seed());
  const auto task = make_task(configs.front().task, seeds);
  TrainingState state = make_training_state(configs, *task);
  load(state, bases);
  StepRecord record(state.shape);
  const Exec exec;
  training_step(exec, state, 0, record);
  seen.allocations.clear();
  seen.regions.clear();
  training_step(exec, state, 1, record);
  training_step(exec, state, 2, record);
  EXPECT_EQ(seen.allocations, std::vector<std::string>{});
  for (const char* stage : {"sample_prompts", "rollout", "score_tokens", "score", "pair_scores",
                            "partition", "shape_reward", "group_advantage", "entropy_control",
                            "token_plan", "policy_gradient", "adamw_step", "collect"})
    EXPECT_EQ(seen.regions.count(std::string("motley::step::") + stage), 1u) << stage;
  Evaluator evaluator(configs, *task, state.policy.net, configs.front().rollout.max_tokens);
  evaluator.evaluate(exec, state.weights, 3);
  EXPECT_EQ(faults(), std::vector<std::string>{});
}

const char* const kForeign = "planted";

void planted_kernel(const View1<double>& x) {
  Kokkos::parallel_for(
      kForeign, Kokkos::RangePolicy<Exec>(0, 3), KOKKOS_LAMBDA(const int i) { x(i) = i; });
}

TEST(KokkosTools, ForeignLabelsAndAllocationsAreSeen) {
  const View1<double> x("motley::test::x", 3);
  const Watch watch;
  EXPECT_EQ(faults(), std::vector<std::string>{});
  planted_kernel(x);
  Kokkos::Profiling::pushRegion("mine");
  Kokkos::Profiling::popRegion();
  const View1<double> y("other", 3);
  EXPECT_EQ(seen.allocations, std::vector<std::string>{"other"});
  const std::vector<std::string> found = faults();
  for (const char* fault :
       {"kernel planted", "kernel Kokkos::View::initialization [other] via memset", "region mine",
        "view other"})
    EXPECT_NE(std::find(found.begin(), found.end(), fault), found.end()) << fault;
}

}  // namespace
}  // namespace motley::test
