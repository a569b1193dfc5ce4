#include "experiments/memory_plan.hpp"

#include <algorithm>
#include <cstdio>
#include <malloc.h>
#include <sstream>

#include "core/base/error.hpp"
#include "experiments/allocation_tally.hpp"
#include "experiments/base_policy.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/memory_limit.hpp"
#include "experiments/pretrain.hpp"
#include "experiments/saved_state.hpp"
#include "experiments/trainer.hpp"
#include "io/run_size.hpp"

namespace motley {

namespace {

/// Code and library data that become resident after the start, and the allocator's own losses.
constexpr std::size_t kProgramGrowth = std::size_t{11} << 20;
/// HDF5's own notes of one open run file.
constexpr std::size_t kOpenFile = std::size_t{5} << 19;

/// Which keys make the arrays of an owner smaller.
std::string keys_of(const std::string& owner) {
  if (owner == "evaluate") return "eval.samples, task.eval_prompts";
  if (owner == "enumerate") return "eval.exact_prefixes, eval.exact_prompts";
  if (owner == "record" || owner == "step" || owner == "token_plan" || owner == "filter")
    return "rollout.prompts, rollout.group_size";
  if (owner == "rollout") return "rollout.prompts, rollout.group_size, rollout.max_tokens";
  if (owner == "pairs" || owner == "pair_scores" || owner == "classifier")
    return "rollout.group_size, classifier.width";
  if (owner == "cluster") return "rollout.group_size";
  return "model.width, model.layers";
}

std::string size_text(std::size_t bytes) {
  char text[40];
  std::snprintf(text, sizeof text, bytes < std::size_t{1000000000} ? "%.0f MB" : "%.2f GB",
                static_cast<double>(bytes) / (bytes < std::size_t{1000000000} ? 1e6 : 1e9));
  return text;
}

/// \param least  "" or "at least "
[[noreturn]] void refuse(std::size_t runs, const char* least, std::size_t bytes,
                         const MemoryLimit& limit,
                         const std::map<std::string, std::size_t>& owners) {
  // The keys with what they can make smaller: the three largest, without crumbs.
  std::map<std::string, std::pair<std::size_t, std::string>> by_keys;
  for (const auto& [owner, size] : owners) {
    if (size < bytes / 20) continue;
    auto& [sum, names] = by_keys[keys_of(owner)];
    sum += size;
    names += concat(names.empty() ? "" : " + ", owner);
  }
  std::vector<std::pair<std::size_t, std::string>> largest;
  for (const auto& [keys, of] : by_keys)
    largest.push_back({of.first, concat(keys, " (", of.second, " ", size_text(of.first), ")")});
  std::sort(largest.rbegin(), largest.rend());
  std::string smaller;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, largest.size()); ++i)
    smaller += concat(i > 0 ? "; " : "", largest[i].second);
  throw Error(ErrorKind::refused,
              concat("memory: ", runs == 1 ? "the run" : concat(runs, " runs"), " would take ",
                     least, size_text(bytes), ", got ", size_text(limit.bytes), " free (", limit.of,
                     "); allowed: ", smaller.empty() ? "" : "smaller ", smaller,
                     runs > 1 ? ", or fewer runs packed together (--pack)" : ""));
}

/// Size and owner of an array that was not to be had, from Kokkos' words: "... failed to allocate
/// 125.5 MiB (label="motley::rollout::token") ...".
bool read_failed_array(const std::string& what, std::size_t& bytes, std::string& owner) {
  const std::string words = "failed to allocate ";
  const auto at = what.find(words);
  if (at == std::string::npos) return false;
  std::istringstream in(what.substr(at + words.size()));
  double size = 0;
  std::string unit;
  in >> size >> unit;
  for (const char* step : {"KiB", "MiB", "GiB", "TiB", "PiB"}) {
    if (unit == "B") break;
    size *= 1024;
    if (unit == step) break;
  }
  bytes = static_cast<std::size_t>(size);
  const auto label = what.find("motley::", at);
  owner = label == std::string::npos
              ? "other"
              : what.substr(label + 8, what.find("::", label + 8) - label - 8);
  return true;
}

}  // namespace

std::size_t MemoryPlan::peak() const {
  return program + std::max(pretraining, training + files + bases + checkpoint);
}

namespace {

MemoryPlan plan_by(AllocationTally& tally, const std::vector<RunConfig>& configs) {
  // Large blocks go back to the system when they are freed, so that the process is as large as its
  // arrays.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  const RunConfig& first = configs.front();
  MemoryPlan plan;
  plan.runs = static_cast<int>(configs.size());
  // A later plan of the same process finds that growth behind it.
  static const std::size_t before = resident_memory();
  plan.program = std::max(resident_memory(), before + kProgramGrowth);
  std::vector<std::uint64_t> seeds;
  for (const RunConfig& c : configs) seeds.push_back(c.base_seed());
  // What a task knows is read while the rest is made.
  const auto task = make_task(first.task, seeds);
  tally.ghosts(true);
  if (const std::vector<RunConfig> missing = without_base(configs); !missing.empty()) {
    allocate_pretraining(missing, *task);
    plan.pretraining = tally.peak();
  }
  const TrainingState state = make_training_state(configs, *task);
  {
    Evaluator evaluator(configs, *task, state.policy.net, first.rollout.max_tokens);
    if (evaluator.needs_classifier())
      evaluator.use_classifier(state.classifier.net, state.classifier_weights, state.symmetrize);
    const StepRecord records[] = {StepRecord(state.shape), StepRecord(state.shape)};
    plan.training = tally.live();
    plan.owners = tally.owners();
    const SavedState saved(state);
    plan.checkpoint = tally.live() - plan.training;
    plan.training += evaluator.most_exact_bytes();
    plan.owners["enumerate"] += evaluator.most_exact_bytes();
  }
  for (const RunConfig& config : configs) {
    const RunHeader header = make_run_header(config, *task, 0, BasePolicy{});
    plan.files += kOpenFile + buffered_bytes(header);
    const auto numbers = state.policy.net.size + state.classifier.net.size +
                         (task->verifiable() ? 0 : state.reward_model.net.size);
    plan.bases += sizeof(float) * static_cast<std::size_t>(numbers);
  }
  // Tensors of one replica, the same in the file's order, and the file's bytes.
  const std::size_t arenas = 3 + (state.any_reset ? 1 : 0);
  plan.checkpoint += 3 * arenas * sizeof(float) * static_cast<std::size_t>(state.policy.net.size);
  return plan;
}

}  // namespace

MemoryPlan plan_memory(const std::vector<RunConfig>& configs) {
  AllocationTally tally;
  try {
    return plan_by(tally, configs);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // What is left was freed on the way here; the most there was at once stands for it.
    std::size_t bytes = 0;
    std::string owner;
    if (!read_failed_array(error.what(), bytes, owner)) throw;
    std::map<std::string, std::size_t> owners = tally.most();
    owners[owner] += bytes;
    refuse(configs.size(), "at least ", tally.peak() + bytes, free_memory(), owners);
  }
}

void require_memory(const MemoryPlan& plan) {
  const MemoryLimit limit = free_memory();
  const std::size_t resident = resident_memory();
  const std::size_t wanted = plan.peak() > resident ? plan.peak() - resident : 0;
  if (limit.bytes > 0 && wanted > limit.bytes)
    refuse(static_cast<std::size_t>(plan.runs), "", plan.peak(), limit, plan.owners);
}

}  // namespace motley
