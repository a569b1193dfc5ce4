#include "experiments/trainer.hpp"

#include <chrono>
#include <cstring>
#include <fstream>
#include <span>

#include "core/base/error.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/machine.hpp"
#include "experiments/options.hpp"
#include "experiments/training_step.hpp"
#include "io/lock.hpp"
#include "io/log_writer.hpp"
#include "io/run_digest.hpp"
#include "io/run_file.hpp"

namespace motley {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

std::vector<RunConfig> configs_of(const std::vector<RunRequest>& runs) {
  std::vector<RunConfig> out;
  for (const RunRequest& run : runs) out.push_back(run.config);
  return out;
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  MOTLEY_REQUIRE(out.good(), ErrorKind::refused, path.string(), ": cannot be written");
}

/// One batch of runs from its first step to its last.
class Batch {
 public:
  Batch(const std::vector<RunRequest>& runs, std::int64_t start, bool resume,
        const TrainOptions& options)
      : runs_(runs),
        options_(options),
        stop_(options.max_seconds),
        progress_(options.progress),
        start_(start) {
    for (const RunRequest& run : runs) {
      std::error_code failed;
      std::filesystem::create_directories(run.folder, failed);
      MOTLEY_REQUIRE(!failed, ErrorKind::refused, run.folder.string(),
                     ": the output folder cannot be made: ", failed.message());
      locks_.emplace_back(run.folder);
    }
    const std::vector<RunConfig> configs = configs_of(runs);
    bases_ = obtain_bases(configs, [&](const std::string& line) { progress_.say(line); });
    std::vector<std::uint64_t> seeds;
    for (const RunConfig& c : configs) seeds.push_back(c.base_seed());
    task_ = make_task(configs.front().task, seeds);
    state_ = make_training_state(configs, *task_);
    evaluator_.emplace(configs, *task_, state_.policy.net, configs.front().rollout.max_tokens);
    if (evaluator_->needs_classifier())
      evaluator_->use_classifier(state_.classifier.net, state_.classifier_weights,
                                 state_.symmetrize);
    tokens_.assign(runs.size(), 0.0);
    load_weights(resume);
    open_files(resume);
  }

  std::vector<RunOutcome> run() {
    const RunConfig& first = runs_.front().config;
    const std::int64_t steps = first.run.steps;
    const Clock::time_point begin = Clock::now();
    last_checkpoint_ = begin;
    progress_.begin(concat(runs_.size(), runs_.size() == 1 ? " run: " : " runs packed: ",
                           runs_.front().folder.string(), runs_.size() > 1 ? " ..." : "",
                           ", steps ", start_, " to ", steps),
                    start_);
    warn_of_pairs();
    RunStatus status = RunStatus::complete;
    std::int64_t step = start_;
    {
      std::vector<RunFile*> files;
      for (RunFile& file : files_) files.push_back(&file);
      LogWriter writer(files, state_.shape);
      if (start_ == 0) evaluate(writer, 0);
      while (step < steps) {
        train_one(writer, step);
        ++step;
        const bool last = step == steps;
        if (last || (first.eval.every_steps > 0 && step % first.eval.every_steps == 0))
          evaluate(writer, step);
        bool stop = false;
        for (const RunRequest& run : runs_) stop = stop_.should_stop(run.folder) || stop;
        if (last || stop || checkpoint_due(step)) checkpoint(writer, step);
        if (stop && !last) {
          status = RunStatus::interrupted;
          break;
        }
      }
      writer.drain();
    }
    std::vector<RunOutcome> out;
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      files_[r].close(status);
      RunOutcome outcome{status, "", step, seconds_since(begin), tokens_[r]};
      if (status == RunStatus::complete) outcome.digest = digest_of_run(runs_[r].folder / "run.h5");
      out.push_back(outcome);
    }
    progress_.end(std::string(name_of(status)), out.front().digest);
    return out;
  }

