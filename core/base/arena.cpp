#include "core/base/arena.hpp"

#include "core/base/error.hpp"

namespace motley {

std::int64_t ParameterLayout::add(std::string name, int rows, int cols) {
  MOTLEY_REQUIRE(rows > 0 && cols > 0, ErrorKind::internal, "empty tensor ", name);
  const TensorSpec spec{std::move(name), size_, rows, cols};
  tensors_.push_back(spec);
  size_ += (spec.size() + kAlign - 1) / kAlign * kAlign;
  return spec.offset;
}

std::int64_t ParameterLayout::weights() const {
  std::int64_t count = 0;
  for (const TensorSpec& tensor : tensors_) count += tensor.size();
  return count;
}

const TensorSpec& ParameterLayout::tensor(std::string_view name) const {
  for (const TensorSpec& tensor : tensors_)
    if (tensor.name == name) return tensor;
  throw Error(ErrorKind::internal, concat("parameter layout: no tensor ", name));
}

}  // namespace motley
