/// The registered shapings. A built-in one adds an include and a line here; a user's own needs none
/// of it, its line stands in its own file.

#include "core/bleu_bonus.hpp"
#include "core/shaping_method.hpp"

namespace motley {

MOTLEY_REGISTER_SHAPING(BleuBonus)

Registry<ShapingEntry>& shaping_registry() {
  static Registry<ShapingEntry> registry;
  return registry;
}

OwnSettings shaping_settings() {
  return shaping_registry().settings();
}

std::vector<std::string> RegisteredNames<Shaping>::names() {
  return shaping_registry().names();
}

Shaping RegisteredNames<Shaping>::value(std::size_t i) {
  return static_cast<Shaping>(registered_number(i, shaping_registry().entries().at(i).traits));
}

std::string_view RegisteredNames<Shaping>::name(Shaping s) {
  return shaping_registry().entries().at(place_of(static_cast<int>(s))).name;
}

ShapingMethods shapings_in_batch(const std::vector<Shaping>& shaping,
                                 const std::vector<OwnSettings>& own) {
  ShapingMethods out;
  const auto& entries = shaping_registry().entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Shaping number = RegisteredNames<Shaping>::value(i);
    if (std::find(shaping.begin(), shaping.end(), number) == shaping.end()) continue;
    OwnSettings rows;
    for (const OwnSettings& mine : own) rows.push_back(own_options(mine, entries[i].name));
    out.push_back(entries[i].in_batch(number, rows));
  }
  return out;
}

}  // namespace motley
