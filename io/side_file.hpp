#pragma once
/// Side files: what other settings would have made of a run's logged rollouts.
///
/// One group per setting with its own scales, as in a run file, so that
/// `xarray.open_dataset(file, group="ngram")` opens it. A side file is written beside its final
/// name and renamed when it is whole; it never replaces a run file.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace motley {

inline constexpr const char* kSideFormat = "motley-side";

/// One setting's values of one step.
struct SideRows {
  std::vector<int> cluster, cluster_size;           ///< [B,G]
  std::vector<int> num_clusters;                    ///< [B]
  std::vector<float> diversity, reward, advantage;  ///< [B,G]
};

/// Where the rows come from; all go into attributes.
struct SideHeader {
  std::string source;         ///< the run file
  std::string config_sha256;  ///< of the run
  std::vector<std::int64_t> steps;
  int B = 0, G = 0;
  struct Setting {
    std::string name;  ///< becomes the group; '/' is written as '-'
    std::string ini;   ///< configuration that reproduces it
  };
  std::vector<Setting> settings;
};

class SideFile {
 public:
  /// \throws Error(refused) when `path` exists and is no side file, or is one and `overwrite` is
  /// not set; Error(io)
  SideFile(const std::filesystem::path& path, const SideHeader& header, bool overwrite);
  ~SideFile();
  SideFile(const SideFile&) = delete;
  SideFile& operator=(const SideFile&) = delete;

  /// Rows of setting `setting` at steps[step_index]. \throws Error(shape, io)
  void write(std::size_t setting, std::size_t step_index, const SideRows& rows);
  /// Makes the file durable under its name. Without it nothing is left.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace motley
