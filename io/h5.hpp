#pragma once
/// A thin skin over HDF5's C API (the C++ API has neither SWMR nor flush calls).
///
/// Handles close themselves, failures become motley::Error, HDF5 prints nothing. Included only by
/// io/*.cpp and the tests of io.

#define H5_USE_110_API
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hdf5.h>

#include "core/base/error.hpp"
#include "io/run_header.hpp"

namespace motley::h5 {

/// To be called at the start of every public function of io: HDF5 keeps its error printing per
/// thread, and its exit handler (which crashes after a full disk) must be off before first use.
/// \throws std::bad_alloc when memory is short, as require_memory
void start();
/// HDF5 dies of an allocation that fails in its midst. So before it begins something that grows,
/// room for all that a run needs of it must be there. \throws std::bad_alloc
void require_memory();

/// Owns one hid_t of any kind.
class Handle {
 public:
  Handle() = default;
  explicit Handle(hid_t id) : id_(id) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Handle();
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }
  /// Closes now; false when HDF5 reports a failure (a flush that hit a full disk).
  bool close();
  /// Forgets the id without closing it: after a failed write HDF5 must not touch the file again.
  void abandon() { id_ = -1; }

 private:
  hid_t id_ = -1;
};

/// Was it the operating system that refused the last call? HDF5 then quotes its error number.
bool system_refused();

/// Takes an id HDF5 has returned. \throws Error(kind, "<where>: <what>") when it is negative
Handle own(hid_t id, ErrorKind kind, const std::string& what);
/// \throws Error(kind) when a call has failed
void check(herr_t result, ErrorKind kind, const std::string& what);
/// Closes what was written to. \throws Error(io) when HDF5 reports a failure
void close(Handle& handle, const std::string& what);

/// Element types of the files, all little-endian; text = variable-length UTF-8, name64 = 64 bytes.
enum class Type : int { u1, u2, i2, i4, i8, u8, f2, f4, f8, text, name64 };
/// Bytes of one element in memory (text: a pointer).
std::size_t size_of(Type type);
/// "u1", "f4", ..., "text"
std::string_view name_of(Type type);
/// The HDF5 type of a dataset; also its type in memory.
Handle make_type(Type type);
/// The Type of an existing dataset. \throws Error(input) for any other
Type type_of(hid_t dataset, const std::string& what);

bool exists(hid_t file, const std::string& path);
/// Extents of a dataset; empty for a scalar.
std::vector<hsize_t> dims_of(hid_t dataset);
/// Bytes of `rows` rows in memory. \throws Error(input) when no file of this size can hold them: a
/// damaged extent must not become an allocation.
std::size_t bytes_of_rows(hid_t dataset, Type type, hsize_t rows, const std::string& what);

void write_attribute(hid_t object, const std::string& name, std::string_view text);
void write_attribute(hid_t object, const std::string& name, Type type, const void* value,
                     std::size_t count = 1);
/// Text attribute, "" when it is absent. \throws Error(input) when it is no text
std::string read_text_attribute(hid_t object, const std::string& name, const std::string& what);
/// All scalar attributes of the four kinds of AttributeValue, in HDF5's name order.
std::vector<Attribute> read_attributes(hid_t object, const std::string& what);

/// Rows [first, first + count) along the first axis into / from `data`, in the file's own type.
void write_rows(hid_t dataset, Type type, hsize_t first, hsize_t count, const void* data,
                ErrorKind kind, const std::string& what);
void read_rows(hid_t dataset, Type type, hsize_t first, hsize_t count, void* data, ErrorKind kind,
               const std::string& what);
/// Variable-length texts of a whole 1-D dataset.
void write_texts(hid_t dataset, const std::vector<std::string>& texts, const std::string& what);
std::vector<std::string> read_texts(hid_t dataset, const std::string& what);

/// Opens an existing run file for reading: finished, live or killed. Looks at the superblock itself
/// first: HDF5 can hang on a file that is shorter than it says.
/// \param cut out: the file ends before the end it states. That is refused, except for one that a
///            writer left in SWMR mode: after a full disk its last rows, not yet committed, may
///            lie past the end (see `rows_in_file`).
/// \throws Error(input)
Handle open_for_reading(const std::filesystem::path& path, bool& cut);
/// Opens for writing; stale flags of a killed writer are cleared. \throws Error(input), Error(io)
/// where the system refuses
Handle open_for_writing(const std::filesystem::path& path);
/// Copies a run file that nobody writes; one that is cut is filled up with zeros to the end it
/// states, because HDF5 opens no other for writing. \throws Error(input) when the file cannot be a
/// run, Error(io)
void copy_run(const std::filesystem::path& from, const std::filesystem::path& to);
/// Rows along the first axis that lie inside the first `size` bytes of the file.
hsize_t rows_in_file(hid_t dataset, std::uint64_t size, const std::string& what);
/// Creates (truncates) with the v110 format bounds. \throws Error(io)
Handle create_file(const std::filesystem::path& path);

}  // namespace motley::h5
