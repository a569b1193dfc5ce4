/// Rows of /diagnostics and the samples of /eval: written when due, cut and continued on resume.

#include <cstring>

#include <gtest/gtest.h>

#include "io/h5.hpp"
#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

const LogOptions kLogged{.diagnostics_every = 4, .eval_samples = true, .eval_exact = true};

RunHeader header_of(const LogOptions& log) {
  return test::make_header({.R = 1, .B = 3, .G = 4, .P = 2, .T = 5, .V = 11}, 30, log);
}

template <class T>
std::vector<T> read_all(const std::filesystem::path& run, const std::string& path, h5::Type type,
                        hsize_t rows, std::size_t row) {
  bool cut = false;
  const h5::Handle file = h5::open_for_reading(run, cut);
  const h5::Handle set = h5::own(H5Dopen2(file, path.c_str(), H5P_DEFAULT), ErrorKind::input, path);
  EXPECT_EQ(h5::dims_of(set)[0], rows) << path;
  std::vector<T> values(rows * row);
  h5::read_rows(set, type, 0, rows, values.data(), ErrorKind::input, path);
  return values;
}

TEST(DiagnosticsRows, StandAtTheirSteps) {
  const test::TemporaryFolder folder;
  const RunHeader header = header_of(kLogged);
  test::Loop{.header = header}(folder.path());
  const auto steps =
      read_all<std::int64_t>(folder / "run.h5", "/diagnostics/step", h5::Type::i8, 8, 1);
  StepRecord record(header.shape);
  for (int d = 0; d < kDiagnostics; ++d) {
    const std::string name = diagnostic_info(static_cast<Diagnostic>(d)).name;
    const auto column =
        read_all<float>(folder / "run.h5", "/diagnostics/" + name, h5::Type::f4, 8, 1);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(steps[i], static_cast<std::int64_t>(4 * i));
      test::fill_record(record, steps[i]);
      const auto want = static_cast<float>(record.diagnostics(0, d));
      const float quiet = std::numeric_limits<float>::quiet_NaN();
      const float& expected = want == want ? want : quiet;
      EXPECT_EQ(std::memcmp(&column[i], &expected, sizeof expected), 0) << name << " " << i;
    }
  }
}

TEST(DiagnosticsRows, SamplesOfAnEvaluation) {
  const test::TemporaryFolder folder;
  const RunHeader header = header_of(kLogged);
  test::Loop{.header = header}(folder.path());
  const auto run = folder / "run.h5";
  const auto token = read_all<std::uint8_t>(run, "/eval/token", h5::Type::u1, 3, 3 * 6 * 5);
  const auto cluster = read_all<std::int32_t>(run, "/eval/cluster", h5::Type::i4, 3, 3 * 6);
  for (int e = 0; e < 3; ++e) {
    const EvalRecord want = test::make_eval(header, 10 * (e + 1));
    for (std::size_t i = 0; i < want.token.size(); ++i)
      ASSERT_EQ(int{token[static_cast<std::size_t>(e) * want.token.size() + i]}, want.token[i]);
    for (std::size_t i = 0; i < want.cluster.size(); ++i)
      ASSERT_EQ(cluster[static_cast<std::size_t>(e) * want.cluster.size() + i], want.cluster[i]);
  }
  // The samples are no columns of the table.
  const EvalTable table = RunReader(run).eval();
  EXPECT_EQ(table.columns.count("token"), 0u);
  EXPECT_EQ(table.step.size(), 3u);
  EXPECT_EQ(table.columns.at("maj_at_k").size(), 9u);
}

TEST(DiagnosticsRows, ResumeGivesTheSameFile) {
  for (const std::int64_t stop : {3, 13, 22, 29}) {
    const test::TemporaryFolder whole, cut;
    test::Loop loop{.header = header_of(kLogged)};
    loop(whole.path());
    loop.stop_after = stop;
    loop(cut.path());
    loop.stop_after = -1;
    loop(cut.path());
    EXPECT_EQ(digest_of_run(whole / "run.h5"), digest_of_run(cut / "run.h5")) << stop;
  }
}

TEST(DiagnosticsRows, AFileWithoutTheNewColumnsIsRead) {
  const test::TemporaryFolder folder;
  test::Loop{.header = header_of({})}(folder.path());
  {
    const h5::Handle file = h5::open_for_writing(folder / "run.h5");
    for (const char* path : {"/eval/maj_at_k", "/eval/vendi", "/eval/self_bleu"})
      ASSERT_GE(H5Ldelete(file, path, H5P_DEFAULT), 0);
  }
  const EvalTable table = RunReader(folder / "run.h5").eval();
  EXPECT_EQ(table.columns.count("vendi"), 0u);
  EXPECT_EQ(table.columns.at("pass_at_k").size(), 9u);
}

}  // namespace
}  // namespace motley
