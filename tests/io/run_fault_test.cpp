/// Kills, crash points, full disks, damaged files.

#include <chrono>
#include <cmath>
#include <fcntl.h>
#include <fstream>
#include <random>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/h5.hpp"
#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "io/run_verify.hpp"
#include "run_fixture.hpp"

extern char** environ;

namespace motley {
namespace {

using test::fill_record;
using test::make_header;
using test::TemporaryFolder;
using ::testing::HasSubstr;

constexpr std::int64_t kSteps = 300;

/// A running io_run_child.
class Child {
 public:
  Child(const std::filesystem::path& directory, const std::vector<std::string>& options,
        std::int64_t steps = kSteps) {
    std::vector<std::string> words = {MOTLEY_IO_RUN_CHILD, directory.string(),
                                      std::to_string(steps)};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    errors_ = directory / "stderr";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    EXPECT_EQ(posix_spawn(&pid_, MOTLEY_IO_RUN_CHILD, &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  void kill() const { ::kill(pid_, SIGKILL); }
  /// Exit code, or -signal.
  int wait() {
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool running() {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == 0;
  }
  std::string message() const {
    std::ifstream in(errors_);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  pid_t pid_ = -1;
  std::filesystem::path errors_;
};

std::string undisturbed() {
  static const std::string digest = [] {
    const TemporaryFolder folder;
    EXPECT_EQ(Child(folder.path(), {}).wait(), 0);
    return digest_of_run(folder / "run.h5");
  }();
  return digest;
}

/// Every committed row of a file that may have been left at any moment.
void check_committed(const std::filesystem::path& path) {
  const RunReader run(path);
  const std::int64_t committed = run.committed();
  const std::vector<std::int64_t> steps = run.rollout_steps();
  ASSERT_EQ(static_cast<std::int64_t>(steps.size()), committed);
  StepRecord want({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11});
  const std::vector<double> reward = run.column("reward");
  for (std::int64_t s = 0; s < committed; ++s) {
    fill_record(want, s);
    const RolloutStep got = run.rollouts(s);
    for (std::size_t i = 0; i < want.token.size(); ++i)
      ASSERT_EQ(got.token[i], want.token.data()[i]) << s;
    const double expected = want.metrics(0, static_cast<int>(Metric::reward));
    if (std::isnan(expected)) continue;
    ASSERT_EQ(reward[static_cast<std::size_t>(s)], expected) << s;
  }
}

TEST(RunFault, DroppedWithoutCloseAndResumedIsTheSameRun) {
  for (const std::int64_t stop : {1, 6, 7, 8, 63, 64, 65, 150, 299}) {
    const TemporaryFolder folder;
    test::Loop loop{.header =
                        make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, kSteps)};
    loop.stop_after = stop;
    loop(folder.path());
    check_committed(folder / "run.h5");
    EXPECT_THROW(digest_of_run(folder / "run.h5"), Error);
    loop.stop_after = -1;
    EXPECT_EQ(loop(folder.path()), kSteps - stop / 7 * 7);
    EXPECT_EQ(digest_of_run(folder / "run.h5"), undisturbed()) << "stopped after " << stop;
    EXPECT_EQ(RunReader(folder / "run.h5").resumes(), std::vector<std::int64_t>{stop / 7 * 7});
    verify_run(folder / "run.h5");
  }
}

TEST(RunFault, InterruptedAndClosedIsTheSameRunAfterResume) {
  const TemporaryFolder folder;
  const RunHeader header = make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, kSteps);
  StepRecord record(header.shape);
  std::vector<std::byte> rows;
  RunFile file = RunFile::create(folder / "run.h5", header);
  for (std::int64_t step = 0; step < 140; ++step) {
    fill_record(record, step);
    file.append_step(record, 0);
    if ((step + 1) % 10 == 0) file.append_eval(test::make_eval(header, step + 1));
  }
  file.commit();
  rows = file.buffered_rows();
  file.close(RunStatus::interrupted);
  EXPECT_EQ(RunReader(folder / "run.h5").committed(), 140);
  file = RunFile::open_for_resume(folder / "run.h5", header, rows);
  EXPECT_EQ(file.steps(), 140);
  EXPECT_EQ(file.committed(), 128);  // the tail went back into memory
  for (std::int64_t step = 140; step < kSteps; ++step) {
    fill_record(record, step);
    file.append_step(record, 0);
    if ((step + 1) % 10 == 0) file.append_eval(test::make_eval(header, step + 1));
  }
  file.close(RunStatus::complete);
  EXPECT_EQ(digest_of_run(folder / "run.h5"), undisturbed());
}

TEST(RunFault, KilledAtRandomAndResumedIsTheSameRun) {
  std::mt19937 random(20260102);
  int kills = 0;
  // On a disk that syncs slowly the same share of a run takes longer.
  const auto begin = std::chrono::steady_clock::now();
  {
    const TemporaryFolder folder;
    ASSERT_EQ(Child(folder.path(), {"sleep_us=100"}).wait(), 0);
  }
  const auto whole = static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::chrono::steady_clock::now() - begin)
                                          .count());
  for (int run = 0; run < 20; ++run) {
    const TemporaryFolder folder;
    for (;;) {
      Child child(folder.path(), {"sleep_us=100"});
      std::this_thread::sleep_for(
          std::chrono::microseconds(std::uniform_int_distribution<int>(whole / 40, whole)(random)));
      child.kill();
      const int code = child.wait();
      ASSERT_TRUE(code == 0 || code == -SIGKILL) << child.message();
      if (code == 0) break;
      ++kills;
      if (std::filesystem::exists(folder / "run.h5")) check_committed(folder / "run.h5");
    }
    EXPECT_EQ(digest_of_run(folder / "run.h5"), undisturbed()) << "run " << run;
  }
  RecordProperty("kills", kills);
  EXPECT_GE(kills, 20);
}

TEST(RunFault, EveryCrashPointLeavesAResumableRun) {
  for (const std::string point : {"after_data", "after_flush", "after_commit", "mid_checkpoint",
                                  "before_rename", "after_rename"}) {
    for (const int count : {1, 2, 4}) {
      const TemporaryFolder folder;
      Child killed(folder.path(), {concat("crash=", point, ":", count)});
      ASSERT_EQ(killed.wait(), -SIGKILL)
          << point << " was not reached " << count << " times: " << killed.message();
      check_committed(folder / "run.h5");
      Child resumed(folder.path(), {});
      ASSERT_EQ(resumed.wait(), 0) << point << ": " << resumed.message();
      EXPECT_EQ(digest_of_run(folder / "run.h5"), undisturbed()) << point << " " << count;
    }
  }
}

TEST(RunFault, ACheckpointRowInSomeColumnsOnlyIsDropped) {
  const TemporaryFolder folder;
  test::Loop loop{.header = make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, kSteps)};
  loop.stop_after = 30;
  loop(folder.path());
  {
    const h5::Handle file = h5::open_for_writing(folder / "run.h5");
    const h5::Handle sums =
        h5::own(H5Dopen2(file, "/checkpoints/sha256", H5P_DEFAULT), ErrorKind::io, "sha256");
    const hsize_t dims[] = {3, 32};  // the fourth row, of step 28, has not arrived here
    h5::check(H5Dset_extent(sums, dims), ErrorKind::io, "sha256");
  }
  loop.stop_after = -1;
  EXPECT_EQ(loop(folder.path()), kSteps - 28);
  EXPECT_EQ(digest_of_run(folder / "run.h5"), undisturbed());
}

TEST(RunFault, ResumeCutsEveryGroupBack) {
  const TemporaryFolder folder;
  test::Loop loop{.header = make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, kSteps),
                  .checkpoint_every = kSteps};
  loop.stop_after = 150;
  loop(folder.path());
  EXPECT_EQ(RunReader(folder / "run.h5").eval().step.size(), 15u);
  const RunFile file = RunFile::open_for_resume(folder / "run.h5", loop.header, {});
  EXPECT_EQ(file.steps(), 0);
  const RunReader run(folder / "run.h5");
  EXPECT_EQ(run.committed(), 0);
  EXPECT_TRUE(run.eval().step.empty());
  EXPECT_TRUE(run.column("reward", "/metrics", true).empty());
  EXPECT_TRUE(run.column("total_s", "/timing", true).empty());
  EXPECT_TRUE(run.rollout_steps().empty());
}

TEST(RunFault, FullDiskIsAnIoErrorAndKeepsWhatIsCommitted) {
  const TemporaryFolder whole;
  ASSERT_EQ(Child(whole.path(), {}).wait(), 0);
  const auto size = static_cast<double>(std::filesystem::file_size(whole / "run.h5"));
  for (const double share : {0.05, 0.3, 0.6, 0.75, 0.9, 0.99}) {
    const TemporaryFolder folder;
    Child full(folder.path(), {concat("fsize=", static_cast<long>(share * size))});
    EXPECT_EQ(full.wait(), 5) << full.message();
    EXPECT_THAT(full.message(), HasSubstr("run.h5"));
    if (!std::filesystem::exists(folder / "run.h5")) continue;
    check_committed(folder / "run.h5");
    Child resumed(folder.path(), {});
    ASSERT_EQ(resumed.wait(), 0) << resumed.message();
    EXPECT_EQ(digest_of_run(folder / "run.h5"), undisturbed()) << share;
  }
}

TEST(RunFault, ALiveReaderSeesOnlyWholeSteps) {
  const TemporaryFolder folder;
  Child child(folder.path(), {"sleep_us=2000"}, 600);
  std::int64_t last = 0;
  int polls = 0;
  while (child.running()) {
    if (!std::filesystem::exists(folder / "run.h5")) continue;
    check_committed(folder / "run.h5");
    const RunReader run(folder / "run.h5");
    ASSERT_GE(run.committed(), last);
    last = run.committed();
    ++polls;
  }
  ASSERT_EQ(child.wait(), 0) << child.message();
  EXPECT_GT(polls, 5);
  check_committed(folder / "run.h5");
}

herr_t count_object(hid_t, const char*, const H5O_info_t*, void* count) {
  ++*static_cast<int*>(count);
  return 0;
}
herr_t count_attributes(hid_t, const char*, const H5O_info_t* info, void* count) {
  *static_cast<int*>(count) += static_cast<int>(info->num_attrs);
  return 0;
}

int objects(const std::filesystem::path& path) {
  bool cut = false;
  const h5::Handle file = h5::open_for_reading(path, cut);
  EXPECT_FALSE(cut);
  int count = 0;
  H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, count_object, &count, H5O_INFO_BASIC);
  H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, count_attributes, &count, H5O_INFO_NUM_ATTRS);
  return count;
}

