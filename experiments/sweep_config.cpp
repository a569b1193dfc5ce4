#include "experiments/sweep_config.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.hpp"
#include "experiments/sweep_axis.hpp"
#include "experiments/sweep_rule.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostCells = 100000;

struct SweepText {
  std::map<std::string, Assignment> sweep;
  std::vector<SweepRule> rules;
  std::vector<SweepAxis> axes;
  std::vector<std::string> arm_names;
  std::map<std::string, std::vector<Assignment>> arms;

  std::string get(const std::string& key, const std::string& otherwise) const {
    const auto found = sweep.find(key);
    return found == sweep.end() ? otherwise : found->second.value;
  }
  std::string where(const std::string& key) const {
    return concat("sweep.", key, " (", sweep.at(key).place, ")");
  }
};

bool is_rule(const std::string& name, const char* word) {
  return name == word || name.rfind(std::string(word) + ".", 0) == 0;
}

SweepText sort_out(const Layer& layer, Faults& faults) {
  static const std::vector<std::string> known = {"name",    "base", "method",  "seeds",
                                                 "samples", "seed", "include", "exclude"};
  SweepText out;
  for (const Assignment& a : layer.assignments) {
    if (a.key.rfind("sweep.", 0) == 0) {
      const std::string name = a.key.substr(6);
      if (is_rule(name, "include") || is_rule(name, "exclude"))
        out.rules.push_back(read_rule(a, is_rule(name, "include"), faults));
      else if (std::find(known.begin(), known.end(), name) == known.end())
        faults.add(concat(a.key, " (", a.place, "): unknown key of [sweep]; allowed: ", join(known),
                          did_you_mean(name, known)));
      else
        out.sweep[name] = a;
    } else if (a.key.rfind("grid.", 0) == 0) {
      SweepAxis axis = read_axis({a.key.substr(5), a.value, a.place}, faults);
      // A broken axis is left out, so that the rest is looked at in the same go.
      if (axis.kind != SweepAxis::Kind::list || !axis.values.empty()) out.axes.push_back(axis);
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

std::vector<std::string> seed_list(const SweepText& text, Faults& faults) {
  if (text.sweep.count("seeds") == 0) return {""};
  const std::string& value = text.sweep.at("seeds").value;
  std::vector<std::string> out;
  std::set<std::int64_t> seen;
  bool good = true;
  const auto add = [&](std::int64_t seed) {
    good = good && seed >= 0 && seen.insert(seed).second && out.size() < kMostCells;
    if (good) out.push_back(std::to_string(seed));
  };
  const auto colon = value.find(':');
  std::int64_t first = 0, last = 0;
  if (colon != std::string::npos) {
    good = parse_integer(trimmed(value.substr(0, colon)), first) &&
           parse_integer(trimmed(value.substr(colon + 1)), last) && first < last;
    for (std::int64_t s = first; good && s < last; ++s) add(s);
  } else {
    for (const std::string& item : split_list(value)) {
      good = good && parse_integer(item, first);
      add(first);
    }
  }
  if (good) return out;
  faults.add(concat(text.where("seeds"), ": got \"", value,
                    "\"; allowed: first:end or a list of seeds, each once"));
  return {""};
}

using Point = std::vector<Assignment>;

std::vector<Point> all_combinations(const std::vector<SweepAxis>& axes) {
  std::vector<Point> points = {{}};
  for (const SweepAxis& axis : axes) {
    std::vector<Point> next;
    for (const Point& point : points)
      for (const std::string& value : axis.values) {
        next.push_back(point);
        next.back().push_back({axis.key, value, axis.place});
      }
    points = next;
  }
  return points;
}

std::vector<Point> zipped(const std::vector<SweepAxis>& axes, Faults& faults) {
  std::vector<Point> points(axes.front().values.size());
  for (const SweepAxis& axis : axes) {
    if (axis.values.size() != points.size()) {
      faults.add(concat(axis.key, " (", axis.place, "): the lists of a zip are equally long, got ",
                        axis.values.size(), "; allowed: ", points.size(), ", as ", axes.front().key,
                        " has"));
      continue;
    }
    for (std::size_t i = 0; i < points.size(); ++i)
      points[i].push_back({axis.key, axis.values[i], axis.place});
  }
  return points;
}

std::int64_t whole_number(const SweepText& text, const char* key, std::int64_t otherwise,
                          std::int64_t least, std::int64_t most, Faults& faults) {
  std::int64_t value = otherwise;
  if (text.sweep.count(key) > 0 &&
      (!parse_integer(text.get(key, ""), value) || value < least || value > most)) {
    faults.add(concat(text.where(key), ": got \"", text.get(key, ""), "\"; allowed: [", least, ", ",
                      most, "]"));
    return otherwise;
  }
  return value;
}

std::vector<Point> drawn(const SweepText& text, Faults& faults) {
  const std::int64_t samples =
      whole_number(text, "samples", 1, 1, static_cast<std::int64_t>(kMostCells), faults);
  const std::int64_t seed = whole_number(text, "seed", 0, 0, std::int64_t{1} << 62, faults);
  if (text.sweep.count("samples") == 0)
    faults.add("sweep.samples: a random sweep needs it; allowed: how many combinations are drawn");
  if (text.axes.empty())
    faults.add("sweep.method: a random sweep draws from the axes of [grid], and there are none");
  std::vector<Point> points;
  for (std::int64_t i = 0; i < samples; ++i) {
    points.emplace_back();
    for (const SweepAxis& axis : text.axes)
      points.back().push_back(
          {axis.key,
           draw_value(axis, static_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(i)),
           axis.place});
  }
  return points;
}

/// Combinations of the grid's axes.
std::vector<Point> grid_points(SweepText& text, Faults& faults) {
  static const std::vector<std::string> methods = {"grid", "zip", "random"};
  const std::string how = text.get("method", "grid");
  if (std::find(methods.begin(), methods.end(), how) == methods.end())
    faults.add(concat(text.where("method"), ": unknown value, got \"", how,
                      "\"; allowed: ", join(methods), did_you_mean(how, methods)));
  if (how == "random") return drawn(text, faults);
  for (const char* key : {"samples", "seed"})
    if (text.sweep.count(key) > 0)
      faults.add(concat(text.where(key), ": belongs to method = random, got method = ", how,
                        std::string(key) == "seed" ? "; did you mean \"seeds\"?" : ""));
  std::erase_if(text.axes, [&](const SweepAxis& axis) {
    const bool draws = axis.kind != SweepAxis::Kind::list;
    if (draws)
      faults.add(concat(axis.key, " (", axis.place,
                        "): is drawn from, which takes method = random, got method = ", how,
                        "; allowed: a list, log(low, high, n), range(first, end[, step])"));
    return draws;
  });
  if (text.axes.empty()) return {{}};
  double count = 1;
  for (const SweepAxis& axis : text.axes) count *= static_cast<double>(axis.values.size());
  if (how != "zip" && count > double(kMostCells)) {
    faults.add(concat("sweep.method: the grid has ", count, " combinations; allowed: at most ",
                      kMostCells));
    return {{}};
  }
  return how == "zip" ? zipped(text.axes, faults) : all_combinations(text.axes);
}

/// Name of a point: its values, or the number of a sample.
std::string label_of(const std::string& arm, const Point& point, std::size_t index, bool random) {
  std::string label = arm;
  if (random) {
    char number[24];
    std::snprintf(number, sizeof number, "r%03zu", index);
    return label.empty() ? number : label + "," + number;
  }
  for (const Assignment& a : point)
    label += (label.empty() ? "" : ",") +
             (arm.empty() ? a.value : a.key.substr(a.key.find('.') + 1) + "=" + a.value);
  return label.empty() ? "run" : label;
}

std::string folder_of(const std::string& arm, const RunConfig& config) {
  std::string safe = arm;
  for (char& ch : safe)
    if (std::isalnum(static_cast<unsigned char>(ch)) == 0 && ch != '-' && ch != '_' && ch != '.')
      ch = '_';
  return concat(safe, "-s", config.run.seed, "-", config_sha256(config).substr(0, 8));
}

/// Adds the lines of an error that are not there yet.
void add_lines(const std::string& message, std::set<std::string>& reported, Faults& faults) {
  std::istringstream lines(message);
  for (std::string line; std::getline(lines, line);)
    if (reported.insert(line).second) faults.add(line);
}

/// Keeps cells by the rules and counts for how many each holds.
class RuleBook {
 public:
  explicit RuleBook(const std::vector<SweepRule>& rules) : rules_(rules), hits_(rules.size(), 0) {}
  bool keeps(const RunConfig& config, const std::string& arm) {
    if (rules_.empty()) return true;
    const std::vector<OptionEntry> options = list_options(config);
    bool included = true, wanted = false, excluded = false;
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const bool hit = holds(rules_[i], options, arm);
      hits_[i] += hit ? 1 : 0;
      if (rules_[i].include) {
        included = false;
        wanted = wanted || hit;
      } else {
        excluded = excluded || hit;
      }
    }
    return (included || wanted) && !excluded;
  }
  std::vector<std::string> idle() const {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < rules_.size(); ++i)
      if (hits_[i] == 0) out.push_back(rules_[i].name + ": holds for no cell");
    return out;
  }

 private:
  const std::vector<SweepRule>& rules_;
  std::vector<int> hits_;
};

void read_names(const SweepText& text, const std::string& path, SweepConfig& out, Faults& faults) {
  out.name = text.get("name", fs::path(path).stem().string());
  if (out.name.empty() || out.name.find('/') != std::string::npos || out.name.front() == '.')
    faults.add(concat(text.sweep.count("name") > 0 ? text.where("name") : "sweep.name",
                      ": becomes a folder, got \"", out.name,
                      "\"; allowed: a name without / that does not begin with a dot"));
  if (text.sweep.count("base") == 0) return;
  out.base_file = (fs::path(path).parent_path() / text.get("base", "")).string();
  if (fs::is_regular_file(out.base_file))
    out.base = read_ini_file(out.base_file, faults);
  else
    faults.add(concat(text.where("base"), ": cannot read the base file, got \"", out.base_file,
                      "\"; allowed: a file, relative to the sweep's"));
}

}  // namespace

