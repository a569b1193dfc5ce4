/// What the registered methods mean to configurations: their sections, and whether they fit.

#include <map>

#include "core/base/error.hpp"
#include "core/partition_method.hpp"
#include "core/shaping_method.hpp"
#include "experiments/options.hpp"
#include "models/tasks/registry.hpp"

namespace motley {

namespace {

/// Calls f(option that chooses the method, its entry) for every registered method.
template <class F>
void for_each_registered(const F& f) {
  for (const TaskEntry& entry : task_registry().entries()) f("task.name", entry);
  for (const PartitionerEntry& entry : partitioner_registry().entries())
    f("partition.method", entry);
  for (const ShapingEntry& entry : shaping_registry().entries()) f("diversity.shaping", entry);
}

bool is_snake_case(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name[0] >= 'a' && name[0] <= 'z' &&
         std::all_of(name.begin(), name.end(), fits);
}

/// Notes the names of a method's options.
class NameSink final : public OptionSink {
 public:
  void operator()(const char* name, double&, const Range&, const char*, const char*) override {
    names.emplace_back(name);
  }
  void operator()(const char* name, int&, const Range&, const char*, const char*) override {
    names.emplace_back(name);
  }
  void operator()(const char* name, bool&, const AnyValue&, const char*, const char*) override {
    names.emplace_back(name);
  }
  void operator()(const char* name, std::string&, const OneOf&, const char*, const char*) override {
    names.emplace_back(name);
  }
  std::vector<std::string> names;
};

/// Sections of the options that motley itself has.
std::vector<std::string> own_sections() {
  std::vector<std::string> sections = {"include", "sweep", "axes", "arm", "compare"};
  RunConfig config;
  config.task.own.clear();
  config.own_partitioner.clear();
  config.own_shaping.clear();
  for_each_option(config, [&](const std::string& key, const auto&, const auto&, const char*,
                              const char*) { sections.push_back(key.substr(0, key.find('.'))); });
  return sections;
}

}  // namespace

bool in_use(const RunConfig& c, const std::string& key) {
  const std::string section = key.substr(0, key.find('.'));
  if (task_registry().find(section) != nullptr) return section == c.task.name;
  if (partitioner_registry().find(section) != nullptr)
    return section == name_of(c.partition.method);
  if (shaping_registry().find(section) != nullptr) return section == name_of(c.diversity.shaping);
  return true;
}

bool belongs_to_method(const std::string& key) {
  const std::string section = key.substr(0, key.find('.'));
  return partitioner_registry().find(section) != nullptr ||
         shaping_registry().find(section) != nullptr;
}

void check_registered() {
  Faults faults;
  std::map<std::string, std::string> taken;
  for (const std::string& section : own_sections()) taken[section] = "a section of options";
  const auto enumerators = [&](const char* key, const auto& names) {
    for (const std::string_view name : names) taken[std::string(name)] = concat("a value of ", key);
  };
  enumerators("partition.method", EnumNames<PartitionMethod>::names);
  enumerators("diversity.shaping", EnumNames<Shaping>::names);
  for_each_registered([&](const char* key, const MethodEntry& entry) {
    const std::string where = concat(key, " = ", entry.name, " (registered)");
    if (!is_snake_case(entry.name))
      faults.add(concat(where, ": not a name, got \"", entry.name,
                        "\"; allowed: small letters, digits and _, a letter first"));
    else if (const auto found = taken.find(entry.name); found != taken.end())
      faults.add(concat(where, ": the name is taken, it is ", found->second,
                        "; allowed: a name of its own"));
    taken[entry.name] = concat("a registered value of ", key);
    NameSink sink;
    OwnOptions options = entry.options;
    options.describe(sink);
    std::map<std::string, int> times;
    for (const std::string& name : sink.names)
      if (!is_snake_case(name) || ++times[name] > 1)
        faults.add(concat(where, ": option ", entry.name, ".", name,
                          times[name] > 1 ? " is described twice" : " is no name in snake_case"));
  });
  faults.raise();
}

std::vector<std::string> registered_texts(const std::string& key) {
  std::vector<std::string> out;
  for_each_registered([&](const std::string& of, const MethodEntry& entry) {
    if (of == key) out.push_back(entry.name + ": " + entry.text);
  });
  return out;
}

}  // namespace motley
