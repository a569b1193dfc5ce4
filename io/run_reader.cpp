#include "io/run_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "io/h5.hpp"
#include "io/half.hpp"
#include "io/reading.hpp"
#include "io/run_verify.hpp"
#include "io/schema.hpp"

namespace motley {
namespace {

using h5::Handle;
using h5::Type;
constexpr ErrorKind kInput = ErrorKind::input;

/// Elements as double or int, whatever their type in the file.
template <class Out>
void append_converted(std::vector<Out>& out, const std::vector<std::byte>& bytes, Type type) {
  const auto convert = [&]<class In>(In) {
    const std::size_t n = bytes.size() / sizeof(In);
    for (std::size_t i = 0; i < n; ++i) {
      In value{};
      std::memcpy(&value, bytes.data() + i * sizeof(In), sizeof(In));
      out.push_back(static_cast<Out>(value));
    }
  };
  switch (type) {
    case Type::u1: convert(std::uint8_t{}); return;
    case Type::u2: convert(std::uint16_t{}); return;
    case Type::i2: convert(std::int16_t{}); return;
    case Type::i4: convert(std::int32_t{}); return;
    case Type::i8: convert(std::int64_t{}); return;
    case Type::u8: convert(std::uint64_t{}); return;
    case Type::f4: convert(float{}); return;
    case Type::f8: convert(double{}); return;
    case Type::f2:
      for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        std::uint16_t half = 0;
        std::memcpy(&half, bytes.data() + i, 2);
        out.push_back(static_cast<Out>(float_from_half(half)));
      }
      return;
    case Type::text:
    case Type::name64: throw Error(kInput, "a text stands where numbers were expected");
  }
}

}  // namespace

struct RunReader::State {
  std::filesystem::path path;
  Handle file;
  bool cut = false;        ///< the disk was full: rows may lie past the end of the file
  std::uint64_t size = 0;  ///< of the file, where it is cut

  RunStatus status = RunStatus::running;
  std::int64_t committed = 0;

  std::string at(const std::string& dataset) const { return concat(path.string(), ": ", dataset); }
  Handle open(const std::string& dataset) const {
    h5::start();
    if (!h5::exists(file, dataset)) throw Error(kInput, at(dataset) + " is missing");
    return h5::own(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), kInput, at(dataset));
  }
  bool has(const std::string& name) const {
    h5::start();
    return h5::exists(file, name);
  }

  /// Rows [first, first + count) along the first axis; count < 0 = all.
  template <class Out>
  std::vector<Out> read(const std::string& name, std::int64_t first = 0,
                        std::int64_t count = -1) const {
    const Handle dataset = open(name);
    const Type type = h5::type_of(dataset, at(name));
    const std::vector<hsize_t> dims = h5::dims_of(dataset);
    std::int64_t rows = dims.empty() ? 1 : static_cast<std::int64_t>(dims[0]);
    if (cut) rows = static_cast<std::int64_t>(h5::rows_in_file(dataset, size, at(name)));
    if (count < 0) count = rows - first;
    if (first < 0 || count < 0 || first + count > rows)
      throw Error(kInput,
                  concat(at(name), ": too short, got ", rows, " rows, expected ", first + count));
    std::vector<std::byte> bytes(
        h5::bytes_of_rows(dataset, type, static_cast<hsize_t>(count), at(name)));
    h5::read_rows(dataset, type, static_cast<hsize_t>(first), static_cast<hsize_t>(count),
                  bytes.data(), kInput, at(name));
    std::vector<Out> out;
    out.reserve(bytes.size() / h5::size_of(type));
    append_converted(out, bytes, type);
    return out;
  }

  /// Steps of a group with a step column of its own, up to `committed`.
  std::vector<std::int64_t> steps_of(const std::string& group) const;

  std::vector<Attribute> attributes(const std::string& group) const {
    h5::start();
    const Handle object = h5::own(H5Oopen(file, group.c_str(), H5P_DEFAULT), kInput, at(group));
    return h5::read_attributes(object, at(group));
  }
};

