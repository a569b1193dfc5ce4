#include "io/event_file.hpp"

#include <array>
#include <bit>
#include <cmath>

namespace motley {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1u) != 0 ? (c >> 1) ^ 0x82F63B78u : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

template <class T>
void append_raw(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

/// Protobuf: a field's number and wire type are one varint.
enum Wire : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
void append_varint(std::string& out, std::uint64_t n) {
  for (; n >= 0x80; n >>= 7) out += static_cast<char>((n & 0x7F) | 0x80);
  out += static_cast<char>(n);
}
void append_tag(std::string& out, unsigned field, Wire wire) {
  append_varint(out, (field << 3) | wire);
}
void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_tag(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::uint32_t masked(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

std::string event(double wall_time, std::int64_t step) {
  std::string out;
  append_tag(out, 1, kFixed64);
  append_raw(out, std::bit_cast<std::uint64_t>(wall_time));
  if (step != 0) {
    append_tag(out, 2, kVarint);
    append_varint(out, static_cast<std::uint64_t>(step));
  }
  return out;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes)
    crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFFu] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& path, double wall_time) : file_(path) {
  std::string message = event(wall_time, 0);
  append_bytes(message, 3, "brain.Event:2");
  record(message);
}

void EventFile::add(double wall_time, std::int64_t step,
                    const std::vector<std::pair<std::string, float>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    if (!std::isfinite(value)) continue;
    std::string one;
    append_bytes(one, 1, tag);
    append_tag(one, 2, kFixed32);
    append_raw(one, std::bit_cast<std::uint32_t>(value));
    append_bytes(summary, 1, one);
  }
  std::string message = event(wall_time, step);
  append_bytes(message, 5, summary);
  record(message);
}

void EventFile::record(const std::string& message) {
  std::string out;
  append_raw(out, static_cast<std::uint64_t>(message.size()));
  append_raw(out, masked(out));
  out += message;
  append_raw(out, masked(message));
  file_.write(out);
}

}  // namespace motley
