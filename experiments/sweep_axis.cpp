#include "experiments/sweep_axis.hpp"

#include <cmath>
#include <optional>

#include "core/base/error.hpp"
#include "core/base/rng.hpp"
#include "io/digest.hpp"

namespace motley {

namespace {

/// Ten digits: enough for any option, and the last bits of log and exp, in which mathematical
/// libraries differ, do not get into the cell.
std::string number_text(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", x);
  return text;
}

constexpr std::size_t kMostValues = 100000;

/// The numbers of `name(...)`; nothing where the value is no such call.
std::optional<std::vector<double>> arguments(const Assignment& a, const std::string& name,
                                             Faults& faults) {
  if (a.value.rfind(name + "(", 0) != 0) return std::nullopt;
  std::vector<double> numbers;
  if (a.value.back() != ')') {
    faults.add(concat(a.key, " (", a.place, "): got \"", a.value, "\", without the closing )"));
    return numbers;
  }
  const std::string inside = a.value.substr(name.size() + 1, a.value.size() - name.size() - 2);
  for (const std::string& part : split_list(inside)) {
    double x = 0;
    if (!parse_number(part, x)) {
      faults.add(
          concat(a.key, " (", a.place, "): not a number in ", name, "(), got \"", part, "\""));
      return std::vector<double>{};
    }
    numbers.push_back(x);
  }
  return numbers;
}

void read_log(const Assignment& a, const std::vector<double>& x, SweepAxis& axis, Faults& faults) {
  const bool draws = x.size() == 2;
  if ((x.size() != 3 && !draws) || x[0] <= 0 || x[1] <= 0 ||
      (!draws && (x[2] < 2 || x[2] != std::floor(x[2]) || x[2] > kMostValues))) {
    faults.add(
        concat(a.key, " (", a.place, "): got \"", a.value,
               "\"; allowed: log(low, high, n), or log(low, high) in a random sweep, with low, "
               "high > 0 and a whole n >= 2"));
    return;
  }
  if (draws) {
    axis.kind = SweepAxis::Kind::log_uniform;
    axis.low = x[0];
    axis.high = x[1];
    return;
  }
  const int n = static_cast<int>(x[2]);
  for (int i = 0; i < n; ++i)
    axis.values.push_back(number_text(x[0] * std::pow(x[1] / x[0], double(i) / (n - 1))));
}

void read_range(const Assignment& a, const std::vector<double>& x, SweepAxis& axis,
                Faults& faults) {
  const double step = x.size() == 3 ? x[2] : 1.0;
  if (x.size() < 2 || x.size() > 3 || step <= 0 || x[0] >= x[1] ||
      (x[1] - x[0]) / step > kMostValues) {
    faults.add(
        concat(a.key, " (", a.place, "): got \"", a.value,
               "\"; allowed: range(first, end[, step]) with first < end, step > 0 and at most ",
               kMostValues, " values"));
    return;
  }
  // The end is left out, also where rounding puts a value a hair below it.
  for (int i = 0; x[0] + i * step < x[1] - 1e-9 * step; ++i)
    axis.values.push_back(number_text(x[0] + i * step));
}

}  // namespace

std::string trimmed(const std::string& s) {
  const auto first = s.find_first_not_of(" \t");
  return first == std::string::npos ? "" : s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

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

namespace {

/// Every value of an option that is a choice; a fault where it is none.
std::vector<std::string> all_values(const Assignment& a, Faults& faults) {
  for (const OptionEntry& option : list_options(RunConfig{})) {
    if (option.key != a.key) continue;
    if (option.type == "choice" || a.key == "run.method" || a.key == "task.name")
      return split_list(option.allowed);
  }
  faults.add(concat(a.key, " (", a.place,
                    "): * stands for every value of a choice, and this is none; allowed: a list"));
  return {};
}

}  // namespace

SweepAxis read_axis(const Assignment& a, Faults& faults) {
  SweepAxis axis{a.key, a.place, SweepAxis::Kind::list, {}, 0, 0};
  if (const auto x = arguments(a, "log", faults)) {
    if (!x->empty()) read_log(a, *x, axis, faults);
  } else if (const auto y = arguments(a, "range", faults)) {
    if (!y->empty()) read_range(a, *y, axis, faults);
  } else if (const auto z = arguments(a, "uniform", faults)) {
    if (z->size() == 2 && (*z)[0] < (*z)[1]) {
      axis.kind = SweepAxis::Kind::uniform;
      axis.low = (*z)[0];
      axis.high = (*z)[1];
    } else if (!z->empty()) {
      faults.add(concat(a.key, " (", a.place, "): got \"", a.value,
                        "\"; allowed: uniform(low, high) with low < high"));
    }
  } else if (a.value == "*") {
    axis.values = all_values(a, faults);
  } else {
    for (const std::string& value : split_list(a.value)) {
      const auto open = value.find('(');
      const std::string name = value.substr(0, open);
      if (value.empty()) {
        faults.add(
            concat(a.key, " (", a.place, "): an empty value in the list, got \"", a.value, "\""));
        return {a.key, a.place, SweepAxis::Kind::list, {}, 0, 0};
      }
      if (open != std::string::npos && value.back() == ')') {
        faults.add(concat(a.key, " (", a.place, "): unknown form, got \"", value,
                          "\"; allowed: a list, log(), range(), uniform(), each alone",
                          did_you_mean(name, {"log", "range", "uniform"})));
        return {a.key, a.place, SweepAxis::Kind::list, {}, 0, 0};
      }
      axis.values.push_back(value);
    }
  }
  return axis;
}

std::string draw_value(const SweepAxis& axis, std::uint64_t seed, std::uint32_t sample) {
  const std::string name = hex(sha256(axis.key)).substr(0, 8);
  const auto item = static_cast<std::uint32_t>(std::stoul(name, nullptr, 16));
  const Philox4 bits = draw_bits({seed, Stream::sweep, sample}, item, 0);
  if (axis.kind == SweepAxis::Kind::list)
    return axis.values[uniform_below(bits.x[0], static_cast<std::uint32_t>(axis.values.size()))];
  const std::uint64_t high_bits = (std::uint64_t{bits.x[0]} << 21) | (bits.x[1] >> 11);
  const double u = static_cast<double>(high_bits) * 0x1p-53;
  return number_text(axis.kind == SweepAxis::Kind::uniform
                         ? axis.low + u * (axis.high - axis.low)
                         : axis.low * std::pow(axis.high / axis.low, u));
}

}  // namespace motley
