#pragma once
/// What `partition` and `reshape` share: the steps they are asked for, and the side file.

#include <optional>

#include "experiments/cli.hpp"
#include "experiments/counterfactual.hpp"
#include "io/side_file.hpp"

namespace motley {

// Inline, so that they exist before the tables of the commands are made.
inline const FlagSpec kStepFlag = {"step", 0, 0, "S", "one step; default all that are logged"};
inline const FlagSpec kOutputFlag = {
    "output", 'o', 0, "SIDE.h5", "also write clusters, diversities, rewards and advantages there"};
inline const FlagSpec kOverwriteFlag = {
    "overwrite", 0, 0, "", "replace a side file of that name; a run file is never replaced"};

/// A line for people.
void say_on_stderr(const std::string& text);

/// --step S, or all logged steps. \throws Error(config) for one that is not logged
std::vector<std::int64_t> chosen_steps(const CommandLine& line, const Counterfactual& replay);

/// The side file of -o; without the flag nothing happens.
class SideOutput {
 public:
  SideOutput(const CommandLine& line, const Counterfactual& replay,
             const std::vector<std::int64_t>& steps);
  /// Rows of the replay's last step, which is number `index` of the chosen ones.
  void write(std::size_t index);
  void close();

 private:
  const Counterfactual& replay_;
  std::optional<SideFile> file_;
};

}  // namespace motley
