#include "io/schema.hpp"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5_hl.h>

#include "run_fixture.hpp"

namespace motley {
namespace {

using h5::Handle;
using test::make_header;
using test::TemporaryFolder;

const Shape kShape{.R = 1, .B = 3, .G = 4, .P = 2, .T = 5, .V = 11};
const LogOptions kEverything{
    .entropy = true, .pair_score = true, .kept_mass = true, .old_log_prob = true};

herr_t collect(hid_t, const char* name, const H5O_info_t* info, void* out) {
  if (info->type == H5O_TYPE_DATASET)
    static_cast<std::vector<std::string>*>(out)->push_back('/' + std::string(name));
  return 0;
}

herr_t take_scale(hid_t, unsigned, hid_t scale, void* out) {
  char name[64] = {};
  H5DSget_scale_name(scale, name, sizeof name);
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}

void check_dataset(hid_t file, const std::string& path, const DatasetSpec& spec,
                   const RunHeader& header) {
  const Handle dataset = h5::own(H5Dopen2(file, path.c_str(), H5P_DEFAULT), ErrorKind::input, path);
  const auto text = [&](const char* name) { return h5::read_text_attribute(dataset, name, path); };
  EXPECT_EQ(h5::type_of(dataset, path), spec.type) << path;
  EXPECT_FALSE(text("units").empty()) << path;
  EXPECT_EQ(text("long_name"), spec.long_name) << path;
  EXPECT_EQ(text("flag_meanings"), spec.flags) << path;
  EXPECT_LE(H5Aexists(dataset, "_FillValue"), 0) << path;
  const std::vector<hsize_t> dims = h5::dims_of(dataset);
  ASSERT_EQ(dims.size(), spec.axes.size()) << path;
  EXPECT_EQ(H5DSis_scale(dataset) > 0, spec.is_scale()) << path;
  for (std::size_t i = 0; i < dims.size() && !spec.is_scale(); ++i) {
    std::vector<std::string> scales;
    H5DSiterate_scales(dataset, static_cast<unsigned>(i), nullptr, take_scale, &scales);
    EXPECT_EQ(scales, std::vector<std::string>{spec.axes[i]}) << path << " axis " << i;
    const Axis axis = axis_of(header, spec, spec.axes[i]);
    if (axis.unlimited) continue;
    EXPECT_EQ(dims[i], axis.size) << path << " axis " << i;
  }
}

TEST(Schema, EveryDatasetHasScalesUnitsAndALongName) {
  const TemporaryFolder folder;
  const RunHeader header = make_header(kShape, 30, kEverything);
  test::Loop{.header = header}(folder.path());
  bool cut = false;
  const Handle file = h5::open_for_reading(folder / "run.h5", cut);
  std::vector<std::string> found;
  H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, collect, &found, H5O_INFO_BASIC);
  const std::vector<DatasetSpec> schema = run_schema(header);
  std::vector<std::string> expected;
  for (const DatasetSpec& spec : schema) {
    expected.push_back(spec.path);
    check_dataset(file, spec.path, spec, header);
  }
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(expected));
  EXPECT_EQ(h5::read_text_attribute(file, "Conventions", "/"), "CF-1.10");
  const Handle metrics =
      h5::own(H5Oopen(file, "/metrics", H5P_DEFAULT), ErrorKind::input, "/metrics");
  EXPECT_EQ(h5::read_text_attribute(metrics, "signal", "/metrics"), "reward");
}

TEST(Schema, ColumnsOfAGroupHaveOneLength) {
  const TemporaryFolder folder;
  const RunHeader header = make_header(kShape, 30);
  test::Loop{.header = header}(folder.path());
  bool cut = false;
  const Handle file = h5::open_for_reading(folder / "run.h5", cut);
  for (const DatasetSpec& spec : run_schema(header)) {
    if (spec.source != Source::metric && spec.source != Source::rollout) continue;
    const Handle dataset =
        h5::own(H5Dopen2(file, spec.path.c_str(), H5P_DEFAULT), ErrorKind::input, spec.path);
    EXPECT_EQ(h5::dims_of(dataset)[0], 30u) << spec.path;
  }
}

TEST(Schema, OptionalDatasetsOnlyWhenOn) {
  const auto paths = [](const RunHeader& header) {
    std::set<std::string> all;
    for (const DatasetSpec& spec : run_schema(header))
      EXPECT_TRUE(all.insert(spec.path).second) << spec.path;
    return all;
  };
  const std::set<std::string> plain = paths(make_header(kShape, 1)),
                              full = paths(make_header(kShape, 1, kEverything));
  for (const char* path : {"/rollouts/entropy", "/rollouts/kept_mass", "/rollouts/old_log_prob",
                           "/partition/pair_score", "/partition/rollout_b"}) {
    EXPECT_EQ(plain.count(path), 0u) << path;
    EXPECT_EQ(full.count(path), 1u) << path;
  }
  EXPECT_EQ(
      paths(make_header(kShape, 1, {.log_prob = LogProbFormat::none})).count("/rollouts/log_prob"),
      0u);
  RunHeader no_eval = make_header(kShape, 1);
  no_eval.eval_k.clear();
  EXPECT_EQ(paths(no_eval).count("/eval/step"), 0u);
}

TEST(Schema, ChunksAreBetween32KiBAnd1MiB) {
  // The shipped default: 32 prompts, 8 completions, 16 tokens.
  RunHeader header = make_header({.R = 1, .B = 32, .G = 8, .P = 8, .T = 16, .V = 40}, 1);
  EXPECT_EQ(chunk_steps(header), 8);  // log_prob 128 KiB, token 32 KiB
  header.shape.T = 4096;
  EXPECT_EQ(chunk_steps(header), 1);
  header.shape = {.R = 1, .B = 1, .G = 2, .P = 1, .T = 2, .V = 40};
  EXPECT_EQ(chunk_steps(header), 64);
}

TEST(Schema, ColumnsGrowByThePlannedSteps) {
  RunHeader header = make_header(kShape, 1);
  const DatasetSpec metric{.path = "/metrics/reward", .axes = {"step"}};
  const DatasetSpec rare{.path = "/eval/step", .axes = {"eval"}};
  for (const auto& [steps, rows] : {std::pair{1, 64}, {60, 64}, {250, 256}, {20000, 1024}}) {
    header.steps = steps;
    EXPECT_EQ(column_chunk(header, metric), rows) << steps;
    EXPECT_EQ(column_chunk(header, rare), 32) << steps;
  }
}

TEST(Schema, VolatilePathsAreWholeNames) {
  for (const char* path :
       {"/timing/step", "/resumes", "/status", "/checkpoints/file", "/provenance"})
    EXPECT_TRUE(is_volatile(path)) << path;
  for (const char* path : {"/metrics/reward", "/timings", "/committed", "/status2"})
    EXPECT_FALSE(is_volatile(path)) << path;
}

TEST(Schema, MarkdownNamesEveryDataset) {
  const RunHeader header = make_header(kShape, 1, kEverything);
  const std::string text = schema_markdown(header);
  for (const DatasetSpec& spec : run_schema(header))
    EXPECT_THAT(text, testing::HasSubstr(concat("| `", spec.path, "` |")));
  EXPECT_THAT(text, testing::HasSubstr("TRL `frac_reward_zero_std`"));
}

}  // namespace
}  // namespace motley