RunReader::RunReader(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  // First of all: what HDF5 does on changed bytes need not be found out then.
  if (seals_required()) require_whole(path);
  state_->file = h5::open_for_reading(path, state_->cut);
  state_->size = std::filesystem::file_size(path);
  const hid_t file = state_->file;
  const std::string format = h5::read_text_attribute(file, "format", path.string());
  if (format != kRunFormat)
    throw Error(kInput, concat(path.string(), ": not a motley run, got format \"", format,
                               "\"; allowed: ", kRunFormat));
  const std::string version = h5::read_text_attribute(file, "format_version", path.string());
  int major = -1;
  std::from_chars(version.data(), version.data() + version.size(), major);
  if (major != 1)
    throw Error(kInput, concat(path.string(), ": format version ", version,
                               ", this program reads 1.x; use ", major > 1 ? "a newer" : "another",
                               " motley"));
  // In this order, and before any other dataset: a writer sets the status last, and what is there
  // by now covers every row up to this /committed.
  const int value = state_->read<int>("/status").at(0);
  if (value < 0 || value > 3)
    throw Error(kInput,
                concat(state_->at("/status"), " is unknown, got ", value, "; allowed: 0 to 3"));
  state_->status = static_cast<RunStatus>(value);
  state_->committed = state_->read<std::int64_t>("/committed").at(0);
  if (state_->committed < 0)
    throw Error(kInput, concat(state_->at("/committed"), " is negative, got ", state_->committed));
}

RunReader::~RunReader() {
  if (state_) h5::start();
}
RunReader::RunReader(RunReader&&) noexcept = default;
RunReader& RunReader::operator=(RunReader&&) noexcept = default;

std::int64_t RunReader::file() const {
  return state_->file;
}

RunStatus RunReader::status() const {
  return state_->status;
}
std::int64_t RunReader::committed() const {
  return state_->committed;
}

std::int64_t RunReader::steps_planned() const {
  for (const Attribute& a : root())
    if (a.key == "steps_planned" && std::holds_alternative<std::int64_t>(a.value))
      return std::get<std::int64_t>(a.value);
  return 0;
}

std::string RunReader::ini() const {
  h5::start();
  const Handle config =
      h5::own(H5Oopen(state_->file, "/config", H5P_DEFAULT), kInput, state_->at("/config"));
  return h5::read_text_attribute(config, "ini", state_->at("/config"));
}

std::vector<Attribute> RunReader::config() const {
  std::vector<Attribute> all = state_->attributes("/config");
  std::erase_if(all, [](const Attribute& a) { return a.key == "ini"; });
  return all;
}

std::vector<Attribute> RunReader::provenance() const {
  std::vector<Attribute> all = state_->attributes("/provenance");
  std::erase_if(all, [](const Attribute& a) { return a.key == "kind" || a.key == "kind_version"; });
  return all;
}

std::vector<Attribute> RunReader::root() const {
  return state_->attributes("/");
}

std::vector<std::string> RunReader::vocab() const {
  return h5::read_texts(state_->open("/vocab/token"), state_->at("/vocab/token"));
}

PromptColumns RunReader::prompts() const {
  PromptColumns p;
  p.text = h5::read_texts(state_->open("/prompts/text"), state_->at("/prompts/text"));
  p.token = state_->read<int>("/prompts/token");
  p.length = state_->read<int>("/prompts/length");
  p.split = state_->read<int>("/prompts/split");
  p.n_classes = state_->read<int>("/prompts/n_classes");
  p.difficulty = state_->read<float>("/prompts/difficulty");
  return p;
}

std::vector<std::int64_t> RunReader::resumes() const {
  return state_->read<std::int64_t>("/resumes");
}

std::vector<std::string> RunReader::columns(const std::string& group) const {
  h5::start();
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    if (std::strcmp(name, "step") != 0)
      static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  const Reading reading;
  h5::check(H5Literate_by_name(state_->file, group.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
                               visit, &names, H5P_DEFAULT),
            kInput, state_->at(group));
  return names;
}

std::vector<double> RunReader::column(const std::string& name, const std::string& group,
                                      bool live) const {
  if (!state_->has(group + '/' + name)) {
    const std::vector<std::string> names = columns(group);
    throw Error(kInput, concat(state_->at(group), " has no column \"", name,
                               "\"; allowed: ", join(names), did_you_mean(name, names)));
  }
  return state_->read<double>(group + '/' + name, 0, live ? -1 : committed());
}

bool RunReader::has(const std::string& path) const {
  return state_->has(path);
}

std::vector<std::int64_t> RunReader::extents(const std::string& dataset) const {
  const Handle handle = state_->open(dataset);
  const std::vector<hsize_t> dims = h5::dims_of(handle);
  std::vector<std::int64_t> out(dims.begin(), dims.end());
  if (state_->cut && !out.empty())
    out[0] = static_cast<std::int64_t>(h5::rows_in_file(handle, state_->size, state_->at(dataset)));
  return out;
}

std::vector<double> RunReader::numbers(const std::string& dataset, std::int64_t first,
                                       std::int64_t count) const {
  return state_->read<double>(dataset, first, count);
}

std::string RunReader::type(const std::string& dataset) const {
  return std::string(h5::name_of(h5::type_of(state_->open(dataset), state_->at(dataset))));
}

