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

CommonDigest digest_common(const std::filesystem::path& first,
                           const std::filesystem::path& second) {
  std::map<std::string, DatasetHash> other;
  for (DatasetHash& h : hashes_of_run(second)) other.emplace(h.path, std::move(h));
  std::vector<DatasetHash> a, b;
  CommonDigest result;
  for (const DatasetHash& h : hashes_of_run(first)) {
    const auto found = other.find(h.path);
    if (is_volatile(h.path) || found == other.end() || found->second.type != h.type) continue;
    a.push_back(h);
    b.push_back(found->second);
    if (h.rows != found->second.rows || h.sha256 != found->second.sha256)
      result.different.push_back(h.path);
  }
  result.first = hex(content_digest(a));
  result.second = hex(content_digest(b));
  return result;
}

}  // namespace motley
