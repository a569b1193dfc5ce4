#pragma once
/// Parameters of all replicas in flat arenas [R, N] with one layout table.
///
/// One arena each holds parameters, gradients, first and second moments; optimiser, norm, copy,
/// digest and checkpoint are one loop over N. Offsets are padded to 32 floats; padding is zero and
/// stays zero.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/types.hpp"

namespace motley {

/// One tensor inside the arena: row-major, `rows` x `cols` (rows = 1 for a vector). Matrices are
/// stored [out, in] and named as Hugging Face's Llama names them.
struct TensorSpec {
  std::string name;
  std::int64_t offset = 0;
  int rows = 1;
  int cols = 1;
  bool matrix() const { return rows > 1; }
  std::int64_t size() const { return std::int64_t{rows} * cols; }
};

class ParameterLayout {
 public:
  static constexpr std::int64_t kAlign = 32;

  /// Appends a tensor and returns its offset.
  std::int64_t add(std::string name, int rows, int cols);

  /// Arena length N, padding included.
  std::int64_t size() const { return size_; }
  /// Number of weights, padding excluded.
  std::int64_t weights() const;
  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  /// Throws Error(internal) when there is no such tensor.
  const TensorSpec& tensor(std::string_view name) const;

 private:
  std::vector<TensorSpec> tensors_;
  std::int64_t size_ = 0;
};

}  // namespace motley
