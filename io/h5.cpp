#include "io/h5.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <new>

namespace motley::h5 {

void require_memory() {
  constexpr std::size_t kReserve = std::size_t{32} << 20;
  void* volatile probe = std::malloc(kReserve);  // volatile: not to be left out
  if (probe == nullptr) throw std::bad_alloc();
  std::free(probe);
}

void start() {
  static std::once_flag once;
  std::call_once(once, [] {
    require_memory();
    H5dont_atexit();
    H5open();
  });
  thread_local bool quiet = false;
  if (!quiet) {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    quiet = true;
  }
}

Handle::~Handle() {
  close();
}

bool Handle::close() {
  const hid_t id = std::exchange(id_, -1);
  if (id < 0) return true;
  switch (H5Iget_type(id)) {
    case H5I_FILE: return H5Fclose(id) >= 0;
    case H5I_GROUP: return H5Gclose(id) >= 0;
    case H5I_DATASET: return H5Dclose(id) >= 0;
    case H5I_DATASPACE: return H5Sclose(id) >= 0;
    case H5I_DATATYPE: return H5Tclose(id) >= 0;
    case H5I_ATTR: return H5Aclose(id) >= 0;
    case H5I_GENPROP_LST: return H5Pclose(id) >= 0;
    default: return true;
  }
}

namespace {

/// The innermost message of HDF5's error stack: the cause, not the call chain.
std::string cause() {
  std::string text;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    if (error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, visit, &text);
  // "file write failed: time = ... , errno = 28, error message = 'No space left on device', buf =
  // ...": the part that helps.
  if (const auto begin = text.find("error message = '"); begin != std::string::npos) {
    const auto end = text.find('\'', begin + 17);
    text = concat(text.substr(0, text.find(':')), ": ", text.substr(begin + 17, end - begin - 17));
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "no reason from HDF5, which has none when memory runs out" : text;
}

/// Was it the operating system that refused? HDF5 then quotes its error number.
bool system_refused() {
  bool found = false;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    if (error->desc != nullptr && std::strstr(error->desc, "errno = ") != nullptr)
      *static_cast<bool*>(out) = true;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, visit, &found);
  return found;
}

}  // namespace

Handle own(hid_t id, ErrorKind kind, const std::string& what) {
  if (id < 0) throw Error(kind, concat(what, " failed, got ", cause()));
  return Handle(id);
}

void check(herr_t result, ErrorKind kind, const std::string& what) {
  if (result < 0) throw Error(kind, concat(what, " failed, got ", cause()));
}

std::size_t size_of(Type type) {
  switch (type) {
    case Type::u1: return 1;
    case Type::u2:
    case Type::i2:
    case Type::f2: return 2;
    case Type::i4:
    case Type::f4: return 4;
    case Type::i8:
    case Type::u8:
    case Type::f8: return 8;
    case Type::text: return sizeof(char*);
    case Type::name64: return 64;
  }
  return 0;
}

std::string_view name_of(Type type) {
  constexpr std::string_view names[] = {"u1", "u2", "i2", "i4",   "i8",    "u8",
                                        "f2", "f4", "f8", "text", "name64"};
  return names[static_cast<std::size_t>(type)];
}

Handle make_type(Type type) {
  constexpr ErrorKind kind = ErrorKind::internal;
  const auto copy = [](hid_t id) { return own(H5Tcopy(id), kind, "H5Tcopy"); };
  switch (type) {
    case Type::u1: return copy(H5T_STD_U8LE);
    case Type::u2: return copy(H5T_STD_U16LE);
    case Type::i2: return copy(H5T_STD_I16LE);
    case Type::i4: return copy(H5T_STD_I32LE);
    case Type::i8: return copy(H5T_STD_I64LE);
    case Type::u8: return copy(H5T_STD_U64LE);
    case Type::f4: return copy(H5T_IEEE_F32LE);
    case Type::f8: return copy(H5T_IEEE_F64LE);
    case Type::f2: {
      // IEEE binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits.
      Handle half = copy(H5T_IEEE_F32LE);
      check(H5Tset_fields(half, 15, 10, 5, 0, 10), kind, "H5Tset_fields");
      check(H5Tset_size(half, 2), kind, "H5Tset_size");
      check(H5Tset_ebias(half, 15), kind, "H5Tset_ebias");
      return half;
    }
    case Type::text:
    case Type::name64: {
      Handle text = copy(H5T_C_S1);
      check(H5Tset_size(text, type == Type::text ? H5T_VARIABLE : 64), kind, "H5Tset_size");
      check(H5Tset_cset(text, H5T_CSET_UTF8), kind, "H5Tset_cset");
      check(H5Tset_strpad(text, type == Type::text ? H5T_STR_NULLTERM : H5T_STR_NULLPAD), kind,
            "H5Tset_strpad");
      return text;
    }
  }
  throw Error(ErrorKind::internal, "h5: unknown type");
}

Type type_of(hid_t dataset, const std::string& what) {
  const Handle found = own(H5Dget_type(dataset), ErrorKind::input, what + ": type");
  for (int i = 0; i <= static_cast<int>(Type::name64); ++i) {
    const Type type = static_cast<Type>(i);
    if (H5Tequal(found, make_type(type)) > 0) return type;
  }
  // Texts of other writers differ in padding or character set; what matters is the length rule.
  if (H5Tis_variable_str(found) > 0) return Type::text;
  throw Error(ErrorKind::input, concat(what, ": element type is none of this program's"));
}

bool exists(hid_t file, const std::string& path) {
  std::size_t at = 1;
  while (at != std::string::npos) {
    at = path.find('/', at);
    if (H5Lexists(file, path.substr(0, at).c_str(), H5P_DEFAULT) <= 0) return false;
    if (at != std::string::npos) ++at;
  }
  return true;
}

std::vector<hsize_t> dims_of(hid_t dataset) {
  const Handle space = own(H5Dget_space(dataset), ErrorKind::input, "H5Dget_space");
  const int rank = H5Sget_simple_extent_ndims(space);
  check(rank, ErrorKind::input, "H5Sget_simple_extent_ndims");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  return dims;
}

namespace {

/// Selects rows of the file space, calls H5Dwrite or H5Dread through `transfer`.
template <class Transfer>
void rows(hid_t dataset, Type type, hsize_t first, hsize_t count, ErrorKind kind,
          const std::string& what, const Transfer& transfer) {
  if (count == 0) return;
  const Handle space = own(H5Dget_space(dataset), kind, what);
  const int rank = H5Sget_simple_extent_ndims(space);
  check(rank, kind, what);
  const Handle element = make_type(type);
  if (rank == 0) {
    check(transfer(element, H5S_ALL, H5S_ALL), kind, what);
    return;
  }
  hsize_t start[H5S_MAX_RANK] = {}, block[H5S_MAX_RANK] = {};
  H5Sget_simple_extent_dims(space, block, nullptr);
  start[0] = first;
  block[0] = count;
  check(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, block, nullptr), kind, what);
  const Handle memory = own(H5Screate_simple(rank, block, nullptr), kind, what);
  check(transfer(element, memory, space), kind, what);
}

}  // namespace

