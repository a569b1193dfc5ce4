#pragma once
/// Writes step records in a thread of its own, so that logging costs the step almost nothing.
///
/// Two records are allocated at the start and go round: the step fills one while the thread writes
/// the other. Order and bits of the files are those of synchronous writing.
///
///     LogWriter writer({&file0, &file1}, shape);
///     for (...) {
///       StepRecord& record = writer.acquire();   // waits while both are being written
///       collect(exec, buffer, metrics, record);
///       writer.submit();
///       if (checkpoint due) { writer.drain(); /* the files are the caller's until submit() */ }
///     }
///     writer.drain();

#include <array>
#include <memory>
#include <vector>

#include "core/record.hpp"
#include "io/run_file.hpp"

namespace motley {

class LogWriter {
 public:
  /// \param files [R] replica r goes to files[r]; nullptr = that replica is not written. They must
  ///              outlive the writer.
  LogWriter(std::vector<RunFile*> files, const Shape& shape);
  /// The same with two records that are there already, so that no file is begun before there is
  /// room for them.
  LogWriter(std::vector<RunFile*> files, std::array<StepRecord, 2> records);
  /// Writes what was submitted and ends the thread; a fault at this point is dropped, so call
  /// drain() first.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  /// A free record to fill; its contents are old. Rethrows the first fault of the thread.
  StepRecord& acquire();
  /// Hands the acquired record to the thread. Rethrows the first fault of the thread.
  void submit();
  /// Waits until everything submitted is appended. Rethrows the first fault of the thread.
  void drain();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace motley
