#pragma once
/// Inside of RunFile, shared by run_file.cpp (append, commit, close) and run_resume.cpp.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "io/digest.hpp"
#include "io/h5.hpp"
#include "io/run_file.hpp"
#include "io/schema.hpp"
#include "io/staging.hpp"

namespace motley {
namespace run_file {

using Clock = std::chrono::steady_clock;

/// Rows of the columns written in place wait for at most this many steps or this long.
inline constexpr std::int64_t kColumnRows = 64;
inline constexpr std::chrono::seconds kLiveInterval{1};

/// A dataset that grows by step: its rows wait in `block`.
struct Column {
  DatasetSpec spec;
  h5::Handle dataset;
  RowWriter writer = nullptr;
  std::vector<hsize_t> dims;  ///< of the file; dims[0] is kept up to date
  std::size_t row_bytes = 0;
  std::vector<std::byte> block;
  std::unique_ptr<Sha256> hash;  ///< of the rows in the file; none where they are volatile
};

/// Rows of one cadence: /metrics and /timing, or /rollouts and /partition.
struct Table {
  std::vector<Column> columns;
  std::int64_t capacity = 0;  ///< rows a block holds
  std::int64_t written = 0;   ///< rows in the file
  std::int64_t waiting = 0;   ///< rows in the blocks
};

/// Start of buffered_rows(); the waiting rows of every column follow, and then the hashes of the
/// written ones (pack_hashes). Version R1 had no hashes; it is still read.
struct RowsHead {
  char magic[8] = {'m', 'o', 't', 'l', 'e', 'y', 'R', '2'};
  std::int64_t steps = 0, evals = 0;
  std::int64_t metric_written = 0, metric_waiting = 0, metric_bytes = 0;
  std::int64_t rollout_written = 0, rollout_waiting = 0, rollout_bytes = 0;
};

/// Changes the length of a dataset. \throws Error(io)
void extend(hid_t dataset, std::vector<hsize_t>& dims, std::int64_t rows, const std::string& path);

}  // namespace run_file

struct RunFile::State {
  std::filesystem::path path;
  RunHeader header;  ///< shape, log and eval only are used after creation
  h5::Handle file, committed_set, status_set;
  run_file::Table metrics, rollouts;
  std::vector<run_file::Column> other;  ///< /eval, /diagnostics, /checkpoints, /resumes: row by row
  std::int64_t steps = 0, evals = 0, checkpoints = 0, committed = 0;
  bool failed = false;  ///< a write has failed: the file is left as it stands
  bool closed = false;
  run_file::Clock::time_point last_flush = run_file::Clock::now();

  void open_datasets();
  void go_live(const std::filesystem::path& temporary);
  void stage(run_file::Table& table, const StepRecord& record, int replica);
  void write_rows(run_file::Table& table);
  void write_other(const std::string& path, std::int64_t row, const void* data);
  void append_diagnostics(const StepRecord& record, int replica);
  /// Rows of /diagnostics of the steps before `steps_done`.
  std::int64_t diagnostic_rows(std::int64_t steps_done) const {
    const std::int64_t every = header.log.diagnostics_every;
    return every > 0 ? (steps_done + every - 1) / every : 0;
  }
  void flush();
  void commit();
  std::int64_t complete_steps() const;
  void write_committed();
  run_file::RowsHead read_head(std::span<const std::byte>& rows, const run_file::RowsHead& own,
                               std::vector<DatasetHash>& hashes) const;
  void count_checkpoints(std::uint64_t file_size);
  void cut_to(const run_file::RowsHead& head, std::uint64_t file_size);
  void restore(run_file::Table& table, std::int64_t written, std::int64_t waiting,
               std::span<const std::byte>& bytes) const;
  void note_resume();
  void write_integrity();
  /// Hashes of the rows in the file, as they were handed to HDF5.
  std::vector<DatasetHash> written_hashes() const;
  void verify_and_hash(const std::vector<DatasetHash>& stated);
  void prepare_resume(const std::filesystem::path& temporary, std::span<const std::byte> rows);
  void abandon();

  /// Runs a write. After a failed one HDF5 must not be asked to flush again: it may crash.
  template <class Write>
  void guarded(const Write& write) {
    if (closed) throw Error(ErrorKind::internal, concat(path.string(), ": the run file is closed"));
    if (failed)
      throw Error(ErrorKind::io,
                  concat(path.string(),
                         ": given up after a failed write; resume the run when there is room"));
    h5::start();
    try {
      write();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::io) throw;
      abandon();
      throw Error(ErrorKind::io, concat(path.string(), ": ", error.what(),
                                        "; the log is readable up to step ", committed));
    }
  }
};

}  // namespace motley
