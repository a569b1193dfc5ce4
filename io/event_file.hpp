#pragma once
/// Event files of TensorBoard: scalars over steps, as TFRecord records of protobuf messages.
///
/// A record is its length (u64), the masked CRC-32C of the length, the message, the masked CRC-32C
/// of the message. Both formats are written by hand.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/stream_file.hpp"

namespace motley {

/// CRC-32C (Castagnoli) of bytes.
std::uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  /// \param wall_time  of the first record, seconds since 1970
  EventFile(const std::filesystem::path& path, double wall_time);
  /// One event with all scalars of a step; values that are not finite are left out.
  void add(double wall_time, std::int64_t step,
           const std::vector<std::pair<std::string, float>>& scalars);
  void finish() { file_.finish(); }

 private:
  void record(const std::string& message);
  StreamFile file_;
};

}  // namespace motley
