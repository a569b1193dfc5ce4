#include "io/run_repair.hpp"

#include <algorithm>
#include <map>

#include "io/checkpoint.hpp"
#include "io/files.hpp"
#include "io/lock.hpp"
#include "io/run_file.hpp"
#include "io/run_hash.hpp"
#include "io/run_reader.hpp"
#include "io/run_verify.hpp"
#include "io/seal.hpp"

namespace motley {
namespace {

namespace fs = std::filesystem;
using h5::Handle;
constexpr ErrorKind kInput = ErrorKind::input;

std::string group_of(const std::string& dataset) {
  return dataset.substr(0, dataset.find('/', 1));
}

/// Rows to keep of every growing group.
class KeptRows {
 public:
  KeptRows(const fs::path& path, const RunReader& run) : run_(run) {
    const std::int64_t committed = run.committed();
    keep("/metrics", committed);
    keep("/timing", committed);
    keep("/rollouts", count("/rollouts/step", committed));
    keep("/partition", count("/partition/step", committed));
    keep("/diagnostics", count("/diagnostics/step", committed));
    keep("/eval", count("/eval/step", committed + 1));
    std::int64_t newest_step = -1;
    if (const auto newest = load_newest_checkpoint(path.parent_path() / "checkpoints")) {
      newest_step = newest->checkpoint.step;
      const BufferedRows rows =
          read_buffered_rows(newest->checkpoint.tensor("run.rows").data, newest->file);
      for (const DatasetHash& hash : rows.hashes) keep(group_of(hash.path), hash.rows);
    }
    keep("/checkpoints", count("/checkpoints/step", newest_step + 1));
    keep("/resumes", run.extents("/resumes").at(0));
  }
  std::int64_t of(const std::string& dataset) const {
    const auto found = rows_.find(group_of(dataset));
    return found == rows_.end() ? -1 : found->second;
  }

 private:
  void keep(const std::string& group, std::int64_t rows) {
    std::int64_t& kept = rows_[group];
    kept = std::max(kept, rows);
  }
  /// Rows at the start of a column of steps that are below `limit`.
  std::int64_t count(const std::string& column, std::int64_t limit) const {
    if (!run_.has(column)) return 0;
    const std::vector<double> steps = run_.numbers(column, 0, run_.extents(column).at(0));
    return std::find_if(steps.begin(), steps.end(),
                        [&](double step) { return step >= double(limit); }) -
           steps.begin();
  }
  const RunReader& run_;
  std::map<std::string, std::int64_t> rows_;
};

void cut(hid_t file, const std::string& name, std::int64_t rows, const fs::path& path) {
  const Handle dataset = h5::own(H5Dopen2(file, name.c_str(), H5P_DEFAULT), kInput, name);
  std::vector<hsize_t> dims = h5::dims_of(dataset);
  const auto there =
      static_cast<std::int64_t>(h5::rows_in_file(dataset, fs::file_size(path), name));
  MOTLEY_REQUIRE(there >= rows, kInput, path.string(), ": ", name, " lacks committed rows, got ",
                 there, ", expected ", rows);
  dims[0] = static_cast<hsize_t>(rows);
  h5::check(H5Dset_extent(dataset, dims.data()), ErrorKind::io, name + ": changing its length");
}

}  // namespace

Repair repair_run(const fs::path& path) {
  const fs::path folder = path.parent_path().empty() ? "." : path.parent_path();
  const RunLock lock(folder);
  Repair repair;
  const RunVerdict found = verify_run(path);
  repair.committed = found.committed;
  if (found.status != RunStatus::running) return repair;
  const fs::path kept = path.string() + ".before-repair", copy = path.string() + ".tmp";
  MOTLEY_REQUIRE(!fs::exists(kept), ErrorKind::refused, kept.string(),
                 ": exists, from an earlier repair; move it away first");
  const RunReader run(path);
  const KeptRows rows(path, run);
  h5::copy_run(path, copy);
  {
    Handle file = h5::open_for_writing(copy);
    const std::vector<std::string> names = integrity_paths(file);
    for (const std::string& name : names)
      if (!is_fixed(file, name) && rows.of(name) >= 0) cut(file, name, rows.of(name), path);
    std::vector<DatasetHash> hashes;
    for (const std::string& name : names) hashes.push_back(hash_dataset(file, name, kInput));
    state_hashes(file, hashes);
    const auto status = static_cast<std::uint8_t>(RunStatus::interrupted);
    h5::write_rows(h5::own(H5Dopen2(file, "/status", H5P_DEFAULT), kInput, "/status"), h5::Type::u1,
                   0, 1, &status, ErrorKind::io, "/status");
    const std::uint64_t seal = seal_offset(file);
    h5::close(file, copy.string());
    if (seal != 0)
      seal_file(copy, seal);
    else
      sync_file(copy);
  }
  verify_run(copy);
  std::error_code fault;
  fs::create_hard_link(path, kept, fault);
  if (fault) fs::copy_file(path, kept, fault);  // a file system without links
  if (!fault) fs::rename(copy, path, fault);
  MOTLEY_REQUIRE(!fault, ErrorKind::io, path.string(), ": cannot be replaced, got ",
                 fault.message());
  sync_directory(folder);
  repair.done = true;
  repair.kept = kept.string();
  return repair;
}

}  // namespace motley