void write_rows(hid_t dataset, Type type, hsize_t first, hsize_t count, const void* data,
                ErrorKind kind, const std::string& what) {
  rows(dataset, type, first, count, kind, what, [&](hid_t element, hid_t memory, hid_t file) {
    return H5Dwrite(dataset, element, memory, file, H5P_DEFAULT, data);
  });
}

void read_rows(hid_t dataset, Type type, hsize_t first, hsize_t count, void* data, ErrorKind kind,
               const std::string& what) {
  rows(dataset, type, first, count, kind, what, [&](hid_t element, hid_t memory, hid_t file) {
    return H5Dread(dataset, element, memory, file, H5P_DEFAULT, data);
  });
}

void write_texts(hid_t dataset, const std::vector<std::string>& texts, const std::string& what) {
  std::vector<const char*> pointers;
  pointers.reserve(texts.size());
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  write_rows(dataset, Type::text, 0, texts.size(), pointers.data(), ErrorKind::io, what);
}

std::vector<std::string> read_texts(hid_t dataset, const std::string& what) {
  const std::vector<hsize_t> dims = dims_of(dataset);
  if (dims.size() != 1)
    throw Error(ErrorKind::input, concat(what, ": has ", dims.size(), " axes; allowed: 1"));
  std::vector<char*> pointers(dims[0], nullptr);
  read_rows(dataset, Type::text, 0, dims[0], pointers.data(), ErrorKind::input, what);
  std::vector<std::string> texts;
  texts.reserve(pointers.size());
  for (char* pointer : pointers) {
    texts.emplace_back(pointer == nullptr ? "" : pointer);
    H5free_memory(pointer);
  }
  return texts;
}

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
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in || !std::filesystem::is_regular_file(path))
    throw Error(ErrorKind::input, concat(path.string(), ": cannot open it; allowed: a run.h5"));
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
  start();
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
  start();
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

hsize_t rows_in_file(hid_t dataset, std::uint64_t size, const std::string& what) {
  const std::vector<hsize_t> dims = dims_of(dataset);
  hsize_t rows = dims.empty() ? 1 : dims[0];
  const Handle list = own(H5Dget_create_plist(dataset), ErrorKind::input, what);
  if (H5Pget_layout(list) != H5D_CHUNKED) {
    const haddr_t at = H5Dget_offset(dataset);
    return at != HADDR_UNDEF && at + H5Dget_storage_size(dataset) > size ? 0 : rows;
  }
  const Handle space = own(H5Dget_space(dataset), ErrorKind::input, what);
  hsize_t chunks = 0;
  check(H5Dget_num_chunks(dataset, space, &chunks), ErrorKind::input, what);
  for (hsize_t i = 0; i < chunks; ++i) {
    hsize_t offset[H5S_MAX_RANK] = {}, bytes = 0;
    haddr_t at = HADDR_UNDEF;
    check(H5Dget_chunk_info(dataset, space, i, offset, nullptr, &at, &bytes), ErrorKind::input,
          what);
    if (at == HADDR_UNDEF || at + bytes > size) rows = std::min(rows, offset[0]);
  }
  return rows;
}

Handle create_file(const std::filesystem::path& path) {
  start();
  const Handle access = writer_access();
  return own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), ErrorKind::io,
             path.string() + ": creating it");
}

}  // namespace motley::h5
