/// fuzz_corpus TARGET FOLDER: runs every file of a corpus through its target.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "io/files.hpp"
#include "target.hpp"

int main(int argc, char** argv) {
  using namespace motley;
  if (argc != 3) return 64;
  for (const fuzz::TargetEntry& entry : fuzz::targets()) {
    if (std::strcmp(entry.name, argv[1]) != 0) continue;
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(argv[2]))
      files.push_back(file.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      const std::vector<std::byte> bytes = read_file(file);
      try {
        entry.run(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", file.c_str(), error.what());
        return 1;
      }
    }
    std::printf("%zu inputs\n", files.size());
    return files.empty() ? 1 : 0;
  }
  std::fprintf(stderr, "no target %s\n", argv[1]);
  return 64;
}
