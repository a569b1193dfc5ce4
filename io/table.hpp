#pragma once
/// Tables as files of other programs: csv, JSON lines, parquet; written in bounded memory.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace motley {

enum class TableFormat : int { csv, jsonl, parquet };
/// "csv", ...: also the ending of the file.
std::string_view name_of(TableFormat format);

enum class ColumnType : int { i64, f32, f64, text };
std::string_view name_of(ColumnType type);

struct TableColumn {
  std::string name;
  ColumnType type = ColumnType::f64;
  std::string unit;         ///< UDUNITS: "1", "nat", "token", "s"
  std::string description;  ///< one sentence
};

/// Values of one column; the vector of its type is used. A missing number is NaN.
struct TableCells {
  std::vector<std::int64_t> integers;  ///< i64
  std::vector<double> numbers;         ///< f32, f64
  std::vector<std::string> texts;      ///< text
};

/// Some rows, column by column.
struct TableRows {
  std::size_t count = 0;
  std::vector<TableCells> columns;

  /// Empties all columns and makes them `n` in number.
  void clear(std::size_t n);
};

/// A table and how to walk it.
struct Table {
  std::string name;
  std::vector<TableColumn> columns;
  /// Fills the next rows (columns are emptied first); false at the end.
  std::function<bool(TableRows&)> next;
};

class TableWriter {
 public:
  virtual ~TableWriter() = default;
  virtual void write(const TableRows& rows) = 0;
  /// The file gets its name. \throws Error(io)
  virtual void finish() = 0;
};

/// csv (RFC 4180: CRLF, quotes doubled, one header line; a missing number is empty), jsonl (one
/// strict JSON object a line; a missing or infinite number is null) or parquet (plain encoding, no
/// compression, a row group per kRowGroup rows; units and metadata as key-values).
/// Numbers have the fewest digits that read back as the same f32 or f64.
/// \param metadata  of the whole file; parquet alone has room for it
std::unique_ptr<TableWriter> make_table_writer(TableFormat format,
                                               const std::filesystem::path& path,
                                               const std::vector<TableColumn>& columns,
                                               const std::map<std::string, std::string>& metadata);

/// Walks a table to its end into DIR/NAME.FORMAT. \return rows written
std::int64_t write_table(const Table& table, TableFormat format,
                         const std::filesystem::path& directory,
                         const std::map<std::string, std::string>& metadata);

inline constexpr std::size_t kRowGroup = 65536;

/// The parquet writer, in its own file.
std::unique_ptr<TableWriter> make_parquet_writer(
    const std::filesystem::path& path, const std::vector<TableColumn>& columns,
    const std::map<std::string, std::string>& metadata);

}  // namespace motley
