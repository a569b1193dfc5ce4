#pragma once
/// Reading run files in a child process.
///
/// HDF5 1.10 may crash, hang or ask for absurd memory on damaged metadata. A command that reads run
/// files therefore does all its work in a forked child; the parent passes signals on, returns the
/// child's exit code, and says which file ended the child where one did
/// (docs/design/0006-damage.md).

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/base/error.hpp"

namespace motley {

/// Splits the process before anything else has started. In the child: nothing, go on. In the
/// parent: the exit code of the command, when the child has ended.
std::optional<int> guard_command();

/// Runs `read` in a child of its own and returns the text it returned. Errors of it come back as
/// they are. In a process that is guarded already it also forks: the caller outlives `file`.
/// \throws Error(input) "FILE: damaged: reading it ended the reader (signal ...)"
std::string read_in_child(const std::filesystem::path& file,
                          const std::function<std::string()>& read);

/// The message of an error of reading, with the file in front where it says only the dataset.
std::string naming_file(const Error& error);

/// Is this the child of guard_command()?
bool guarded();

}  // namespace motley
