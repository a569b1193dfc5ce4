#pragma once
/// Wall-clock seconds and profiling regions of the stages of a step.

#include <chrono>

#include "core/record.hpp"

namespace motley {

/// Names the running stage to Kokkos' profiling tools and adds its seconds to one column. Each
/// change of column fences, so that asynchronous kernels are charged to their own stage; stages of
/// one column run on without a fence.
class StageTimer {
 public:
  StageTimer(const Exec& exec, StepTiming& timing)
      : exec_(exec), timing_(timing), begin_(Clock::now()) {
    timing_ = StepTiming{};
  }
  ~StageTimer() {
    if (open_) Kokkos::Profiling::popRegion();
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

  void stage(const char* name, double StepTiming::*column) {
    if (open_) Kokkos::Profiling::popRegion();
    if (column != column_) charge();
    column_ = column;
    Kokkos::Profiling::pushRegion(name);
    open_ = true;
  }

  /// Ends the last stage and fills the total.
  void finish() {
    if (open_) Kokkos::Profiling::popRegion();
    open_ = false;
    charge();
    timing_.total_s = seconds(begin_, Clock::now());
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }
  void charge() {
    exec_.fence("motley::step::stage");
    const Clock::time_point now = Clock::now();
    if (column_ != nullptr) timing_.*column_ += seconds(last_, now);
    last_ = now;
  }

  const Exec& exec_;
  StepTiming& timing_;
  Clock::time_point begin_;
  Clock::time_point last_ = begin_;
  double StepTiming::*column_ = nullptr;
  bool open_ = false;
};

}  // namespace motley
