#include "io/staging.hpp"

#include <cstring>
#include <limits>

#include "io/half.hpp"

namespace motley {
namespace {

using h5::Type;

struct Half {
  std::uint16_t bits;
};

template <class Out, class In>
Out converted(In value) {
  return static_cast<Out>(value);
}
template <>
Half converted<Half, float>(float value) {
  return {half_from_float(value)};
}

template <class Out>
void put(std::byte* out, std::size_t i, const Out& value) {
  std::memcpy(out + i * sizeof(Out), &value, sizeof(Out));
}

/// One NaN for all: its sign and payload depend on the operation that made it.
template <class Float>
Float one_nan(Float value) {
  return value == value ? value : std::numeric_limits<Float>::quiet_NaN();
}

template <class Out, auto Member>
void dense(const StepRecord& record, int replica, const DatasetSpec&, std::byte* out) {
  const auto& view = record.*Member;
  const std::size_t n = view.size() / view.extent(0);
  const auto* in = view.data() + static_cast<std::size_t>(replica) * n;
  for (std::size_t i = 0; i < n; ++i) put(out, i, converted<Out>(in[i]));
}

template <class Out, auto Member>
void masked(const StepRecord& record, int replica, const DatasetSpec&, std::byte* out) {
  const auto& view = record.*Member;
  const std::size_t width = view.extent(3), completions = view.extent(1) * view.extent(2);
  const float* in = view.data() + static_cast<std::size_t>(replica) * completions * width;
  const int* length = record.length.data() + static_cast<std::size_t>(replica) * completions;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t g = 0; g < completions; ++g)
    for (std::size_t t = 0; t < width; ++t) {
      const bool real = static_cast<int>(t) < length[g];
      put(out, g * width + t, converted<Out>(real ? one_nan(in[g * width + t]) : nan));
    }
}

void step_number(const StepRecord& record, int, const DatasetSpec&, std::byte* out) {
  put(out, 0, record.step);
}

void metric_column(const StepRecord& record, int replica, const DatasetSpec& spec, std::byte* out) {
  const double value = record.metrics(replica, spec.column);
  if (spec.type == Type::i8)
    put(out, 0, static_cast<std::int64_t>(value));
  else
    put(out, 0, static_cast<float>(one_nan(value)));
}

void diagnostic_column(const StepRecord& record, int replica, const DatasetSpec& spec,
                       std::byte* out) {
  put(out, 0, static_cast<float>(one_nan(record.diagnostics(replica, spec.column))));
}

void timing_column(const StepRecord& record, int, const DatasetSpec& spec, std::byte* out) {
  const StepTiming& t = record.timing;
  const double values[] = {t.rollout_s, t.score_s, t.partition_s, t.update_s,
                           t.log_s,     t.total_s, t.tokens_per_s};
  put(out, 0, static_cast<float>(values[spec.column]));
}

struct Named {
  const char* name;
  Type type;
  RowWriter writer;
};

using Record = StepRecord;

constexpr Named kWriters[] = {
    {"prompt_id", Type::i4, dense<std::int32_t, &Record::prompt_id>},
    {"token", Type::u1, dense<std::uint8_t, &Record::token>},
    {"token", Type::u2, dense<std::uint16_t, &Record::token>},
    {"log_prob", Type::f4, masked<float, &Record::log_prob>},
    {"log_prob", Type::f2, masked<Half, &Record::log_prob>},
    {"old_log_prob", Type::f4, masked<float, &Record::old_log_prob>},
    {"kept_mass", Type::f4, masked<float, &Record::kept_mass>},
    {"entropy", Type::f2, masked<Half, &Record::entropy>},
    {"length", Type::u2, dense<std::uint16_t, &Record::length>},
    {"finish", Type::u1, dense<std::uint8_t, &Record::finish>},
    {"quality", Type::f4, dense<float, &Record::quality>},
    {"diversity", Type::f4, dense<float, &Record::diversity>},
    {"reward", Type::f4, dense<float, &Record::reward>},
    {"advantage", Type::f4, dense<float, &Record::advantage>},
    {"used", Type::u1, dense<std::uint8_t, &Record::used>},
    {"class_id", Type::i4, dense<std::int32_t, &Record::class_id>},
    {"cluster", Type::i2, dense<std::int16_t, &Record::cluster>},
    {"cluster_size", Type::i2, dense<std::int16_t, &Record::cluster_size>},
    {"num_clusters", Type::i2, dense<std::int16_t, &Record::num_clusters>},
    {"pair_score", Type::f2, dense<Half, &Record::pair_score>},
};

}  // namespace

RowWriter find_row_writer(const DatasetSpec& spec) {
  if (spec.name() == "step") return step_number;
  const std::string group = spec.group();
  RowWriter column = nullptr;
  if (group == "/metrics") column = metric_column;
  if (group == "/timing") column = timing_column;
  if (group == "/diagnostics") column = diagnostic_column;
  if (column != nullptr) return spec.column >= 0 ? column : nullptr;
  for (const Named& named : kWriters)
    if (spec.name() == named.name && spec.type == named.type) return named.writer;
  return nullptr;
}

RowWriter row_writer(const DatasetSpec& spec) {
  const RowWriter writer = find_row_writer(spec);
  MOTLEY_REQUIRE(writer != nullptr, ErrorKind::internal, "staging: no writer for ", spec.path);
  return writer;
}

}  // namespace motley