 private:
  void load_weights(bool resume) {
    const Exec exec;
    const std::int64_t N = state_.policy.net.size;
    const auto params = Kokkos::create_mirror(state_.weights.params);
    const auto m = Kokkos::create_mirror(state_.adam.m);
    const auto v = Kokkos::create_mirror(state_.adam.v);
    const auto count = Kokkos::create_mirror(state_.adam.step);
    const auto reference = Kokkos::create_mirror(state_.reference.params);
    Kokkos::deep_copy(m, 0.0f);
    Kokkos::deep_copy(v, 0.0f);
    Kokkos::deep_copy(count, 0);
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      MOTLEY_REQUIRE(static_cast<std::int64_t>(bases_[r].policy.size()) == N, ErrorKind::input,
                     bases_[r].file, ": the base policy has ", bases_[r].policy.size(),
                     " numbers, expected ", N);
      std::copy(bases_[r].policy.begin(), bases_[r].policy.end(), &params(r, 0));
      if (state_.any_reference)
        std::copy(bases_[r].policy.begin(), bases_[r].policy.end(), &reference(r, 0));
      if (resume && start_ > 0)
        restore(r, &params(r, 0), &m(r, 0), &v(r, 0), reference.data() + r * reference.stride(0),
                count(r));
    }
    Kokkos::deep_copy(state_.weights.params, params);
    Kokkos::deep_copy(state_.adam.m, m);
    Kokkos::deep_copy(state_.adam.v, v);
    Kokkos::deep_copy(state_.adam.step, count);
    pack_weights(exec, state_.policy.net, state_.weights);
    if (state_.any_reference) {
      Kokkos::deep_copy(state_.reference.params, reference);
      pack_weights(exec, state_.policy.net, state_.reference);
    }
    if (state_.any_classifier) {
      const auto classifier = Kokkos::create_mirror(state_.classifier_weights.encoder.params);
      for (std::size_t r = 0; r < runs_.size(); ++r)
        std::copy(bases_[r].classifier.begin(), bases_[r].classifier.end(), &classifier(r, 0));
      Kokkos::deep_copy(state_.classifier_weights.encoder.params, classifier);
      pack_pair_weights(exec, state_.classifier.net, state_.classifier_weights);
    }
    if (!task_->verifiable()) load_reward_models(exec);
    exec.fence("motley::train::load_weights");
  }

  void load_reward_models(const Exec& exec) {
    const auto weights = Kokkos::create_mirror(state_.reward_model_weights.params);
    const auto params = Kokkos::create_mirror(state_.replicas.reward_model);
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      MOTLEY_REQUIRE(
          static_cast<std::int64_t>(bases_[r].reward.size()) == state_.reward_model.net.size,
          ErrorKind::input, bases_[r].file, ": the reward model has ", bases_[r].reward.size(),
          " numbers, expected ", state_.reward_model.net.size);
      std::copy(bases_[r].reward.begin(), bases_[r].reward.end(), &weights(r, 0));
      params(r) = {runs_[r].config.reward_model.squash, runs_[r].config.reward_model.format,
                   bases_[r].report.reward_mean, bases_[r].report.reward_deviation};
    }
    Kokkos::deep_copy(state_.reward_model_weights.params, weights);
    Kokkos::deep_copy(state_.replicas.reward_model, params);
    pack_weights(exec, state_.reward_model.net.encoder, state_.reward_model_weights);
  }

  void restore(std::size_t r, float* params, float* m, float* v, float* reference, int& updates) {
    const auto found = load_newest_checkpoint(runs_[r].folder / "checkpoints");
    MOTLEY_REQUIRE(found && found->checkpoint.step == start_, ErrorKind::input,
                   runs_[r].folder.string(), ": no checkpoint of step ", start_);
    const Checkpoint& c = found->checkpoint;
    const std::string mine = config_sha256(runs_[r].config);
    MOTLEY_REQUIRE(c.text("config_sha256") == mine, ErrorKind::input, runs_[r].folder.string(),
                   "/checkpoints/", found->file, ": written by another configuration, got ",
                   c.text("config_sha256").substr(0, 16), ", expected ", mine.substr(0, 16));
    for (const TensorSpec& spec : state_.policy.tensors.tensors()) {
      const auto copy = [&](const std::string& name, float* to) {
        const std::vector<float> values = c.tensor(name).floats();
        MOTLEY_REQUIRE(static_cast<std::int64_t>(values.size()) == spec.size(), ErrorKind::input,
                       runs_[r].folder.string(), "/checkpoints/", found->file, ": tensor ", name,
                       " has ", values.size(), " values, expected ", spec.size());
        std::copy(values.begin(), values.end(), to + spec.offset);
      };
      copy(spec.name, params);
      copy("adam.m." + spec.name, m);
      copy("adam.v." + spec.name, v);
      if (moves_reference(runs_[r].config.loss)) copy("reference." + spec.name, reference);
    }
    for (const CarriedState& carried : state_.carried) {
      if (!carried.keeps(r)) continue;
      const auto host = Kokkos::create_mirror_view(carried.values);
      Kokkos::deep_copy(host, carried.values);
      const std::vector<std::byte>& bytes = c.tensor("state." + carried.name).data;
      const std::size_t size = host.extent(1) * sizeof(double);
      MOTLEY_REQUIRE(bytes.size() == size, ErrorKind::input, runs_[r].folder.string(),
                     "/checkpoints/", found->file, ": tensor state.", carried.name, " has ",
                     bytes.size(), " bytes, expected ", size);
      std::memcpy(&host(r, 0), bytes.data(), size);
      Kokkos::deep_copy(carried.values, host);
    }
    updates = std::stoi(c.text("updates"));
    tokens_[r] = std::stod(c.text("tokens_total"));
    rows_.push_back(c.tensor("run.rows").data);
  }

  void open_files(bool resume) {
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      const auto path = runs_[r].folder / "run.h5";
      RunHeader header = make_run_header(runs_[r].config, *task_, static_cast<int>(r), bases_[r]);
      header.provenance.push_back({"replicas", static_cast<std::int64_t>(runs_.size())});
      if (resume && std::filesystem::exists(path)) {
        const std::vector<std::byte> none;
        files_.push_back(RunFile::open_for_resume(path, header, start_ > 0 ? rows_[r] : none));
      } else {
        std::error_code ignored;
        std::filesystem::remove_all(runs_[r].folder / "checkpoints", ignored);
        write_text(runs_[r].folder / "config.ini", header.ini);
        files_.push_back(RunFile::create(path, header));
      }
    }
  }

  void train_one(LogWriter& writer, std::int64_t step) {
    const Clock::time_point begin = Clock::now();
    StepRecord& record = writer.acquire();
    const double waited = seconds_since(begin);
    training_step(exec_, state_, static_cast<std::uint32_t>(step), record);
    warn_of_negative_products(step);
    double step_tokens = 0;
    ProgressNote note;
    note.step = step + 1;
    note.steps = runs_.front().config.run.steps;
    note.runs = static_cast<int>(runs_.size());
    note.checkpoint = checkpointed_;
    const double share = 1.0 / static_cast<double>(runs_.size());
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      const auto metric = [&](Metric which) -> double& {
        return record.metrics(r, static_cast<int>(which));
      };
      // The step says what it has sampled itself; the file says what the run has.
      tokens_[r] += metric(Metric::tokens_total);
      step_tokens += metric(Metric::tokens_total);
      metric(Metric::tokens_total) = tokens_[r];
      note.quality += share * metric(Metric::quality);
      note.diversity += share * metric(Metric::diversity);
      note.entropy += share * metric(Metric::entropy);
      note.clusters += share * metric(Metric::num_clusters);
    }
    note.tokens = step_tokens;
    record.timing.log_s += waited;
    record.timing.total_s += waited;
    record.timing.tokens_per_s = step_tokens / std::max(1e-9, record.timing.total_s);
    writer.submit();
    progress_.note(note);
  }

  /// Says once per run what a negative quality does under a product.
  void warn_of_negative_products(std::int64_t step) {
    if (!state_.any_signed_product) return;
    const auto count = Kokkos::create_mirror_view(state_.negative_products);
    Kokkos::deep_copy(count, state_.negative_products);
    warned_.resize(runs_.size(), false);
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      if (count(r) == 0 || warned_[r]) continue;
      warned_[r] = true;
      progress_.say(concat(
          runs_[r].folder.string(), ": step ", step, ": ", count(r),
          " completions have a negative quality, which diversity.shaping = ",
          name_of(runs_[r].config.diversity.shaping),
          " multiplies: the rarer, the worse; set diversity.reward_bias = group_min or sigmoid"));
    }
  }

  /// c_n = (n-2)/(n-1) of the expected update is 0 at n = 2 (tests/core/theory_test.cpp).
  void warn_of_pairs() {
    for (const RunRequest& run : runs_)
      if (run.config.rollout.group_size == 2 &&
          run.config.diversity.shaping == Shaping::multiplicative)
        progress_.say(concat(run.folder.string(),
                             ": rollout.group_size = 2: the expected update of ",
                             "diversity.shaping = multiplicative has no diversity term; ",
                             "set rollout.group_size to 4 or more"));
  }

  void evaluate(LogWriter& writer, std::int64_t step) {
    writer.drain();
    const std::vector<EvalRecord> records = evaluator_->evaluate(exec_, state_.weights, step);
    for (std::size_t r = 0; r < runs_.size(); ++r) files_[r].append_eval(records[r]);
  }

  bool checkpoint_due(std::int64_t step) const {
    const CheckpointConfig& c = runs_.front().config.checkpoint;
    if (c.every_steps > 0 && step % c.every_steps == 0) return true;
    return c.every_minutes > 0 && seconds_since(last_checkpoint_) >= 60.0 * c.every_minutes;
  }

  void checkpoint(LogWriter& writer, std::int64_t step) {
    writer.drain();
    const auto params = Kokkos::create_mirror_view(state_.weights.params);
    const auto m = Kokkos::create_mirror_view(state_.adam.m);
    const auto v = Kokkos::create_mirror_view(state_.adam.v);
    const auto count = Kokkos::create_mirror_view(state_.adam.step);
    const auto reference = Kokkos::create_mirror_view(state_.reference.params);
    if (state_.any_reset) Kokkos::deep_copy(reference, state_.reference.params);
    Kokkos::deep_copy(params, state_.weights.params);
    Kokkos::deep_copy(m, state_.adam.m);
    Kokkos::deep_copy(v, state_.adam.v);
    Kokkos::deep_copy(count, state_.adam.step);
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      files_[r].commit();
      Checkpoint c;
      c.step = step;
      c.meta["config_sha256"] = config_sha256(runs_[r].config);
      c.meta["ini"] = effective_ini(runs_[r].config);
      c.meta["seed"] = std::to_string(runs_[r].config.run.seed);
      c.meta["updates"] = std::to_string(count(r));
      c.meta["tokens_total"] = concat(static_cast<std::int64_t>(tokens_[r]));
      for (const TensorSpec& spec : state_.policy.tensors.tensors()) {
        const std::vector<std::int64_t> dims = spec.matrix()
                                                   ? std::vector<std::int64_t>{spec.rows, spec.cols}
                                                   : std::vector<std::int64_t>{spec.cols};
        const auto add = [&](const std::string& name, const float* from) {
          c.tensors.push_back(Tensor::from_floats(
              name, dims,
              std::span<const float>(from + spec.offset, static_cast<std::size_t>(spec.size()))));
        };
        add(spec.name, &params(r, 0));
        add("adam.m." + spec.name, &m(r, 0));
        add("adam.v." + spec.name, &v(r, 0));
        if (moves_reference(runs_[r].config.loss)) add("reference." + spec.name, &reference(r, 0));
      }
      for (const CarriedState& carried : state_.carried) {
        if (!carried.keeps(r)) continue;
        const auto host = Kokkos::create_mirror_view(carried.values);
        Kokkos::deep_copy(host, carried.values);
        c.tensors.push_back(Tensor::from_bytes(
            "state." + carried.name,
            std::as_bytes(std::span<const double>(&host(r, 0), host.extent(1)))));
      }
      c.tensors.push_back(Tensor::from_bytes("run.rows", files_[r].buffered_rows()));
      const SavedCheckpoint saved =
          save_checkpoint(runs_[r].folder / "checkpoints", c, runs_[r].config.checkpoint.keep);
      files_[r].append_checkpoint(step, saved.sha256, saved.file);
    }
    last_checkpoint_ = Clock::now();
    checkpointed_ = step;
  }

  const std::vector<RunRequest>& runs_;
  const TrainOptions& options_;
  StopRule stop_;
  Progress progress_;
  std::int64_t start_;
  Exec exec_;
  std::vector<RunLock> locks_;
  std::vector<BasePolicy> bases_;
  std::unique_ptr<Task> task_;
  TrainingState state_;
  std::optional<Evaluator> evaluator_;
  std::vector<double> tokens_;
  std::vector<bool> warned_;
  std::vector<std::vector<std::byte>> rows_;
  std::vector<RunFile> files_;
  Clock::time_point last_checkpoint_;
  std::int64_t checkpointed_ = -1;
};

}  // namespace

std::vector<RunOutcome> train_batch(const std::vector<RunRequest>& runs, std::int64_t start,
                                    bool resume, const TrainOptions& options) {
  MOTLEY_REQUIRE(!runs.empty(), ErrorKind::internal, "an empty batch");
  for (const RunRequest& run : runs)
    MOTLEY_REQUIRE(same_shape(run.config, runs.front().config), ErrorKind::internal,
                   "runs of different shapes in one batch");
  return Batch(runs, start, resume, options).run();
}

}  // namespace motley
