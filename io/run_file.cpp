#include "io/run_file.hpp"

#include <algorithm>
#include <map>

#include "io/fault.hpp"
#include "io/files.hpp"
#include "io/run_create.hpp"
#include "io/run_file_state.hpp"
#include "io/run_hash.hpp"
#include "io/seal.hpp"

namespace motley {
using h5::Handle;
using h5::Type;
using run_file::Clock;
using run_file::Column;
using run_file::extend;
using run_file::kLiveInterval;
using run_file::Table;

void run_file::extend(hid_t dataset, std::vector<hsize_t>& dims, std::int64_t rows,
                      const std::string& path) {
  dims[0] = static_cast<hsize_t>(rows);
  h5::check(H5Dset_extent(dataset, dims.data()), ErrorKind::io, path + ": changing its length");
}

void RunFile::State::abandon() {
  failed = true;
  for (Table* table : {&metrics, &rollouts})
    for (Column& column : table->columns) column.dataset.abandon();
  for (Column& column : other) column.dataset.abandon();
  committed_set.abandon();
  status_set.abandon();
  file.abandon();
}

void RunFile::State::stage(Table& table, const StepRecord& record, int replica) {
  for (Column& column : table.columns)
    column.writer(record, replica, column.spec,
                  column.block.data() + static_cast<std::size_t>(table.waiting) * column.row_bytes);
  ++table.waiting;
}

void RunFile::State::write_rows(Table& table) {
  if (table.waiting == 0) return;
  for (Column& column : table.columns) {
    extend(column.dataset, column.dims, table.written + table.waiting, column.spec.path);
    h5::write_rows(column.dataset, column.spec.type, static_cast<hsize_t>(table.written),
                   static_cast<hsize_t>(table.waiting), column.block.data(), ErrorKind::io,
                   column.spec.path);
    if (column.hash)
      column.hash->update(column.block.data(),
                          column.row_bytes * static_cast<std::size_t>(table.waiting));
    if (&column == &table.columns.front()) reach_fault_point(FaultPoint::mid_data);
  }
  table.written += table.waiting;
  table.waiting = 0;
}

void RunFile::State::write_other(const std::string& name, std::int64_t row, const void* data) {
  for (Column& column : other) {
    if (column.spec.path != name) continue;
    extend(column.dataset, column.dims, row + 1, name);
    h5::write_rows(column.dataset, column.spec.type, static_cast<hsize_t>(row), 1, data,
                   ErrorKind::io, name);
    if (column.hash) column.hash->update(data, column.row_bytes);
    return;
  }
  throw Error(ErrorKind::internal, concat("run file: no dataset ", name));
}

void RunFile::State::flush() {
  h5::check(H5Fflush(file, H5F_SCOPE_GLOBAL), ErrorKind::io, "flush");
  last_flush = Clock::now();
}

/// Steps whose rows are in the file in every group: those before the first row that still waits.
std::int64_t RunFile::State::complete_steps() const {
  if (rollouts.columns.empty() || rollouts.waiting == 0) return steps - metrics.waiting;
  return std::min(steps - metrics.waiting, rollouts.written * header.log.rollouts_every);
}

void RunFile::State::write_committed() {
  committed = complete_steps();
  h5::write_rows(committed_set, Type::i8, 0, 1, &committed, ErrorKind::io, "/committed");
}

void RunFile::State::commit() {
  write_rows(metrics);
  if (rollouts.waiting == rollouts.capacity) write_rows(rollouts);
  reach_fault_point(FaultPoint::after_data);
  flush();
  reach_fault_point(FaultPoint::after_flush);
  if (complete_steps() == committed) return;
  write_committed();
  flush();
  reach_fault_point(FaultPoint::after_commit);
}

RunFile::RunFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunFile::RunFile(RunFile&&) noexcept = default;
RunFile& RunFile::operator=(RunFile&&) noexcept = default;
RunFile::~RunFile() {
  if (state_) h5::start();
}

std::int64_t RunFile::steps() const {
  return state_->steps;
}
std::int64_t RunFile::committed() const {
  return state_->committed;
}
int RunFile::chunk_steps() const {
  return static_cast<int>(state_->rollouts.capacity);
}

/// From here on readers may look: SWMR mode, and the file under its own name.
void RunFile::State::go_live(const std::filesystem::path& temporary) {
  flush();
  h5::check(H5Fstart_swmr_write(file), ErrorKind::io, "start of SWMR");
  flush();
  sync_file(temporary);
  reach_fault_point(FaultPoint::before_live);
  std::error_code fault;
  std::filesystem::rename(temporary, path, fault);
  if (fault)
    throw Error(ErrorKind::io,
                concat("renaming ", temporary.string(), " failed, got ", fault.message()));
  sync_directory(path.parent_path());
  reach_fault_point(FaultPoint::after_live);
}

RunFile RunFile::create(const std::filesystem::path& path, const RunHeader& header) {
  h5::start();
  h5::require_memory();
  auto state = std::make_unique<State>();
  state->path = path;
  state->header = header;
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  state->guarded([&] {
    state->file = create_run(temporary, header);
    state->open_datasets();
    reach_fault_point(FaultPoint::header_created);
    state->go_live(temporary);
  });
  return RunFile(std::move(state));
}

void RunFile::append_step(const StepRecord& record, int replica) {
  State& s = *state_;
  const Shape& want = s.header.shape;
  MOTLEY_REQUIRE(record.shape.B == want.B && record.shape.G == want.G && record.shape.T == want.T &&
                     replica >= 0 && replica < record.shape.R,
                 ErrorKind::shape, "append_step: record has [R,B,G,T] = [", record.shape.R, ",",
                 record.shape.B, ",", record.shape.G, ",", record.shape.T, "] and replica ",
                 replica, ", expected B,G,T = ", want.B, ",", want.G, ",", want.T);
  MOTLEY_REQUIRE(record.step == s.steps, ErrorKind::internal,
                 "append_step: steps out of order, got ", record.step, ", expected ", s.steps);
  s.guarded([&] {
    s.stage(s.metrics, record, replica);
    const bool logged =
        s.header.log.rollouts_every > 0 && record.step % s.header.log.rollouts_every == 0;
    if (logged) s.stage(s.rollouts, record, replica);
    const int every = s.header.log.diagnostics_every;
    if (every > 0 && record.step % every == 0) s.append_diagnostics(record, replica);
    ++s.steps;
    const bool full = (logged && s.rollouts.waiting == s.rollouts.capacity) ||
                      s.metrics.waiting == s.metrics.capacity;
    if (full || Clock::now() - s.last_flush > kLiveInterval) s.commit();
  });
}

void RunFile::State::append_diagnostics(const StepRecord& record, int replica) {
  const std::int64_t row = diagnostic_rows(record.step);
  for (const Column& column : other) {
    if (column.spec.source != Source::diagnostic) continue;
    std::byte stored[sizeof(std::int64_t)];
    row_writer(column.spec)(record, replica, column.spec, stored);
    write_other(column.spec.path, row, stored);
  }
}

void RunFile::append_eval(const EvalRecord& record) {
  State& s = *state_;
  const auto q = static_cast<std::size_t>(s.header.eval_prompts), k = s.header.eval_k.size(),
             m = static_cast<std::size_t>(s.header.eval_samples),
             T = static_cast<std::size_t>(s.header.shape.T);
  MOTLEY_REQUIRE(q > 0 && k > 0, ErrorKind::shape, "append_eval: the file was made without /eval");
  const auto skipped = [&](EvalAxes axes) {
    return !is_held(axes, s.header.log.eval_samples, s.header.log.eval_exact);
  };
  for_each_eval_column(record, [&](const char* name, const auto& values, EvalAxes axes, auto...) {
    const std::size_t want = eval_count(axes, q, k, m, T);
    if (!skipped(axes))
      MOTLEY_REQUIRE(values.size() == want, ErrorKind::shape, "append_eval: /eval/", name, " has ",
                     values.size(), " values, expected ", want);
  });
  s.guarded([&] {
    s.write_other("/eval/eval", s.evals, &s.evals);
    s.write_other("/eval/step", s.evals, &record.step);
    for_each_eval_column(record, [&](const char* name, const auto& values, EvalAxes axes, auto...) {
      const std::string path = std::string("/eval/") + name;
      if (skipped(axes)) return;
      if (path == "/eval/class_entropy") reach_fault_point(FaultPoint::mid_evaluation);
      if (axes != EvalAxes::token) return s.write_other(path, s.evals, values.data());
      if (s.header.vocab.size() <= 256) {
        const std::vector<std::uint8_t> narrow(values.begin(), values.end());
        s.write_other(path, s.evals, narrow.data());
      } else {
        const std::vector<std::uint16_t> narrow(values.begin(), values.end());
        s.write_other(path, s.evals, narrow.data());
      }
    });
    ++s.evals;
    s.commit();
  });
}

void RunFile::append_checkpoint(std::int64_t step, const Digest& sha256, const std::string& file) {
  State& s = *state_;
  MOTLEY_REQUIRE(file.size() <= 64, ErrorKind::shape,
                 "append_checkpoint: name longer than 64 bytes, got ", file);
  char name[64] = {};
  std::copy(file.begin(), file.end(), name);
  s.guarded([&] {
    s.write_other("/checkpoints/checkpoint", s.checkpoints, &s.checkpoints);
    s.write_other("/checkpoints/step", s.checkpoints, &step);
    reach_fault_point(FaultPoint::mid_checkpoint_row);
    s.write_other("/checkpoints/sha256", s.checkpoints, sha256.data());
    s.write_other("/checkpoints/file", s.checkpoints, name);
    ++s.checkpoints;
    s.flush();
  });
}

void RunFile::commit() {
  state_->guarded([&] {
    state_->commit();
    sync_file(state_->path);
  });
}

void RunFile::State::write_integrity() {
  std::map<std::string, Digest> written;
  for (const DatasetHash& hash : written_hashes()) written[hash.path] = hash.sha256;
  std::vector<DatasetHash> hashes;
  for (const std::string& name : integrity_paths(file)) {
    hashes.push_back(hash_dataset(file, name, ErrorKind::io));
    const auto own = written.find(name);
    if (own != written.end() && own->second != hashes.back().sha256)
      throw Error(ErrorKind::io, concat(name, ": the file does not give back what was written"));
  }
  state_hashes(file, hashes);
}

void RunFile::close(RunStatus status) {
  State& s = *state_;
  s.guarded([&] {
    s.write_rows(s.metrics);
    s.write_rows(s.rollouts);  // the tail: the only chunk that is ever partly filled
    s.commit();
    reach_fault_point(FaultPoint::before_close);
    s.write_integrity();
    s.flush();
    sync_file(s.path);
    reach_fault_point(FaultPoint::after_integrity);
    const std::uint8_t value = static_cast<std::uint8_t>(status);
    h5::write_rows(s.status_set, Type::u1, 0, 1, &value, ErrorKind::io, "/status");
    s.flush();
    reach_fault_point(FaultPoint::after_status);
    const std::uint64_t seal = seal_offset(s.file);
    s.metrics.columns.clear();
    s.rollouts.columns.clear();
    s.other.clear();
    h5::close(s.committed_set, "/committed");
    h5::close(s.status_set, "/status");
    h5::close(s.file, "the file");
    if (seal != 0) seal_file(s.path, seal);
    sync_file(s.path);
    s.closed = true;
    reach_fault_point(FaultPoint::after_close);
  });
}

}  // namespace motley
