#include "io/run_digest.hpp"

#include <algorithm>
#include <map>

#include "io/run_hash.hpp"
#include "io/run_reader.hpp"
#include "io/schema.hpp"

namespace motley {
namespace {

void update_number(Sha256& hash, std::int64_t value) {
  hash.update(&value, sizeof value);
}

}  // namespace

Digest content_digest(std::vector<DatasetHash> hashes) {
  std::erase_if(hashes, [](const DatasetHash& h) { return is_volatile(h.path); });
  std::sort(hashes.begin(), hashes.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  Sha256 hash;
  for (const DatasetHash& h : hashes) {
    hash.update(h.path.c_str(), h.path.size() + 1);
    update_number(hash, h.rows);
    hash.update(h.sha256.data(), h.sha256.size());
  }
  return hash.finish();
}

std::vector<DatasetHash> hashes_of_run(const std::filesystem::path& path) {
  const RunReader run(path);
  if (run.status() != RunStatus::complete)
    throw Error(ErrorKind::input,
                concat(path.string(), ": the run is not complete, got status \"",
                       name_of(run.status()), "\" after ", run.committed(), " of ",
                       run.steps_planned(), " steps; finish it with motley train -r ",
                       path.parent_path().empty() ? "." : path.parent_path().string()));
  return stated_hashes(run.file(), path.string());
}

std::string digest_of_run(const std::filesystem::path& path) {
  return hex(content_digest(hashes_of_run(path)));
}

namespace {

/// Rows of two datasets that stand at the same steps; empty where all of them do.
struct CommonRows {
  std::vector<hsize_t> first, second;
  explicit operator bool() const { return !first.empty(); }
};

CommonRows common_rows(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  CommonRows rows;
  if (a == b) return rows;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size(); a[i] < b[j] ? ++i : ++j) {
    if (a[i] != b[j]) continue;
    rows.first.push_back(i);
    rows.second.push_back(j);
  }
  return rows;
}

/// Of some rows of a dataset.
DatasetHash hash_some(hid_t file, const DatasetHash& whole, const std::vector<hsize_t>& rows) {
  const h5::Handle dataset =
      h5::own(H5Dopen2(file, whole.path.c_str(), H5P_DEFAULT), ErrorKind::input, whole.path);
  const h5::Type type = h5::type_of(dataset, whole.path);
  const std::vector<hsize_t> dims = h5::dims_of(dataset);
  std::size_t row = h5::size_of(type);
  for (std::size_t i = 1; i < dims.size(); ++i) row *= dims[i];
  std::vector<std::byte> bytes(row);
  Sha256 hash;
  for (const hsize_t at : rows) {
    h5::read_rows(dataset, type, at, 1, bytes.data(), ErrorKind::input, whole.path);
    hash.update(bytes.data(), bytes.size());
  }
  return {whole.path, whole.type, static_cast<std::int64_t>(rows.size()), hash.finish()};
}

bool in_group(const std::string& path, const char* group) {
  return path.rfind(std::string(group) + "/", 0) == 0;
}

}  // namespace

CommonDigest digest_common(const std::filesystem::path& first,
                           const std::filesystem::path& second) {
  const RunReader run_a(first), run_b(second);
  std::map<std::string, DatasetHash> other;
  for (DatasetHash& h : hashes_of_run(second)) other.emplace(h.path, std::move(h));
  // Two runs may log every so many steps each; what both have logged is compared.
  const CommonRows rollouts = common_rows(run_a.rollout_steps(), run_b.rollout_steps());
  const CommonRows diagnostics = common_rows(run_a.diagnostic_steps(), run_b.diagnostic_steps());
  std::vector<DatasetHash> a, b;
  CommonDigest result;
  for (DatasetHash h : hashes_of_run(first)) {
    const auto found = other.find(h.path);
    if (is_volatile(h.path) || found == other.end() || found->second.type != h.type) continue;
    DatasetHash g = found->second;
    const CommonRows& rows = in_group(h.path, "/diagnostics") ? diagnostics : rollouts;
    const bool by_step = in_group(h.path, "/rollouts") || in_group(h.path, "/partition") ||
                         in_group(h.path, "/diagnostics");
    if (by_step && rows && !is_fixed(run_a.file(), h.path)) {
      h = hash_some(run_a.file(), h, rows.first);
      g = hash_some(run_b.file(), g, rows.second);
    }
    if (h.rows != g.rows || h.sha256 != g.sha256) result.different.push_back(h.path);
    a.push_back(std::move(h));
    b.push_back(std::move(g));
  }
  result.first = hex(content_digest(std::move(a)));
  result.second = hex(content_digest(std::move(b)));
  return result;
}

}  // namespace motley
