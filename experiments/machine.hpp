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

}  // namespace motley
