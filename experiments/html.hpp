#pragma once
/// Pieces of a page that is HTML5 and well-formed XML at once: every tag closed, every text
/// escaped, no named entity beyond XML's own.

#include <string>
#include <string_view>
#include <vector>

namespace motley {

/// Text as content or as the value of a quoted attribute. What XML cannot hold (control characters,
/// bytes that are no UTF-8) becomes U+FFFD.
std::string html(std::string_view text);

/// `digits` after the point with a true minus sign, an en dash where the value is not finite.
std::string number_text(double value, int digits);
/// The same with its sign shown.
std::string signed_text(double value, int digits);
/// Enough digits to read three significant ones: 1234, 12.3, 0.0123, 1.2e-05.
std::string short_number(double value);

/// Cells are HTML already; the first of a row is its heading. Scrolls sideways where it is too
/// wide.
/// \param label what the table holds, for those who do not see it
/// \param text_columns columns of text: left-aligned, may wrap; the others hold numbers
std::string html_table(const std::vector<std::string>& head,
                       const std::vector<std::vector<std::string>>& rows, std::string_view label,
                       const std::vector<std::size_t>& text_columns = {});

/// A folded block. `content` is HTML.
std::string html_fold(std::string_view summary, const std::string& content);
/// Folded text in its own line breaks: CSV, configurations.
std::string html_text_fold(std::string_view summary, std::string_view text);

/// Rows of text as CSV (RFC 4180).
std::string csv(const std::vector<std::vector<std::string>>& rows);
/// A number for CSV: 7 significant digits, empty where it is not finite.
std::string csv_number(double value);

}  // namespace motley
