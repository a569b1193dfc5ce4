#include "experiments/options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iomanip>
#include <set>
#include <span>
#include <type_traits>

#include <boost/program_options.hpp>

#include "core/base/error.hpp"
#include "experiments/presets.hpp"
#include "io/digest.hpp"

namespace motley {

bool parse_number(const std::string& text, double& value) {
  std::string plain;
  for (const char c : text)
    if (c != '_') plain += c;
  double scale = 1.0;
  if (!plain.empty() && (plain.back() == 'k' || plain.back() == 'M')) {
    scale = plain.back() == 'k' ? 1e3 : 1e6;
    plain.pop_back();
  }
  const char* begin = plain.data() + (!plain.empty() && plain.front() == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, plain.data() + plain.size(), value);
  if (error != std::errc{} || end != plain.data() + plain.size() || plain.empty()) return false;
  value *= scale;
  return std::isfinite(value);
}

bool parse_integer(const std::string& text, std::int64_t& value) {
  std::string plain;
  for (const char c : text)
    if (c != '_') plain += c;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  if (error == std::errc{} && end == plain.data() + plain.size() && !plain.empty()) return true;
  double number = 0;
  if (!parse_number(text, number) || number != std::floor(number) || std::abs(number) > 9e15)
    return false;
  value = static_cast<std::int64_t>(number);
  return true;
}

namespace {

template <class T>
inline constexpr bool kIsNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
template <class T>
inline constexpr bool kIsList = std::is_same_v<T, std::vector<int>>;

/// Shortest text that reads back to the same value.
template <class T>
std::string to_text(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::string(name_of(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "on" : "off";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (kIsList<T>) {
    return join(value, ",");
  } else {
    char buffer[64];
    const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
    return std::string(buffer, result.ptr);
  }
}

std::string to_text(const Range& r) {
  const auto bound = [](double x) {
    return std::abs(x) >= 1e300 ? std::string(x < 0 ? "-inf" : "inf") : to_text(x);
  };
  return concat(r.low_open ? "(" : "[", bound(r.low), ", ", bound(r.high), r.high_open ? ")" : "]");
}

template <class T, class Allowed>
std::vector<std::string> allowed_words(const Allowed& allowed) {
  if constexpr (std::is_enum_v<T>) {
    return choices<T>();
  } else if constexpr (std::is_same_v<Allowed, OneOf>) {
    return allowed.values;
  } else {
    return {};
  }
}

template <class T, class Allowed>
std::string allowed_text(const std::string& key, const Allowed& allowed) {
  if (key == "run.method") return join(method_names());
  if (key == "log.rollouts") return "all, every:N, none";
  if (key == "log.diagnostics") return "every:N, none";
  if (key == "rollout.temperature_schedule") return "constant, linear:END, cosine:END";
  if constexpr (std::is_same_v<T, bool>) return "on, off";
  if constexpr (std::is_same_v<Allowed, Range>) return to_text(allowed);
  const auto words = allowed_words<T>(allowed);
  return words.empty() ? "any text" : join(words);
}

template <class T>
const char* type_name() {
  if constexpr (std::is_enum_v<T>) return "choice";
  if constexpr (std::is_same_v<T, bool>) return "switch";
  if constexpr (std::is_same_v<T, std::string>) return "text";
  if constexpr (kIsList<T>) return "list of integers";
  if constexpr (std::is_integral_v<T>) return "integer";
  return "number";
}

/// Can the text stand between quotes on one line of an ini file?
bool fits_an_ini_line(const std::string& text) {
  const bool both = text.find('"') != std::string::npos && text.find('\'') != std::string::npos;
  return !both && std::none_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; });
}

/// Sets one member from text; "" when fine, else what is wrong (without place).
template <class T, class Allowed>
std::string assign(const std::string& key, T& member, const Allowed& allowed,
                   const std::string& value) {
  const std::string range = "; allowed: " + allowed_text<T>(key, allowed);
  if constexpr (std::is_enum_v<T>) {
    const auto words = allowed_words<T>(allowed);
    const auto found = std::find(words.begin(), words.end(), value);
    if (found == words.end())
      return concat("unknown value \"", value, "\"", range, did_you_mean(value, words));
    member = choice<T>(static_cast<std::size_t>(found - words.begin()));
  } else if constexpr (std::is_same_v<T, bool>) {
    const bool on = value == "on" || value == "true" || value == "1" || value == "yes";
    const bool off = value == "off" || value == "false" || value == "0" || value == "no";
    if (!on && !off) return concat("not a switch, got \"", value, "\"", range);
    member = on;
  } else if constexpr (std::is_same_v<T, std::string>) {
    auto words = allowed_words<T>(allowed);
    if (key == "run.method") words = method_names();
    if (!words.empty() && std::find(words.begin(), words.end(), value) == words.end())
      return concat("unknown value \"", value, "\"", range, did_you_mean(value, words));
    std::int64_t every = 0;
    const bool scheduled =
        value == "none" || (key == "log.rollouts" && value == "all") ||
        (value.rfind("every:", 0) == 0 && parse_integer(value.substr(6), every) && every > 0 &&
         every <= 1000000000);
    if ((key == "log.rollouts" || key == "log.diagnostics") && !scheduled)
      return concat("unknown value \"", value, "\"", range);
    TemperatureSchedule ignored;
    if (key == "rollout.temperature_schedule" && !parse_temperature_schedule(value, ignored))
      return concat("unknown value \"", value, "\"", range);
    if (!fits_an_ini_line(value))
      return concat("not one line that an ini file can hold, got \"", printable(value),
                    "\"; allowed: text without line breaks and with one kind of quote at most");
    member = value;
  } else if constexpr (kIsList<T>) {
    T list;
    for (std::size_t at = 0; at <= value.size();) {
      const auto comma = std::min(value.find(',', at), value.size());
      std::string item = value.substr(at, comma - at);
      item.erase(0, item.find_first_not_of(' '));
      std::int64_t x = 0;
      if (!parse_integer(item, x) || !allowed.contains(static_cast<double>(x)))
        return concat("not a list of integers, got \"", value, "\"", range);
      list.push_back(static_cast<int>(x));
      at = comma + 1;
    }
    member = list;
  } else if constexpr (std::is_integral_v<T>) {
    std::int64_t x = 0;
    if (!parse_integer(value, x)) return concat("not an integer, got \"", value, "\"", range);
    if (!allowed.contains(static_cast<double>(x)))
      return concat("out of range, got ", value, range);
    member = static_cast<T>(x);
  } else {
    double x = 0;
    if (!parse_number(value, x)) return concat("not a finite number, got \"", value, "\"", range);
    if (!allowed.contains(x)) return concat("out of range, got ", value, range);
    member = x;
  }
  return "";
}

/// Sets the member of `key`; false when there is no such key.
bool set_option(RunConfig& config, const std::string& key, const std::string& value,
                std::string& fault) {
  bool found = false;
  for_each_option(
      config, [&](const char* name, auto& member, const auto& allowed, const char*, const char*) {
        if (key != name) return;
        found = true;
        fault = assign(key, member, allowed, value);
      });
  return found;
}

}  // namespace

namespace {

/// Sets what a preset sets.
void expand(const Assignment& a, Configured& out) {
  for (const Setting& s : preset_settings(a.key, a.value)) {
    std::string fault;
    MOTLEY_REQUIRE(set_option(out.config, s.key, s.value, fault) && fault.empty(),
                   ErrorKind::internal, "preset ", a.value, " sets ", s.key, " = ", s.value,
                   ": no such option or value; ", fault);
    out.origin[s.key] = concat(a.key, " = ", a.value, ", ", a.place);
  }
}

/// Sets one key, or adds a fault.
void apply(const Assignment& a, const std::vector<std::string>& keys, Configured& out,
           Faults& faults) {
  const std::string where = concat(a.key, " (", a.place, ")");
  std::string fault;
  if (!set_option(out.config, a.key, a.value, fault)) {
    std::string hint = did_you_mean(a.key, keys);
    if (hint.empty() && a.key.find('.') == std::string::npos)
      for (const std::string& key : keys)
        if (key.substr(key.find('.') + 1) == a.key) hint = concat("; did you mean \"", key, "\"?");
    faults.add(concat(where, ": unknown option", hint));
  } else if (!fault.empty()) {
    faults.add(concat(where, ": ", fault));
  }
  out.origin[a.key] = a.place;
}

}  // namespace

Configured configure(const std::vector<Layer>& layers, Faults& faults) {
  Configured out;
  const auto keys = option_keys();
  for (const std::string& key : keys) out.origin[key] = "default";
  // The last run.method alone counts: a method of an earlier layer leaves nothing behind.
  const Assignment* method = nullptr;
  for (const Layer& layer : layers)
    for (const Assignment& a : layer.assignments)
      if (a.key == "run.method") method = &a;
  for (const Layer& layer : layers) {
    std::vector<std::size_t> ends = layer.breaks;
    ends.push_back(layer.assignments.size());
    for (std::size_t i = 0, first = 0; i < ends.size(); first = ends[i++]) {
      const std::span<const Assignment> part(layer.assignments.data() + first, ends[i] - first);
      // A preset yields to the keys of its own layer, so presets come first, the method's before
      // all.
      for (const Assignment& a : part)
        if (&a == method) expand(a, out);
      for (const Assignment& a : part)
        if (a.key != "run.method") expand(a, out);
      for (const Assignment& a : part) apply(a, keys, out, faults);
    }
  }
  if (faults.empty()) check_contradictions(out, faults);
  return out;
}

Configured configure(const std::vector<Layer>& layers) {
  Faults faults;
  Configured out = configure(layers, faults);
  faults.raise();
  return out;
}

std::vector<OptionEntry> list_options(const RunConfig& config) {
  const RunConfig defaults;
  std::vector<std::string> default_texts;
  for_each_option(defaults, [&](const char*, const auto& member, const auto&, const char*,
                                const char*) { default_texts.push_back(to_text(member)); });
  std::vector<OptionEntry> out;
  for_each_option(config, [&](const char* key, const auto& member, const auto& allowed,
                              const char* unit, const char* text) {
    using T = std::remove_cvref_t<decltype(member)>;
    const std::string& otherwise = default_texts[out.size()];
    OptionEntry entry{key,
                      {},
                      to_text(member),
                      otherwise,
                      type_name<T>(),
                      unit,
                      allowed_text<T>(key, allowed),
                      text,
                      in_use(config, key) || to_text(member) != otherwise};
    if constexpr (std::is_same_v<T, bool>)
      entry.value = member;
    else if constexpr (std::is_integral_v<T>)
      entry.value = static_cast<std::int64_t>(member);
    else if constexpr (std::is_floating_point_v<T>)
      entry.value = member;
    else
      entry.value = entry.text;
    out.push_back(std::move(entry));
  });
  return out;
}

std::vector<std::string> option_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> out;
    const RunConfig defaults;
    for_each_option(defaults, [&](const char* key, const auto&, const auto&, const char*,
                                  const char*) { out.emplace_back(key); });
    return out;
  }();
  return keys;
}

