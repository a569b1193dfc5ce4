#pragma once
/// Hash of one dataset's elements; shared by the writer and the verifier.

#include "io/h5.hpp"
#include "io/run_digest.hpp"

namespace motley {

/// Reads the dataset in blocks of about 1 MiB. Texts count as length (i8) and bytes.
/// \throws Error(kind)
DatasetHash hash_dataset(hid_t file, const std::string& path, ErrorKind kind);

/// Paths of /integrity/path. \throws Error(input)
std::vector<std::string> integrity_paths(hid_t file);

}  // namespace motley
