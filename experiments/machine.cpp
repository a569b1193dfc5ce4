#include "experiments/machine.hpp"

#include <fstream>
#include <limits>
#include <sstream>
#include <sys/resource.h>

#include <Kokkos_Core.hpp>

#include "core/base/types.hpp"
#include "version.hpp"

namespace motley {

namespace {

std::string& command_line() {
  static std::string text;
  return text;
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::size_t read_size(const char* path) {
  std::ifstream in(path);
  std::size_t value = 0;
  return in >> value ? value : 0;
}

/// A size of this process, in bytes.
std::size_t own_size(const std::string& name) {
  std::size_t size = 0;
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.rfind(name, 0) == 0) std::istringstream(line.substr(name.size())) >> size;
  return size * 1024;
}

/// What a limit of this process leaves.
std::size_t left_of(decltype(RLIMIT_AS) which, const std::string& name) {
  rlimit limit{};
  if (getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return std::numeric_limits<std::size_t>::max();
  const std::size_t used = own_size(name);
  return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

}  // namespace

void set_command_line(const std::string& text) {
  command_line() = text;
}

std::vector<Attribute> machine_provenance() {
  const int version = KOKKOS_VERSION;
  const bool host = std::is_same_v<Exec, HostExec>;
  std::vector<Attribute> out;
  out.push_back({"command_line", command_line()});
  out.push_back({"compiler", std::string(kCompiler)});
  out.push_back({"compiler_flags", std::string(kCompilerFlags)});
  out.push_back({"build_type", std::string(kBuildType)});
  out.push_back({"kokkos_version", std::to_string(version / 10000) + "." +
                                       std::to_string(version / 100 % 100) + "." +
                                       std::to_string(version % 100)});
  out.push_back({"backend", std::string(Exec::name())});
  out.push_back({"device", host ? cpu_model() : std::string("gpu")});
  out.push_back({"cpu_model", cpu_model()});
  out.push_back({"threads", std::int64_t{HostExec().concurrency()}});
  out.push_back({"ranks", std::int64_t{1}});
  return out;
}

std::size_t available_memory() {
  std::size_t available = 0;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("MemAvailable:", 0) == 0) {
      std::istringstream(line.substr(13)) >> available;
      available *= 1024;
    }
  // A container may be allowed less than the machine has.
  const std::size_t limit = read_size("/sys/fs/cgroup/memory.max");
  const std::size_t used = read_size("/sys/fs/cgroup/memory.current");
  if (limit > 0 && limit > used) available = std::min(available, limit - used);
  // Nor this process more than `ulimit -v` and `-d` say.
  const std::size_t left = std::min(left_of(RLIMIT_AS, "VmSize:"), left_of(RLIMIT_DATA, "VmData:"));
  return available == 0 ? 0 : std::max<std::size_t>(1, std::min(available, left));
}

void limit_memory() {
  const std::size_t free = available_memory();
  const std::size_t data = own_size("VmData:");
  rlimit limit{};
  if (free == 0 || data == 0 || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  const rlim_t wanted = free + data;
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace motley
