#pragma once
/// Writes structures in Thrift's compact protocol, as far as parquet's footer needs it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace motley {

class ThriftWriter {
 public:
  enum Type : int { i32 = 5, i64 = 6, binary = 8, list = 9, structure = 12 };

  void integer(int field, std::int64_t value, Type type = i32) {
    header(field, type);
    varint(zigzag(value));
  }
  void text(int field, std::string_view value) {
    header(field, binary);
    raw_text(value);
  }
  /// A list of `size` elements; they follow as raw_integer, raw_text or open() ... close().
  void begin_list(int field, Type element, std::size_t size) {
    header(field, list);
    if (size < 15) {
      byte(static_cast<unsigned>(size << 4) | static_cast<unsigned>(element));
    } else {
      byte(0xF0u | static_cast<unsigned>(element));
      varint(size);
    }
  }
  /// A structure as a field, closed by close().
  void begin_structure(int field) {
    header(field, structure);
    open();
  }
  void raw_integer(std::int64_t value) { varint(zigzag(value)); }
  void raw_text(std::string_view value) {
    varint(value.size());
    out_ += value;
  }
  /// A structure as a list's element, or the outermost one.
  void open() {
    outer_.push_back(last_);
    last_ = 0;
  }
  void close() {
    byte(0);
    last_ = outer_.back();
    outer_.pop_back();
  }
  const std::string& bytes() const { return out_; }

 private:
  static std::uint64_t zigzag(std::int64_t n) {
    return (static_cast<std::uint64_t>(n) << 1) ^ static_cast<std::uint64_t>(n >> 63);
  }
  void byte(unsigned value) { out_ += static_cast<char>(value); }
  void varint(std::uint64_t n) {
    for (; n >= 0x80; n >>= 7) byte(static_cast<unsigned>(n & 0x7F) | 0x80u);
    byte(static_cast<unsigned>(n));
  }
  /// Fields come in increasing order, at most 15 apart.
  void header(int field, Type type) {
    byte((static_cast<unsigned>(field - last_) << 4) | static_cast<unsigned>(type));
    last_ = field;
  }

  std::string out_;
  int last_ = 0;
  std::vector<int> outer_;
};

}  // namespace motley
