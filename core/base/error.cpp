#include "core/base/error.hpp"

#include <algorithm>
#include <numeric>

namespace motley {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::config: return 2;
    case ErrorKind::refused: return 3;
    case ErrorKind::input: return 4;
    case ErrorKind::io: return 5;
    case ErrorKind::numeric: return 6;
    case ErrorKind::shape:
    case ErrorKind::internal: return 1;
  }
  return 1;
}

std::string printable(const std::string& text, std::string_view kept) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 || byte == 0x7f) && kept.find(c) == std::string_view::npos)
      out.append({'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]});
    else
      out += c;
  }
  return out;
}

namespace {

/// Levenshtein distance, one row of memory.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::size_t limit = std::max<std::size_t>(2, word.size() / 3);
  std::size_t best = limit + 1;
  std::string result;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      result = candidate;
    }
  }
  return result;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string found = nearest(word, candidates);
  return found.empty() ? "" : concat("; did you mean \"", found, "\"?");
}

void throw_requirement(ErrorKind kind, const char* condition, const std::string& message,
                       std::source_location where) {
  // The condition and the place help only where the fault is motley's own.
  if (kind == ErrorKind::internal)
    throw Error(kind,
                concat(message, " [", condition, ", ", where.file_name(), ":", where.line(), "]"));
  throw Error(kind, message);
}

}  // namespace motley
