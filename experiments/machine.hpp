#pragma once
/// What this program runs on.

#include <string>
#include <vector>

#include "io/run_header.hpp"

namespace motley {

/// Versions, compiler, backend, threads, cpu: the attributes of /provenance and of `motley info`.
std::vector<Attribute> machine_provenance();
/// Set once by main, for /provenance.
void set_command_line(const std::string& text);
/// Bytes of memory this process may still take (the cgroup's limit read too); 0 = unknown.
std::size_t available_memory();
/// Bytes that were resident at most so far; 0 = unknown.
std::size_t peak_memory();
/// From now on an allocation beyond what is free now fails at once (exit code 3), where the kernel
/// would end the process later, in the middle of a run. Does nothing where the amount is unknown.
void limit_memory();

}  // namespace motley
