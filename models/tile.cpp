#include "models/tile.hpp"

#include <algorithm>
#include <string>

namespace motley {

int concurrent_teams() {
  if constexpr (std::is_same_v<Exec, HostExec>) return std::max(1, Exec().concurrency());
  return 264;  // two teams on each of an H100's 132 multiprocessors
}

namespace {

constexpr int kDeviceTeam = 128;

}  // namespace

template <class Scalar>
TileWorkspace<Scalar> make_tile_workspace(const char* label, const Net& net, const TileShape& shape,
                                          int jobs) {
  TileWorkspace<Scalar> w;
  w.shape = shape;
  w.slots = std::clamp(concurrent_teams(), 1, std::max(1, jobs));
  Tile<Scalar> tile{};
  std::int64_t ints = 0;
  const std::int64_t size = lay_out_tile<Scalar>(net, shape, nullptr, nullptr, tile, ints);
  const std::string name = std::string("motley::") + label;
  w.memory = View2<Scalar>(name + "::tiles", w.slots, size);
  w.ints = View2<int>(name + "::tile_ints", w.slots, ints);
  w.next_job = View1<int>(name + "::next_job", 1);
  return w;
}

TeamPolicy tile_policy(const Exec& exec, int slots) {
  // On the host a team is one thread: a larger one is slower and throws with one thread.
  return TeamPolicy(exec, slots, std::is_same_v<Exec, HostExec> ? 1 : kDeviceTeam);
}

template TileWorkspace<float> make_tile_workspace<float>(const char*, const Net&, const TileShape&,
                                                         int);
template TileWorkspace<double> make_tile_workspace<double>(const char*, const Net&,
                                                           const TileShape&, int);

}  // namespace motley
