#pragma once
/// SHA-256, streaming, over OpenSSL's EVP interface.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace motley {

using Digest = std::array<std::uint8_t, 32>;

/// SHA-256 of the bytes given to `update` in order. Errors of the library: Error(internal).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(const void* data, std::size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// Digest of everything so far; the object starts afresh.
  Digest finish();
  /// Digest of everything so far; the object goes on.
  Digest so_far() const;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest sha256(const void* data, std::size_t size);
inline Digest sha256(std::string_view text) {
  return sha256(text.data(), text.size());
}

/// 64 lower-case hexadecimal digits.
std::string hex(const Digest& digest);

}  // namespace motley
