#pragma once
/// A task of one's own: a class, and one line that registers it.
///
///     class Sums final : public Task {
///      public:
///       static constexpr const char* kName = "sums";     // task.name = sums
///       static constexpr const char* kText = "one sentence";
///       static constexpr int kShortestAnswer = 4;        // tokens, end token included
///       struct Options { ... };                          // keys sums.*; may be left out
///       Sums(const Options& own, const TaskConfig& common, const std::vector<std::uint64_t>&
///       seeds);
///       ...                                              // the virtual functions of Task
///     };
///     MOTLEY_REGISTER_TASK(Sums)
///
/// The constructor throws Error(config) for what the task cannot serve. The class is named in a
/// namespace, not in an unnamed one, and its kernels stand in public functions: nvcc asks for both.

#include "core/base/registry.hpp"
#include "models/tasks/task.hpp"

namespace motley {

struct TaskEntry : MethodEntry {
  std::unique_ptr<Task> (*make)(const TaskConfig&, const std::vector<std::uint64_t>&) = nullptr;
  int shortest_answer = 1;  ///< tokens, end token included
};
Registry<TaskEntry>& task_registry();

/// Enters a task; true, so that a constant can be initialised by it.
template <class Method>
bool register_task() {
  TaskEntry entry{{Method::kName, Method::kText, {Method::kName, OptionsOf<Method>{}}},
                  [](const TaskConfig& config, const std::vector<std::uint64_t>& seeds) {
                    const auto& own = own_options(config.own, Method::kName);
                    return std::unique_ptr<Task>(std::make_unique<Method>(
                        own.template as<OptionsOf<Method>>(), config, seeds));
                  },
                  Method::kShortestAnswer};
  task_registry().add(std::move(entry));
  return true;
}

}  // namespace motley

/// In a .cpp file, outside of functions.
#define MOTLEY_REGISTER_TASK(Method) \
  [[maybe_unused]] static const bool motley_registered_##Method = ::motley::register_task<Method>();
