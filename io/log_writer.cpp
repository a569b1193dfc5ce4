#include "io/log_writer.hpp"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include <tbb/concurrent_queue.h>

#include "core/base/error.hpp"

namespace motley {

struct LogWriter::State {
  std::vector<RunFile*> files;
  std::array<StepRecord, 2> records;
  tbb::concurrent_bounded_queue<StepRecord*> free, full;  ///< nullptr in `full` ends the thread
  StepRecord* filling = nullptr;

  std::mutex mutex;
  std::condition_variable progress;
  std::int64_t submitted = 0, appended = 0;  ///< under mutex
  std::exception_ptr fault;                  ///< under mutex, the first one
  std::thread thread;

  void run();
  void rethrow();
};

/// After a fault the records still go round, so that the producer never waits for ever.
void LogWriter::State::run() {
  bool good = true;
  for (;;) {
    StepRecord* record = nullptr;
    full.pop(record);
    if (record == nullptr) return;
    std::exception_ptr caught;
    try {
      for (std::size_t r = 0; good && r < files.size(); ++r)
        if (files[r] != nullptr) files[r]->append_step(*record, static_cast<int>(r));
    } catch (...) {
      good = false;
      caught = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex);
      if (caught) fault = caught;
      ++appended;
    }
    progress.notify_all();
    free.push(record);
  }
}

void LogWriter::State::rethrow() {
  const std::lock_guard lock(mutex);
  if (fault) std::rethrow_exception(fault);
}

LogWriter::LogWriter(std::vector<RunFile*> files, const Shape& shape)
    : LogWriter(std::move(files), {StepRecord(shape), StepRecord(shape)}) {}

LogWriter::LogWriter(std::vector<RunFile*> files, std::array<StepRecord, 2> records)
    : state_(std::make_unique<State>()) {
  MOTLEY_REQUIRE(files.size() == static_cast<std::size_t>(records[0].shape.R), ErrorKind::shape,
                 "log writer: ", files.size(), " files for ", records[0].shape.R, " replicas");
  State& s = *state_;
  s.files = std::move(files);
  s.free.set_capacity(2);
  s.full.set_capacity(2);
  s.records = std::move(records);
  for (StepRecord& record : s.records) s.free.push(&record);
  s.thread = std::thread([&s] { s.run(); });
}

LogWriter::~LogWriter() {
  state_->full.push(nullptr);
  state_->thread.join();
}

StepRecord& LogWriter::acquire() {
  State& s = *state_;
  s.rethrow();
  if (s.filling == nullptr) s.free.pop(s.filling);
  s.rethrow();
  return *s.filling;
}

void LogWriter::submit() {
  State& s = *state_;
  MOTLEY_REQUIRE(s.filling != nullptr, ErrorKind::internal,
                 "log writer: submit() without acquire()");
  s.rethrow();
  {
    const std::lock_guard lock(s.mutex);
    ++s.submitted;
  }
  StepRecord* record = s.filling;
  s.filling = nullptr;
  s.full.push(record);
}

void LogWriter::drain() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.progress.wait(lock, [&s] { return s.appended == s.submitted; });
  if (s.fault) std::rethrow_exception(s.fault);
}

}  // namespace motley
