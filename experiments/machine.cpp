#include "experiments/machine.hpp"

#include <fstream>

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

}  // namespace motley
