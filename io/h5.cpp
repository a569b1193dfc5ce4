#include "io/h5.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "io/reading.hpp"

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
  const Reading reading;
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

}  // namespace

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

Handle own(hid_t id, ErrorKind kind, const std::string& what) {
  if (id < 0) throw Error(kind, concat(what, " failed, got ", cause()));
  return Handle(id);
}

void check(herr_t result, ErrorKind kind, const std::string& what) {
  if (result < 0) throw Error(kind, concat(what, " failed, got ", cause()));
}

void close(Handle& handle, const std::string& what) {
  check(handle.close() ? 0 : -1, ErrorKind::io, "closing " + what);
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
  const Reading reading;
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
  const Reading reading;
  std::size_t at = 1;
  while (at != std::string::npos) {
    at = path.find('/', at);
    if (H5Lexists(file, path.substr(0, at).c_str(), H5P_DEFAULT) <= 0) return false;
    if (at != std::string::npos) ++at;
  }
  return true;
}

std::vector<hsize_t> dims_of(hid_t dataset) {
  const Reading reading;
  const Handle space = own(H5Dget_space(dataset), ErrorKind::input, "H5Dget_space");
  const int rank = H5Sget_simple_extent_ndims(space);
  check(rank, ErrorKind::input, "H5Sget_simple_extent_ndims");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  return dims;
}

std::size_t bytes_of_rows(hid_t dataset, Type type, hsize_t rows, const std::string& what) {
  const Reading reading;
  const std::vector<hsize_t> dims = dims_of(dataset);
  std::uint64_t bytes = size_of(type);
  bool fits = !__builtin_mul_overflow(bytes, std::uint64_t{rows}, &bytes);
  for (std::size_t i = 1; fits && i < dims.size(); ++i)
    fits = !__builtin_mul_overflow(bytes, std::uint64_t{dims[i]}, &bytes);
  const Handle file = own(H5Iget_file_id(dataset), ErrorKind::input, what);
  hsize_t size = 0;
  check(H5Fget_filesize(file, &size), ErrorKind::input, what);
  // Deflate makes at most 1032 bytes of one; a killed writer may have lengthened before it wrote.
  constexpr std::uint64_t kDeflate = 1032, kUnwritten = std::uint64_t{1} << 28;
  if (!fits || bytes / kDeflate > size + kUnwritten / kDeflate)
    throw Error(ErrorKind::input, concat(what, ": damaged: states more rows than a file of ", size,
                                         " bytes can hold, got ", rows));
  return static_cast<std::size_t>(bytes);
}

void write_attribute(hid_t object, const std::string& name, std::string_view text) {
  const std::string copy(text);
  const char* pointer = copy.c_str();
  write_attribute(object, name, Type::text, &pointer);
}

void write_attribute(hid_t object, const std::string& name, Type type, const void* value,
                     std::size_t count) {
  const std::string what = "writing attribute " + name;
  const Handle element = make_type(type);
  const hsize_t dim = count;
  const Handle space = own(count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dim, nullptr),
                           ErrorKind::io, what);
  const Handle attribute =
      own(H5Acreate2(object, name.c_str(), element, space, H5P_DEFAULT, H5P_DEFAULT), ErrorKind::io,
          what);
  check(H5Awrite(attribute, element, value), ErrorKind::io, what);
}

namespace {

std::string read_text(hid_t attribute, hid_t type, const std::string& what) {
  if (H5Tis_variable_str(type) > 0) {
    const Handle memory = make_type(Type::text);
    char* pointer = nullptr;
    check(H5Aread(attribute, memory, &pointer), ErrorKind::input, what);
    std::string text = pointer == nullptr ? "" : pointer;
    H5free_memory(pointer);
    return text;
  }
  const std::size_t size = H5Tget_size(type);
  if (size > (std::size_t{1} << 26))
    throw Error(ErrorKind::input, concat(what, ": damaged: a text of ", size, " bytes"));
  std::string text(size, '\0');
  check(H5Aread(attribute, type, text.data()), ErrorKind::input, what);
  return text.substr(0, text.find('\0'));
}

bool read_value(hid_t attribute, const std::string& what, AttributeValue& value) {
  const Handle type = own(H5Aget_type(attribute), ErrorKind::input, what);
  const Handle space = own(H5Aget_space(attribute), ErrorKind::input, what);
  if (H5Sget_simple_extent_npoints(space) != 1) return false;
  switch (H5Tget_class(type)) {
    case H5T_STRING: value = read_text(attribute, type, what); return true;
    case H5T_FLOAT: {
      double number = 0;
      check(H5Aread(attribute, H5T_NATIVE_DOUBLE, &number), ErrorKind::input, what);
      value = number;
      return true;
    }
    case H5T_INTEGER: {
      std::int64_t number = 0;
      check(H5Aread(attribute, H5T_NATIVE_INT64, &number), ErrorKind::input, what);
      if (H5Tget_size(type) == 1)
        value = number != 0;
      else
        value = number;
      return true;
    }
    default: return false;
  }
}

}  // namespace

std::string read_text_attribute(hid_t object, const std::string& name, const std::string& what) {
  const Reading reading;
  if (H5Aexists(object, name.c_str()) <= 0) return "";
  const Handle attribute = own(H5Aopen(object, name.c_str(), H5P_DEFAULT), ErrorKind::input, what);
  AttributeValue value;
  if (!read_value(attribute, what, value) || !std::holds_alternative<std::string>(value))
    throw Error(ErrorKind::input, concat(what, ": attribute ", name, " is no text"));
  return std::get<std::string>(value);
}

std::vector<Attribute> read_attributes(hid_t object, const std::string& what) {
  const Reading reading;
  std::vector<std::string> names;
  const auto collect_name = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  check(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect_name, &names),
        ErrorKind::input, what);
  std::vector<Attribute> result;
  for (const std::string& name : names) {
    const Handle attribute =
        own(H5Aopen(object, name.c_str(), H5P_DEFAULT), ErrorKind::input, what);
    Attribute item{name, {}};
    if (read_value(attribute, what, item.value)) result.push_back(std::move(item));
  }
  return result;
}

namespace {

/// Selects rows of the file space, calls H5Dwrite or H5Dread through `transfer`.
template <class Transfer>
void rows(hid_t dataset, Type type, hsize_t first, hsize_t count, ErrorKind kind,
          const std::string& what, const Transfer& transfer) {
  // Texts are small, and a lost heap of texts makes HDF5 1.10 loop for ever.
  const Reading reading(type == Type::text ? Reading::kLittle : Reading::kRows);
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
  std::vector<char*> pointers(bytes_of_rows(dataset, Type::text, dims[0], what) / sizeof(char*),
                              nullptr);
  read_rows(dataset, Type::text, 0, dims[0], pointers.data(), ErrorKind::input, what);
  std::vector<std::string> texts;
  texts.reserve(pointers.size());
  for (char* pointer : pointers) {
    texts.emplace_back(pointer == nullptr ? "" : pointer);
    H5free_memory(pointer);
  }
  return texts;
}

hsize_t rows_in_file(hid_t dataset, std::uint64_t size, const std::string& what) {
  const Reading reading;
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

}  // namespace motley::h5
