#pragma once
/// Methods known by name: built-in ones and a user's own stand in the same list.
///
/// A kind of method (task, partitioner, shaping) has one registry. A method enters it before
/// main(), by one line `MOTLEY_REGISTER_...(Type)` in a file of its own; from then on options,
/// messages, sweeps and kernels find it.

#include <algorithm>
#include <string>
#include <vector>

#include "core/base/own_options.hpp"

namespace motley {

/// What every registered method says of itself.
struct MethodEntry {
  std::string name;
  std::string text;  ///< one sentence
  OwnOptions options;
};

/// Entries in the order of their names, so that no order of linking is seen.
template <class Entry>
class Registry {
 public:
  void add(Entry entry) {
    const auto place =
        std::upper_bound(entries_.begin(), entries_.end(), entry,
                         [](const Entry& a, const Entry& b) { return a.name < b.name; });
    entries_.insert(place, std::move(entry));
  }
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* find(const std::string& name) const {
    for (const Entry& entry : entries_)
      if (entry.name == name) return &entry;
    return nullptr;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const Entry& entry : entries_) out.push_back(entry.name);
    return out;
  }
  /// Defaults of all entries.
  OwnSettings settings() const {
    OwnSettings out;
    for (const Entry& entry : entries_) out.push_back(entry.options);
    return out;
  }

 private:
  std::vector<Entry> entries_;
};

/// Number of the first registered method in the enumeration of its kind. The traits of a method
/// stand in the lowest bits of its number, so that what asks for them is a function of the number
/// on the device as on the host; the place in the registry stands above.
inline constexpr int kFirstRegistered = 1 << 16;
inline constexpr int kTraitBits = 4;
constexpr int registered_number(std::size_t place, unsigned traits) {
  return kFirstRegistered + (static_cast<int>(place) << kTraitBits) + static_cast<int>(traits);
}
constexpr std::size_t place_of(int number) {
  return static_cast<std::size_t>((number - kFirstRegistered) >> kTraitBits);
}

}  // namespace motley
