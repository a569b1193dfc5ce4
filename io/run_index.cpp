#include "io/run_index.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <hdf5_hl.h>

#include "io/files.hpp"
#include "io/h5.hpp"
#include "io/run_reader.hpp"

namespace motley {

namespace {

using h5::Handle;
using h5::Type;
constexpr ErrorKind kIo = ErrorKind::io;

struct Source {
  std::string file;  ///< relative to the index
  std::vector<hsize_t> dims;
  hsize_t rows = 0;  ///< of the first axis, as far as they are committed
};

/// A column as it will stand in the index.
struct Column {
  std::string path, units, long_name;
  Type type = Type::f4;
  std::vector<std::string> axes;  ///< of the source, by the names of its scales
  std::vector<Source> sources;    ///< one per run
};

/// Names of the axes, from the scales attached to a dataset of a run file.
std::vector<std::string> axes_of(hid_t dataset, const std::string& what) {
  std::vector<std::string> names;
  for (std::size_t d = 0; d < h5::dims_of(dataset).size(); ++d) {
    std::string name;
    const auto visit = [](hid_t, unsigned, hid_t scale, void* out) -> herr_t {
      char text[64] = {};
      if (H5DSget_scale_name(scale, text, sizeof text) < 0) return -1;
      *static_cast<std::string*>(out) = text;
      return 1;
    };
    h5::check(H5DSiterate_scales(dataset, static_cast<unsigned>(d), nullptr, visit, &name),
              ErrorKind::input, what);
    names.push_back(name);
  }
  return names;
}

void add_column(std::vector<Column>& columns, std::map<std::string, std::size_t>& index,
                hid_t dataset, const std::string& path, Source source, std::size_t run) {
  const std::string what = source.file + ": " + path;
  const auto [known, fresh] = index.emplace(path, columns.size());
  if (fresh) {
    Column column;
    column.path = path;
    column.units = h5::read_text_attribute(dataset, "units", what);
    column.long_name = h5::read_text_attribute(dataset, "long_name", what);
    column.type = h5::type_of(dataset, what);
    column.axes = axes_of(dataset, what);
    columns.push_back(column);
  }
  Column& column = columns[known->second];
  // A run before this one lacked the column, or has it otherwise: it cannot be one array.
  if (column.sources.size() != run || h5::type_of(dataset, what) != column.type ||
      (run > 0 && !std::equal(source.dims.begin() + 1, source.dims.end(),
                              column.sources[0].dims.begin() + 1, column.sources[0].dims.end())))
    return;
  column.sources.push_back(std::move(source));
}

std::vector<Column> find_columns(const std::filesystem::path& folder,
                                 const std::vector<IndexedRun>& runs) {
  std::vector<Column> columns;
  std::map<std::string, std::size_t> index;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const RunReader reader(runs[r].file);
    const hid_t file = static_cast<hid_t>(reader.file());
    for (const char* group : {"/metrics", "/timing", "/eval"}) {
      if (!h5::exists(file, group)) continue;
      std::vector<std::string> names = reader.columns(group);
      if (group == std::string("/eval")) names.emplace_back("step");
      for (const std::string& name : names) {
        const std::string path = std::string(group) + "/" + name;
        const Handle dataset = h5::own(H5Dopen2(file, path.c_str(), H5P_DEFAULT), ErrorKind::input,
                                       runs[r].file.string() + ": " + path);
        Source source;
        source.file = std::filesystem::relative(runs[r].file, folder).string();
        source.dims = h5::dims_of(dataset);
        // Scales are made anew: the index has an axis more.
        if (source.dims.empty() || H5DSis_scale(dataset) > 0) continue;
        source.rows = source.dims[0];
        if (group != std::string("/eval"))
          source.rows = std::min<hsize_t>(source.rows, static_cast<hsize_t>(reader.committed()));
        add_column(columns, index, dataset, path, std::move(source), r);
      }
    }
  }
  std::erase_if(columns, [&](const Column& c) { return c.sources.size() != runs.size(); });
  return columns;
}

/// 1-D dataset that names an axis.
Handle make_scale(hid_t group, const std::string& name, hsize_t size,
                  const std::vector<int>& known) {
  const Handle space = h5::own(H5Screate_simple(1, &size, nullptr), kIo, name);
  Handle scale = h5::own(H5Dcreate2(group, name.c_str(), h5::make_type(Type::i8), space,
                                    H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                         kIo, name);
  std::vector<std::int64_t> values(size);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = known.size() == size ? known[i] : static_cast<std::int64_t>(i);
  h5::write_rows(scale, Type::i8, 0, size, values.data(), kIo, name);
  h5::check(H5DSset_scale(scale, name.c_str()), kIo, name);
  return scale;
}

/// Axes of a group, made once each.
class Scales {
 public:
  /// \param k values of the axis `k`; the others count from 0
  Scales(hid_t group, std::vector<int> k) : group_(group), k_(std::move(k)) {}
  const Handle& get(const std::string& name, hsize_t size) {
    const auto found = made_.find(name);
    if (found != made_.end()) return found->second;
    return made_
        .emplace(name, make_scale(group_, name, size, name == "k" ? k_ : std::vector<int>{}))
        .first->second;
  }
  bool fits(const std::string& name, hsize_t size) const {
    const auto found = made_.find(name);
    return found == made_.end() || h5::dims_of(found->second)[0] == size;
  }

 private:
  hid_t group_;
  std::vector<int> k_;
  std::map<std::string, Handle> made_;
};

/// The list of an HDF5 virtual dataset [run, longest first axis, ...]: what is missing reads as the
/// fill value.
Handle virtual_list(const Column& column, hid_t space, const std::vector<hsize_t>& dims) {
  Handle list = h5::own(H5Pcreate(H5P_DATASET_CREATE), kIo, column.path);
  const std::int64_t minus = -1;
  const double nan = std::nan("");
  const bool real = column.type == Type::f2 || column.type == Type::f4 || column.type == Type::f8;
  h5::check(H5Pset_fill_value(list, real ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64,
                              real ? static_cast<const void*>(&nan) : &minus),
            kIo, column.path);
  for (std::size_t r = 0; r < column.sources.size(); ++r) {
    const Source& source = column.sources[r];
    if (source.rows == 0) continue;
    std::vector<hsize_t> start(dims.size(), 0), block(dims);
    start[0] = r;
    block[0] = 1;
    block[1] = source.rows;
    h5::check(
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, block.data(), nullptr),
        kIo, column.path);
    const Handle from =
        h5::own(H5Screate_simple(static_cast<int>(source.dims.size()), source.dims.data(), nullptr),
                kIo, column.path);
    const std::vector<hsize_t> zero(source.dims.size(), 0);
    h5::check(
        H5Sselect_hyperslab(from, H5S_SELECT_SET, zero.data(), nullptr, block.data() + 1, nullptr),
        kIo, column.path);
    h5::check(H5Pset_virtual(list, space, source.file.c_str(), column.path.c_str(), from), kIo,
              column.path);
  }
  h5::check(H5Sselect_all(space), kIo, column.path);
  return list;
}

void write_column(hid_t group, Scales& scales, const Column& column, std::size_t runs) {
  std::vector<hsize_t> dims = {runs};
  dims.insert(dims.end(), column.sources[0].dims.begin(), column.sources[0].dims.end());
  dims[1] = 0;
  for (const Source& source : column.sources) dims[1] = std::max(dims[1], source.rows);
  const std::string name = column.path.substr(column.path.rfind('/') + 1);
  std::vector<std::string> axes = {"run"};
  axes.insert(axes.end(), column.axes.begin(), column.axes.end());
  for (std::size_t d = 0; d < dims.size(); ++d)
    if (dims[d] == 0 || !scales.fits(axes[d], dims[d])) return;
  const Handle space =
      h5::own(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), kIo, name);
  const Handle list = virtual_list(column, space, dims);
  const Handle dataset = h5::own(H5Dcreate2(group, name.c_str(), h5::make_type(column.type), space,
                                            H5P_DEFAULT, list, H5P_DEFAULT),
                                 kIo, column.path);
  h5::write_attribute(dataset, "units", column.units);
  h5::write_attribute(dataset, "long_name", column.long_name);
  for (std::size_t d = 0; d < dims.size(); ++d)
    h5::check(H5DSattach_scale(dataset, scales.get(axes[d], dims[d]), static_cast<unsigned>(d)),
              kIo, column.path);
}

