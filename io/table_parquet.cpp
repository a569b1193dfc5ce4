/// Parquet by hand: format version 1, plain encoding, no compression, every column required.
///
/// A file is "PAR1", then per row group one data page (header in Thrift's compact protocol, then
/// the values) per column, then the footer: the schema, where every page lies, the key-values, its
/// own length and "PAR1".

#include <cstring>

#include "core/base/error.hpp"
#include "io/stream_file.hpp"
#include "io/table.hpp"
#include "io/thrift.hpp"

namespace motley {
namespace {

constexpr int kPlain = 0, kRunLength = 3, kUncompressed = 0, kRequired = 0, kUtf8 = 0;

int physical_type(ColumnType type) {
  switch (type) {
    case ColumnType::i64: return 2;
    case ColumnType::f32: return 4;
    case ColumnType::f64: return 5;
    case ColumnType::text: return 6;
  }
  return 6;
}

template <class T>
void append_raw(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));  // little-endian, as everywhere in io
  out.append(bytes, sizeof(T));
}

class ParquetWriter final : public TableWriter {
 public:
  ParquetWriter(const std::filesystem::path& path, const std::vector<TableColumn>& columns,
                const std::map<std::string, std::string>& metadata)
      : file_(path), columns_(columns), metadata_(metadata), page_(columns.size()) {
    for (const TableColumn& column : columns) {
      metadata_["unit." + column.name] = column.unit;
      metadata_["description." + column.name] = column.description;
    }
    file_.write("PAR1");
  }

  void write(const TableRows& rows) override {
    for (std::size_t i = 0; i < rows.count; ++i) {
      for (std::size_t c = 0; c < columns_.size(); ++c) append(c, rows.columns[c], i);
      if (++waiting_ == kRowGroup) flush();
    }
  }

  void finish() override {
    flush();
    const std::string text = footer();
    file_.write(text);
    std::string length;
    append_raw(length, static_cast<std::uint32_t>(text.size()));
    file_.write(length);
    file_.write("PAR1");
    file_.finish();
  }

 private:
  struct Page {
    std::uint64_t offset = 0, bytes = 0;
  };
  struct Group {
    std::size_t rows = 0;
    std::vector<Page> pages;
  };

  void append(std::size_t c, const TableCells& cells, std::size_t i) {
    switch (columns_[c].type) {
      case ColumnType::i64: append_raw(page_[c], cells.integers[i]); return;
      case ColumnType::f32: append_raw(page_[c], static_cast<float>(cells.numbers[i])); return;
      case ColumnType::f64: append_raw(page_[c], cells.numbers[i]); return;
      case ColumnType::text:
        append_raw(page_[c], static_cast<std::uint32_t>(cells.texts[i].size()));
        page_[c] += cells.texts[i];
    }
  }

  /// The rows that wait become a row group.
  void flush() {
    if (waiting_ == 0) return;
    Group group{waiting_, {}};
    for (std::string& page : page_) {
      MOTLEY_REQUIRE(page.size() < 0x7FFFFFFFu, ErrorKind::internal, "parquet: a page of ",
                     page.size(), " bytes");
      ThriftWriter header;
      header.open();
      header.integer(1, 0);  // a data page
      header.integer(2, static_cast<std::int64_t>(page.size()));
      header.integer(3, static_cast<std::int64_t>(page.size()));
      header.begin_structure(5);
      header.integer(1, static_cast<std::int64_t>(waiting_));
      header.integer(2, kPlain);
      header.integer(3, kRunLength);
      header.integer(4, kRunLength);
      header.close();
      header.close();
      group.pages.push_back({file_.size(), header.bytes().size() + page.size()});
      file_.write(header.bytes());
      file_.write(page);
      page.clear();
    }
    groups_.push_back(std::move(group));
    total_ += waiting_;
    waiting_ = 0;
  }

  void write_group(ThriftWriter& t, const Group& group) const {
    std::uint64_t bytes = 0;
    for (const Page& page : group.pages) bytes += page.bytes;
    t.open();
    t.begin_list(1, ThriftWriter::structure, columns_.size());
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const Page& page = group.pages[c];
      t.open();
      t.integer(2, static_cast<std::int64_t>(page.offset), ThriftWriter::i64);
      t.begin_structure(3);
      t.integer(1, physical_type(columns_[c].type));
      t.begin_list(2, ThriftWriter::i32, 2);
      t.raw_integer(kPlain);
      t.raw_integer(kRunLength);
      t.begin_list(3, ThriftWriter::binary, 1);
      t.raw_text(columns_[c].name);
      t.integer(4, kUncompressed);
      t.integer(5, static_cast<std::int64_t>(group.rows), ThriftWriter::i64);
      t.integer(6, static_cast<std::int64_t>(page.bytes), ThriftWriter::i64);
      t.integer(7, static_cast<std::int64_t>(page.bytes), ThriftWriter::i64);
      t.integer(9, static_cast<std::int64_t>(page.offset), ThriftWriter::i64);
      t.close();
      t.close();
    }
    t.integer(2, static_cast<std::int64_t>(bytes), ThriftWriter::i64);
    t.integer(3, static_cast<std::int64_t>(group.rows), ThriftWriter::i64);
    t.close();
  }

  std::string footer() const {
    ThriftWriter t;
    t.open();
    t.integer(1, 1);  // format version
    t.begin_list(2, ThriftWriter::structure, columns_.size() + 1);
    t.open();
    t.text(4, "schema");
    t.integer(5, static_cast<std::int64_t>(columns_.size()));
    t.close();
    for (const TableColumn& column : columns_) {
      t.open();
      t.integer(1, physical_type(column.type));
      t.integer(3, kRequired);
      t.text(4, column.name);
      if (column.type == ColumnType::text) t.integer(6, kUtf8);
      t.close();
    }
    t.integer(3, static_cast<std::int64_t>(total_), ThriftWriter::i64);
    t.begin_list(4, ThriftWriter::structure, groups_.size());
    for (const Group& group : groups_) write_group(t, group);
    t.begin_list(5, ThriftWriter::structure, metadata_.size());
    for (const auto& [key, value] : metadata_) {
      t.open();
      t.text(1, key);
      t.text(2, value);
      t.close();
    }
    t.text(6, "motley");
    t.close();
    return t.bytes();
  }

  StreamFile file_;
  std::vector<TableColumn> columns_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> page_;  // per column, the rows of the open group
  std::vector<Group> groups_;
  std::size_t waiting_ = 0, total_ = 0;
};

}  // namespace

std::unique_ptr<TableWriter> make_parquet_writer(
    const std::filesystem::path& path, const std::vector<TableColumn>& columns,
    const std::map<std::string, std::string>& metadata) {
  return std::make_unique<ParquetWriter>(path, columns, metadata);
}

}  // namespace motley
