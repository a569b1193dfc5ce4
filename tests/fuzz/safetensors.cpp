/// safetensors: what is accepted must be written back to bytes that read as the same.

#include "io/safetensors.hpp"

#include "target.hpp"

namespace motley::fuzz {
namespace {

void run(const std::uint8_t* data, std::size_t size) {
  may_refuse([&] {
    const TensorFile file =
        parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz.safetensors");
    const TensorFile again = parse_safetensors(to_safetensors(file), "written.safetensors");
    MOTLEY_REQUIRE(again.metadata == file.metadata && again.tensors.size() == file.tensors.size(),
                   ErrorKind::internal, "safetensors: written and read back is another file");
    for (const Tensor& tensor : file.tensors) {
      const Tensor& other = again.at(tensor.name);
      MOTLEY_REQUIRE(other.dims == tensor.dims && other.data == tensor.data, ErrorKind::internal,
                     "safetensors: ", tensor.name, " comes back as another tensor");
    }
  });
}

const Registration registration("safetensors", run);

}  // namespace
}  // namespace motley::fuzz
