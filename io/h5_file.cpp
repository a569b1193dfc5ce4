/// Run files as files: the superblock, opening, copying, creating.

#include <cerrno>
#include <cstring>
#include <fstream>

#include "io/h5.hpp"
#include "io/reading.hpp"

namespace motley::h5 {
namespace {

std::uint64_t little_endian(const unsigned char* bytes, int n) {
  std::uint64_t value = 0;
  for (int i = n - 1; i >= 0; --i) value = (value << 8) | bytes[i];
  return value;
}

struct Superblock {
  std::uint64_t size = 0;  ///< of the file
  std::uint64_t end = 0;   ///< where the file says it ends
  bool swmr = false;       ///< a writer in SWMR mode has it open, or was killed
  bool cut() const { return size < end; }
};

/// Superblock version 2 or 3: signature 8, version 1, size of offsets 1, size of lengths 1, flags
/// 1, base 8, extension 8, end of file 8, root 8, checksum 4 (HDF5 file format, II.A).
Superblock read_superblock(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const std::string cause = errno == 0 ? "" : concat(", got ", std::strerror(errno));
  if (!in || !std::filesystem::is_regular_file(path))
    throw Error(ErrorKind::input,
                concat(path.string(), ": cannot open it", cause, "; allowed: a run.h5"));
  Superblock block;
  block.size = static_cast<std::uint64_t>(in.tellg());
  unsigned char head[48] = {};
  in.seekg(0);
  in.read(reinterpret_cast<char*>(head), sizeof head);
  constexpr unsigned char signature[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  if (std::memcmp(head, signature, sizeof signature) != 0)
    throw Error(ErrorKind::input, concat(path.string(), ": not an HDF5 file, got ", block.size,
                                         " bytes; allowed: a run.h5"));
  if (block.size < sizeof head || (head[8] != 2 && head[8] != 3) || head[9] != 8)
    throw Error(ErrorKind::input, concat(path.string(), ": not a motley run (superblock version ",
                                         int{head[8]}, "); allowed: a run.h5"));
  block.end = little_endian(head + 28, 8);
  block.swmr = (head[11] & 0x04) != 0;
  if (block.cut() && !block.swmr)
    throw Error(ErrorKind::input, concat(path.string(), ": the file is cut short, got ", block.size,
                                         " of ", block.end, " bytes"));
  return block;
}

Handle access_list() {
  Handle access = own(H5Pcreate(H5P_FILE_ACCESS), ErrorKind::internal, "H5Pcreate");
  check(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), ErrorKind::internal,
        "H5Pset_libver_bounds");
  // RunLock keeps writers apart; HDF5's own lock would let a reader stop a resume.
  check(H5Pset_file_locking(access, false, true), ErrorKind::internal, "H5Pset_file_locking");
  return access;
}

/// Access of a writer: nothing of the data waits in HDF5. Its buffers would be written when a
/// dataset is closed, where a full disk goes unnoticed; and its default of 1 MiB of chunks for each
/// of a hundred datasets makes a long run grow. (Not set on the datasets, because
/// H5Fstart_swmr_write opens them anew.) Rows of rollouts come in whole chunks, columns are not
/// compressed.
Handle writer_access() {
  Handle access = access_list();
  check(H5Pset_cache(access, 0, 1, 0, 1.0), ErrorKind::internal, "H5Pset_cache");
  check(H5Pset_sieve_buf_size(access, 0), ErrorKind::internal, "H5Pset_sieve_buf_size");
  return access;
}

}  // namespace

Handle open_for_reading(const std::filesystem::path& path, bool& cut) {
  const Reading reading;
  start();
  note_file(path);
  const Superblock block = read_superblock(path);
  cut = block.cut();
  const Handle access = access_list();
  if (!block.swmr) {
    return own(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), ErrorKind::input,
               path.string() + ": opening it");
  }
  // HDF5 sleeps twice as long before every new attempt at a torn piece: 100 attempts, its default,
  // never end; 20 end after a millisecond.
  check(H5Pset_metadata_read_attempts(access, 20), ErrorKind::internal,
        "H5Pset_metadata_read_attempts");
  return own(H5Fopen(path.c_str(), H5F_ACC_RDONLY | H5F_ACC_SWMR_READ, access), ErrorKind::input,
             path.string() + ": opening it");
}