TEST(RunFault, NoObjectIsMadeAfterTheStart) {
  const TemporaryFolder folder;
  test::Loop loop{.header = make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, kSteps)};
  loop.stop_after = 0;
  loop(folder.path());
  const int before = objects(folder / "run.h5");
  EXPECT_GT(before, 100);
  loop.stop_after = 100;
  loop(folder.path());
  EXPECT_EQ(objects(folder / "run.h5"), before);
  loop.stop_after = -1;
  loop(folder.path());
  EXPECT_EQ(objects(folder / "run.h5"), before);
}

std::string refusal(const std::filesystem::path& path) {
  try {
    const RunReader run(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
    return error.what();
  }
  return "nothing was thrown";
}

TEST(RunFault, ForeignCutAndNewerFilesAreRefusedInOneLine) {
  const TemporaryFolder folder;
  EXPECT_THAT(refusal(folder / "none.h5"), HasSubstr("cannot open it"));
  EXPECT_THAT(refusal(folder.path()), HasSubstr("cannot open it"));
  std::ofstream(folder / "text.h5")
      << "not HDF5 at all, but long enough to hold a superblock, says the test";
  EXPECT_THAT(refusal(folder / "text.h5"), HasSubstr("not an HDF5 file"));
  std::ofstream(folder / "empty.h5").flush();
  EXPECT_THAT(refusal(folder / "empty.h5"), HasSubstr("not an HDF5 file"));

  const auto with_root = [&](const char* name, const char* format, const char* version) {
    const h5::Handle file = h5::create_file(folder / name);
    h5::write_attribute(file, "format", format);
    h5::write_attribute(file, "format_version", version);
    return folder / name;
  };
  EXPECT_THAT(refusal(with_root("other.h5", "something", "1.0.0")),
              HasSubstr("not a motley run, got format \"something\""));
  EXPECT_THAT(refusal(with_root("major.h5", "motley-run", "2.0.0")),
              HasSubstr("format version 2.0.0, this program reads 1.x; use a newer motley"));
  EXPECT_THAT(refusal(with_root("bare.h5", "motley-run", "1.0.0")),
              HasSubstr("/status is missing"));

  test::Loop{.header =
                 make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, 20)}(folder.path());
  std::filesystem::copy_file(folder / "run.h5", folder / "minor.h5");
  {
    const h5::Handle file = h5::open_for_writing(folder / "minor.h5");
    h5::check(H5Adelete(file, "format_version"), ErrorKind::io, "format_version");
    h5::write_attribute(file, "format_version", "1.7.0");
  }
  EXPECT_EQ(refusal(folder / "minor.h5"), "nothing was thrown");
  const auto size = std::filesystem::file_size(folder / "run.h5");
  for (const std::uintmax_t cut : {std::uintmax_t{47}, size / 3, size - 1}) {
    std::filesystem::copy_file(folder / "run.h5", folder / "cut.h5",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(folder / "cut.h5", cut);
    EXPECT_THAT(refusal(folder / "cut.h5"),
                testing::AnyOf(HasSubstr("cut short"), HasSubstr("not a")))
        << cut;
  }
}

TEST(RunFault, ResumeRefusesRowsOfAnotherRun) {
  const TemporaryFolder folder;
  const RunHeader header = make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, 20);
  std::vector<std::byte> rows;
  {
    RunFile file = RunFile::create(folder / "run.h5", header);
    StepRecord record(header.shape);
    for (std::int64_t s = 0; s < 9; ++s) {
      fill_record(record, s);
      file.append_step(record, 0);
    }
    file.commit();
    rows = file.buffered_rows();
  }
  const auto resume = [&](const RunHeader& h, std::span<const std::byte> bytes) -> std::string {
    try {
      RunFile::open_for_resume(folder / "run.h5", h, bytes);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
      return error.what();
    }
    return "";
  };
  std::vector<std::byte> cut(rows.begin(), rows.end() - 1);
  EXPECT_THAT(resume(header, cut), HasSubstr("the hashes of the rows are cut short"));
  EXPECT_THAT(resume(header, std::span(rows).first(5)), HasSubstr("do not belong to this run"));
  RunHeader other = header;
  other.shape.G = 5;
  EXPECT_THAT(resume(other, rows), HasSubstr("another type or shape"));
  other = header;
  other.log.entropy = true;
  EXPECT_THAT(resume(other, rows), HasSubstr("/rollouts/entropy is missing"));
  EXPECT_EQ(resume(header, rows), "");
  // A file that has lost rows the checkpoint counts on: the one of a fresh start.
  RunFile::create(folder / "run.h5", header);
  EXPECT_THAT(resume(header, rows), HasSubstr("lacks rows of the checkpoint"));
}

