#include "experiments/export_tables.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "core/base/error.hpp"
#include "core/rollout.hpp"
#include "models/tasks/task.hpp"

namespace motley {

namespace {

ColumnType column_type(const std::string& type) {
  if (type == "f4" || type == "f2") return ColumnType::f32;
  return type == "f8" ? ColumnType::f64 : ColumnType::i64;
}

/// A dataset of numbers as a column.
TableColumn column_of(const RunReader& reader, const std::string& path) {
  return {path.substr(path.rfind('/') + 1), column_type(reader.type(path)),
          reader.attribute(path, "units"), reader.attribute(path, "long_name")};
}

void append(TableCells& cells, ColumnType type, double value) {
  if (type == ColumnType::i64)
    cells.integers.push_back(static_cast<std::int64_t>(value));
  else
    cells.numbers.push_back(value);
}

/// Datasets [rows] or [rows, inner] of a group as a table with a row per element; an index column
/// says where along the inner axis, with the values of its scale.
struct GroupTable {
  const RunReader& reader;
  std::vector<std::string> outer;  ///< paths [rows], repeated along the inner axis
  std::string scale;               ///< path [inner] of the inner axis; "" = there is none
  std::vector<std::string> inner;  ///< paths [rows, inner]
  std::int64_t rows = 0;

  Table make(const std::string& name) const {
    Table table;
    table.name = name;
    for (const std::string& path : outer) table.columns.push_back(column_of(reader, path));
    if (!scale.empty()) table.columns.push_back(column_of(reader, scale));
    for (const std::string& path : inner) table.columns.push_back(column_of(reader, path));
    auto at = std::make_shared<std::int64_t>(0);
    table.next = [self = *this, at, columns = table.columns](TableRows& out) {
      return self.fill(out, *at, columns);
    };
    return table;
  }

  bool fill(TableRows& out, std::int64_t& at, const std::vector<TableColumn>& columns) const {
    if (at >= rows) return false;
    const std::vector<double> axis =
        scale.empty() ? std::vector<double>{0} : reader.numbers(scale, 0, -1);
    const auto width = static_cast<std::int64_t>(axis.size());
    const std::int64_t n = std::min(
        rows - at, std::max<std::int64_t>(1, kTableBlock / std::max<std::int64_t>(1, width)));
    std::size_t c = 0;
    for (const std::string& path : outer) {
      for (const double value : reader.numbers(path, at, n))
        for (std::int64_t i = 0; i < width; ++i) append(out.columns[c], columns[c].type, value);
      ++c;
    }
    if (!scale.empty()) {
      for (std::int64_t row = 0; row < n; ++row)
        for (const double value : axis) append(out.columns[c], columns[c].type, value);
      ++c;
    }
    for (const std::string& path : inner) {
      for (const double value : reader.numbers(path, at, n))
        append(out.columns[c], columns[c].type, value);
      ++c;
    }
    out.count = static_cast<std::size_t>(n * width);
    at += n;
    return true;
  }
};

/// /metrics, /timing, /diagnostics: a row per step.
void add_step_table(std::vector<Table>& tables, const RunReader& reader, const std::string& name) {
  const std::string group = "/" + name;
  if (!reader.has(group)) return;
  GroupTable table{reader, {group + "/step"}, "", {}, committed_rows(reader, group)};
  for (const std::string& column : reader.columns(group))
    table.outer.push_back(group + "/" + column);
  tables.push_back(table.make(name));
}

/// /eval twice: what is per k, and what is per held-out prompt.
void add_eval_tables(std::vector<Table>& tables, const RunReader& reader) {
  if (!reader.has_eval()) return;
  const std::int64_t rows = committed_rows(reader, "/eval");
  GroupTable by_k{reader, {"/eval/step"}, "/eval/k", {}, rows};
  GroupTable by_prompt{reader, {"/eval/step"}, "/eval/eval_prompt", {}, rows};
  for (const std::string& name : reader.columns("/eval")) {
    const std::string path = "/eval/" + name;
    if (name == "k" || name == "eval_prompt" || name == "eval") continue;
    const std::vector<std::int64_t> extents = reader.extents(path);
    if (extents.size() != 2) continue;  // scales, and samples token by token
    const bool per_k = name.ends_with("_at_k");
    (per_k ? by_k : by_prompt).inner.push_back(path);
  }
  tables.push_back(by_k.make("eval"));
  tables.push_back(by_prompt.make("eval_prompts"));
}

Vocabulary vocabulary_of(const RunReader& reader) {
  Vocabulary v;
  v.token = reader.vocab();
  for (const double flag : reader.numbers("/vocab/special", 0, -1)) v.special.push_back(flag != 0);
  return v;
}

/// /rollouts and /partition: a row per completion.
class RolloutTable {
 public:
  RolloutTable(const RunReader& reader, const ClassName& class_name)
      : reader_(reader),
        class_name_(class_name),
        vocabulary_(vocabulary_of(reader)),
        prompts_(reader.prompts().text),
        steps_(reader.rollout_steps()) {
    integer("step", "1", "training step");
    integer("prompt", "1", "prompt of the step");
    integer("rollout", "1", "completion of the prompt");
    from("/rollouts/prompt_id");
    text("prompt_text", "the prompt");
    text("completion_text", "the completion, special tokens left out");
    for (const char* name : {"quality", "diversity", "reward", "advantage"})
      from(std::string("/rollouts/") + name);
    from("/partition/cluster");
    from("/partition/cluster_size");
    from("/rollouts/class_id");
    text("class", "name of the ground-truth class");
    from("/rollouts/length");
    text("finish", "why the completion ended: eos, length or invalid");
    from("/rollouts/used");
    if (reader.has("/rollouts/log_prob"))
      columns_.push_back({"log_prob", ColumnType::f64, "nat",
                          "log-probability of the whole completion, as the sampler had it"});
  }

