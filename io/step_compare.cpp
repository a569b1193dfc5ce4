#include "io/step_compare.hpp"

#include <algorithm>
#include <cstring>
#include <sstream>

#include "io/half.hpp"
#include "io/staging.hpp"

namespace motley {

namespace {

using h5::Handle;
using h5::Type;

template <class T>
std::string number(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  std::ostringstream out;
  out.precision(9);
  if constexpr (sizeof(T) == 1)
    out << static_cast<int>(value);
  else
    out << value;
  return out.str();
}

std::string number(Type type, const std::byte* at) {
  switch (type) {
    case Type::u1: return number<std::uint8_t>(at);
    case Type::u2: return number<std::uint16_t>(at);
    case Type::i2: return number<std::int16_t>(at);
    case Type::i4: return number<std::int32_t>(at);
    case Type::i8: return number<std::int64_t>(at);
    case Type::f4: return number<float>(at);
    case Type::f8: return number<double>(at);
    case Type::f2: {
      std::uint16_t bits;
      std::memcpy(&bits, at, sizeof bits);
      return concat(float_from_half(bits));
    }
    default: return "?";
  }
}

/// Index in `count` names, -1 when there is none of that name.
template <class Enum, class Info>
int index_of(const std::string& name, int count, const Info& info) {
  for (int i = 0; i < count; ++i)
    if (name == info(static_cast<Enum>(i)).name) return i;
  return -1;
}

struct Comparer {
  const RunReader& reader;
  const StepRecord& record;
  int replica;
  StepAddress address;
  StepComparison result;

  void group(const std::string& name, std::int64_t row) {
    for (const std::string& column : reader.columns(name)) dataset(name, column, row);
  }

  void dataset(const std::string& group, const std::string& name, std::int64_t row) {
    DatasetSpec spec;
    spec.path = group + '/' + name;
    const auto file = static_cast<hid_t>(reader.file());
    const Handle dataset =
        h5::own(H5Dopen2(file, spec.path.c_str(), H5P_DEFAULT), ErrorKind::input, spec.path);
    spec.type = h5::type_of(dataset, spec.path);
    if (group == "/metrics") spec.column = index_of<Metric>(name, kMetrics, metric_info);
    if (group == "/diagnostics")
      spec.column = index_of<Diagnostic>(name, kDiagnostics, diagnostic_info);
    const RowWriter writer = find_row_writer(spec);
    // A scale, or a column of a newer version: nothing to compare it with.
    if (writer == nullptr) return;
    std::vector<hsize_t> dims = h5::dims_of(dataset);
    dims.erase(dims.begin());
    if (address.prompt >= 0 && dims.empty()) return;
    std::size_t size = 1;
    for (const hsize_t d : dims) size *= d;
    require_shape(spec.path, dims);
    const std::size_t width = h5::size_of(spec.type);
    std::vector<std::byte> logged(size * width), replayed(size * width);
    h5::read_rows(dataset, spec.type, static_cast<hsize_t>(row), 1, logged.data(), ErrorKind::input,
                  spec.path);
    writer(record, replica, spec, replayed.data());
    compare(spec, dims, logged, replayed);
  }

  /// Axes behind the step are [B], [B,G] and one more, T or G.
  void require_shape(const std::string& path, const std::vector<hsize_t>& dims) const {
    const Shape& s = record.shape;
    const hsize_t last = path == "/partition/pair_score" ? s.G : s.T;
    const hsize_t expected[] = {static_cast<hsize_t>(s.B), static_cast<hsize_t>(s.G), last};
    MOTLEY_REQUIRE(dims.size() <= 3 && std::equal(dims.begin(), dims.end(), expected),
                   ErrorKind::input, path, ": the shape of a step differs from the run's");
  }

  void compare(const DatasetSpec& spec, const std::vector<hsize_t>& dims,
               const std::vector<std::byte>& logged, const std::vector<std::byte>& replayed) {
    const std::size_t width = h5::size_of(spec.type), size = logged.size() / width;
    FieldDifference found;
    found.path = spec.path;
    for (std::size_t i = 0; i < size; ++i) {
      int at[3] = {-1, -1, -1};
      std::size_t rest = i;
      for (std::size_t axis = dims.size(); axis-- > 0;) {
        at[axis] = static_cast<int>(rest % dims[axis]);
        rest /= dims[axis];
      }
      const auto outside = [](int wanted, int index) {
        return wanted >= 0 && index >= 0 && wanted != index;
      };
      if (outside(address.prompt, at[0]) || outside(address.rollout, at[1])) continue;
      ++found.of;
      if (std::memcmp(&logged[i * width], &replayed[i * width], width) == 0) continue;
      if (found.count++ > 0) continue;
      found.prompt = at[0];
      found.rollout = at[1];
      found.position = at[2];
      found.logged = number(spec.type, &logged[i * width]);
      found.replayed = number(spec.type, &replayed[i * width]);
    }
    result.fields.push_back(spec.path);
    if (found.count > 0) result.differences.push_back(found);
  }
};

}  // namespace

std::string FieldDifference::text() const {
  std::ostringstream out;
  out << path << " differs";
  if (prompt >= 0) out << " at prompt " << prompt;
  if (rollout >= 0) out << ", rollout " << rollout;
  if (position >= 0) out << ", position " << position;
  out << ": logged " << logged << ", replayed " << replayed;
  if (of > 1) out << " (" << count << " of " << of << " numbers)";
  return out.str();
}

StepComparison compare_step(const RunReader& reader, const StepRecord& record, int replica,
                            const StepAddress& address) {
  MOTLEY_REQUIRE(record.step < reader.committed(), ErrorKind::input, "step ", record.step,
                 " is not in the file; allowed: [0, ", reader.committed() - 1, "]");
  Comparer c{reader, record, replica, address, {}};
  const std::vector<std::int64_t> steps = reader.rollout_steps();
  const auto found = std::lower_bound(steps.begin(), steps.end(), record.step);
  if (found != steps.end() && *found == record.step) {
    c.group("/rollouts", found - steps.begin());
    c.group("/partition", found - steps.begin());
  }
  c.group("/metrics", record.step);
  const std::vector<std::int64_t> diagnosed = reader.diagnostic_steps();
  const auto due = std::lower_bound(diagnosed.begin(), diagnosed.end(), record.step);
  if (due != diagnosed.end() && *due == record.step)
    c.group("/diagnostics", due - diagnosed.begin());
  return std::move(c.result);
}

}  // namespace motley
