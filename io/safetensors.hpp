#pragma once
/// Tensors in one file: the safetensors container of Hugging Face, read strictly.
///
/// Layout: u64 little-endian header length n; n bytes of UTF-8 JSON padded with blanks to a
/// multiple of 8, {name: {dtype, shape, data_offsets: [begin, end)}} with offsets relative to the
/// byte after the header; optional "__metadata__" {string: string}; data little-endian, C order.
/// The writer sorts by descending size of the element, then by name.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace motley {

enum class TensorType : int { f64, i64, f32, i32, f16, bf16, u8, boolean };

/// Bytes of one element.
std::size_t size_of(TensorType type);
/// "F32", "BF16", ... as the file spells it.
std::string_view spelling(TensorType type);

struct Tensor {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<std::int64_t> dims;  ///< C order; empty = a scalar
  std::vector<std::byte> data;     ///< product(dims) * size_of(type) bytes

  static Tensor from_floats(std::string name, std::vector<std::int64_t> dims,
                            std::span<const float> values);
  static Tensor from_bytes(std::string name, std::span<const std::byte> bytes);  ///< u8, [size]
  /// Number of elements.
  std::int64_t size() const;
  /// \throws Error(input) unless the type is f32.
  std::vector<float> floats() const;
};

struct TensorFile {
  std::map<std::string, std::string> metadata;
  std::vector<Tensor> tensors;

  bool contains(std::string_view name) const;
  /// \throws Error(input) naming the nearest when there is no such tensor.
  const Tensor& at(std::string_view name) const;
};

/// The bytes of the file. \throws Error(internal) for a repeated name or a size that does not fit.
std::vector<std::byte> to_safetensors(const TensorFile& file);

/// Refuses with Error(input) everything the format does not allow: a header that is too large or
/// ends past the file, bad UTF-8 or JSON, repeated keys, unknown types, offsets that overlap,
/// leave holes or do not end with the file, a shape that overflows or does not match the size.
/// \param where named at the start of every message, usually the path
TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& where);

/// \throws Error(input)
TensorFile read_safetensors(const std::filesystem::path& path);
/// Temporary name, fsync, rename, fsync of the folder. \throws Error(io)
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);

}  // namespace motley
