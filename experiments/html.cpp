#include "experiments/html.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace motley {

namespace {

/// Bytes of the UTF-8 sequence at `at` that XML may hold; 0 where there is none.
std::size_t sequence_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return first >= 0x20 ? 1 : (first == '\t' || first == '\n' ? 1 : 0);
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  unsigned code = first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0u) != 0x80u) return 0;
    code = code << 6 | (byte(at + i) & 0x3Fu);
  }
  const unsigned least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (first < 0xC2 || first > 0xF4 || code < least || code > 0x10FFFF || surrogate ||
      (code & 0xFFFEu) == 0xFFFEu)
    return 0;
  return length;
}

/// With a true minus sign; what was rounded to nothing has no sign.
std::string with_minus(const std::string& text) {
  if (text.find_first_of("123456789") == std::string::npos && text.find_first_of("+-") == 0)
    return text.substr(1);
  return text[0] == '-' ? "−" + text.substr(1) : text;
}

}  // namespace

std::string html(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = sequence_at(text, i);
    if (length == 0) {
      out += "\uFFFD";
      ++i;
      continue;
    }
    switch (text[i]) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += text.substr(i, length);
    }
    i += length;
  }
  return out;
}

std::string number_text(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return with_minus(text);
}

std::string signed_text(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%+.*f", digits, value);
  return with_minus(text);
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return "–";
  char text[64];
  const double size = std::abs(value);
  if (size >= 1e-4 && size < 1e6) {
    const int digits = std::max(0, 2 - static_cast<int>(std::floor(std::log10(size))));
    std::snprintf(text, sizeof text, "%.*f", digits, value);
  } else {
    std::snprintf(text, sizeof text, "%.3g", value);
  }
  return with_minus(text);
}

std::string html_table(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows, std::string_view label,
                       const std::vector<std::size_t>& text_columns) {
  const auto cell_tag = [&](std::size_t i) {
    const bool text = std::find(text_columns.begin(), text_columns.end(), i) != text_columns.end();
    return text ? std::string(" class=\"text\">") : std::string(">");
  };
  std::string out = "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" +
                    html(label) + "\"><table><thead><tr>";
  for (std::size_t i = 0; i < head.size(); ++i)
    out += "<th scope=\"col\"" + cell_tag(i) + head[i] + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const auto& row : rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      out +=
          i == 0 ? "<th scope=\"row\">" + row[i] + "</th>" : "<td" + cell_tag(i) + row[i] + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_fold(std::string_view summary, const std::string& content) {
  return "<details><summary>" + html(summary) + "</summary>\n" + content + "</details>\n";
}

std::string html_text_fold(std::string_view summary, std::string_view text) {
  return html_fold(summary, "<pre tabindex=\"0\">" + html(text) + "</pre>");
}

std::string csv(const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) out += ',';
      if (row[i].find_first_of(",\"\n") == std::string::npos) {
        out += row[i];
        continue;
      }
      out += '"';
      for (const char c : row[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
      out += '"';
    }
    out += '\n';
  }
  return out;
}

std::string csv_number(double value) {
  if (!std::isfinite(value)) return "";
  char text[64];
  std::snprintf(text, sizeof text, "%.7g", value);
  return text;
}

}  // namespace motley