Handle open_for_writing(const std::filesystem::path& path) {
  const Reading reading;
  start();
  note_file(path);
  const Handle access = writer_access();
  // What h5clear -s does; the property has no function of its own in the C API.
  const hbool_t clear = 1;
  check(H5Pset(access, "clear_status_flags", &clear), ErrorKind::internal,
        "H5Pset clear_status_flags");
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDWR, access);
  // A damaged file is an input; a full disk or a lost right is not.
  return own(id, id < 0 && system_refused() ? ErrorKind::io : ErrorKind::input,
             path.string() + ": opening it to write");
}

namespace {

/// Bob Jenkins' lookup3 hash (hashlittle, initial value 0): the checksum of HDF5's metadata.
std::uint32_t metadata_checksum(const unsigned char* bytes, std::size_t size) {
  const auto turn = [](std::uint32_t x, int by) { return (x << by) | (x >> (32 - by)); };
  std::uint32_t a = 0xdeadbeefu + static_cast<std::uint32_t>(size), b = a, c = a;
  const auto word = [&](std::size_t at, std::size_t limit) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4 && at + i < limit; ++i)
      value |= std::uint32_t{bytes[at + i]} << (8 * i);
    return value;
  };
  std::size_t at = 0;
  for (; size - at > 12; at += 12) {
    a += word(at, size);
    b += word(at + 4, size);
    c += word(at + 8, size);
    a -= c, a ^= turn(c, 4), c += b;
    b -= a, b ^= turn(a, 6), a += c;
    c -= b, c ^= turn(b, 8), b += a;
    a -= c, a ^= turn(c, 16), c += b;
    b -= a, b ^= turn(a, 19), a += c;
    c -= b, c ^= turn(b, 4), b += a;
  }
  a += word(at, size);
  b += word(at + 4, size);
  c += word(at + 8, size);
  c ^= b, c -= turn(b, 14);
  a ^= c, a -= turn(c, 11);
  b ^= a, b -= turn(a, 25);
  c ^= b, c -= turn(b, 16);
  a ^= c, a -= turn(c, 4);
  b ^= a, b -= turn(a, 14);
  c ^= b, c -= turn(b, 24);
  return c;
}

/// Moves the end of file that the superblock states to `end`.
void state_end(const std::filesystem::path& path, std::uint64_t end) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  unsigned char head[48] = {};
  file.read(reinterpret_cast<char*>(head), sizeof head);
  if (metadata_checksum(head, 44) != little_endian(head + 44, 4))
    throw Error(ErrorKind::input, concat(path.string(), ": the superblock is damaged"));
  for (std::size_t i = 0; i < 8; ++i) head[28 + i] = static_cast<unsigned char>(end >> (8 * i));
  const std::uint32_t sum = metadata_checksum(head, 44);
  for (std::size_t i = 0; i < 4; ++i) head[44 + i] = static_cast<unsigned char>(sum >> (8 * i));
  file.seekp(0);
  file.write(reinterpret_cast<const char*>(head), sizeof head);
  if (!file.flush()) throw Error(ErrorKind::io, concat(path.string(), ": cannot be written"));
}

}  // namespace

void copy_run(const std::filesystem::path& from, const std::filesystem::path& to) {
  const Superblock block = read_superblock(from);
  std::error_code fault;
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, fault);
  if (!fault && block.cut()) std::filesystem::resize_file(to, block.end, fault);
  // A kill between the write of a chunk and that of the superblock leaves an index that points
  // behind the stated end; HDF5 then refuses the whole dataset ("addr overflow"), though only rows
  // that are cut off anyway lie there. State the end where the bytes really end.
  if (!fault && block.size > block.end) state_end(to, block.size);
  if (fault)
    throw Error(ErrorKind::io,
                concat("copying to ", to.string(), " failed, got ", fault.message()));
}

Handle create_file(const std::filesystem::path& path) {
  start();
  const Handle access = writer_access();
  return own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), ErrorKind::io,
             path.string() + ": creating it");
}

}  // namespace motley::h5
