#pragma once
/// A step of a finished, killed or running run, made again from what its files say: the
/// configuration, the nearest checkpoint (or the base policy), the addressed draws. The same
/// numbers must come out, bit for bit.

#include <memory>
#include <optional>
#include <string>

#include "experiments/saved_state.hpp"
#include "io/run_reader.hpp"

namespace motley {

class Replay {
 public:
  /// \param from_base start at step 0, whatever checkpoints there are
  /// \throws Error(input) when it is no run; Error(config) when its configuration is not known here
  Replay(const std::string& run_file, bool from_base, const Message& say);

  const RunReader& reader() const { return reader_; }
  const RunConfig& config() const { return configs_.front(); }

  /// Makes a step again, and those between the nearest start and it. Steps asked for in rising
  /// order are made once. tokens_total of the record counts from the start of the run.
  const StepRecord& regenerate(std::int64_t step);

  /// First step of those made so far after which the parameters are not those of the log
  /// (params_hash); nothing while all agree.
  std::optional<std::int64_t> first_parted() const { return parted_; }
  /// "the base policy" or the checkpoint's file, of the last start
  const std::string& started_from() const { return started_from_; }
  std::int64_t steps_made() const { return steps_made_; }

 private:
  std::optional<StartPoint> checkpoint_in(std::int64_t first, std::int64_t last) const;
  void start_at(const StartPoint* point);

  RunReader reader_;
  std::string file_;
  bool from_base_;
  Message say_;
  std::vector<RunConfig> configs_;  ///< one
  std::unique_ptr<Task> task_;
  std::vector<BasePolicy> bases_;
  TrainingState state_;
  StepRecord record_;
  Exec exec_;
  std::vector<double> logged_hash_;  ///< [committed], empty in files without it
  std::int64_t next_ = -1;           ///< the step that state_ is ready for
  double tokens_ = 0;
  std::optional<std::int64_t> parted_;
  std::string started_from_;
  std::int64_t steps_made_ = 0;
};

}  // namespace motley
