#include "io/table.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "io/stream_file.hpp"

namespace motley {
namespace {

constexpr std::array<std::string_view, 3> kFormats = {"csv", "jsonl", "parquet"};
constexpr std::array<std::string_view, 4> kTypes = {"i64", "f32", "f64", "text"};

void append_integer(std::string& out, std::int64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// A finite number, in the fewest digits that give it back.
void append_number(std::string& out, double value, ColumnType type) {
  char text[40];
  const auto end = type == ColumnType::f32
                       ? std::to_chars(text, text + sizeof text, static_cast<float>(value))
                       : std::to_chars(text, text + sizeof text, value);
  out.append(text, end.ptr);
}

class CsvWriter final : public TableWriter {
 public:
  CsvWriter(const std::filesystem::path& path, const std::vector<TableColumn>& columns)
      : file_(path), columns_(columns) {
    std::string line;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      if (c > 0) line += ',';
      append_text(line, columns[c].name);
    }
    file_.write(line + "\r\n");
  }

  void write(const TableRows& rows) override {
    std::string line;
    for (std::size_t i = 0; i < rows.count; ++i) {
      line.clear();
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        if (c > 0) line += ',';
        const TableCells& cells = rows.columns[c];
        if (columns_[c].type == ColumnType::i64)
          append_integer(line, cells.integers[i]);
        else if (columns_[c].type == ColumnType::text)
          append_text(line, cells.texts[i]);
        else if (std::isfinite(cells.numbers[i]))
          append_number(line, cells.numbers[i], columns_[c].type);
        else if (!std::isnan(cells.numbers[i]))
          line += cells.numbers[i] > 0 ? "inf" : "-inf";
      }
      file_.write(line + "\r\n");
    }
  }
  void finish() override { file_.finish(); }

 private:
  static void append_text(std::string& out, const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
      out += text;
      return;
    }
    out += '"';
    for (const char c : text) {
      if (c == '"') out += '"';
      out += c;
    }
    out += '"';
  }

  StreamFile file_;
  std::vector<TableColumn> columns_;
};

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class JsonLinesWriter final : public TableWriter {
 public:
  JsonLinesWriter(const std::filesystem::path& path, const std::vector<TableColumn>& columns)
      : file_(path), columns_(columns) {
    for (const TableColumn& column : columns) keys_.push_back(quoted(column.name) + ':');
  }

  void write(const TableRows& rows) override {
    std::string line;
    for (std::size_t i = 0; i < rows.count; ++i) {
      line = "{";
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        if (c > 0) line += ',';
        line += keys_[c];
        const TableCells& cells = rows.columns[c];
        if (columns_[c].type == ColumnType::i64)
          append_integer(line, cells.integers[i]);
        else if (columns_[c].type == ColumnType::text)
          line += quoted(cells.texts[i]);
        else if (std::isfinite(cells.numbers[i]))
          append_number(line, cells.numbers[i], columns_[c].type);
        else
          line += "null";
      }
      file_.write(line + "}\n");
    }
  }
  void finish() override { file_.finish(); }

 private:
  StreamFile file_;
  std::vector<TableColumn> columns_;
  std::vector<std::string> keys_;
};

}  // namespace

std::string_view name_of(TableFormat format) {
  return kFormats[static_cast<std::size_t>(format)];
}
std::string_view name_of(ColumnType type) {
  return kTypes[static_cast<std::size_t>(type)];
}

void TableRows::clear(std::size_t n) {
  count = 0;
  columns.resize(n);
  for (TableCells& cells : columns) {
    cells.integers.clear();
    cells.numbers.clear();
    cells.texts.clear();
  }
}

std::unique_ptr<TableWriter> make_table_writer(TableFormat format,
                                               const std::filesystem::path& path,
                                               const std::vector<TableColumn>& columns,
                                               const std::map<std::string, std::string>& metadata) {
  if (format == TableFormat::csv) return std::make_unique<CsvWriter>(path, columns);
  if (format == TableFormat::jsonl) return std::make_unique<JsonLinesWriter>(path, columns);
  return make_parquet_writer(path, columns, metadata);
}

std::int64_t write_table(const Table& table, TableFormat format,
                         const std::filesystem::path& directory,
                         const std::map<std::string, std::string>& metadata) {
  const auto path = directory / concat(table.name, '.', name_of(format));
  const auto writer = make_table_writer(format, path, table.columns, metadata);
  TableRows rows;
  std::int64_t written = 0;
  for (;;) {
    rows.clear(table.columns.size());
    if (!table.next(rows)) break;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const TableCells& cells = rows.columns[c];
      const std::size_t n = table.columns[c].type == ColumnType::i64    ? cells.integers.size()
                            : table.columns[c].type == ColumnType::text ? cells.texts.size()
                                                                        : cells.numbers.size();
      MOTLEY_REQUIRE(n == rows.count, ErrorKind::internal, table.name, ": column ",
                     table.columns[c].name, " has ", n, " values for ", rows.count, " rows");
    }
    writer->write(rows);
    written += static_cast<std::int64_t>(rows.count);
  }
  writer->finish();
  return written;
}

}  // namespace motley
