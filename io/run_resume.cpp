#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "io/fault.hpp"
#include "io/reading.hpp"
#include "io/run_file_state.hpp"
#include "io/run_hash.hpp"
#include "io/seal.hpp"

namespace motley {

using h5::Handle;
using h5::Type;
using run_file::Column;
using run_file::extend;
using run_file::kColumnRows;
using run_file::RowsHead;
using run_file::Table;

namespace {

std::int64_t row_bytes(const Table& table) {
  std::size_t bytes = 0;
  for (const Column& column : table.columns) bytes += column.row_bytes;
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

void RunFile::State::open_datasets() {
  metrics.capacity = kColumnRows;
  rollouts.capacity = motley::chunk_steps(header);
  for (DatasetSpec& spec : run_schema(header)) {
    if (spec.source == Source::header || spec.source == Source::integrity) continue;
    if (!h5::exists(file, spec.path))
      throw Error(ErrorKind::input,
                  concat(path.string(), ": ", spec.path,
                         " is missing; allowed: a run with the same log options"));
    Column column;
    column.dataset =
        h5::own(H5Dopen2(file, spec.path.c_str(), H5P_DEFAULT), ErrorKind::input, spec.path);
    if (spec.path == "/committed") committed_set = std::move(column.dataset);
    if (spec.path == "/status") status_set = std::move(column.dataset);
    if (spec.source == Source::marker) continue;
    column.dims = h5::dims_of(column.dataset);
    bool same = h5::type_of(column.dataset, spec.path) == spec.type &&
                column.dims.size() == spec.axes.size();
    column.row_bytes = h5::size_of(spec.type);
    for (std::size_t i = 1; same && i < column.dims.size(); ++i) {
      same = column.dims[i] == axis_of(header, spec, spec.axes[i]).size;
      column.row_bytes *= column.dims[i];
    }
    if (!same)
      throw Error(ErrorKind::input,
                  concat(path.string(), ": ", spec.path,
                         " has another type or shape; allowed: a run of the same configuration"));
    const bool metric = spec.source == Source::metric, rollout = spec.source == Source::rollout;
    if (metric || rollout || spec.source == Source::eval || spec.source == Source::diagnostic)
      column.hash = std::make_unique<Sha256>();
    column.spec = std::move(spec);
    if (!metric && !rollout) {
      other.push_back(std::move(column));
      continue;
    }
    Table& table = metric ? metrics : rollouts;
    column.writer = row_writer(column.spec);
    column.block.resize(column.row_bytes * static_cast<std::size_t>(table.capacity));
    table.columns.push_back(std::move(column));
  }
}

std::vector<std::byte> RunFile::buffered_rows() const {
  const State& s = *state_;
  RowsHead head;
  head.steps = s.steps;
  head.evals = s.evals;
  head.metric_written = s.metrics.written;
  head.metric_waiting = s.metrics.waiting;
  head.metric_bytes = row_bytes(s.metrics);
  head.rollout_written = s.rollouts.written;
  head.rollout_waiting = s.rollouts.waiting;
  head.rollout_bytes = row_bytes(s.rollouts);
  std::vector<std::byte> out(sizeof head);
  std::memcpy(out.data(), &head, sizeof head);
  for (const Table* table : {&s.metrics, &s.rollouts})
    for (const Column& column : table->columns)
      out.insert(
          out.end(), column.block.begin(),
          column.block.begin() + static_cast<std::ptrdiff_t>(
                                     column.row_bytes * static_cast<std::size_t>(table->waiting)));
  const std::vector<std::byte> hashes = pack_hashes(s.written_hashes());
  out.insert(out.end(), hashes.begin(), hashes.end());
  return out;
}

std::vector<DatasetHash> RunFile::State::written_hashes() const {
  std::vector<DatasetHash> hashes;
  const auto add = [&](const Column& column, std::int64_t rows) {
    if (column.hash) hashes.push_back({column.spec.path, "", rows, column.hash->so_far()});
  };
  for (const Table* table : {&metrics, &rollouts})
    for (const Column& column : table->columns) add(column, table->written);
  for (const Column& column : other) add(column, static_cast<std::int64_t>(column.dims[0]));
  return hashes;
}

/// Hashes the rows that were left in the file, so that the hashes go on from there.
/// \param stated of the checkpoint; empty in one of an older version
void RunFile::State::verify_and_hash(const std::vector<DatasetHash>& stated) {
  std::map<std::string, const DatasetHash*> wanted;
  for (const DatasetHash& hash : stated) wanted[hash.path] = &hash;
  const auto take = [&](const Column& column) {
    if (!column.hash) return;
    const std::string& name = column.spec.path;
    const auto rows = static_cast<std::int64_t>(column.dims[0]);
    hash_rows(column.dataset, column.spec.type, rows, *column.hash, ErrorKind::input,
              concat(path.string(), ": ", name));
    const auto found = wanted.find(name);
    if (found == wanted.end() && !stated.empty())
      throw Error(ErrorKind::input,
                  concat(path.string(), ": the checkpoint has no hash of ", name));
    if (found != wanted.end() &&
        (found->second->rows != rows || found->second->sha256 != column.hash->so_far()))
      throw Error(ErrorKind::input,
                  concat(path.string(), ": damaged: ", name, " is not what was written, got ",
                         hex(column.hash->so_far()), " over ", rows, " rows, expected ",
                         hex(found->second->sha256), " over ", found->second->rows));
  };
  for (const Table* table : {&metrics, &rollouts})
    for (const Column& column : table->columns) take(column);
  for (const Column& column : other) take(column);
}

void RunFile::State::restore(Table& table, std::int64_t written, std::int64_t waiting,
                             std::span<const std::byte>& bytes) const {
  table.written = written;
  table.waiting = waiting;
  for (Column& column : table.columns) {
    const std::size_t n = column.row_bytes * static_cast<std::size_t>(waiting);
    std::copy_n(bytes.begin(), n, column.block.begin());
    bytes = bytes.subspan(n);
  }
}

/// Shortens every growing dataset to the checkpoint's rows.
/// \param file_size of the file before a full disk's missing end was filled up
void RunFile::State::cut_to(const RowsHead& head, std::uint64_t file_size) {
  const auto length_of = [&](const Column& column) {
    switch (column.spec.source) {
      case Source::metric: return head.metric_written;
      case Source::rollout: return head.rollout_written;
      case Source::eval: return head.evals;
      case Source::diagnostic: return diagnostic_rows(head.steps);
      case Source::checkpoint: return checkpoints;
      default: return static_cast<std::int64_t>(column.dims[0]);
    }
  };
  const auto each = [&](const auto& visit) {
    for (Table* table : {&metrics, &rollouts})
      for (Column& column : table->columns) visit(column);
    for (Column& column : other) visit(column);
  };
  each([&](const Column& column) {
    const auto rows =
        static_cast<std::int64_t>(h5::rows_in_file(column.dataset, file_size, column.spec.path));
    if (rows < length_of(column))
      throw Error(ErrorKind::input, concat(path.string(), ": ", column.spec.path,
                                           " lacks rows of the checkpoint, got ", rows,
                                           ", expected ", length_of(column)));
  });
  const std::uint8_t running = static_cast<std::uint8_t>(RunStatus::running);
  h5::write_rows(status_set, Type::u1, 0, 1, &running, ErrorKind::io, "/status");
  write_committed();
  each([&](Column& column) {
    extend(column.dataset, column.dims, length_of(column), column.spec.path);
  });
}

void RunFile::State::note_resume() {
  const auto resumes = std::find_if(other.begin(), other.end(),
                                    [](const Column& c) { return c.spec.path == "/resumes"; });
  write_other("/resumes", static_cast<std::int64_t>(resumes->dims[0]), &steps);
}

namespace {

/// The counts in front of the buffered rows; `rows` is left at the rows themselves.
RowsHead split_head(std::span<const std::byte>& rows, const std::string& where,
                    std::vector<DatasetHash>& hashes) {
  RowsHead found;
  const RowsHead own;
  bool plausible = rows.size() >= sizeof found;
  if (plausible) std::memcpy(&found, rows.data(), sizeof found);
  const bool hashed = plausible && found.magic[7] == own.magic[7];
  std::int64_t bytes = 0, more = 0;
  plausible = plausible && std::memcmp(found.magic, own.magic, sizeof own.magic - 1) == 0 &&
              (hashed || found.magic[7] == '1') && found.steps >= 0 && found.evals >= 0 &&
              found.metric_written >= 0 && found.rollout_written >= 0 &&
              found.metric_waiting >= 0 && found.rollout_waiting >= 0 && found.metric_bytes >= 0 &&
              found.rollout_bytes >= 0 &&
              !__builtin_mul_overflow(found.metric_waiting, found.metric_bytes, &bytes) &&
              !__builtin_mul_overflow(found.rollout_waiting, found.rollout_bytes, &more) &&
              !__builtin_add_overflow(bytes, more, &bytes);
  const auto rest = static_cast<std::int64_t>(rows.size() - std::min(rows.size(), sizeof found));
  if (!plausible || (hashed ? rest < bytes : rest != bytes))
    throw Error(ErrorKind::input,
                concat(where, ": the checkpoint's buffered rows do not belong to this run, got ",
                       rows.size(), " bytes"));
  const auto end = sizeof found + static_cast<std::size_t>(bytes);
  hashes = unpack_hashes(rows.subspan(end), where);
  rows = rows.subspan(sizeof found, static_cast<std::size_t>(bytes));
  return found;
}

}  // namespace

BufferedRows read_buffered_rows(std::span<const std::byte> bytes, const std::string& where) {
  BufferedRows out;
  const RowsHead head = split_head(bytes, where, out.hashes);
  out.steps = head.steps;
  // Rows that wait are not committed. How often rollouts are logged is not said here: where some
  // wait, at least one step each is committed.
  out.committed = head.rollout_waiting > 0
                      ? std::min(head.steps - head.metric_waiting, head.rollout_written)
                      : head.steps - head.metric_waiting;
  return out;
}

/// Checked against this file's layout; `rows` is left at the rows themselves.
RowsHead RunFile::State::read_head(std::span<const std::byte>& rows, const RowsHead& own,
                                   std::vector<DatasetHash>& hashes) const {
  const RowsHead found = split_head(rows, path.string(), hashes);
  if (found.metric_bytes != own.metric_bytes || found.rollout_bytes != own.rollout_bytes ||
      found.metric_waiting > metrics.capacity || found.rollout_waiting > rollouts.capacity)
    throw Error(
        ErrorKind::input,
        concat(path.string(), ": the checkpoint's buffered rows do not belong to this run, got ",
               rows.size(), " bytes"));
  return found;
}

/// Rows of /checkpoints that are not later than the step resumed from. A kill may have left the
/// last row in some of the columns only: it is dropped.
void RunFile::State::count_checkpoints(std::uint64_t file_size) {
  hsize_t rows = std::numeric_limits<hsize_t>::max();
  const Column* step = nullptr;
  for (const Column& column : other) {
    if (column.spec.source != Source::checkpoint) continue;
    rows = std::min(rows, h5::rows_in_file(column.dataset, file_size, column.spec.path));
    if (column.spec.path == "/checkpoints/step") step = &column;
  }
  std::vector<std::int64_t> at(rows);
  h5::read_rows(step->dataset, Type::i8, 0, rows, at.data(), ErrorKind::input, step->spec.path);
  while (checkpoints < static_cast<std::int64_t>(rows) &&
         at[static_cast<std::size_t>(checkpoints)] <= steps)
    ++checkpoints;
}

/// Cuts a copy back to the checkpoint, everything checked.
void RunFile::State::prepare_resume(const std::filesystem::path& temporary,
                                    std::span<const std::byte> rows) {
  // Outside of SWMR mode HDF5 writes in any order, so a kill in here would lose the file: the cut
  // is made in a copy, which then takes the file's place.
  h5::copy_run(path, temporary);
  reach_fault_point(FaultPoint::resume_copied);
  file = h5::open_for_writing(temporary);
  note_file(path);  // what is wrong with the copy is wrong with the original
  if (h5::read_text_attribute(file, "format", path.string()) != kRunFormat)
    throw Error(ErrorKind::input, concat(path.string(), ": not a motley run; allowed: a run.h5"));
  open_datasets();
  if (check_seal(path, file) != Seal::absent) {
    verify_fixed(file, path.string());
    const Digest open = open_seal();
    h5::write_rows(h5::own(H5Dopen2(file, kSealPath, H5P_DEFAULT), ErrorKind::input, kSealPath),
                   Type::u1, 0, open.size(), open.data(), ErrorKind::io, kSealPath);
  }
  RowsHead head;
  std::vector<DatasetHash> hashes;
  head.metric_bytes = row_bytes(metrics);
  head.rollout_bytes = row_bytes(rollouts);
  if (!rows.empty()) head = read_head(rows, head, hashes);
  steps = head.steps;
  evals = head.evals;
  restore(metrics, head.metric_written, head.metric_waiting, rows);
  restore(rollouts, head.rollout_written, head.rollout_waiting, rows);
  const std::uint64_t size = std::filesystem::file_size(path);
  count_checkpoints(size);
  cut_to(head, size);
  verify_and_hash(hashes);
  note_resume();
  reach_fault_point(FaultPoint::resume_cut);
}

RunFile RunFile::open_for_resume(const std::filesystem::path& path, const RunHeader& header,
                                 std::span<const std::byte> rows) {
  h5::start();
  h5::require_memory();
  auto state = std::make_unique<State>();
  state->path = path;
  state->header = header;
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  state->guarded([&] {
    state->prepare_resume(temporary, rows);
    state->go_live(temporary);
  });
  return RunFile(std::move(state));
}

void RunFile::rehearse_resume(const std::filesystem::path& path, const RunHeader& header,
                              const std::filesystem::path& trial, std::span<const std::byte> rows) {
  State state;
  state.path = path;
  state.header = header;
  disarm_fault_point();
  state.guarded([&] {
    state.prepare_resume(trial, rows);
    state.flush();
  });
}

}  // namespace motley
