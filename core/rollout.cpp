#include "core/rollout.hpp"

#include <string>
#include <type_traits>

namespace motley {

namespace {

int axis_extent(const Shape& shape, char axis) {
  switch (axis) {
    case 'R': return shape.R;
    case 'B': return shape.B;
    case 'G': return shape.G;
    case 'P': return shape.P;
    case 'T': return shape.T;
    default: throw Error(ErrorKind::internal, concat("rollout buffer: unknown axis ", axis));
  }
}

}  // namespace

RolloutBuffer::RolloutBuffer(const Shape& buffer_shape) : shape(buffer_shape) {
  for_each_field(*this, [&](const char* name, auto& view, std::string_view axes, auto...) {
    using View = std::remove_reference_t<decltype(view)>;
    std::size_t extent[View::rank()];
    for (unsigned i = 0; i < View::rank(); ++i)
      extent[i] = std::size_t(axis_extent(shape, axes[2 * i]));
    const std::string label = std::string("motley::rollout::") + name;
    if constexpr (View::rank() == 2) view = View(label, extent[0], extent[1]);
    if constexpr (View::rank() == 3) view = View(label, extent[0], extent[1], extent[2]);
    if constexpr (View::rank() == 4) view = View(label, extent[0], extent[1], extent[2], extent[3]);
  });
}

void RolloutBuffer::allocate_answers() {
  answer_start = View3<int>("motley::rollout::answer_start", shape.R, shape.B, shape.G);
  answer_advantage = View3<float>("motley::rollout::answer_advantage", shape.R, shape.B, shape.G);
}

}  // namespace motley
