/// docs/metrics.md against the tables of the file's columns: both ways, names and units.

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/schema.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

/// Section heading ("/eval") -> names in the first cell of its table.
std::map<std::string, std::set<std::string>> names_of_page(std::istream& page) {
  std::map<std::string, std::set<std::string>> out;
  std::string line, section;
  while (std::getline(page, line)) {
    if (line.starts_with("## ")) {
      const std::string title = line.substr(3);
      section = title.starts_with("/") ? title.substr(0, title.find(',')) : "";
    }
    if (section.empty() || !line.starts_with("| `")) continue;
    const std::string cell = line.substr(1, line.find(" | ", 1));
    for (std::size_t at = cell.find('`'); at != std::string::npos;) {
      const std::size_t end = cell.find('`', at + 1);
      if (!out[section].insert(cell.substr(at + 1, end - at - 1)).second)
        ADD_FAILURE() << section << ": twice in the page: " << cell;
      at = cell.find('`', end + 1);
    }
  }
  return out;
}

RunHeader full_header() {
  return test::make_header({.R = 1, .B = 3, .G = 4, .P = 2, .T = 5, .V = 11}, 1,
                           {.diagnostics_every = 1, .eval_samples = true, .eval_exact = true});
}

/// The same from the schema: what is measured, no scales.
std::map<std::string, std::set<std::string>> names_of_schema() {
  std::map<std::string, std::set<std::string>> out;
  for (const DatasetSpec& spec : run_schema(full_header())) {
    const std::string group = spec.group();
    if (group != "/metrics" && group != "/timing" && group != "/diagnostics" && group != "/eval")
      continue;
    if (!spec.is_scale() && spec.name() != "step") out[group].insert(spec.name());
  }
  return out;
}

TEST(MetricsPage, ExplainsEveryColumnAndNoOther) {
  std::ifstream page(MOTLEY_SOURCE_DIR "/docs/metrics.md");
  ASSERT_TRUE(page.good());
  const auto explained = names_of_page(page), logged = names_of_schema();
  ASSERT_EQ(logged.size(), 4u);
  for (const auto& [group, names] : logged) {
    ASSERT_EQ(explained.count(group), 1u) << "docs/metrics.md has no section " << group;
    EXPECT_THAT(explained.at(group), testing::ContainerEq(names)) << group;
  }
  for (const auto& [group, names] : explained)
    EXPECT_EQ(logged.count(group), 1u) << "docs/metrics.md explains " << group;
}

TEST(MetricsPage, TheComparisonSeesAMissingAndAnUnknownName) {
  std::istringstream page("## /metrics, one\n| `a`, `b` | 1 |\n## Other\n| `c` | 1 |\n");
  const auto names = names_of_page(page);
  ASSERT_EQ(names.size(), 1u);
  EXPECT_EQ(names.at("/metrics"), (std::set<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace motley