TEST(RunFault, DigestOfAnUnfinishedRunSaysWhatToDo) {
  const TemporaryFolder folder;
  test::Loop loop{.header = make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, 20)};
  loop.stop_after = 5;
  loop(folder.path());
  try {
    digest_of_run(folder / "run.h5");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(),
                HasSubstr(concat("finish it with motley train -r ", folder.path().string())));
  }
}

TEST(RunFault, VerifyFindsAChangedElement) {
  const TemporaryFolder folder;
  test::Loop{.header =
                 make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11}, 20)}(folder.path());
  {
    const h5::Handle file = h5::open_for_writing(folder / "run.h5");
    const h5::Handle dataset =
        h5::own(H5Dopen2(file, "/metrics/reward", H5P_DEFAULT), ErrorKind::io, "reward");
    const float wrong = 12345;
    h5::write_rows(dataset, h5::Type::f4, 3, 1, &wrong, ErrorKind::io, "reward");
  }
  try {
    verify_run(folder / "run.h5");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("its bytes are not those it was closed with"));
  }
}

TEST(RunDigest, CommonDatasetsAgreeWhereTheLogOptionsDiffer) {
  const TemporaryFolder a, b;
  const Shape shape{.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11};
  test::Loop{.header = make_header(shape, 40)}(a.path());
  test::Loop{.header = make_header(shape, 40, {.log_prob = LogProbFormat::f16, .entropy = true}),
             .checkpoint_every = 5}(b.path());
  EXPECT_NE(digest_of_run(a / "run.h5"), digest_of_run(b / "run.h5"));
  const CommonDigest common = digest_common(a / "run.h5", b / "run.h5");
  EXPECT_EQ(common.first, common.second);
  EXPECT_TRUE(common.different.empty());

  const TemporaryFolder c;
  test::Loop{.header = make_header(shape, 40), .replica = 1}(c.path());
  const CommonDigest other = digest_common(a / "run.h5", c / "run.h5");
  EXPECT_NE(other.first, other.second);
  EXPECT_THAT(other.different, testing::Contains("/rollouts/token"));
}

}  // namespace
}  // namespace motley
