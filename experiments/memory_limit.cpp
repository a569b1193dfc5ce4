#include "experiments/memory_limit.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <sys/resource.h>

namespace motley {

namespace {

/// The number behind a word at the start of a line of a file; 0 where there is none.
std::size_t entry(const std::string& path, const std::string& word) {
  std::ifstream in(path);
  std::size_t value = 0;
  for (std::string line; std::getline(in, line);)
    if (line.rfind(word, 0) == 0) std::istringstream(line.substr(word.size())) >> value;
  return value;
}

/// A file with one number; 0 where there is none, or a word such as "max".
std::size_t number_in(const std::string& path) {
  std::ifstream in(path);
  std::size_t value = 0;
  return in >> value ? value : 0;
}

/// What a cgroup and those above it leave. \param files names of limit, usage and of the entry of
/// memory.stat with pages that can be dropped
struct CgroupFiles {
  const char *limit, *usage, *droppable;
};

void lower_to_cgroups(const std::string& mount, std::string path, const CgroupFiles& files,
                      MemoryLimit& least) {
  for (;;) {
    const std::string folder = mount + path + "/";
    const std::size_t limit = number_in(folder + files.limit);
    // Without a limit version 1 says a number near 2^63.
    if (limit > 0 && limit < (std::size_t{1} << 60)) {
      const std::size_t usage = number_in(folder + files.usage);
      const std::size_t kept =
          usage - std::min(usage, entry(folder + "memory.stat", files.droppable));
      const std::size_t left = limit > kept ? limit - kept : 1;
      if (least.bytes == 0 || left < least.bytes) least = {left, "limit of the cgroup"};
    }
    if (path.empty()) return;
    path.resize(path.rfind('/'));
  }
}

/// RLIMIT_DATA as limit_memory has set it: it repeats what was free then.
rlim_t own_limit = RLIM_INFINITY;

void lower_to_resource(int resource, const char* name, const char* used_entry, MemoryLimit& least) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  if (resource == RLIMIT_DATA && limit.rlim_cur == own_limit) return;
  const std::size_t used = entry("/proc/self/status", used_entry) * 1024;
  const std::size_t left = limit.rlim_cur > used ? limit.rlim_cur - used : 1;
  if (least.bytes == 0 || left < least.bytes) least = {left, name};
}

}  // namespace

MemoryLimit free_memory(const std::string& root) {
  MemoryLimit least{entry(root + "/proc/meminfo", "MemAvailable:") * 1024,
                    "free memory of the machine"};
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty())
      lower_to_cgroups(root + "/sys/fs/cgroup", path,
                       {"memory.max", "memory.current", "inactive_file "}, least);
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      lower_to_cgroups(root + "/sys/fs/cgroup/memory", path,
                       {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
                       least);
  }
  if (root.empty()) {
    lower_to_resource(RLIMIT_AS, "RLIMIT_AS", "VmSize:", least);
    lower_to_resource(RLIMIT_DATA, "RLIMIT_DATA", "VmData:", least);
  }
  return least;
}

std::size_t resident_memory() {
  return entry("/proc/self/status", "VmRSS:") * 1024;
}

std::size_t peak_memory() {
  return entry("/proc/self/status", "VmHWM:") * 1024;
}

void limit_memory() {
  const std::size_t free = free_memory().bytes;
  const std::size_t data = entry("/proc/self/status", "VmData:") * 1024;
  rlimit limit{};
  if (free == 0 || data == 0 || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  const rlim_t wanted = free + data;
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= wanted) return;
  limit.rlim_cur = wanted;
  if (setrlimit(RLIMIT_DATA, &limit) == 0) own_limit = wanted;
}

}  // namespace motley