SweepConfig read_sweep(const std::string& path, const std::vector<std::string>& overrides) {
  MOTLEY_REQUIRE(fs::is_regular_file(path), ErrorKind::config, path, ": no such sweep file");
  Faults faults;
  SweepText text = sort_out(read_ini_file(path, faults), faults);
  const Layer command_line = read_overrides(overrides, faults);
  SweepConfig out;
  out.file = path;
  out.overrides = overrides;
  read_names(text, path, out, faults);
  const bool random = text.get("method", "grid") == "random";
  const std::vector<std::string> seeds = seed_list(text, faults);
  const std::vector<Point> points = grid_points(text, faults);
  std::vector<std::string> arms = text.arm_names;
  if (arms.empty()) arms.emplace_back("");
  if (const std::size_t n = seeds.size() * arms.size() * points.size(); n > kMostCells) {
    faults.add(concat(path, ": the sweep has ", n, " cells; allowed: at most ", kMostCells));
    faults.raise();
  }

  std::set<std::string> reported, folders;
  RuleBook rules(text.rules);
  for (const std::string& seed : seeds)
    for (const std::string& arm : arms)
      for (std::size_t p = 0; p < points.size(); ++p) {
        SweepCell cell;
        if (!arm.empty()) cell.assignments = text.arms.at(arm);
        cell.assignments.insert(cell.assignments.end(), points[p].begin(), points[p].end());
        cell.arm = label_of(arm, points[p], p, random);
        if (!seed.empty()) cell.assignments.push_back({"run.seed", seed, "sweep.seeds"});
        Faults cell_faults;
        Configured c = configure({out.base, Layer{cell.assignments}, command_line}, cell_faults);
        try {
          cell_faults.raise();
        } catch (const Error& error) {
          add_lines(error.what(), reported, faults);
          continue;
        }
        c.config.run.name = cell.arm;
        if (!rules.keeps(c.config, arm)) continue;
        cell.config = c.config;
        cell.folder = folder_of(cell.arm, c.config);
        if (!folders.insert(cell.folder).second) continue;  // the same cell twice
        cell.index = static_cast<int>(out.cells.size());
        out.cells.push_back(cell);
      }
  faults.raise();
  out.warnings = rules.idle();
  MOTLEY_REQUIRE(!out.cells.empty(), ErrorKind::config, path,
                 ": the sweep has no cells; its rules leave none");
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

std::vector<std::string> words_of(const SweepConfig& sweep, const SweepCell& cell) {
  Layer layer;
  const auto set = [&](const std::string& key, const std::string& value) {
    std::erase_if(layer.assignments, [&](const Assignment& a) { return a.key == key; });
    layer.assignments.push_back({key, value, "cell"});
  };
  Faults faults;
  for (const Assignment& a : cell.assignments) set(a.key, a.value);
  for (const Assignment& a : read_overrides(sweep.overrides, faults).assignments)
    set(a.key, a.value);
  set("run.name", cell.arm);
  const std::vector<OptionEntry> wanted = list_options(cell.config);
  // In one layer a preset yields to keys that it overrode in two: these are said outright.
  for (const bool last : {false, true}) {
    const std::vector<OptionEntry> got = list_options(configure({sweep.base, layer}).config);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (got[i].text == wanted[i].text) continue;
      MOTLEY_REQUIRE(!last, ErrorKind::internal, "sweep: no words make cell ", cell.index, ", ",
                     wanted[i].key, " is ", got[i].text);
      set(wanted[i].key, wanted[i].text);
    }
  }
  std::vector<std::string> words;
  for (const Assignment& a : layer.assignments) words.push_back(a.key + "=" + a.value);
  return words;
}

}  // namespace motley
