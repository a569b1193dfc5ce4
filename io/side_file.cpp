#include "io/side_file.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include <hdf5_hl.h>

#include "io/files.hpp"
#include "io/h5.hpp"

namespace motley {

namespace {

using h5::Handle;
using h5::Type;
constexpr ErrorKind kIo = ErrorKind::io;

struct Column {
  const char* name;
  bool per_completion;  ///< axes (step, prompt, rollout), else (step, prompt)
  Type type;
  const char* text;
};
constexpr std::array<Column, 6> kColumns = {{
    {"cluster", true, Type::i4, "canonical label: smallest completion index of the cluster"},
    {"cluster_size", true, Type::i4, "members of the completion's own cluster"},
    {"num_clusters", false, Type::i4, "clusters of the group"},
    {"diversity", true, Type::f4, "per-completion diversity before floor and normalisation"},
    {"reward", true, Type::f4, "shaped reward"},
    {"advantage", true, Type::f4, "one per completion"},
}};

std::string group_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '-');
  return "/" + name;
}

/// Chunks with a checksum each (Fletcher 32, built into HDF5): every reader refuses a changed one.
Handle checked_chunks(const hsize_t* dims, int rank, const std::string& what) {
  Handle list = h5::own(H5Pcreate(H5P_DATASET_CREATE), kIo, what);
  std::array<hsize_t, 3> chunk{};
  std::copy_n(dims, rank, chunk.begin());
  if (std::count(dims, dims + rank, hsize_t{0}) > 0) return list;
  // A row is written at a time: one step a chunk where steps are wide.
  chunk[0] = rank == 1 ? std::min<hsize_t>(dims[0], 1024) : 1;
  h5::check(H5Pset_chunk(list, rank, chunk.data()), kIo, what + ": chunk");
  h5::check(H5Pset_fletcher32(list), kIo, what + ": checksum");
  return list;
}

/// Says no to whatever must not be replaced.
void require_replaceable(const std::filesystem::path& path, bool overwrite) {
  if (!std::filesystem::exists(path)) return;
  std::string format;
  if (H5Fis_hdf5(path.c_str()) > 0) {
    bool cut = false;
    const Handle file = h5::open_for_reading(path, cut);
    format = h5::read_text_attribute(file, "format", path.string());
  }
  MOTLEY_REQUIRE(format == kSideFormat, ErrorKind::refused, path.string(),
                 ": exists and is no side file, got format \"", format,
                 "\"; it is not overwritten; give another name");
  MOTLEY_REQUIRE(overwrite, ErrorKind::refused, path.string(),
                 ": exists; give --overwrite or another name");
}

}  // namespace

struct SideFile::State {
  std::filesystem::path path, temporary;
  SideHeader header;
  Handle file;
  std::vector<std::map<std::string, Handle>> datasets;  ///< per setting
};

SideFile::SideFile(const std::filesystem::path& path, const SideHeader& header, bool overwrite)
    : state_(std::make_unique<State>()) {
  h5::start();
  require_replaceable(path, overwrite);
  State* const state = state_.get();
  state->path = path;
  state->temporary = path.string() + ".tmp";
  state->header = header;
  state->file = h5::create_file(state->temporary);
  const hid_t file = state->file;
  h5::write_attribute(file, "format", kSideFormat);
  h5::write_attribute(file, "format_version", "1.0.0");
  h5::write_attribute(file, "source", header.source);
  h5::write_attribute(file, "source_config_sha256", header.config_sha256);
  const hsize_t S = header.steps.size();
  const std::array<hsize_t, 3> dims = {S, static_cast<hsize_t>(header.B),
                                       static_cast<hsize_t>(header.G)};
  constexpr std::array<const char*, 3> axes = {"step", "prompt", "rollout"};
  for (const SideHeader::Setting& setting : header.settings) {
    const std::string base = group_name(setting.name);
    const Handle group =
        h5::own(H5Gcreate2(file, base.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), kIo, base);
    h5::write_attribute(group, "name", setting.name);
    h5::write_attribute(group, "ini", setting.ini);
    std::map<std::string, Handle> made;
    const auto make = [&](const std::string& name, int rank, Type type) -> const Handle& {
      const Handle space = h5::own(H5Screate_simple(rank, dims.data(), nullptr), kIo, name);
      const Handle list = checked_chunks(dims.data(), rank, name);
      return made
          .emplace(name, h5::own(H5Dcreate2(group, name.c_str(), h5::make_type(type), space,
                                            H5P_DEFAULT, list, H5P_DEFAULT),
                                 kIo, base + "/" + name))
          .first->second;
    };
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const Handle space = h5::own(H5Screate_simple(1, &dims[a], nullptr), kIo, axes[a]);
      const Handle list = checked_chunks(&dims[a], 1, axes[a]);
      Handle scale = h5::own(H5Dcreate2(group, axes[a], h5::make_type(Type::i8), space, H5P_DEFAULT,
                                        list, H5P_DEFAULT),
                             kIo, base + "/" + axes[a]);
      std::vector<std::int64_t> index(dims[a]);
      std::iota(index.begin(), index.end(), std::int64_t{0});
      if (a == 0) index = header.steps;
      h5::write_rows(scale, Type::i8, 0, dims[a], index.data(), kIo, base + "/" + axes[a]);
      h5::check(H5DSset_scale(scale, axes[a]), kIo, base + "/" + axes[a]);
      made.emplace(axes[a], std::move(scale));
    }
    for (const Column& column : kColumns) {
      const int rank = column.per_completion ? 3 : 2;
      const hid_t dataset = make(column.name, rank, column.type);
      h5::write_attribute(dataset, "units", "1");
      h5::write_attribute(dataset, "long_name", column.text);
      for (int a = 0; a < rank; ++a)
        h5::check(H5DSattach_scale(dataset, made.at(axes[static_cast<std::size_t>(a)]),
                                   static_cast<unsigned>(a)),
                  kIo, base + "/" + column.name);
    }
    state->datasets.push_back(std::move(made));
  }
}

SideFile::~SideFile() {
  const bool unfinished = state_->file.valid();
  if (!unfinished) return;
  state_->datasets.clear();
  state_->file.close();
  std::error_code ignored;
  std::filesystem::remove(state_->temporary, ignored);
}

void SideFile::write(std::size_t setting, std::size_t step_index, const SideRows& rows) {
  const SideHeader& h = state_->header;
  const auto put = [&](const char* name, Type type, const auto& values, std::size_t expected) {
    const std::string what =
        concat(state_->path.string(), ": ", h.settings[setting].name, "/", name);
    MOTLEY_REQUIRE(values.size() == expected, ErrorKind::shape, what, ": got ", values.size(),
                   " values, expected ", expected);
    h5::write_rows(state_->datasets[setting].at(name), type, step_index, 1, values.data(), kIo,
                   what);
  };
  const auto B = static_cast<std::size_t>(h.B), BG = B * static_cast<std::size_t>(h.G);
  put("cluster", Type::i4, rows.cluster, BG);
  put("cluster_size", Type::i4, rows.cluster_size, BG);
  put("num_clusters", Type::i4, rows.num_clusters, B);
  put("diversity", Type::f4, rows.diversity, BG);
  put("reward", Type::f4, rows.reward, BG);
  put("advantage", Type::f4, rows.advantage, BG);
}

void SideFile::close() {
  state_->datasets.clear();
  h5::close(state_->file, state_->path.string());
  sync_file(state_->temporary);
  std::filesystem::rename(state_->temporary, state_->path);
  sync_directory(std::filesystem::absolute(state_->path).parent_path());
}

}  // namespace motley
