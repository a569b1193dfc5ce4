#include "experiments/sweep_config.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "core/base/error.hpp"

namespace motley {

namespace {

std::string trimmed(const std::string& s) {
  const auto first = s.find_first_not_of(" \t");
  return first == std::string::npos ? "" : s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

/// Splits at commas outside parentheses.
std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> out;
  std::string item;
  int depth = 0;
  for (const char c : text + ",") {
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (c == ',' && depth == 0) {
      out.push_back(trimmed(item));
      item.clear();
    } else {
      item += c;
    }
  }
  return out;
}

std::string number_text(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", x);
  return text;
}

/// Values of one axis: a list, or log(a, b, n), or range(a, b[, step]).
std::vector<std::string> axis_values(const Assignment& a, Faults& faults) {
  const auto call = [&](const std::string& name, std::vector<double>& numbers) {
    if (a.value.rfind(name + "(", 0) != 0 || a.value.back() != ')') return false;
    for (const std::string& part :
         split_list(a.value.substr(name.size() + 1, a.value.size() - name.size() - 2))) {
      double x = 0;
      if (!parse_number(part, x)) {
        faults.add(
            concat(a.key, " (", a.place, "): not a number in ", name, "(), got \"", part, "\""));
        return true;
      }
      numbers.push_back(x);
    }
    return true;
  };
  std::vector<double> x;
  std::vector<std::string> out;
  if (call("log", x)) {
    if (x.size() != 3 || x[0] <= 0 || x[1] <= 0 || x[2] < 2) {
      faults.add(concat(a.key, " (", a.place, "): got \"", a.value,
                        "\"; allowed: log(low, high, n) with low, high > 0 and n >= 2"));
      return out;
    }
    const int n = static_cast<int>(x[2]);
    for (int i = 0; i < n; ++i)
      out.push_back(number_text(x[0] * std::pow(x[1] / x[0], double(i) / (n - 1))));
    return out;
  }
  if (call("range", x)) {
    const double step = x.size() == 3 ? x[2] : 1.0;
    if (x.size() < 2 || x.size() > 3 || step <= 0) {
      faults.add(concat(a.key, " (", a.place, "): got \"", a.value,
                        "\"; allowed: range(first, end[, step]) with step > 0"));
      return out;
    }
    for (int i = 0; x[0] + i * step < x[1] - 1e-12; ++i)
      out.push_back(number_text(x[0] + i * step));
    return out;
  }
  return split_list(a.value);
}

std::vector<std::string> seed_list(const Assignment& a, Faults& faults) {
  std::vector<std::string> out;
  const auto colon = a.value.find(':');
  std::int64_t first = 0, last = 0;
  if (colon != std::string::npos) {
    if (parse_integer(a.value.substr(0, colon), first) &&
        parse_integer(a.value.substr(colon + 1), last) && first >= 0 && first < last) {
      for (std::int64_t s = first; s < last; ++s) out.push_back(std::to_string(s));
      return out;
    }
  } else {
    bool good = true;
    for (const std::string& item : split_list(a.value)) {
      good = good && parse_integer(item, first) && first >= 0;
      out.push_back(item);
    }
    if (good) return out;
  }
  faults.add(concat("sweep.seeds (", a.place, "): got \"", a.value,
                    "\"; allowed: first:end or a list of seeds"));
  return {};
}

struct SweepText {
  std::map<std::string, Assignment> sweep;
  std::vector<Assignment> grid;
  std::vector<std::string> arm_names;
  std::map<std::string, std::vector<Assignment>> arms;
};

SweepText sort_out(const Layer& layer, Faults& faults) {
  static const std::vector<std::string> known = {"name", "base", "method", "seeds", "exclude"};
  SweepText out;
  for (const Assignment& a : layer.assignments) {
    if (a.key.rfind("sweep.", 0) == 0) {
      const std::string name = a.key.substr(6);
      if (std::find(known.begin(), known.end(), name) == known.end())
        faults.add(concat(a.key, " (", a.place, "): unknown key of [sweep]; allowed: ", join(known),
                          did_you_mean(name, known)));
      out.sweep[name] = a;
    } else if (a.key.rfind("grid.", 0) == 0) {
      out.grid.push_back({a.key.substr(5), a.value, a.place});
    } else if (a.key.rfind("arm.", 0) == 0) {
      const auto dot = a.key.find('.', 4);
      const std::string arm = a.key.substr(4, dot - 4);
      if (out.arms.find(arm) == out.arms.end()) out.arm_names.push_back(arm);
      out.arms[arm].push_back(
          {dot == std::string::npos ? "" : a.key.substr(dot + 1), a.value, a.place});
    } else {
      faults.add(concat(a.key, " (", a.place,
                        "): not in a section of a sweep; allowed: [sweep], [grid], [arm.NAME]"));
    }
  }
  return out;
}

/// Combinations of the grid's axes: all of them, or one after the other (zip).
std::vector<std::vector<Assignment>> grid_points(const SweepText& text, Faults& faults) {
  std::vector<std::vector<Assignment>> points = {{}};
  const auto method = text.sweep.find("method");
  const std::string how = method == text.sweep.end() ? "grid" : method->second.value;
  if (how != "grid" && how != "zip")
    faults.add(concat("sweep.method (", method->second.place, "): unknown value, got \"", how,
                      "\"; allowed: grid, zip", did_you_mean(how, {"grid", "zip"})));
  std::size_t length = 0;
  for (std::size_t axis = 0; axis < text.grid.size(); ++axis) {
    const Assignment& a = text.grid[axis];
    const std::vector<std::string> values = axis_values(a, faults);
    if (how == "zip") {
      if (axis == 0) {
        length = values.size();
        points.assign(length, {});
      }
      if (values.size() != length) {
        faults.add(concat(a.key, " (", a.place, "): lists of a zip are equally long, got ",
                          values.size(), "; expected ", length));
        continue;
      }
      for (std::size_t i = 0; i < length; ++i) points[i].push_back({a.key, values[i], a.place});
      continue;
    }
    std::vector<std::vector<Assignment>> next;
    for (const auto& point : points)
      for (const std::string& value : values) {
        next.push_back(point);
        next.back().push_back({a.key, value, a.place});
      }
    points = next;
  }
  return points;
}

/// `a=x & b!=y`: true where all terms hold for the configuration.
bool excluded(const std::string& rule, const RunConfig& config) {
  if (rule.empty()) return false;
  const auto options = list_options(config);
  std::string rest = rule + "&";
  for (std::size_t at = 0; at < rest.size();) {
    const auto end = rest.find('&', at);
    const std::string term = trimmed(rest.substr(at, end - at));
    at = end + 1;
    const auto equals = term.find('=');
    const bool negated = equals != std::string::npos && equals > 0 && term[equals - 1] == '!';
    const std::string key = trimmed(term.substr(0, negated ? equals - 1 : equals));
    const std::string value = equals == std::string::npos ? "" : trimmed(term.substr(equals + 1));
    const auto found = std::find_if(options.begin(), options.end(),
                                    [&](const OptionEntry& o) { return o.key == key; });
    if (found == options.end())
      throw Error(ErrorKind::config, concat("sweep.exclude: unknown option, got \"", key, "\"",
                                            did_you_mean(key, option_keys())));
    if ((found->text == value) == negated) return false;
  }
  return true;
}

}  // namespace

SweepConfig read_sweep(const std::string& path, const std::vector<std::string>& overrides) {
  Faults faults;
  const SweepText text = sort_out(read_ini_file(path, faults), faults);
  const Layer command_line = read_overrides(overrides, faults);
  SweepConfig out;
  const auto get = [&](const char* key, const std::string& otherwise) {
    const auto found = text.sweep.find(key);
    return found == text.sweep.end() ? otherwise : found->second.value;
  };
  out.name = get("name", std::filesystem::path(path).stem().string());
  Layer base;
  if (text.sweep.count("base") > 0)
    base = read_ini_file((std::filesystem::path(path).parent_path() / get("base", "")).string(),
                         faults);
  std::vector<std::string> seeds = {""};
  if (text.sweep.count("seeds") > 0) seeds = seed_list(text.sweep.at("seeds"), faults);
  const auto points = grid_points(text, faults);
  std::vector<std::string> arms = text.arm_names;
  if (arms.empty()) arms.push_back("");
  faults.raise();

  std::set<std::string> reported, folders;
  for (const std::string& seed : seeds)
    for (const std::string& arm : arms)
      for (const auto& point : points) {
        SweepCell cell;
        if (!arm.empty()) cell.assignments = text.arms.at(arm);
        cell.assignments.insert(cell.assignments.end(), point.begin(), point.end());
        std::string label = arm;
        for (const Assignment& a : point)
          label += (label.empty() ? "" : ",") +
                   (arm.empty() ? a.value : a.key.substr(a.key.find('.') + 1) + "=" + a.value);
        cell.arm = label.empty() ? "run" : label;
        if (!seed.empty()) cell.assignments.push_back({"run.seed", seed, "sweep.seeds"});
        Faults cell_faults;
        Configured c = configure({base, Layer{cell.assignments}, command_line}, cell_faults);
        try {
          cell_faults.raise();
        } catch (const Error& error) {
          if (reported.insert(error.what()).second) faults.add(error.what());
          continue;
        }
        c.config.run.name = cell.arm;
        if (excluded(get("exclude", ""), c.config)) continue;
        cell.config = c.config;
        std::string safe = cell.arm;
        for (char& ch : safe)
          if (std::isalnum(static_cast<unsigned char>(ch)) == 0 && ch != '-' && ch != '_' &&
              ch != '.')
            ch = '_';
        cell.folder =
            concat(safe, "-s", c.config.run.seed, "-", config_sha256(c.config).substr(0, 8));
        if (!folders.insert(cell.folder).second) continue;  // the same cell twice
        cell.index = static_cast<int>(out.cells.size());
        out.cells.push_back(cell);
      }
  faults.raise();
  MOTLEY_REQUIRE(!out.cells.empty(), ErrorKind::config, path, ": the sweep has no cells");
  return out;
}

std::string manifest_of(const SweepConfig& sweep) {
  std::string out = "; cells of sweep " + sweep.name + ", frozen when it began\n";
  for (const SweepCell& cell : sweep.cells) {
    out += concat("\n[cell.", cell.index, "]\nfolder = ", cell.folder, "\narm = \"", cell.arm,
                  "\"\nconfig_sha256 = ", config_sha256(cell.config), "\n");
    for (const Assignment& a : cell.assignments) out += concat(a.key, " = \"", a.value, "\"\n");
  }
  return out;
}

}  // namespace motley
