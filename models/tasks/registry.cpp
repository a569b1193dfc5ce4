#include "core/base/error.hpp"
#include "models/tasks/task.hpp"

namespace motley {

std::unique_ptr<Task> make_scratchpad(const TaskConfig&, const std::vector<std::uint64_t>& seeds);
std::unique_ptr<Task> make_countdown(const TaskConfig&, const std::vector<std::uint64_t>& seeds);
std::unique_ptr<Task> make_ideas(const TaskConfig&, const std::vector<std::uint64_t>& seeds);

namespace {

struct Registration {
  const char* name;
  std::unique_ptr<Task> (*make)(const TaskConfig&, const std::vector<std::uint64_t>&);
  int shortest_answer;  // tokens, end token included
};

/// A new task adds one line here.
constexpr Registration kTasks[] = {
    {"scratchpad", make_scratchpad, 3},
    {"countdown", make_countdown, 13},
    {"ideas", make_ideas, 5},
};

}  // namespace

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Registration& task : kTasks) names.emplace_back(task.name);
  return names;
}

int shortest_answer(const TaskConfig& config) {
  for (const Registration& task : kTasks)
    if (config.name == task.name) return task.shortest_answer;
  return 1;
}

std::unique_ptr<Task> make_task(const TaskConfig& config, const std::vector<std::uint64_t>& seeds) {
  for (const Registration& task : kTasks)
    if (config.name == task.name) return task.make(config, seeds);
  const auto names = task_names();
  throw Error(ErrorKind::config, concat("task.name: unknown task \"", config.name, "\"; allowed: ",
                                        join(names), did_you_mean(config.name, names)));
}

}  // namespace motley
