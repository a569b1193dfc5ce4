/// The registered partitioners. A built-in one adds an include and a line here; a user's own needs
/// none of it, its line stands in its own file.

#include "core/partition_method.hpp"

namespace motley {

Registry<PartitionerEntry>& partitioner_registry() {
  static Registry<PartitionerEntry> registry;
  return registry;
}

OwnSettings partitioner_settings() {
  return partitioner_registry().settings();
}

std::vector<std::string> RegisteredNames<PartitionMethod>::names() {
  return partitioner_registry().names();
}

PartitionMethod RegisteredNames<PartitionMethod>::value(std::size_t i) {
  return static_cast<PartitionMethod>(registered_number(i, 0));
}

std::string_view RegisteredNames<PartitionMethod>::name(PartitionMethod method) {
  return partitioner_registry().entries().at(place_of(static_cast<int>(method))).name;
}

PartitionMethods partitioners_in_batch(const std::vector<PartitionMethod>& method,
                                       const std::vector<OwnSettings>& own, int B, int G) {
  PartitionMethods out;
  const auto& entries = partitioner_registry().entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const PartitionMethod number = RegisteredNames<PartitionMethod>::value(i);
    if (std::find(method.begin(), method.end(), number) == method.end()) continue;
    OwnSettings rows;
    for (const OwnSettings& mine : own) rows.push_back(own_options(mine, entries[i].name));
    out.push_back(entries[i].in_batch(number, rows, B, G));
  }
  return out;
}

}  // namespace motley
