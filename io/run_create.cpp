#include "io/run_create.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include <hdf5_hl.h>

#include "io/digest.hpp"
#include "io/run_hash.hpp"
#include "io/schema.hpp"
#include "io/seal.hpp"

namespace motley {
namespace {

using h5::Handle;
using h5::Type;
constexpr ErrorKind kIo = ErrorKind::io;

void write_value(hid_t object, const Attribute& attribute, Type integer) {
  struct Writer {
    hid_t object;
    const std::string& key;
    Type integer;
    void operator()(bool value) const {
      const std::uint8_t byte = value ? 1 : 0;
      h5::write_attribute(object, key, Type::u1, &byte);
    }
    void operator()(std::int64_t value) const {
      const auto narrow = static_cast<std::int32_t>(value);
      if (integer == Type::i4)
        h5::write_attribute(object, key, Type::i4, &narrow);
      else
        h5::write_attribute(object, key, Type::i8, &value);
    }
    void operator()(double value) const { h5::write_attribute(object, key, Type::f8, &value); }
    void operator()(const std::string& value) const { h5::write_attribute(object, key, value); }
  };
  std::visit(Writer{object, attribute.key, integer}, attribute.value);
}

void write_root(hid_t file, const RunHeader& header) {
  const std::string sum =
      header.config_sha256.empty() ? hex(sha256(header.ini)) : header.config_sha256;
  const std::pair<const char*, std::string_view> texts[] = {
      {"format", kRunFormat},
      {"format_version", kRunFormatVersion},
      {"Conventions", "CF-1.10"},
      {"default", "metrics"},
      {"title", header.title},
      {"run_name", header.run_name},
      {"motley_version", header.motley_version},
      {"git_commit", header.git_commit},
      {"created_utc", header.created_utc},
      {"config_sha256", sum}};
  for (const auto& [name, text] : texts) h5::write_attribute(file, name, text);
  const std::uint8_t dirty = header.git_dirty ? 1 : 0;
  h5::write_attribute(file, "git_dirty", Type::u1, &dirty);
  h5::write_attribute(file, "seed", Type::u8, &header.seed);
  h5::write_attribute(file, "steps_planned", Type::i8, &header.steps);
}

/// Group with its `kind`; /metrics also says what a viewer should plot first (NeXus).
void make_group(hid_t file, const std::string& path) {
  const Handle group =
      h5::own(H5Gcreate2(file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), kIo,
              path + ": creating the group");
  // dict(file["config"].attrs) is the configuration: options and `ini`, nothing of ours.
  if (path != "/config") {
    h5::write_attribute(group, "kind", path.substr(1));
    h5::write_attribute(group, "kind_version", "1.0");
  }
  if (path == "/metrics") {
    h5::write_attribute(group, "NX_class", "NXdata");
    h5::write_attribute(group, "signal", "reward");
    h5::write_attribute(group, "axes", "step");
  }
  if (path == "/timing") {
    const std::uint8_t yes = 1;
    h5::write_attribute(group, "volatile", Type::u1, &yes);
  }
}

/// Chunk of a dataset that grows. (c,B,G[,T]) for step data, split along B above 1 MiB; one row for
/// evaluations and checkpoints; columns as `column_chunk`.
std::vector<hsize_t> chunk_of(const RunHeader& header, const DatasetSpec& spec,
                              const std::vector<hsize_t>& dims) {
  if (dims.size() == 1) return {static_cast<hsize_t>(column_chunk(header, spec))};
  constexpr hsize_t kLargest = 1024 * 1024;
  std::vector<hsize_t> chunk = dims;
  chunk[0] = spec.source == Source::rollout ? static_cast<hsize_t>(chunk_steps(header)) : 1;
  const auto bytes = [&] {
    return std::accumulate(chunk.begin(), chunk.end(), hsize_t{h5::size_of(spec.type)},
                           std::multiplies<>());
  };
  while (bytes() > kLargest && chunk[1] > 1) chunk[1] = (chunk[1] + 1) / 2;
  return chunk;
}

Handle make_dataset(hid_t file, const RunHeader& header, const DatasetSpec& spec) {
  std::vector<hsize_t> dims, limits;
  for (const std::string& name : spec.axes) {
    const Axis axis = axis_of(header, spec, name);
    dims.push_back(axis.size);
    limits.push_back(axis.unlimited ? H5S_UNLIMITED : axis.size);
  }
  const bool grows = !limits.empty() && limits[0] == H5S_UNLIMITED;
  const Handle list = h5::own(H5Pcreate(H5P_DATASET_CREATE), kIo, spec.path);
  if (grows) {
    const std::vector<hsize_t> chunk = chunk_of(header, spec, dims);
    h5::check(H5Pset_chunk(list, static_cast<int>(chunk.size()), chunk.data()), kIo,
              spec.path + ": chunk");
    if (dims.size() > 1) {
      h5::check(H5Pset_shuffle(list), kIo, spec.path + ": shuffle");
      h5::check(H5Pset_deflate(list, 4), kIo, spec.path + ": deflate");
    }
  } else {
    // What is written while readers look must not move its object header: allocate now.
    h5::check(H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY), kIo, spec.path + ": allocation");
  }
  const Handle space = h5::own(
      dims.empty() ? H5Screate(H5S_SCALAR)
                   : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), limits.data()),
      kIo, spec.path + ": space");
  Handle dataset = h5::own(H5Dcreate2(file, spec.path.c_str(), h5::make_type(spec.type), space,
                                      H5P_DEFAULT, list, H5P_DEFAULT),
                           kIo, spec.path + ": creating it");
  h5::write_attribute(dataset, "units", spec.units);
  h5::write_attribute(dataset, "long_name", spec.long_name);
  if (!spec.stage.empty()) h5::write_attribute(dataset, "stage", spec.stage);
  if (!spec.alias_trl.empty()) h5::write_attribute(dataset, "alias_trl", spec.alias_trl);
  if (!spec.alias_verl.empty()) h5::write_attribute(dataset, "alias_verl", spec.alias_verl);
  if (!spec.flags.empty()) {
    std::vector<std::uint8_t> values(
        1 + static_cast<std::size_t>(std::count(spec.flags.begin(), spec.flags.end(), ' ')));
    std::iota(values.begin(), values.end(), std::uint8_t{0});
    h5::write_attribute(dataset, "flag_values", Type::u1, values.data(), values.size());
    h5::write_attribute(dataset, "flag_meanings", spec.flags);
  }
  if (spec.pad) {
    const std::uint16_t zero = 0;
    h5::write_attribute(dataset, "pad_value", spec.type, &zero);
  }
  if (spec.is_scale())
    h5::check(H5DSset_scale(dataset, spec.name().c_str()), kIo, spec.path + ": scale");
  return dataset;
}

