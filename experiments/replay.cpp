#include "experiments/replay.hpp"

#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "experiments/numeric_fault.hpp"
#include "experiments/options.hpp"

namespace motley {

namespace fs = std::filesystem;

Replay::Replay(const std::string& run_file, bool from_base, const Message& say)
    : reader_(run_file),
      file_(run_file),
      from_base_(from_base),
      say_(say),
      configs_{config_from_ini(reader_.ini(), run_file)} {
  const std::vector<std::string> columns = reader_.columns();
  const std::string hash = metric_info(Metric::params_hash).name;
  if (std::find(columns.begin(), columns.end(), hash) != columns.end())
    logged_hash_ = reader_.column(hash);
  bases_ = obtain_bases(configs_, say_);
  task_ = make_task(config().task, {config().base_seed()});
}

/// The newest whole checkpoint of steps [first, last]; damaged ones are passed over.
std::optional<StartPoint> Replay::checkpoint_in(std::int64_t first, std::int64_t last) const {
  if (from_base_) return std::nullopt;
  for (const CheckpointEntry& entry :
       list_checkpoints(fs::path(file_).parent_path() / "checkpoints")) {
    if (entry.step < first || entry.step > last) continue;
    try {
      return StartPoint{entry.path, load_checkpoint(entry.path)};
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input) throw;
      say_(concat("passed over: ", error.what()));
    }
  }
  return std::nullopt;
}

void Replay::start_at(const StartPoint* point) {
  // Anew, so that nothing of steps made before is left in the carried numbers.
  state_ = make_training_state(configs_, *task_);
  load_state(exec_, configs_, bases_, {point}, state_);
  if (record_.token.span() == 0) record_ = StepRecord(state_.shape);
  next_ = point != nullptr ? point->checkpoint.step : 0;
  tokens_ = point != nullptr ? std::stod(point->checkpoint.text("tokens_total")) : 0.0;
  started_from_ = point != nullptr ? point->file.string() : "the base policy";
}

const StepRecord& Replay::regenerate(std::int64_t step) {
  // A step that met a fault is not in the log, but there is a dump of it.
  const fs::path folder = fs::path(file_).parent_path();
  const bool faulty = step == reader_.committed() && fs::exists(folder / fault_dump_name(step));
  MOTLEY_REQUIRE(step >= 0 && (step < reader_.committed() || faulty), ErrorKind::config, file_,
                 ": step ", step, " is not in the file; allowed: [0, ", reader_.committed() - 1,
                 "]");
  if (next_ == step + 1) return record_;
  const bool back = next_ < 0 || next_ > step;
  const auto nearest = checkpoint_in(back ? 1 : next_ + 1, step);
  if (back || nearest) start_at(nearest ? &*nearest : nullptr);
  for (; next_ <= step; ++next_) {
    try {
      training_step(exec_, state_, static_cast<std::uint32_t>(next_), record_);
    } catch (const NumericFault& fault) {
      next_ = -1;
      throw NumericFault(
          fault, concat(file_, ": made again from ", started_from_, ", ", fault.what(), ", ",
                        what_is_wrong(state_, fault.found.front())));
    }
    double& total = record_.metrics(0, static_cast<int>(Metric::tokens_total));
    tokens_ += total;
    total = tokens_;
    ++steps_made_;
    const auto at = static_cast<std::size_t>(next_);
    const bool same = at >= logged_hash_.size() ||
                      logged_hash_[at] == record_.metrics(0, static_cast<int>(Metric::params_hash));
    if (!same && (!parted_ || next_ < *parted_)) parted_ = next_;
  }
  MOTLEY_REQUIRE(!faulty, ErrorKind::input, file_, ": made again from ", started_from_, ", step ",
                 step, " meets no fault, but ", (folder / fault_dump_name(step)).string(),
                 " holds one: it was injected, or another build or a fault of the machine made it");
  return record_;
}

}  // namespace motley
