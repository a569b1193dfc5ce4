#pragma once
/// run.h5: the log of one run (one replica), schema 1.0, readable while it grows and after a kill.
///
/// Every object is made before HDF5's single-writer-multiple-reader mode starts; then rows are only
/// appended. Step rows wait in memory until a whole chunk of c steps is full; the 1-D columns of
/// /metrics and /timing are written in place. A commit is data -> H5Fflush -> /committed ->
/// H5Fflush, and only then does the caller write a checkpoint, which carries `buffered_rows()`.
///
///     RunLock lock(dir);
///     RunFile file = RunFile::create(dir / "run.h5", header);
///     for (...) {
///       file.append_step(record, replica);
///       if (checkpoint due) {
///         file.commit();
///         checkpoint.tensors.push_back(Tensor::from_bytes("run.rows", file.buffered_rows()));
///         const SavedCheckpoint saved = save_checkpoint(dir / "checkpoints", checkpoint);
///         file.append_checkpoint(checkpoint.step, saved.sha256, saved.file);
///       }
///     }
///     file.close(RunStatus::complete);
///
/// To resume: `RunFile::open_for_resume(path, header, loaded rows)`; the contents of the finished
/// file are then the same bits as if the run had never stopped.
///
/// Not thread-safe: one thread at a time per file (LogWriter, or the caller after drain()). After
/// an Error(io) the file is abandoned as it stands: every later call throws, nothing is flushed,
/// and the rows up to /committed stay readable.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/record.hpp"
#include "io/digest.hpp"
#include "io/run_digest.hpp"
#include "io/run_header.hpp"

namespace motley {

/// What `RunFile::buffered_rows()` says about the file, for those who verify it.
struct BufferedRows {
  std::int64_t steps = 0;           ///< appended when the checkpoint was taken
  std::int64_t committed = 0;       ///< what /committed said, or would have said
  std::vector<DatasetHash> hashes;  ///< rows that are in the file, per growing dataset
};
/// \throws Error(input) when the bytes are none
BufferedRows read_buffered_rows(std::span<const std::byte> bytes, const std::string& where);

class RunFile {
 public:
  /// Makes the file with every object in it. It appears under its name only when it is whole, and
  /// takes the place of one that is there. \throws Error(io)
  static RunFile create(const std::filesystem::path& path, const RunHeader& header);

  /// Opens a killed, interrupted or finished file for more steps: cuts it back to the state of the
  /// checkpoint and puts the buffered rows back. Appends a row to /resumes.
  /// \param header of the same run: must give the same datasets
  /// \param rows   buffered_rows() from the checkpoint; empty = start again from step 0
  /// \throws Error(input) when the file is no such run, or lacks or has changed rows of the
  /// checkpoint, Error(io)
  static RunFile open_for_resume(const std::filesystem::path& path, const RunHeader& header,
                                 std::span<const std::byte> rows);
  /// Does everything that `open_for_resume` does, but in the copy `trial` only, which it leaves.
  static void rehearse_resume(const std::filesystem::path& path, const RunHeader& header,
                              const std::filesystem::path& trial, std::span<const std::byte> rows);

  RunFile(RunFile&&) noexcept;
  RunFile& operator=(RunFile&&) noexcept;
  /// Without close(): the handles go, the buffered rows are lost, status stays `running`.
  ~RunFile();

  /// Appends the rows of one replica. Steps must come in order: record.step == steps().
  void append_step(const StepRecord& record, int replica);
  /// One row of every dataset of /eval. \throws Error(shape) when the lengths are not Q and K.
  void append_eval(const EvalRecord& record);
  /// Notes a checkpoint that has been written. `file` of at most 64 bytes.
  void append_checkpoint(std::int64_t step, const Digest& sha256, const std::string& file);

  /// Writes what can be written, flushes, writes /committed, flushes, as append_step does whenever
  /// a chunk is full, and makes it durable. To be called before every checkpoint: one that outlives
  /// a power cut must not count on rows that do not.
  void commit();

  /// State of the file for a checkpoint: rows not yet in it, how many are, and the hashes of those.
  std::vector<std::byte> buffered_rows() const;

  /// Writes the tail, /integrity and, last, the status; closes and seals the file (io/seal.hpp).
  void close(RunStatus status);

  std::int64_t steps() const;      ///< steps appended so far
  std::int64_t committed() const;  ///< what /committed says
  int chunk_steps() const;         ///< c: rows of /rollouts in one chunk

 private:
  struct State;
  explicit RunFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace motley
