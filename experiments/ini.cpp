/// Reading INI text into assignments with places.

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/error.hpp"
#include "experiments/options.hpp"

namespace motley {

namespace {

std::string trimmed(const std::string& s) {
  const auto first = s.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
}

/// The line without its comment; quotes protect `#` and `;`.
std::string without_comment(const std::string& line) {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quote != 0) {
      if (line[i] == quote) quote = 0;
    } else if (line[i] == '"' || line[i] == '\'') {
      quote = line[i];
    } else if (line[i] == '#' || line[i] == ';') {
      return line.substr(0, i);
    }
  }
  return line;
}

std::string unquoted(const std::string& s) {
  if (s.size() >= 2 && (s.front() == '"' || s.front() == '\'') && s.back() == s.front())
    return s.substr(1, s.size() - 2);
  return s;
}

class Reader {
 public:
  Reader(std::string name, std::string folder, int depth, Faults& faults)
      : name_(std::move(name)), folder_(std::move(folder)), depth_(depth), faults_(faults) {}

  Layer read(std::string text) {
    if (text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);
    std::istringstream in(text);
    std::string line;
    for (number_ = 1; std::getline(in, line); ++number_) read_line(trimmed(without_comment(line)));
    return std::move(layer_);
  }

 private:
  std::string place() const { return name_ + ":" + std::to_string(number_); }

  void read_line(const std::string& line) {
    if (line.empty()) return;
    if (line.front() == '[') {
      if (line.back() != ']' || line.size() < 3) {
        faults_.add(
            concat(place(), ": broken section header, got \"", line, "\"; allowed: [name]"));
        return;
      }
      section_ = trimmed(line.substr(1, line.size() - 2));
      return;
    }
    const auto equals = line.find('=');
    if (equals == std::string::npos) {
      faults_.add(concat(place(), ": not an assignment, got \"", line, "\"; allowed: key = value"));
      return;
    }
    const std::string name = trimmed(line.substr(0, equals));
    const std::string value = unquoted(trimmed(line.substr(equals + 1)));
    if (section_.empty() && name == "include") {
      include(value);
      return;
    }
    const std::string key = section_.empty() ? name : section_ + "." + name;
    const auto [known, fresh] = seen_.emplace(key, number_);
    if (!fresh) {
      faults_.add(concat(key, " (", place(), "): set twice, first in line ", known->second));
      return;
    }
    layer_.assignments.push_back({key, value, place()});
  }

  void include(const std::string& path) {
    if (depth_ > 8) {
      faults_.add(concat(place(), ": includes nest deeper than 8, got \"", path, "\""));
      return;
    }
    const std::filesystem::path file = std::filesystem::path(folder_) / path;
    std::ifstream in(file);
    std::error_code ignored;
    // A device may never end.
    if (!in || !std::filesystem::is_regular_file(file, ignored)) {
      faults_.add(concat(place(), ": cannot read the included file, got \"", file.string(), "\""));
      return;
    }
    std::ostringstream text;
    text << in.rdbuf();
    Layer inner = Reader(file.filename().string(), file.parent_path().string(), depth_ + 1, faults_)
                      .read(text.str());
    // What is included comes before what the file itself says, and is a layer of its own.
    layer_.assignments.insert(layer_.assignments.begin() + included_, inner.assignments.begin(),
                              inner.assignments.end());
    for (const std::size_t at : inner.breaks)
      layer_.breaks.push_back(static_cast<std::size_t>(included_) + at);
    included_ += static_cast<std::ptrdiff_t>(inner.assignments.size());
    layer_.breaks.push_back(static_cast<std::size_t>(included_));
  }

  std::string name_, folder_, section_;
  int depth_;
  int number_ = 0;
  std::ptrdiff_t included_ = 0;
  Faults& faults_;
  Layer layer_;
  std::map<std::string, int> seen_;
};

}  // namespace

void Faults::raise() const {
  if (!lines_.empty()) throw Error(ErrorKind::config, join(lines_, "\n"));
}

Layer read_ini(const std::string& text, const std::string& name, const std::string& folder,
               Faults& faults) {
  return Reader(name, folder, 0, faults).read(text);
}

Layer read_ini_file(const std::string& path, Faults& faults) {
  std::ifstream in(path);
  if (!in || std::filesystem::is_directory(path)) {
    faults.add(concat("-c ", path, ": cannot read the configuration file"));
    return {};
  }
  std::ostringstream text;
  text << in.rdbuf();
  const std::filesystem::path file(path);
  return read_ini(text.str(), file.filename().string(), file.parent_path().string(), faults);
}

Layer read_overrides(const std::vector<std::string>& words, Faults& faults) {
  Layer layer;
  std::map<std::string, std::string> seen;
  for (const std::string& word : words) {
    const auto equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : unquoted(word.substr(equals + 1));
    if (const auto [known, fresh] = seen.emplace(key, value); !fresh) {
      faults.add(concat(key, " (command line): set twice, got \"", known->second, "\" and \"",
                        value, "\""));
      continue;
    }
    layer.assignments.push_back({key, value, "command line"});
  }
  return layer;
}

}  // namespace motley
