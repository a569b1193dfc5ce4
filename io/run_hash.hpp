#pragma once
/// Hashes of datasets, shared by the writer, the resume and the verifier.

#include <cstddef>
#include <span>

#include "io/h5.hpp"
#include "io/run_digest.hpp"

namespace motley {

/// Reads the dataset in blocks of about 1 MiB. Texts count as length (i8) and bytes.
/// \throws Error(kind)
DatasetHash hash_dataset(hid_t file, const std::string& path, ErrorKind kind);

/// Adds the first `rows` rows of a dataset of numbers to `hash`. \throws Error(kind)
void hash_rows(hid_t dataset, h5::Type type, std::int64_t rows, Sha256& hash, ErrorKind kind,
               const std::string& what);

/// Paths of /integrity/path. \throws Error(input)
std::vector<std::string> integrity_paths(hid_t file);
/// Rows and hashes of /integrity; rows not filled yet are zeros. \throws Error(input)
std::vector<DatasetHash> stated_hashes(hid_t file, const std::string& where);
/// Fills /integrity/rows and /integrity/sha256, in the order of /integrity/path. \throws Error(io)
void state_hashes(hid_t file, const std::vector<DatasetHash>& hashes);

/// Is the dataset's length fixed at creation, and its content with it? Not so /committed, /status.
bool is_fixed(hid_t file, const std::string& path);
/// Hashes the fixed datasets and compares with /integrity. \throws Error(input) naming one
void verify_fixed(hid_t file, const std::string& where);

/// Path, rows and hash of datasets as bytes, for a checkpoint.
std::vector<std::byte> pack_hashes(const std::vector<DatasetHash>& hashes);
/// \throws Error(input)
std::vector<DatasetHash> unpack_hashes(std::span<const std::byte> bytes, const std::string& where);

}  // namespace motley