void attach_scales(const std::map<std::string, Handle>& datasets,
                   const std::vector<DatasetSpec>& schema) {
  for (const DatasetSpec& spec : schema) {
    if (spec.is_scale()) continue;
    for (std::size_t i = 0; i < spec.axes.size(); ++i) {
      const Handle& scale = datasets.at(spec.group() + '/' + spec.axes[i]);
      h5::check(H5DSattach_scale(datasets.at(spec.path), scale, static_cast<unsigned>(i)), kIo,
                spec.path + ": scale of " + spec.axes[i]);
    }
  }
}

/// Writes a column of int or float values in the dataset's own type.
template <class Out, class Values>
void write_column(hid_t dataset, Type type, hsize_t rows, const Values& values,
                  const std::string& path) {
  const std::vector<Out> out(values.begin(), values.end());
  h5::write_rows(dataset, type, 0, rows, out.data(), kIo, path);
}

void fill_header(const std::map<std::string, Handle>& datasets,
                 const std::vector<DatasetSpec>& schema, const RunHeader& header) {
  const PromptColumns& p = header.prompts;
  const std::map<std::string, const std::vector<int>*> integers = {
      {"/prompts/token", &p.token},
      {"/prompts/length", &p.length},
      {"/prompts/split", &p.split},
      {"/prompts/n_classes", &p.n_classes},
      {"/eval/k", &header.eval_k}};
  std::vector<std::string> paths;
  for (const DatasetSpec& spec : schema)
    if (spec.group() != "/integrity" && spec.path != "/status") paths.push_back(spec.path);
  for (const DatasetSpec& spec : schema) {
    if (spec.source != Source::header) continue;
    const hid_t dataset = datasets.at(spec.path);
    const hsize_t rows = axis_of(header, spec, spec.axes[0]).size;
    if (const auto found = integers.find(spec.path); found != integers.end()) {
      if (spec.type == Type::u1)
        write_column<std::uint8_t>(dataset, spec.type, rows, *found->second, spec.path);
      else if (spec.type == Type::u2)
        write_column<std::uint16_t>(dataset, spec.type, rows, *found->second, spec.path);
      else
        write_column<std::int32_t>(dataset, spec.type, rows, *found->second, spec.path);
    } else if (spec.is_scale()) {
      std::vector<std::int32_t> index(rows);
      // Positions count from 0, as every index in the file.
      std::iota(index.begin(), index.end(), 0);
      h5::write_rows(dataset, spec.type, 0, rows, index.data(), kIo, spec.path);
    } else if (spec.path == "/vocab/token") {
      h5::write_texts(dataset, header.vocab, spec.path);
    } else if (spec.path == "/vocab/special") {
      write_column<std::uint8_t>(dataset, spec.type, rows, header.special, spec.path);
    } else if (spec.path == "/prompts/text") {
      h5::write_texts(dataset, p.text, spec.path);
    } else if (spec.path == "/prompts/difficulty") {
      h5::write_rows(dataset, spec.type, 0, rows, p.difficulty.data(), kIo, spec.path);
    } else if (spec.path == "/integrity/path") {
      h5::write_texts(dataset, paths, spec.path);
    } else {
      throw Error(ErrorKind::internal, concat("run file: nothing fills ", spec.path));
    }
  }
}