/// One value per run, of the type all runs have.
void write_run_column(hid_t group, const Handle& scale, const std::string& name,
                      const std::vector<AttributeValue>& values) {
  const hsize_t n = values.size();
  const Handle space = h5::own(H5Screate_simple(1, &n, nullptr), kIo, name);
  const auto all = [&]<class T>(T) {
    return std::all_of(values.begin(), values.end(),
                       [](const AttributeValue& v) { return std::holds_alternative<T>(v); });
  };
  const Type type = all(std::int64_t{}) ? Type::i8
                    : all(double{})     ? Type::f8
                    : all(bool{})       ? Type::u1
                                        : Type::text;
  const Handle dataset = h5::own(H5Dcreate2(group, name.c_str(), h5::make_type(type), space,
                                            H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                                 kIo, name);
  const auto write = [&]<class T>(T) {
    std::vector<T> numbers;
    for (const AttributeValue& v : values)
      std::visit(
          [&](const auto& x) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(x)>, std::string>)
              numbers.push_back(static_cast<T>(x));
          },
          v);
    h5::write_rows(dataset, type, 0, n, numbers.data(), kIo, name);
  };
  if (type == Type::i8) write(std::int64_t{});
  if (type == Type::f8) write(double{});
  if (type == Type::u1) write(std::uint8_t{});
  if (type == Type::text) {
    std::vector<std::string> texts;
    for (const AttributeValue& v : values)
      texts.push_back(std::visit([](const auto& x) { return concat(x); }, v));
    h5::write_texts(dataset, texts, name);
  }
  h5::write_attribute(dataset, "units", "1");
  h5::check(H5DSattach_scale(dataset, scale, 0), kIo, name);
}

