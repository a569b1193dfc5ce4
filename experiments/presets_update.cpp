/// Advantages, losses and entropy controls that leave the reward alone.

#include "experiments/presets.hpp"

namespace motley {

std::vector<Preset> update_presets() {
  return {};
}

}  // namespace motley
