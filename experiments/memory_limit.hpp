#pragma once
/// How much memory this process may still take, and who says so.

#include <cstddef>
#include <string>

namespace motley {

struct MemoryLimit {
  std::size_t bytes = 0;  ///< still to be had; 0 = unknown
  std::string of;         ///< "free memory of the machine", "limit of the cgroup", ...
};

/// The least of: what the machine has free, what the cgroups above this process leave (version 1
/// and 2; pages that only mirror files count as free), RLIMIT_AS and RLIMIT_DATA.
/// \param root  prefix of /proc and /sys, for tests
MemoryLimit free_memory(const std::string& root = "");

/// Bytes of this process that are in memory now.
std::size_t resident_memory();
/// The most there have been.
std::size_t peak_memory();

/// From now on an allocation beyond what is free now fails at once (exit code 3), where the kernel
/// would end the process later, in the middle of a run. Does nothing where the amount is unknown.
void limit_memory();

}  // namespace motley