void write_runs(hid_t group, const Handle& scale, const std::filesystem::path& folder,
                const std::vector<IndexedRun>& runs) {
  const auto column = [&](const std::string& name, const auto& value_of) {
    std::vector<AttributeValue> values;
    for (const IndexedRun& run : runs) values.push_back(value_of(run));
    write_run_column(group, scale, name, values);
  };
  column("file", [&](const IndexedRun& run) -> AttributeValue {
    return std::filesystem::relative(run.file, folder).string();
  });
  column("arm", [](const IndexedRun& run) -> AttributeValue { return run.arm; });
  column("seed", [](const IndexedRun& run) -> AttributeValue {
    return static_cast<std::int64_t>(run.seed);
  });
  column("rows",
         [](const IndexedRun& run) -> AttributeValue { return RunReader(run.file).committed(); });
  column("config_sha256", [](const IndexedRun& run) -> AttributeValue {
    for (const Attribute& a : RunReader(run.file).root())
      if (a.key == "config_sha256") return a.value;
    return std::string();
  });
  for (std::size_t i = 0; !runs.empty() && i < runs[0].config.size(); ++i)
    column(runs[0].config[i].key,
           [&](const IndexedRun& run) -> AttributeValue { return run.config.at(i).value; });
}

/// Says no to whatever is there and is no index.
void require_index(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return;
  std::string format;
  if (H5Fis_hdf5(path.c_str()) > 0) {
    bool cut = false;
    const Handle file = h5::open_for_reading(path, cut);
    format = h5::read_text_attribute(file, "format", path.string());
  }
  MOTLEY_REQUIRE(format == kIndexFormat, ErrorKind::refused, path.string(),
                 ": exists and is no index, got format \"", format, "\"; it is not overwritten");
}

}  // namespace

void write_index(const std::filesystem::path& path, const std::string& title,
                 const std::vector<IndexedRun>& runs) {
  h5::start();
  MOTLEY_REQUIRE(!runs.empty(), ErrorKind::input, path.string(), ": no finished run to index");
  require_index(path);
  std::filesystem::path folder = path.parent_path();
  if (folder.empty()) folder = ".";
  const std::vector<Column> columns = find_columns(folder, runs);
  const std::filesystem::path temporary = path.string() + ".tmp";
  std::vector<int> k;
  if (const RunReader first(runs.at(0).file); first.has_eval()) k = first.eval().k;
  {
    const Handle file = h5::create_file(temporary);
    h5::write_attribute(file, "format", kIndexFormat);
    h5::write_attribute(file, "format_version", "1.0.0");
    h5::write_attribute(file, "title", title);
    const auto make_group = [&](const char* name) {
      return h5::own(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), kIo, name);
    };
    const Handle who = make_group("/runs");
    Scales run_axis(who, {});
    write_runs(who, run_axis.get("run", runs.size()), folder, runs);
    for (const char* name : {"/metrics", "/timing", "/eval"}) {
      const Handle group = make_group(name);
      Scales scales(group, k);
      for (const Column& column : columns)
        if (column.path.rfind(std::string(name) + "/", 0) == 0)
          write_column(group, scales, column, runs.size());
    }
    h5::check(H5Fflush(file, H5F_SCOPE_GLOBAL), kIo, temporary.string());
  }
  sync_file(temporary);
  std::error_code failed;
  std::filesystem::rename(temporary, path, failed);
  MOTLEY_REQUIRE(!failed, kIo, path.string(), ": cannot be made, got ", failed.message());
}

}  // namespace motley
