#pragma once
/// The one exception type of motley, and the helpers that compose its messages.
///
/// Libraries throw, they never print, exit or abort. `main` catches, prints one line and returns
/// `exit_code(kind)`. The form of every message is
///     <where>: <what is wrong>, got <value>; allowed: <set or range>; did you mean "<nearest>"?

#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace motley {

enum class ErrorKind {
  config,    ///< exit 2: usage or configuration
  refused,   ///< exit 3: refused before the start (memory, disk, lock, existing output)
  input,     ///< exit 4: a file is corrupt or incompatible
  io,        ///< exit 5: input or output failed while running
  numeric,   ///< exit 6: NaN or infinity
  shape,     ///< exit 1: a view has the wrong extents (a bug of the caller)
  internal,  ///< exit 1: a bug of motley
};

/// Process exit code of an error kind.
int exit_code(ErrorKind kind);

/// The text with control characters, but those of `kept`, as \xNN: what a user gave is shown whole,
/// on one line.
std::string printable(const std::string& text, std::string_view kept = "");

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message)
      : std::runtime_error(printable(message, "\n\t")), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// Concatenates anything that has operator<<.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// "a, b, c"
template <class Range>
std::string join(const Range& range, std::string_view separator = ", ") {
  std::ostringstream out;
  bool first = true;
  for (const auto& item : range) {
    if (!first) out << separator;
    out << item;
    first = false;
  }
  return out.str();
}

/// The candidate closest to `word` by edit distance, or "" when none is within 2 (or a third of
/// the word's length, whichever is larger).
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// `; did you mean "x"?` or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

[[noreturn]] void throw_requirement(ErrorKind kind, const char* condition,
                                    const std::string& message,
                                    std::source_location where = std::source_location::current());

}  // namespace motley

/// Always on; for the edges: configuration, files, the shapes that enter a stage.
#define MOTLEY_REQUIRE(condition, kind, ...)                                          \
  do {                                                                                \
    if (!(condition))                                                                 \
      ::motley::throw_requirement((kind), #condition, ::motley::concat(__VA_ARGS__)); \
  } while (false)

/// Debug builds only; for loops.
#ifdef NDEBUG
#define MOTLEY_ASSERT(condition) \
  do {                           \
  } while (false)
#else
#define MOTLEY_ASSERT(condition) \
  MOTLEY_REQUIRE(condition, ::motley::ErrorKind::internal, "assertion failed")
#endif
