#pragma once
/// Reading the vectors recorded from the official DARLING code (tests/golden/README.md). The folder
/// is MOTLEY_GOLDEN_DIR where that is set; nothing of a case is written in the tests.

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace motley::test {

using nlohmann::json;
using Doubles = std::vector<double>;
using Ints = std::vector<int>;

inline json load(const std::string& name) {
  const char* folder = std::getenv("MOTLEY_GOLDEN_DIR");
  const std::string path =
      (folder != nullptr ? std::string(folder) : MOTLEY_SOURCE_DIR "/tests/golden") + "/" + name;
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  json data = json::parse(in);
  EXPECT_FALSE(data["cases"].empty()) << path;
  return data;
}

/// By value: a range-for keeps this object alive, but not one it was taken out of.
inline json cases(const std::string& name) {
  return load(name)["cases"];
}

/// Bound of tests/golden/README.md: 1e-9 in double; 2e-5 + 3e-5 |x| in float.
template <class Scalar>
double bound(double x) {
  return sizeof(Scalar) == 8 ? 1e-9 + 1e-9 * std::abs(x) : 2e-5 + 3e-5 * std::abs(x);
}

/// Batch indices of each prompt's responses, in order.
inline std::vector<Ints> members_of(const json& c) {
  std::vector<Ints> out(c["group_sizes"].size());
  for (std::size_t b = 0; b < c["group_of"].size(); ++b)
    out[c["group_of"][b].get<std::size_t>()].push_back(static_cast<int>(b));
  return out;
}

inline Doubles pick(const json& values, const Ints& members) {
  Doubles out;
  for (const int b : members) out.push_back(values[static_cast<std::size_t>(b)].get<double>());
  return out;
}

inline void expect_near(const Doubles& got, const Doubles& want, double tolerance,
                        const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], tolerance) << what << " [" << i << "]";
}

}  // namespace motley::test