  const std::vector<TableColumn>& columns() const { return columns_; }

  bool next(TableRows& out) {
    if (at_ == steps_.size()) return false;
    const std::int64_t step = steps_[at_++];
    const RolloutStep s = reader_.rollouts(step);
    for (int b = 0; b < s.B; ++b)
      for (int g = 0; g < s.G; ++g) add(out, step, s, b, g);
    out.count = static_cast<std::size_t>(s.B) * static_cast<std::size_t>(s.G);
    return true;
  }

 private:
  void integer(const char* name, const char* unit, const char* what) {
    columns_.push_back({name, ColumnType::i64, unit, what});
  }
  void text(const char* name, const char* what) {
    columns_.push_back({name, ColumnType::text, "1", what});
  }
  void from(const std::string& path) { columns_.push_back(column_of(reader_, path)); }

  void add(TableRows& out, std::int64_t step, const RolloutStep& s, int b, int g) const {
    const auto i = static_cast<std::size_t>(b * s.G + g);
    const int id = s.prompt_id[static_cast<std::size_t>(b)];
    std::size_t c = 0;
    const auto integer = [&](std::int64_t value) { out.columns[c++].integers.push_back(value); };
    const auto number = [&](double value) { out.columns[c++].numbers.push_back(value); };
    const auto text = [&](std::string value) {
      out.columns[c++].texts.push_back(std::move(value));
    };
    integer(step);
    integer(b);
    integer(g);
    integer(id);
    text(id >= 0 && static_cast<std::size_t>(id) < prompts_.size()
             ? prompts_[static_cast<std::size_t>(id)]
             : "");
    text(vocabulary_.text(&s.token[i * static_cast<std::size_t>(s.T)], s.length[i]));
    number(s.quality[i]);
    number(s.diversity[i]);
    number(s.reward[i]);
    number(s.advantage[i]);
    integer(s.cluster[i]);
    integer(s.cluster_size[i]);
    integer(s.class_id[i]);
    text(s.class_id[i] < 0 ? "" : class_name_(s.class_id[i]));
    integer(s.length[i]);
    text(s.finish[i] == static_cast<int>(Finish::eos)      ? "eos"
         : s.finish[i] == static_cast<int>(Finish::length) ? "length"
                                                           : "invalid");
    integer(s.used[i]);
    if (s.log_prob.empty()) return;
    double sum = 0;
    for (int t = 0; t < s.length[i]; ++t)
      sum += double(s.log_prob[i * static_cast<std::size_t>(s.T) + static_cast<std::size_t>(t)]);
    number(sum);
  }

