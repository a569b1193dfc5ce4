#include "experiments/trainer.hpp"

#include <chrono>
#include <fstream>

#include "core/base/error.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/guard.hpp"
#include "experiments/machine.hpp"
#include "experiments/saved_state.hpp"
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
        configs_(configs_of(runs)),
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
    bases_ = obtain_bases(configs_, [&](const std::string& line) { progress_.say(line); });
    std::vector<std::uint64_t> seeds;
    for (const RunConfig& c : configs_) seeds.push_back(c.base_seed());
    task_ = make_task(configs_.front().task, seeds);
    state_ = make_training_state(configs_, *task_);
    evaluator_.emplace(configs_, *task_, state_.policy.net, configs_.front().rollout.max_tokens);
    if (evaluator_->needs_classifier())
      evaluator_->use_classifier(state_.classifier.net, state_.classifier_weights,
                                 state_.symmetrize);
    tokens_.assign(runs.size(), 0.0);
    load_weights(resume);
    records_ = {StepRecord(state_.shape), StepRecord(state_.shape)};
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
      LogWriter writer(files, records_);
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
    std::vector<StartPoint> found;
    found.reserve(runs_.size());
    std::vector<const StartPoint*> starts(runs_.size(), nullptr);
    for (std::size_t r = 0; resume && start_ > 0 && r < runs_.size(); ++r) {
      const std::filesystem::path folder = runs_[r].folder / "checkpoints";
      auto newest = load_newest_checkpoint(folder);
      MOTLEY_REQUIRE(newest && newest->checkpoint.step == start_, ErrorKind::input,
                     runs_[r].folder.string(), ": no checkpoint of step ", start_);
      found.push_back({folder / newest->file, std::move(newest->checkpoint)});
      starts[r] = &found.back();
      tokens_[r] = std::stod(found.back().checkpoint.text("tokens_total"));
      rows_.push_back(found.back().checkpoint.tensor("run.rows").data);
    }
    load_state(exec_, configs_, bases_, starts, state_);
  }

  void open_files(bool resume) {
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      const auto path = runs_[r].folder / "run.h5";
      RunHeader header = make_run_header(runs_[r].config, *task_, static_cast<int>(r), bases_[r]);
      header.provenance.push_back({"replicas", static_cast<std::int64_t>(runs_.size())});
      if (resume && std::filesystem::exists(path)) {
        const std::vector<std::byte> none, &rows = start_ > 0 ? rows_[r] : none;
        rehearse(path, header, rows);
        files_.push_back(RunFile::open_for_resume(path, header, rows));
      } else {
        std::error_code ignored;
        std::filesystem::remove_all(runs_[r].folder / "checkpoints", ignored);
        write_text(runs_[r].folder / "config.ini", header.ini);
        files_.push_back(RunFile::create(path, header));
      }
    }
  }

  /// HDF5 may not survive a damaged file: a child tries first.
  static void rehearse(const std::filesystem::path& path, const RunHeader& header,
                       const std::vector<std::byte>& rows) {
    struct Trial {
      std::filesystem::path path;
      ~Trial() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
      }
    };
    const Trial trial{path.string() + ".trial"};
    read_in_child(path, [&] {
      RunFile::rehearse_resume(path, header, trial.path, rows);
      return std::string();
    });
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
    const SavedState saved(state_);
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      files_[r].commit();
      Checkpoint c = saved.checkpoint(configs_[r], r, step);
      c.meta["tokens_total"] = concat(static_cast<std::int64_t>(tokens_[r]));
      c.tensors.push_back(Tensor::from_bytes("run.rows", files_[r].buffered_rows()));
      const SavedCheckpoint file =
          save_checkpoint(runs_[r].folder / "checkpoints", c, runs_[r].config.checkpoint.keep);
      files_[r].append_checkpoint(step, file.sha256, file.file);
    }
    last_checkpoint_ = Clock::now();
    checkpointed_ = step;
  }

  const std::vector<RunRequest>& runs_;
  const std::vector<RunConfig> configs_;
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
  std::array<StepRecord, 2> records_;  ///< of the writer
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
