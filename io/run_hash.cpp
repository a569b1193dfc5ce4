#include "io/run_hash.hpp"

#include <algorithm>
#include <cstring>

#include "io/reading.hpp"

namespace motley {
namespace {

using h5::Handle;
constexpr ErrorKind kInput = ErrorKind::input;

void update_number(Sha256& hash, std::int64_t value) {
  hash.update(&value, sizeof value);
}

std::string type_text(h5::Type type, const std::vector<hsize_t>& dims) {
  std::string text(h5::name_of(type));
  text += '[';
  for (std::size_t i = 1; i < dims.size(); ++i) text += concat(i > 1 ? "," : "", dims[i]);
  return text + ']';
}

Handle open_dataset(hid_t file, const std::string& path, ErrorKind kind) {
  const Reading reading;
  if (!h5::exists(file, path)) throw Error(kind, concat(path, ": not in the file"));
  return h5::own(H5Dopen2(file, path.c_str(), H5P_DEFAULT), kind, path);
}

}  // namespace

void hash_rows(hid_t dataset, h5::Type type, std::int64_t rows, Sha256& hash, ErrorKind kind,
               const std::string& what) {
  const std::size_t row = h5::bytes_of_rows(dataset, type, 1, what);
  // Whole chunks of up to 64 steps: no chunk is inflated twice.
  const std::size_t wanted = std::max<std::size_t>(1, (1u << 20) / std::max<std::size_t>(row, 1));
  const hsize_t block = wanted > 64 ? wanted / 64 * 64 : 64;
  std::vector<std::byte> bytes;
  for (hsize_t first = 0; first < static_cast<hsize_t>(rows); first += block) {
    const hsize_t count = std::min<hsize_t>(block, static_cast<hsize_t>(rows) - first);
    bytes.resize(row * count);
    h5::read_rows(dataset, type, first, count, bytes.data(), kind, what);
    hash.update(bytes.data(), bytes.size());
  }
}

DatasetHash hash_dataset(hid_t file, const std::string& path, ErrorKind kind) {
  const Handle dataset = open_dataset(file, path, kind);
  const h5::Type type = h5::type_of(dataset, path);
  const std::vector<hsize_t> dims = h5::dims_of(dataset);
  DatasetHash result{
      path, type_text(type, dims), dims.empty() ? 1 : static_cast<std::int64_t>(dims[0]), {}};
  Sha256 hash;
  if (type == h5::Type::text) {
    for (const std::string& text : h5::read_texts(dataset, path)) {
      update_number(hash, static_cast<std::int64_t>(text.size()));
      hash.update(text);
    }
    result.sha256 = hash.finish();
    return result;
  }
  hash_rows(dataset, type, result.rows, hash, kind, path);
  result.sha256 = hash.finish();
  return result;
}

std::vector<std::string> integrity_paths(hid_t file) {
  return h5::read_texts(open_dataset(file, "/integrity/path", kInput), "/integrity/path");
}

std::vector<DatasetHash> stated_hashes(hid_t file, const std::string& where) {
  const std::vector<std::string> paths = integrity_paths(file);
  const Handle rows = open_dataset(file, "/integrity/rows", kInput);
  const Handle sums = open_dataset(file, "/integrity/sha256", kInput);
  if (h5::dims_of(rows) != std::vector<hsize_t>{paths.size()} ||
      h5::dims_of(sums) != std::vector<hsize_t>{paths.size(), 32})
    throw Error(kInput, concat(where, ": /integrity has columns of unequal length"));
  std::vector<std::int64_t> counts(paths.size());
  std::vector<Digest> digests(paths.size());
  h5::read_rows(rows, h5::Type::i8, 0, paths.size(), counts.data(), kInput, "/integrity/rows");
  h5::read_rows(sums, h5::Type::u1, 0, paths.size(), digests.data(), kInput, "/integrity/sha256");
  std::vector<DatasetHash> result;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const Handle dataset = open_dataset(file, paths[i], kInput);
    result.push_back({paths[i], type_text(h5::type_of(dataset, paths[i]), h5::dims_of(dataset)),
                      counts[i], digests[i]});
  }
  return result;
}

void state_hashes(hid_t file, const std::vector<DatasetHash>& hashes) {
  constexpr ErrorKind kind = ErrorKind::io;
  std::vector<std::int64_t> rows;
  std::vector<Digest> sums;
  for (const DatasetHash& hash : hashes) {
    rows.push_back(hash.rows);
    sums.push_back(hash.sha256);
  }
  h5::write_rows(open_dataset(file, "/integrity/rows", kind), h5::Type::i8, 0, rows.size(),
                 rows.data(), kind, "/integrity/rows");
  h5::write_rows(open_dataset(file, "/integrity/sha256", kind), h5::Type::u1, 0, sums.size(),
                 sums.data(), kind, "/integrity/sha256");
}

bool is_fixed(hid_t file, const std::string& path) {
  if (path == "/committed" || path == "/status") return false;
  const Handle dataset = open_dataset(file, path, kInput);
  const Reading reading;
  const Handle space = h5::own(H5Dget_space(dataset), kInput, path);
  hsize_t dims[H5S_MAX_RANK] = {}, most[H5S_MAX_RANK] = {};
  return H5Sget_simple_extent_dims(space, dims, most) <= 0 || dims[0] == most[0];
}

void verify_fixed(hid_t file, const std::string& where) {
  for (const DatasetHash& stated : stated_hashes(file, where)) {
    if (!is_fixed(file, stated.path)) continue;
    const DatasetHash found = hash_dataset(file, stated.path, kInput);
    if (found.rows != stated.rows || found.sha256 != stated.sha256)
      throw Error(kInput,
                  concat(where, ": damaged: ", stated.path, " is not what was written, got ",
                         hex(found.sha256), ", expected ", hex(stated.sha256)));
  }
}

std::vector<std::byte> pack_hashes(const std::vector<DatasetHash>& hashes) {
  std::vector<std::byte> out;
  const auto put = [&](const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    out.insert(out.end(), bytes, bytes + size);
  };
  for (const DatasetHash& hash : hashes) {
    put(hash.path.c_str(), hash.path.size() + 1);
    put(&hash.rows, sizeof hash.rows);
    put(hash.sha256.data(), hash.sha256.size());
  }
  return out;
}

std::vector<DatasetHash> unpack_hashes(std::span<const std::byte> bytes, const std::string& where) {
  std::vector<DatasetHash> out;
  while (!bytes.empty()) {
    const auto end = std::find(bytes.begin(), bytes.end(), std::byte{0});
    DatasetHash hash;
    constexpr std::size_t tail = sizeof hash.rows + sizeof hash.sha256;
    if (static_cast<std::size_t>(bytes.end() - end) < 1 + tail)
      throw Error(kInput, concat(where, ": the hashes of the rows are cut short"));
    hash.path.assign(reinterpret_cast<const char*>(bytes.data()),
                     static_cast<std::size_t>(end - bytes.begin()));
    bytes = bytes.subspan(hash.path.size() + 1);
    std::memcpy(&hash.rows, bytes.data(), sizeof hash.rows);
    std::memcpy(hash.sha256.data(), bytes.data() + sizeof hash.rows, sizeof hash.sha256);
    bytes = bytes.subspan(tail);
    out.push_back(std::move(hash));
  }
  return out;
}

}  // namespace motley