void require_sizes(const RunHeader& h) {
  constexpr ErrorKind kind = ErrorKind::shape;
  const std::size_t n = h.prompts.length.size(), width = static_cast<std::size_t>(h.shape.P);
  MOTLEY_REQUIRE(h.shape.B >= 1 && h.shape.G >= 1 && h.shape.G <= 32767 && h.shape.T >= 1 &&
                     h.shape.T <= 65535,
                 kind, "run file: B, G, T out of range, got ", h.shape.B, ", ", h.shape.G, ", ",
                 h.shape.T, "; allowed: G <= 32767, T <= 65535");
  MOTLEY_REQUIRE(h.special.size() == h.vocab.size() && h.vocab.size() <= 65536, kind,
                 "run file: vocabulary has ", h.vocab.size(), " tokens and ", h.special.size(),
                 " flags; allowed: equal, <= 65536");
  MOTLEY_REQUIRE(h.prompts.text.size() == n && h.prompts.token.size() == n * width &&
                     h.prompts.split.size() == n && h.prompts.n_classes.size() == n &&
                     h.prompts.difficulty.size() == n,
                 kind, "run file: prompt columns differ in length, got text ",
                 h.prompts.text.size(), ", token ", h.prompts.token.size(), ", length ", n);
  MOTLEY_REQUIRE(h.log.rollouts_every >= 0, kind, "run file: rollouts_every must be >= 0, got ",
                 h.log.rollouts_every);
}

}  // namespace

h5::Handle create_run(const std::filesystem::path& path, const RunHeader& header) {
  require_sizes(header);
  Handle file = h5::create_file(path);
  write_root(file, header);
  const std::vector<DatasetSpec> schema = run_schema(header);
  std::set<std::string> groups = {"", "/config", "/provenance"};
  make_group(file, "/config");
  make_group(file, "/provenance");
  for (const DatasetSpec& spec : schema)
    if (groups.insert(spec.group()).second) make_group(file, spec.group());
  const Handle config = h5::own(H5Gopen2(file, "/config", H5P_DEFAULT), kIo, "/config");
  for (const Attribute& attribute : header.config) write_value(config, attribute, Type::i8);
  h5::write_attribute(config, "ini", header.ini);
  const Handle provenance = h5::own(H5Gopen2(file, "/provenance", H5P_DEFAULT), kIo, "/provenance");
  for (const Attribute& attribute : header.provenance) write_value(provenance, attribute, Type::i4);
  std::map<std::string, Handle> datasets;
  for (const DatasetSpec& spec : schema)
    datasets.emplace(spec.path, make_dataset(file, header, spec));
  attach_scales(datasets, schema);
  fill_header(datasets, schema, header);
  datasets.clear();
  // What never changes is hashed now: a killed file can be checked too.
  std::vector<DatasetHash> hashes;
  for (const std::string& name : integrity_paths(file))
    hashes.push_back(is_fixed(file, name) ? hash_dataset(file, name, kIo)
                                          : DatasetHash{name, "", 0, {}});
  state_hashes(file, hashes);
  const Digest open = open_seal();
  h5::write_rows(h5::own(H5Dopen2(file, kSealPath, H5P_DEFAULT), kIo, kSealPath), Type::u1, 0,
                 open.size(), open.data(), kIo, kSealPath);
  return file;
}

}  // namespace motley