std::string RunReader::attribute(const std::string& dataset, const std::string& name) const {
  return h5::read_text_attribute(state_->open(dataset), name, state_->at(dataset));
}

bool RunReader::has_eval() const {
  return state_->has("/eval");
}

EvalTable RunReader::eval() const {
  EvalTable table;
  table.k = state_->read<int>("/eval/k");
  table.prompts = static_cast<int>(state_->read<int>("/eval/eval_prompt").size());
  table.step = state_->read<std::int64_t>("/eval/step");
  for (const std::string& name : columns("/eval")) {
    if (name == "eval" || name == "k" || name == "eval_prompt") continue;
    // The samples and their scales are no columns.
    if (name == "sample" || name == "pos" || h5::dims_of(state_->open("/eval/" + name)).size() > 2)
      continue;
    // Evaluations of a live file may be in one column and not yet in the next.
    std::vector<double> values = state_->read<double>("/eval/" + name);
    table.columns.emplace(name, std::move(values));
  }
  std::size_t rows = table.step.size();
  const auto width = [&](const std::string& name) {
    const std::vector<hsize_t> dims = h5::dims_of(state_->open("/eval/" + name));
    return dims.size() > 1 ? static_cast<std::size_t>(dims[1]) : std::size_t{1};
  };
  for (const auto& [name, values] : table.columns)
    if (width(name) > 0) rows = std::min(rows, values.size() / width(name));
  table.step.resize(rows);
  for (auto& [name, values] : table.columns) values.resize(rows * width(name));
  return table;
}

std::vector<std::int64_t> RunReader::State::steps_of(const std::string& group) const {
  if (!has(group)) return {};
  std::vector<std::int64_t> steps = read<std::int64_t>(group + "/step");
  // Behind /committed a column may have grown without being written: such a row reads step 0.
  std::size_t n = 0;
  while (n < steps.size() && steps[n] < committed && (n == 0 || steps[n] > steps[n - 1])) ++n;
  steps.resize(n);
  return steps;
}

std::vector<std::int64_t> RunReader::rollout_steps() const {
  return state_->steps_of("/rollouts");
}

std::vector<std::int64_t> RunReader::diagnostic_steps() const {
  return state_->steps_of("/diagnostics");
}

std::vector<double> RunReader::rollout_column(const std::string& path) const {
  return state_->read<double>(path, 0, static_cast<std::int64_t>(rollout_steps().size()));
}

RolloutStep RunReader::rollouts(std::int64_t step) const {
  const std::vector<std::int64_t> steps = rollout_steps();
  const auto found = std::lower_bound(steps.begin(), steps.end(), step);
  if (found == steps.end() || *found != step)
    throw Error(kInput, concat(state_->path.string(), ": no rollouts of step ", step, "; allowed: ",
                               steps.empty() ? "none are in the file"
                                             : concat(steps.size(), " steps from ", steps.front(),
                                                      " to ", steps.back())));
  const std::int64_t row = found - steps.begin();
  const auto read_into = [&](auto& out, const std::string& name) {
    using Out = typename std::remove_reference_t<decltype(out)>::value_type;
    if (state_->has(name)) out = state_->read<Out>(name, row, 1);
  };
  RolloutStep r;
  const std::vector<hsize_t> dims = h5::dims_of(state_->open("/rollouts/token"));
  if (dims.size() != 4)
    throw Error(kInput, state_->at("/rollouts/token") + " does not have 4 axes");
  r.B = static_cast<int>(dims[1]);
  r.G = static_cast<int>(dims[2]);
  r.T = static_cast<int>(dims[3]);
  read_into(r.prompt_id, "/rollouts/prompt_id");
  read_into(r.token, "/rollouts/token");
  read_into(r.log_prob, "/rollouts/log_prob");
  read_into(r.old_log_prob, "/rollouts/old_log_prob");
  read_into(r.kept_mass, "/rollouts/kept_mass");
  read_into(r.entropy, "/rollouts/entropy");
  read_into(r.length, "/rollouts/length");
  read_into(r.finish, "/rollouts/finish");
  read_into(r.used, "/rollouts/used");
  read_into(r.class_id, "/rollouts/class_id");
  read_into(r.quality, "/rollouts/quality");
  read_into(r.diversity, "/rollouts/diversity");
  read_into(r.reward, "/rollouts/reward");
  read_into(r.advantage, "/rollouts/advantage");
  read_into(r.cluster, "/partition/cluster");
  read_into(r.cluster_size, "/partition/cluster_size");
  read_into(r.num_clusters, "/partition/num_clusters");
  read_into(r.pair_score, "/partition/pair_score");
  return r;
}

}  // namespace motley
