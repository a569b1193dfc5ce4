#include "experiments/export_events.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>

#include "experiments/export_tables.hpp"
#include "io/event_file.hpp"

namespace motley {

namespace {

using Scalars = std::vector<std::pair<std::string, float>>;

std::string created_utc(const RunReader& reader) {
  for (const Attribute& a : reader.root())
    if (a.key == "created_utc" && std::holds_alternative<std::string>(a.value))
      return std::get<std::string>(a.value);
  return "";
}

/// Seconds since 1970 of "2026-01-31T12:00:00Z"; 0 where it is no date.
double seconds_of(const std::string& utc) {
  std::tm t{};
  if (std::sscanf(utc.c_str(), "%4d-%2d-%2dT%2d:%2d:%2dZ", &t.tm_year, &t.tm_mon, &t.tm_mday,
                  &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
    return 0;
  t.tm_year -= 1900;
  t.tm_mon -= 1;
  return static_cast<double>(timegm(&t));
}

/// The tags of a column: its own, then the same quantity's in other trainers.
std::vector<std::string> tags_of(const RunReader& reader, const std::string& group,
                                 const std::string& name) {
  std::vector<std::string> tags = {group.substr(1) + "/" + name};
  const std::string path = group + "/" + name;
  if (const std::string trl = reader.attribute(path, "alias_trl"); !trl.empty())
    tags.push_back("train/" + trl);
  if (const std::string verl = reader.attribute(path, "alias_verl"); !verl.empty())
    tags.push_back(verl);
  return tags;
}

/// Scalars of the evaluations by steps done; few, so all of them at once.
std::map<std::int64_t, Scalars> eval_scalars(const RunReader& reader) {
  std::map<std::int64_t, Scalars> out;
  if (!reader.has_eval()) return out;
  const EvalTable eval = reader.eval();
  const std::int64_t rows =
      std::min(committed_rows(reader, "/eval"), static_cast<std::int64_t>(eval.step.size()));
  for (std::int64_t e = 0; e < rows; ++e) {
    Scalars& scalars = out[eval.step[static_cast<std::size_t>(e)]];
    for (const auto& [name, values] : eval.columns) {
      const std::size_t width = values.size() / std::max<std::size_t>(1, eval.step.size());
      const auto first = static_cast<std::size_t>(e) * width;
      if (name.ends_with("_at_k") && width == eval.k.size()) {
        for (std::size_t k = 0; k < width; ++k)
          scalars.emplace_back("eval/" + name + "/" + std::to_string(eval.k[k]),
                               static_cast<float>(values[first + k]));
      } else if (width == static_cast<std::size_t>(eval.prompts) && width > 0 && name != "step") {
        double sum = 0;
        for (std::size_t q = 0; q < width; ++q) sum += values[first + q];
        scalars.emplace_back("eval/" + name, static_cast<float>(sum / static_cast<double>(width)));
      }
    }
  }
  return out;
}

/// One column under all its tags.
struct Column {
  std::string path;
  std::vector<std::string> tags;
  std::vector<double> block;
};

}  // namespace

std::int64_t write_events(const RunReader& reader, const std::filesystem::path& directory) {
  const double created = seconds_of(created_utc(reader));
  char name[64];
  std::snprintf(name, sizeof name, "events.out.tfevents.%.0f.motley", created);
  EventFile file(directory / name, created);
  std::vector<Column> columns;
  for (const std::string group : {"/metrics", "/timing"})
    for (const std::string& column : reader.columns(group))
      columns.push_back({group + "/" + column, tags_of(reader, group, column), {}});
  std::map<std::int64_t, Scalars> rare = eval_scalars(reader);
  if (reader.has("/diagnostics")) {
    const std::int64_t rows = committed_rows(reader, "/diagnostics");
    const std::vector<double> steps = reader.numbers("/diagnostics/step", 0, rows);
    for (const std::string& column : reader.columns("/diagnostics")) {
      const std::vector<double> values = reader.numbers("/diagnostics/" + column, 0, rows);
      for (std::size_t i = 0; i < steps.size(); ++i)
        rare[static_cast<std::int64_t>(steps[i])].emplace_back("diagnostics/" + column,
                                                               static_cast<float>(values[i]));
    }
  }
  double now = created;
  std::int64_t events = 0;
  const std::int64_t rows =
      std::min(committed_rows(reader, "/metrics"), committed_rows(reader, "/timing"));
  const auto flush_rare = [&](std::int64_t until) {
    while (!rare.empty() && rare.begin()->first <= until) {
      file.add(now, rare.begin()->first, rare.begin()->second);
      rare.erase(rare.begin());
      ++events;
    }
  };
  for (std::int64_t first = 0; first < rows; first += kTableBlock) {
    const std::int64_t n = std::min(kTableBlock, rows - first);
    const std::vector<double> steps = reader.numbers("/metrics/step", first, n);
    const std::vector<double> seconds = reader.numbers("/timing/total_s", first, n);
    for (Column& column : columns) column.block = reader.numbers(column.path, first, n);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const auto step = static_cast<std::int64_t>(steps[i]);
      flush_rare(step);
      Scalars scalars;
      for (const Column& column : columns)
        for (const std::string& tag : column.tags)
          scalars.emplace_back(tag, static_cast<float>(column.block[i]));
      if (std::isfinite(seconds[i])) now += seconds[i];
      file.add(now, step, scalars);
      ++events;
    }
  }
  flush_rare(reader.committed());
  file.finish();
  return events;
}

}  // namespace motley
