#include <algorithm>
#include <cstring>

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

/// Shortens every growing dataset to the checkpoint's rows. /committed goes back first, so that a
/// kill in between leaves a file that promises no more than it holds.
void RunFile::State::cut_to(const RowsHead& head) {
  const auto length_of = [&](const Column& column) {
    switch (column.spec.source) {
      case Source::metric: return head.metric_written;
      case Source::rollout: return head.rollout_written;
      case Source::eval: return head.evals;
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
    if (static_cast<std::int64_t>(column.dims[0]) < length_of(column))
      throw Error(ErrorKind::input, concat(path.string(), ": ", column.spec.path,
                                           " lacks rows of the checkpoint, got ", column.dims[0],
                                           ", expected ", length_of(column)));
  });
  const std::uint8_t running = static_cast<std::uint8_t>(RunStatus::running);
  h5::write_rows(status_set, Type::u1, 0, 1, &running, ErrorKind::io, "/status");
  write_committed();
  flush();
  each([&](Column& column) {
    extend(column.dataset, column.dims, length_of(column), column.spec.path);
  });
}

/// Keeps the /checkpoints rows up to this step and adds one to /resumes.
void RunFile::State::note_resume() {
  const auto resumes = std::find_if(other.begin(), other.end(),
                                    [](const Column& c) { return c.spec.path == "/resumes"; });
  write_other("/resumes", static_cast<std::int64_t>(resumes->dims[0]), &steps);
}

RunFile RunFile::open_for_resume(const std::filesystem::path& path, const RunHeader& header,
                                 std::span<const std::byte> rows) {
  auto state = std::make_unique<State>();
  State& s = *state;
  s.path = path;
  s.header = header;
  RowsHead head;
  s.guarded([&] {
    s.file = h5::open_for_writing(path);
    if (h5::read_text_attribute(s.file, "format", path.string()) != kRunFormat)
      throw Error(ErrorKind::input, concat(path.string(), ": not a motley run; allowed: a run.h5"));
    s.open_datasets();
    head.metric_bytes = row_bytes(s.metrics);
    head.rollout_bytes = row_bytes(s.rollouts);
    if (!rows.empty()) {
      RowsHead found;
      if (rows.size() >= sizeof found) std::memcpy(&found, rows.data(), sizeof found);
      const bool plausible =
          rows.size() >= sizeof found &&
          std::memcmp(found.magic, head.magic, sizeof head.magic) == 0 &&
          found.metric_bytes == head.metric_bytes && found.rollout_bytes == head.rollout_bytes &&
          found.steps >= 0 && found.evals >= 0 && found.metric_written >= 0 &&
          found.rollout_written >= 0 && found.metric_waiting >= 0 &&
          found.metric_waiting <= s.metrics.capacity && found.rollout_waiting >= 0 &&
          found.rollout_waiting <= s.rollouts.capacity &&
          static_cast<std::int64_t>(rows.size() - sizeof found) ==
              found.metric_waiting * found.metric_bytes +
                  found.rollout_waiting * found.rollout_bytes;
      if (!plausible)
        throw Error(ErrorKind::input,
                    concat(path.string(),
                           ": the checkpoint's buffered rows do not belong to this run, got ",
                           rows.size(), " bytes"));
      head = found;
      rows = rows.subspan(sizeof found);
    }
    s.steps = head.steps;
    s.evals = head.evals;
    s.restore(s.metrics, head.metric_written, head.metric_waiting, rows);
    s.restore(s.rollouts, head.rollout_written, head.rollout_waiting, rows);
    for (const Column& column : s.other) {
      if (column.spec.path != "/checkpoints/step") continue;
      std::vector<std::int64_t> at(column.dims[0]);
      h5::read_rows(column.dataset, Type::i8, 0, column.dims[0], at.data(), ErrorKind::input,
                    column.spec.path);
      while (s.checkpoints < static_cast<std::int64_t>(at.size()) &&
             at[static_cast<std::size_t>(s.checkpoints)] <= s.steps)
        ++s.checkpoints;
    }
    s.cut_to(head);
    s.note_resume();
    s.flush();
    h5::check(H5Fstart_swmr_write(s.file), ErrorKind::io, "start of SWMR");
  });
  return RunFile(std::move(state));
}

}  // namespace motley
