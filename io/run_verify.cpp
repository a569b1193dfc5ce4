#include "io/run_verify.hpp"

#include <optional>
#include <set>
#include <sys/stat.h>

#include "io/checkpoint.hpp"
#include "io/reading.hpp"
#include "io/run_digest.hpp"
#include "io/run_file.hpp"
#include "io/run_hash.hpp"
#include "io/run_reader.hpp"
#include "io/seal.hpp"

namespace motley {
namespace {

using h5::Handle;
constexpr ErrorKind kInput = ErrorKind::input;

[[noreturn]] void differs(const std::filesystem::path& path, const std::string& dataset,
                          const Digest& found, const Digest& stated, std::int64_t rows) {
  throw Error(kInput,
              concat(path.string(), ": damaged: ", dataset, " is not what was written, got ",
                     hex(found), " over ", rows, " rows, expected ", hex(stated)));
}

void verify_all(const std::filesystem::path& path, hid_t file) {
  for (const DatasetHash& stated : stated_hashes(file, path.string())) {
    const DatasetHash found = hash_dataset(file, stated.path, kInput);
    if (found.rows != stated.rows || found.sha256 != stated.sha256)
      differs(path, stated.path, found.sha256, stated.sha256, found.rows);
  }
}

/// Rows that the newest checkpoint answers for. \return the steps they cover
std::int64_t verify_rows(const std::filesystem::path& path, const RunReader& run,
                         const std::optional<LoadedCheckpoint>& newest) {
  if (!newest) return 0;
  const Checkpoint& checkpoint = newest->checkpoint;
  const std::string where = path.parent_path() / "checkpoints" / newest->file;
  if (const auto ini = checkpoint.meta.find("ini");
      ini != checkpoint.meta.end() && ini->second != run.ini())
    throw Error(kInput,
                concat(path.string(), ": damaged: /config is not the configuration of ", where));
  const BufferedRows rows = read_buffered_rows(checkpoint.tensor("run.rows").data, where);
  for (const DatasetHash& stated : rows.hashes) {
    if (!run.has(stated.path))
      throw Error(kInput, concat(path.string(), ": damaged: ", stated.path, " is missing"));
    const Reading reading;
    const Handle dataset =
        h5::own(H5Dopen2(static_cast<hid_t>(run.file()), stated.path.c_str(), H5P_DEFAULT), kInput,
                stated.path);
    const std::vector<std::int64_t> extents = run.extents(stated.path);
    if (extents.empty() || extents[0] < stated.rows)
      throw Error(kInput,
                  concat(path.string(), ": damaged: ", stated.path, " lacks rows of ", where,
                         ", got ", extents.empty() ? 0 : extents[0], ", expected ", stated.rows));
    Sha256 hash;
    hash_rows(dataset, h5::type_of(dataset, stated.path), stated.rows, hash, kInput, stated.path);
    if (const Digest found = hash.finish(); found != stated.sha256)
      differs(path, stated.path, found, stated.sha256, stated.rows);
  }
  if (run.committed() < rows.committed)
    throw Error(kInput, concat(path.string(), ": damaged: /committed is less than in ", where,
                               ", got ", run.committed(), ", expected at least ", rows.committed));
  return rows.hashes.empty() ? 0 : checkpoint.step;
}

/// What no hash covers, because a resume adds to it, must at least be readable.
void read_volatile(const std::filesystem::path& path, hid_t file) {
  for (const std::string& name : integrity_paths(file)) {
    if (!name.starts_with("/checkpoints/") && !name.starts_with("/resumes")) continue;
    const Reading reading;
    const Handle dataset = h5::own(H5Dopen2(file, name.c_str(), H5P_DEFAULT), kInput, name);
    const auto rows = static_cast<std::int64_t>(
        h5::rows_in_file(dataset, std::filesystem::file_size(path), name));
    Sha256 unused;
    hash_rows(dataset, h5::type_of(dataset, name), rows, unused, kInput, name);
  }
}

/// Steps that are complete in the file cannot be fewer than it says.
void verify_committed(const std::filesystem::path& path, const RunReader& run) {
  const std::int64_t rows = run.extents("/metrics/step").at(0);
  if (rows < run.committed())
    throw Error(kInput, concat(path.string(), ": damaged: /committed is more than there is, got ",
                               run.committed(), ", expected at most ", rows));
}

}  // namespace

RunVerdict verify_run(const std::filesystem::path& path) {
  // Before the file: of a live run it then holds all that the checkpoint knows of.
  std::optional<LoadedCheckpoint> newest;
  std::optional<Error> none_whole;
  try {
    newest = load_newest_checkpoint(path.parent_path() / "checkpoints");
  } catch (const Error& error) {
    none_whole = error;
  }
  // Before anything else is read: what HDF5 does on changed bytes need not be found out then.
  const Seal seal = [&] {
    bool cut = false;
    return check_seal(path, h5::open_for_reading(path, cut));
  }();
  const RunReader run(path);
  const auto file = static_cast<hid_t>(run.file());
  RunVerdict verdict;
  verdict.status = run.status();
  verdict.committed = run.committed();
  verdict.sealed = seal == Seal::whole;
  if (verdict.sealed || run.status() == RunStatus::complete) {
    verify_all(path, file);
    verdict.covered = run.committed();
  } else {
    if (seal == Seal::open) verify_fixed(file, path.string());
    if (none_whole) throw *none_whole;
    verdict.covered = verify_rows(path, run, newest);
    read_volatile(path, file);
  }
  verify_committed(path, run);
  if (run.status() == RunStatus::complete)
    verdict.digest = hex(content_digest(stated_hashes(file, path.string())));
  return verdict;
}

void require_whole(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return;
  const std::string name = concat(info.st_dev, ' ', info.st_ino, ' ', info.st_size, ' ',
                                  info.st_mtim.tv_sec, ' ', info.st_mtim.tv_nsec);
  static std::set<std::string> known;
  if (known.count(name) > 0) return;
  bool cut = false;
  const Handle file = h5::open_for_reading(path, cut);
  check_seal(path, file);
  known.insert(name);
}

std::string format_of(const std::filesystem::path& path) {
  bool cut = false;
  const Handle file = h5::open_for_reading(path, cut);
  return h5::read_text_attribute(file, "format", path.string());
}

void verify_side_file(const std::filesystem::path& path) {
  const Reading reading;
  bool cut = false;
  const Handle file = h5::open_for_reading(path, cut);
  std::vector<std::string> datasets;
  const auto visit = [](hid_t, const char* name, const H5O_info_t* info, void* out) -> herr_t {
    if (info->type == H5O_TYPE_DATASET)
      static_cast<std::vector<std::string>*>(out)->emplace_back(concat('/', name));
    return 0;
  };
  h5::check(H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit, &datasets, H5O_INFO_BASIC), kInput,
            path.string());
  h5::read_attributes(file, path.string());
  for (const std::string& dataset : datasets) hash_dataset(file, dataset, kInput);
}

}  // namespace motley
