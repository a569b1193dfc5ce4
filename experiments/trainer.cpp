#include "experiments/trainer.hpp"

#include <chrono>

#include "core/base/error.hpp"
#include "experiments/evaluate.hpp"
#include "experiments/fault_injection.hpp"
#include "experiments/guard.hpp"
#include "experiments/interrupt.hpp"
#include "experiments/machine.hpp"
#include "experiments/memory_plan.hpp"
#include "experiments/numeric_fault.hpp"
#include "experiments/saved_state.hpp"
#include "experiments/training_step.hpp"
#include "io/fault.hpp"
#include "io/files.hpp"
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

/// What the folder holds now that it is ours must be what the plan was made for: another process
/// may have trained the run in between, and a fresh start would throw its work away.
void require_as_planned(const std::filesystem::path& folder, std::int64_t start, bool resume) {
  const FolderState now = inspect_folder(folder);
  const bool same = now.kind == FolderState::Kind::empty
                        ? !resume || start == 0
                        : resume && now.kind == FolderState::Kind::resumable && now.step == start;
  MOTLEY_REQUIRE(same, ErrorKind::refused, folder.string(),
                 ": another process has trained this run meanwhile, got step ", now.step,
                 "; allowed: step ", start, " as planned; the same command goes on from there");
}

/// One batch of runs from its first step to its last.
class Batch {
 public:
  Batch(const std::vector<RunRequest>& runs, std::int64_t start, bool resume,
        const TrainOptions& options)
      : runs_(runs),
        configs_(configs_of(runs)),
        options_(options),
        progress_(options.progress),
        start_(start) {
    const MemoryPlan plan = plan_memory(configs_);
    require_memory(plan);
    memory_ = plan.peak();
    for (const RunRequest& run : runs) {
      std::error_code failed;
      std::filesystem::create_directories(run.folder, failed);
      MOTLEY_REQUIRE(!failed, ErrorKind::refused, run.folder.string(),
                     ": the output folder cannot be made: ", failed.message());
      locks_.emplace_back(run.folder);
      if (!options.overwrite) require_as_planned(run.folder, start, resume);
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
    if (start_ > 0) checkpointed_ = start_;
    const Clock::time_point begin = Clock::now();
    last_checkpoint_ = begin;
    progress_.begin(concat(runs_.size(), runs_.size() == 1 ? " run: " : " runs packed: ",
                           runs_.front().folder.string(), runs_.size() > 1 ? " ..." : "",
                           ", steps ", start_, " to ", steps),
                    start_, memory_);
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
        if (evaluation_due(step)) evaluate(writer, step);
        bool stop = false;
        for (const RunRequest& run : runs_) stop = stop_asked(run.folder) || stop;
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
      if (fault_injection()) header.provenance.push_back({"injected", fault_injection()->text});
      if (resume && std::filesystem::exists(path)) {
        const std::vector<std::byte> none, &rows = start_ > 0 ? rows_[r] : none;
        rehearse(path, header, rows);
        files_.push_back(RunFile::open_for_resume(path, header, rows));
      } else {
        std::error_code ignored;
        std::filesystem::remove_all(runs_[r].folder / "checkpoints", ignored);
        remove_fault_dumps(runs_[r].folder);
        replace_file(runs_[r].folder / "config.ini",
                     std::as_bytes(std::span(header.ini.data(), header.ini.size())));
        reach_fault_point(FaultPoint::config_written);
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
    try {
      training_step(exec_, state_, static_cast<std::uint32_t>(step), record);
    } catch (const NumericFault& fault) {
      writer.drain();
      end_by_fault(fault, record);
    }
    reach_fault_point(FaultPoint::after_step);
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
      step_tokens += metric(Metric::tokens_total);
      count_tokens(record, r);
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

  /// The step says what it has sampled itself; the file says what the run has.
  void count_tokens(StepRecord& record, std::size_t r) {
    double& metric = record.metrics(r, static_cast<int>(Metric::tokens_total));
    tokens_[r] += metric;
    metric = tokens_[r];
  }

  /// Ends the batch after a step in which some replicas met a fault. Their files end before that
  /// step, beside a dump of it; the others have made the step, and are saved with it unless an
  /// evaluation falls due, whose rows a checkpoint must have behind it: they go on from their last
  /// one.
  [[noreturn]] void end_by_fault(const NumericFault& fault, StepRecord& record) {
    const std::int64_t next = fault.step + 1;
    std::string line, dumps, trouble;
    std::size_t others = 0;
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      try {
        if (!fault.has(r) && !evaluation_due(next)) {
          count_tokens(record, r);
          files_[r].append_step(record, static_cast<int>(r));
        }
        if (!fault.has(r)) ++others;
      } catch (const Error& error) {
        trouble += concat("; ", error.what());
      }
    }
    const SavedState saved(state_);
    for (std::size_t r = 0; r < runs_.size(); ++r) {
      try {
        if (!fault.has(r) && !evaluation_due(next)) checkpoint_run(saved, r, next);
        files_[r].close(fault.has(r) ? RunStatus::failed : RunStatus::interrupted);
      } catch (const Error& error) {
        trouble += concat("; ", error.what());
      }
    }
    for (const ReplicaFault& f : fault.found) {
      const RunRequest& run = runs_[f.replica];
      const FaultDump dump{run.folder, run.config, runs_.size(), fault.step, f, checkpointed_};
      if (line.empty())
        line = concat(run.folder.string(), ": step ", fault.step, ", replica ", f.replica, ", ",
                      describe_status(f.word), ": ", what_is_wrong(state_, f));
      else
        line += concat("; ", run.folder.string(), ", replica ", f.replica, ", ",
                       describe_status(f.word));
      try {
        dumps += concat(dumps.empty() ? "; read " : ", ",
                        write_fault_dump(dump, state_, record).string());
      } catch (const Error& error) {
        trouble += concat("; ", error.what());
      }
    }
    if (others > 0)
      dumps += concat("; the ", others, " other run", others > 1 ? "s" : "",
                      " of the batch can be resumed");
    throw NumericFault(fault, line + dumps + trouble);
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
    std::vector<EvalRecord> records;
    try {
      records = evaluator_->evaluate(exec_, state_.weights, step);
    } catch (const NumericFault& fault) {
      throw NumericFault(fault, concat(runs_[fault.found.front().replica].folder.string(),
                                       ": evaluation at ", fault.what()));
    }
    reach_fault_point(FaultPoint::after_evaluation);
    for (std::size_t r = 0; r < runs_.size(); ++r) files_[r].append_eval(records[r]);
  }

  bool evaluation_due(std::int64_t step) const {
    const RunConfig& first = runs_.front().config;
    const int every = first.eval.every_steps;
    return step == first.run.steps || (every > 0 && step % every == 0);
  }

  bool checkpoint_due(std::int64_t step) const {
    const CheckpointConfig& c = runs_.front().config.checkpoint;
    if (c.every_steps > 0 && step % c.every_steps == 0) return true;
    return c.every_minutes > 0 && seconds_since(last_checkpoint_) >= 60.0 * c.every_minutes;
  }

  void checkpoint(LogWriter& writer, std::int64_t step) {
    writer.drain();
    const SavedState saved(state_);
    for (std::size_t r = 0; r < runs_.size(); ++r) checkpoint_run(saved, r, step);
    last_checkpoint_ = Clock::now();
    checkpointed_ = step;
  }

  void checkpoint_run(const SavedState& saved, std::size_t r, std::int64_t step) {
    files_[r].commit();
    Checkpoint c = saved.checkpoint(configs_[r], r, step);
    c.meta["tokens_total"] = concat(static_cast<std::int64_t>(tokens_[r]));
    c.tensors.push_back(Tensor::from_bytes("run.rows", files_[r].buffered_rows()));
    const SavedCheckpoint file =
        save_checkpoint(runs_[r].folder / "checkpoints", c, runs_[r].config.checkpoint.keep);
    files_[r].append_checkpoint(step, file.sha256, file.file);
  }

  const std::vector<RunRequest>& runs_;
  const std::vector<RunConfig> configs_;
  const TrainOptions& options_;
  Progress progress_;
  std::int64_t start_;
  std::size_t memory_ = 0;  ///< planned bytes
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