namespace {

std::string quoted_if_needed(const std::string& text) {
  const bool plain = text.find_first_of("#;\"' ") == std::string::npos && !text.empty();
  const char quote = text.find('"') == std::string::npos ? '"' : '\'';
  return plain ? text : quote + text + quote;
}

}  // namespace

std::string effective_ini(const RunConfig& config) {
  // Keys of a section stand together even where two structs share it (rollout, loss).
  std::vector<std::string> sections;
  std::map<std::string, std::string> lines;
  for (const OptionEntry& entry : list_options(config)) {
    if (!entry.shown) continue;
    const auto dot = entry.key.find('.');
    const std::string section = entry.key.substr(0, dot);
    if (lines.find(section) == lines.end()) sections.push_back(section);
    lines[section] += entry.key.substr(dot + 1) + " = " + quoted_if_needed(entry.text) + "\n";
  }
  std::string out;
  for (const std::string& section : sections)
    out += (out.empty() ? "[" : "\n[") + section + "]\n" + lines[section];
  return out;
}

RunConfig config_from_ini(const std::string& ini, const std::string& name) {
  Faults faults;
  const Layer layer = read_ini(ini, name, "", faults);
  Configured out = configure({layer}, faults);
  faults.raise();
  return out.config;
}

bool decides_result(const std::string& key) {
  static const std::set<std::string> names = {"run.name",       "run.device",         "run.threads",
                                              "pretrain.cache", "loss.micro_batches", "run.method"};
  return names.count(key) == 0 && key.rfind("log.", 0) != 0 && key.rfind("checkpoint.", 0) != 0;
}