  const RunReader& reader_;
  ClassName class_name_;
  Vocabulary vocabulary_;
  std::vector<std::string> prompts_;
  std::vector<std::int64_t> steps_;
  std::size_t at_ = 0;
  std::vector<TableColumn> columns_;
};

Table prompt_table(const RunReader& reader) {
  Table table;
  table.name = "prompts";
  table.columns = {{"prompt_id", ColumnType::i64, "1", "row of the task's prompt table"},
                   {"text", ColumnType::text, "1", "the prompt"},
                   {"split", ColumnType::text, "1", "pool the prompt belongs to: train or eval"},
                   column_of(reader, "/prompts/length"),
                   column_of(reader, "/prompts/n_classes"),
                   column_of(reader, "/prompts/difficulty")};
  auto done = std::make_shared<bool>(false);
  table.next = [&reader, done](TableRows& out) {
    if (*done) return false;
    *done = true;
    const PromptColumns p = reader.prompts();
    out.count = p.text.size();
    for (std::size_t n = 0; n < p.text.size(); ++n) {
      out.columns[0].integers.push_back(static_cast<std::int64_t>(n));
      out.columns[1].texts.push_back(p.text[n]);
      out.columns[2].texts.push_back(p.split[n] == 0 ? "train" : "eval");
      out.columns[3].integers.push_back(p.length[n]);
      out.columns[4].integers.push_back(p.n_classes[n]);
      out.columns[5].numbers.push_back(double(p.difficulty[n]));
    }
    return out.count > 0;
  };
  return table;
}

/// One row per column of the tables.
Table column_table(const std::vector<Table>& tables) {
  TableRows all;
  all.clear(5);
  for (const Table& table : tables)
    for (const TableColumn& column : table.columns) {
      ++all.count;
      all.columns[0].texts.push_back(table.name);
      all.columns[1].texts.push_back(column.name);
      all.columns[2].texts.emplace_back(name_of(column.type));
      all.columns[3].texts.push_back(column.unit);
      all.columns[4].texts.push_back(column.description);
    }
  Table out;
  out.name = "columns";
  out.columns = {{"table", ColumnType::text, "1", "file the column stands in"},
                 {"column", ColumnType::text, "1", "its name"},
                 {"type", ColumnType::text, "1", "i64, f32, f64 or text"},
                 {"unit", ColumnType::text, "1", "UDUNITS"},
                 {"description", ColumnType::text, "1", "what it is"}};
  auto done = std::make_shared<bool>(false);
  out.next = [all, done](TableRows& rows) {
    if (*done) return false;
    *done = true;
    rows = all;
    return true;
  };
  return out;
}

}  // namespace

std::int64_t committed_rows(const RunReader& reader, const std::string& group) {
  const std::string path = group + "/step";
  const std::vector<double> steps = reader.numbers(path, 0, -1);
  const auto limit = static_cast<double>(reader.committed());
  std::int64_t rows = 0;
  for (const double step : steps) rows += step < limit || (group == "/eval" && step <= limit);
  // A live writer may have a row in one column and not yet in the next.
  for (const std::string& name : reader.columns(group)) {
    const std::vector<std::int64_t> extents = reader.extents(group + "/" + name);
    if (group == "/eval" && extents.size() < 2 && name != "eval") continue;  // scales
    if (!extents.empty()) rows = std::min(rows, extents[0]);
  }
  return rows;
}

std::vector<Table> run_tables(const RunReader& reader, const ClassName& class_name) {
  std::vector<Table> tables;
  for (const char* name : {"metrics", "timing", "diagnostics"})
    add_step_table(tables, reader, name);
  add_eval_tables(tables, reader);
  if (reader.has("/rollouts")) {
    auto rollouts = std::make_shared<RolloutTable>(reader, class_name);
    tables.push_back({"rollouts", rollouts->columns(),
                      [rollouts](TableRows& out) { return rollouts->next(out); }});
  }
  tables.push_back(prompt_table(reader));
  tables.push_back(column_table(tables));
  return tables;
}

}  // namespace motley
