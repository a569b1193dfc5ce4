/// Configuration text: reading it, applying it, and writing the effective one, which must read back
/// to the same configuration.

#include "experiments/options.hpp"
#include "target.hpp"

namespace motley::fuzz {
namespace {

void run(const std::uint8_t* data, std::size_t size) {
  const std::string text = text_of(data, size);
  may_refuse([&] {
    Faults faults;
    const Layer layer = read_ini(text, "fuzz.ini", "/nonexistent", faults);
    const Configured configured = configure({layer}, faults);
    faults.raise();
    const std::string ini = effective_ini(configured.config);
    const RunConfig again = config_from_ini(ini, "effective.ini");
    MOTLEY_REQUIRE(config_sha256(again) == config_sha256(configured.config), ErrorKind::internal,
                   "the effective configuration reads back as another one:\n", ini);
  });
}

const Registration registration("config", run);

}  // namespace
}  // namespace motley::fuzz
