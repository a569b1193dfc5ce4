#pragma once
/// A step that met a number that is not finite, or a sampler that disagrees with the trainer: what
/// was found where, and the dump that is written beside the run.

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "experiments/training_step.hpp"

namespace motley {

/// The first fault of one replica.
struct ReplicaFault {
  std::size_t replica = 0;
  StatusWord word = kStatusClear;
};

/// Error(numeric), or Error(internal) where all that is wrong is that sampler and trainer disagree.
class NumericFault : public Error {
 public:
  NumericFault(std::int64_t at_step, std::vector<ReplicaFault> faults);
  NumericFault(const NumericFault& same, const std::string& message)
      : Error(same.kind(), message), step(same.step), found(same.found) {}

  bool has(std::size_t replica) const;

  std::int64_t step;
  std::vector<ReplicaFault> found;  ///< by replica, at least one
};

/// Throws NumericFault when a replica has met a fault since `begin_step`.
void require_finite(const Exec& exec, const TrainingState& state, std::uint32_t step);

/// Throws Error(numeric) when a word of a pass of pretraining is set: "pretrain: WHERE of base seed
/// 7, step S, replica R, stage ...: a number is not finite". Waits for the device.
/// \param seeds [R] of the bases
void require_finite_pass(const Exec& exec, const View1<StatusWord>& status, const char* where,
                         const ConstView1<std::uint64_t>& seeds, std::int64_t step);

/// What stands at the address of a fault: "quality is nan", or the place of a parameter.
std::string what_is_wrong(const TrainingState& state, const ReplicaFault& fault);

/// What a dump says beside the numbers of the state.
struct FaultDump {
  std::filesystem::path folder;  ///< of the run
  const RunConfig& config;
  std::size_t replicas = 1;
  std::int64_t step = 0;
  ReplicaFault fault;
  std::int64_t checkpoint = -1;  ///< step of the last one, -1 = none
};

/// fault-step-N.json
std::string fault_dump_name(std::int64_t step);

/// Takes those of an earlier run away.
void remove_fault_dumps(const std::filesystem::path& folder);

/// Writes the dump and returns its path. docs/howto/failing_run.md says what stands in it.
/// \param record  of the faulty step
/// \throws Error(io)
std::filesystem::path write_fault_dump(const FaultDump& dump, const TrainingState& state,
                                       const StepRecord& record);

}  // namespace motley
