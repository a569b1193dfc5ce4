#include "experiments/sweep_rule.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "experiments/sweep_axis.hpp"

namespace motley {

namespace {

std::vector<std::string> split_at(const std::string& text, char separator) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(separator, at), text.size());
    out.push_back(trimmed(text.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

bool is_order(const std::string& op) {
  return op[0] == '<' || op[0] == '>';
}

bool equal(const std::string& a, const std::string& b) {
  double x = 0, y = 0;
  if (parse_number(a, x) && parse_number(b, y)) return x == y;
  return a == b;
}

bool term_holds(const RuleTerm& term, const std::string& value) {
  if (is_order(term.op)) {
    double x = 0, y = 0;
    // A number was asked for when the rule was read; a text is neither below nor above.
    if (!parse_number(value, x) || !parse_number(term.values[0], y)) return false;
    return term.op == "<" ? x < y : term.op == "<=" ? x <= y : term.op == ">" ? x > y : x >= y;
  }
  const bool any = std::any_of(term.values.begin(), term.values.end(),
                               [&](const std::string& v) { return equal(v, value); });
  return any == (term.op == "=");
}

}  // namespace

SweepRule read_rule(const Assignment& a, bool include, Faults& faults) {
  SweepRule rule{concat(a.key, " (", a.place, ")"), include, {}};
  std::vector<std::string> keys = option_keys();
  keys.emplace_back("arm");
  for (const std::string& text : split_at(a.value, '&')) {
    const auto at = text.find_first_of("=!<>");
    if (at == std::string::npos || at == 0 || (text[at] == '!' && text.substr(at, 2) != "!=")) {
      faults.add(concat(rule.name, ": not a term, got \"", text,
                        "\"; allowed: key = value, with = != < <= > >=, joined by &"));
      continue;
    }
    const std::size_t length = text[at] != '=' && text.substr(at + 1, 1) == "=" ? 2 : 1;
    RuleTerm term{trimmed(text.substr(0, at)), text.substr(at, length), {}};
    const std::string value = trimmed(text.substr(at + length));
    if (std::find(keys.begin(), keys.end(), term.key) == keys.end()) {
      faults.add(concat(rule.name, ": unknown option, got \"", term.key, "\"",
                        did_you_mean(term.key, keys)));
      continue;
    }
    double number = 0;
    if (is_order(term.op) && !parse_number(value, number)) {
      faults.add(concat(rule.name, ": not a number after ", term.op, ", got \"", value, "\""));
      continue;
    }
    term.values = is_order(term.op) ? std::vector<std::string>{value} : split_at(value, '|');
    rule.terms.push_back(term);
  }
  return rule;
}

bool holds(const SweepRule& rule, const std::vector<OptionEntry>& options, const std::string& arm) {
  return std::all_of(rule.terms.begin(), rule.terms.end(), [&](const RuleTerm& term) {
    if (term.key == "arm") return term_holds(term, arm);
    const auto found = std::find_if(options.begin(), options.end(),
                                    [&](const OptionEntry& o) { return o.key == term.key; });
    return found != options.end() && term_holds(term, found->text);
  });
}

}  // namespace motley
