#include "io/digest.hpp"

#include <openssl/evp.h>

#include "core/base/error.hpp"

namespace motley {

struct Sha256::Context {
  EVP_MD_CTX* handle = EVP_MD_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(handle); }
};

namespace {

void require_ok(int ok, const char* what) {
  if (ok != 1) throw Error(ErrorKind::internal, concat("sha256: ", what, " failed"));
}

}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  require_ok(context_->handle != nullptr, "EVP_MD_CTX_new");
  require_ok(EVP_DigestInit_ex(context_->handle, EVP_sha256(), nullptr), "EVP_DigestInit_ex");
}

Sha256::~Sha256() = default;

void Sha256::update(const void* data, std::size_t size) {
  require_ok(EVP_DigestUpdate(context_->handle, data, size), "EVP_DigestUpdate");
}

Digest Sha256::finish() {
  Digest digest{};
  require_ok(EVP_DigestFinal_ex(context_->handle, digest.data(), nullptr), "EVP_DigestFinal_ex");
  require_ok(EVP_DigestInit_ex(context_->handle, EVP_sha256(), nullptr), "EVP_DigestInit_ex");
  return digest;
}

Digest Sha256::so_far() const {
  const Context copy;
  require_ok(EVP_MD_CTX_copy_ex(copy.handle, context_->handle), "EVP_MD_CTX_copy_ex");
  Digest digest{};
  require_ok(EVP_DigestFinal_ex(copy.handle, digest.data(), nullptr), "EVP_DigestFinal_ex");
  return digest;
}

Digest sha256(const void* data, std::size_t size) {
  Sha256 hash;
  hash.update(data, size);
  return hash.finish();
}

std::string hex(const Digest& digest) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace motley
