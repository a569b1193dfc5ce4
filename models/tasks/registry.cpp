#include "models/tasks/registry.hpp"

#include "core/base/error.hpp"

namespace motley {

std::unique_ptr<Task> make_scratchpad(const TaskConfig&, const std::vector<std::uint64_t>& seeds);
std::unique_ptr<Task> make_countdown(const TaskConfig&, const std::vector<std::uint64_t>& seeds);
std::unique_ptr<Task> make_ideas(const TaskConfig&, const std::vector<std::uint64_t>& seeds);

/// The built-in tasks (named first by `task_names`), whose options stand in TaskConfig. A user's
/// own enter by MOTLEY_REGISTER_TASK in their own file.
Registry<TaskEntry>& task_registry() {
  static Registry<TaskEntry> registry = [] {
    Registry<TaskEntry> tasks;
    const auto add = [&](const char* name, const char* text, auto make, int shortest_answer) {
      tasks.add({{name, text, {name, NoOptions{}}}, make, shortest_answer});
    };
    add("scratchpad", "sums of digits, answered directly or with written work", make_scratchpad, 3);
    add("countdown", "a number from four others by arithmetic", make_countdown, 13);
    add("ideas", "texts that only a judge can rate", make_ideas, 5);
    return tasks;
  }();
  return registry;
}

std::vector<std::string> task_names() {
  static const std::vector<std::string> built_in = {"scratchpad", "countdown", "ideas"};
  std::vector<std::string> names = built_in;
  for (const std::string& name : task_registry().names())
    if (std::find(built_in.begin(), built_in.end(), name) == built_in.end()) names.push_back(name);
  return names;
}

OwnSettings task_settings() {
  return task_registry().settings();
}

int shortest_answer(const TaskConfig& config) {
  const TaskEntry* task = task_registry().find(config.name);
  return task != nullptr ? task->shortest_answer : 1;
}

std::unique_ptr<Task> make_task(const TaskConfig& config, const std::vector<std::uint64_t>& seeds) {
  if (const TaskEntry* task = task_registry().find(config.name)) return task->make(config, seeds);
  const auto names = task_names();
  throw Error(ErrorKind::config, concat("task.name: unknown task \"", config.name, "\"; allowed: ",
                                        join(names), did_you_mean(config.name, names)));
}

}  // namespace motley