bool identifies(const OptionEntry& entry) {
  static const std::set<std::string> later = {"model.precision"};
  return later.count(entry.key) == 0 || entry.text != entry.default_text;
}

std::string config_sha256(const RunConfig& config) {
  std::string text;
  for (const OptionEntry& entry : list_options(config))
    if (decides_result(entry.key) && entry.shown && identifies(entry))
      text += entry.key + "=" + entry.text + "\n";
  return hex(sha256(text));
}

std::string CommandLine::get(const std::string& flag, const std::string& otherwise) const {
  const auto found = flags.find(flag);
  return found == flags.end() || found->second.empty() ? otherwise : found->second.back();
}

namespace {

namespace po = boost::program_options;

/// Boost's description of the flags; aliases are hidden twins under their own letter.
po::options_description describe_flags(const std::vector<FlagSpec>& flags) {
  po::options_description out;
  for (const FlagSpec& flag : flags) {
    const auto add = [&](const std::string& name) {
      if (flag.value.empty())
        out.add_options()(name.c_str(), flag.text.c_str());
      else
        out.add_options()(name.c_str(), po::value<std::vector<std::string>>()->composing(),
                          flag.text.c_str());
    };
    add(flag.letter != 0 ? concat(flag.name, ",", flag.letter) : flag.name);
    if (flag.alias != 0) add(concat(flag.name, "-alias,", flag.alias));
  }
  return out;
}

}  // namespace

