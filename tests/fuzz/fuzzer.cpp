/// libFuzzer's entry for the one target this program is made of (MOTLEY_FUZZ_TARGET).

#include <cstring>

#include "target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const motley::fuzz::Target run = [] {
    for (const auto& entry : motley::fuzz::targets())
      if (std::strcmp(entry.name, MOTLEY_FUZZ_TARGET) == 0) return entry.run;
    std::abort();
  }();
  run(data, size);
  return 0;
}

// The child of the run-file target is to die as it would without sanitizers: by a signal that its
// parent sees.
extern "C" const char* __asan_default_options() {
  return "abort_on_error=1:allocator_may_return_null=1:detect_leaks=0";
}
