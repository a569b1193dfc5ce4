#include "io/seal.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

#include "io/digest.hpp"
#include "io/files.hpp"
#include "io/reading.hpp"

namespace motley {
namespace {

/// Hash of the file with the seal as zeros; `stated` is what stands there.
Digest hash_around(const std::filesystem::path& path, std::uint64_t offset, Digest& stated,
                   ErrorKind kind) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(kind, concat(path.string(), ": cannot open it, got ", std::strerror(errno)));
  std::vector<char> block(std::size_t{1} << 20);
  Sha256 hash;
  stated.fill(0);
  for (std::uint64_t at = 0; in;) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    const auto n = static_cast<std::uint64_t>(in.gcount());
    for (std::uint64_t i = 0; i < stated.size(); ++i) {
      if (offset + i < at || offset + i >= at + n) continue;
      char& byte = block[static_cast<std::size_t>(offset + i - at)];
      stated[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(byte);
      byte = 0;
    }
    hash.update(block.data(), static_cast<std::size_t>(n));
    at += n;
  }
  if (in.bad()) throw Error(kind, concat(path.string(), ": cannot be read"));
  return hash.finish();
}

}  // namespace

Digest open_seal() {
  constexpr std::string_view text = "not closed by its writer";
  Digest seal{};
  std::copy(text.begin(), text.end(), seal.begin());
  return seal;
}

std::uint64_t seal_offset(hid_t file) {
  const Reading reading;
  for (const char* name : {"/integrity", kSealPath}) {
    const htri_t there = H5Lexists(file, name, H5P_DEFAULT);
    // A group that cannot be read is not one that has no seal.
    h5::check(there, ErrorKind::input, concat(name, ": damaged: looking for it"));
    if (there == 0) return 0;
  }
  const h5::Handle dataset =
      h5::own(H5Dopen2(file, kSealPath, H5P_DEFAULT), ErrorKind::input, kSealPath);
  const haddr_t at = H5Dget_offset(dataset);
  if (at == HADDR_UNDEF || H5Dget_storage_size(dataset) != 32)
    throw Error(ErrorKind::input, concat(kSealPath, ": damaged: not 32 bytes"));
  return at;
}

void seal_file(const std::filesystem::path& path, std::uint64_t offset) {
  Digest stated;
  const Digest seal = hash_around(path, offset, stated, ErrorKind::io);
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written =
      file >= 0 && ::pwrite(file, seal.data(), seal.size(), static_cast<off_t>(offset)) ==
                       static_cast<ssize_t>(seal.size());
  const int cause = errno;
  if (file >= 0) ::close(file);
  if (!written)
    throw Error(ErrorKind::io,
                concat(path.string(), ": cannot be sealed, got ", std::strerror(cause)));
  sync_file(path);
}

Seal check_seal(const std::filesystem::path& path, hid_t file) {
  const std::uint64_t offset = seal_offset(file);
  if (offset == 0) return Seal::absent;
  Digest stated{};
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(reinterpret_cast<char*>(stated.data()), static_cast<std::streamsize>(stated.size()));
  if (in && stated == open_seal()) return Seal::open;
  const Digest found = hash_around(path, offset, stated, ErrorKind::input);
  if (found != stated)
    throw Error(ErrorKind::input,
                concat(path.string(), ": damaged: its bytes are not those it was closed with, got ",
                       hex(found).substr(0, 16), ", expected ", hex(stated).substr(0, 16), " (",
                       kSealPath, ")"));
  return Seal::whole;
}

}  // namespace motley