CommandLine parse_command_line(const std::string& command, const std::vector<std::string>& words,
                               const std::vector<FlagSpec>& flags) {
  CommandLine out;
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  const po::options_description description = describe_flags(flags);
  po::options_description all = description;
  all.add_options()("words", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("words", -1);
  try {
    const auto parsed =
        po::command_line_parser(words).options(all).positional(positional).style(style).run();
    for (const auto& option : parsed.options) {
      if (option.string_key == "words" || option.string_key.empty()) {
        for (const std::string& word : option.value) {
          const auto equals = word.find('=');
          const bool is_key =
              equals != std::string::npos && word.find('.') < equals && word.find('/') > equals;
          (is_key ? out.overrides : out.positional).push_back(word);
        }
        continue;
      }
      std::string name = option.string_key;
      if (name.ends_with("-alias")) name.resize(name.size() - 6);
      auto& values = out.flags[name];
      values.insert(values.end(), option.value.begin(), option.value.end());
    }
  } catch (const po::unknown_option& unknown) {
    std::vector<std::string> names;
    for (const FlagSpec& flag : flags) names.push_back("--" + flag.name);
    const std::string got = unknown.get_option_name();
    throw Error(ErrorKind::config, concat("motley ", command, ": unknown flag, got \"", got,
                                          "\"; allowed: ", join(names), did_you_mean(got, names)));
  } catch (const po::error& error) {
    throw Error(ErrorKind::config, concat("motley ", command, ": ", error.what()));
  }
  return out;
}

std::string flag_help(const std::vector<FlagSpec>& flags) {
  std::string out;
  for (const FlagSpec& flag : flags) {
    std::string left = "  ";
    if (flag.letter != 0) left += concat("-", flag.letter, ", ");
    if (flag.alias != 0) left += concat("-", flag.alias, ", ");
    left += "--" + flag.name + (flag.value.empty() ? "" : " " + flag.value);
    if (left.size() < 32) left.resize(32, ' ');
    out += left + "  " + flag.text + "\n";
  }
  return out;
}

}  // namespace motley
