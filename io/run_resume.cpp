#include <algorithm>
#include <cstring>
#include <limits>

#include "io/fault.hpp"
#include "io/run_file_state.hpp"

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
  return out;
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

/// The counts in front of the buffered rows, checked against this file's layout; `rows` is left at
/// the rows themselves.
RowsHead RunFile::State::read_head(std::span<const std::byte>& rows, const RowsHead& own) const {
  RowsHead found;
  if (rows.size() >= sizeof found) std::memcpy(&found, rows.data(), sizeof found);
  const bool plausible =
      rows.size() >= sizeof found && std::memcmp(found.magic, own.magic, sizeof own.magic) == 0 &&
      found.metric_bytes == own.metric_bytes && found.rollout_bytes == own.rollout_bytes &&
      found.steps >= 0 && found.evals >= 0 && found.metric_written >= 0 &&
      found.rollout_written >= 0 && found.metric_waiting >= 0 &&
      found.metric_waiting <= metrics.capacity && found.rollout_waiting >= 0 &&
      found.rollout_waiting <= rollouts.capacity &&
      static_cast<std::int64_t>(rows.size() - sizeof found) ==
          found.metric_waiting * found.metric_bytes + found.rollout_waiting * found.rollout_bytes;
  if (!plausible)
    throw Error(
        ErrorKind::input,
        concat(path.string(), ": the checkpoint's buffered rows do not belong to this run, got ",
               rows.size(), " bytes"));
  rows = rows.subspan(sizeof found);
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

RunFile RunFile::open_for_resume(const std::filesystem::path& path, const RunHeader& header,
                                 std::span<const std::byte> rows) {
  h5::start();
  h5::require_memory();
  auto state = std::make_unique<State>();
  State& s = *state;
  s.path = path;
  s.header = header;
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  RowsHead head;
  s.guarded([&] {
    // Outside of SWMR mode HDF5 writes in any order, so a kill in here would lose the file: the cut
    // is made in a copy, which then takes the file's place.
    h5::copy_run(path, temporary);
    reach_fault_point(FaultPoint::resume_copied);
    s.file = h5::open_for_writing(temporary);
    if (h5::read_text_attribute(s.file, "format", path.string()) != kRunFormat)
      throw Error(ErrorKind::input, concat(path.string(), ": not a motley run; allowed: a run.h5"));
    s.open_datasets();
    head.metric_bytes = row_bytes(s.metrics);
    head.rollout_bytes = row_bytes(s.rollouts);
    if (!rows.empty()) head = s.read_head(rows, head);
    s.steps = head.steps;
    s.evals = head.evals;
    s.restore(s.metrics, head.metric_written, head.metric_waiting, rows);
    s.restore(s.rollouts, head.rollout_written, head.rollout_waiting, rows);
    const std::uint64_t size = std::filesystem::file_size(path);
    s.count_checkpoints(size);
    s.cut_to(head, size);
    s.note_resume();
    reach_fault_point(FaultPoint::resume_cut);
    s.go_live(temporary);
  });
  return RunFile(std::move(state));
}

}  // namespace motley
