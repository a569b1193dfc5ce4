#include "io/log_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

using test::fill_record;
using test::make_header;
using test::TemporaryFolder;

const Shape kShape{.R = 3, .B = 3, .G = 4, .P = 2, .T = 5, .V = 11};
constexpr std::int64_t kSteps = 200;

std::vector<RunFile> make_files(const TemporaryFolder& folder, const std::string& name) {
  std::vector<RunFile> files;
  for (int r = 0; r < kShape.R; ++r)
    files.push_back(RunFile::create(folder / concat(name, r, ".h5"), make_header(kShape, kSteps)));
  return files;
}

std::vector<RunFile*> pointers(std::vector<RunFile>& files) {
  std::vector<RunFile*> result;
  for (RunFile& file : files) result.push_back(&file);
  return result;
}

TEST(LogWriter, FilesAreThoseOfSynchronousWriting) {
  const TemporaryFolder folder;
  std::vector<RunFile> files = make_files(folder, "thread");
  {
    LogWriter writer(pointers(files), kShape);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      fill_record(writer.acquire(), step);
      writer.submit();
      if ((step + 1) % 30 != 0) continue;
      writer.drain();
      for (RunFile& file : files) {
        EXPECT_EQ(file.steps(), step + 1);
        file.commit();
        EXPECT_GT(file.buffered_rows().size(), 0u);
      }
    }
    writer.drain();
  }
  for (RunFile& file : files) file.close(RunStatus::complete);

  std::vector<RunFile> plain = make_files(folder, "plain");
  StepRecord record(kShape);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    fill_record(record, step);
    for (int r = 0; r < kShape.R; ++r) plain[static_cast<std::size_t>(r)].append_step(record, r);
  }
  for (RunFile& file : plain) file.close(RunStatus::complete);
  for (int r = 0; r < kShape.R; ++r)
    EXPECT_EQ(digest_of_run(folder / concat("thread", r, ".h5")),
              digest_of_run(folder / concat("plain", r, ".h5")));
}

TEST(LogWriter, DestructorWritesWhatWasSubmitted) {
  const TemporaryFolder folder;
  std::vector<RunFile> files = make_files(folder, "run");
  {
    LogWriter writer(pointers(files), kShape);
    for (std::int64_t step = 0; step < 5; ++step) {
      fill_record(writer.acquire(), step);
      writer.submit();
    }
  }
  EXPECT_EQ(files[0].steps(), 5);
}

TEST(LogWriter, AReplicaWithoutFileIsLeftOut) {
  const TemporaryFolder folder;
  std::vector<RunFile> files = make_files(folder, "run");
  LogWriter writer({&files[0], nullptr, &files[2]}, kShape);
  fill_record(writer.acquire(), 0);
  writer.submit();
  writer.drain();
  EXPECT_EQ(files[0].steps(), 1);
  EXPECT_EQ(files[1].steps(), 0);
  EXPECT_EQ(files[2].steps(), 1);
}

TEST(LogWriter, AFaultOfTheThreadReachesTheProducer) {
  const TemporaryFolder folder;
  std::vector<RunFile> files = make_files(folder, "run");
  LogWriter writer(pointers(files), kShape);
  fill_record(writer.acquire(), 0);
  writer.submit();
  writer.drain();
  fill_record(writer.acquire(), 7);  // out of order: the file refuses it
  writer.submit();
  try {
    // The fault shows at the latest when the second record is wanted back.
    for (int i = 0; i < 4; ++i) {
      fill_record(writer.acquire(), 8 + i);
      writer.submit();
    }
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_THAT(error.what(), testing::HasSubstr("got 7, expected 1"));
  }
  EXPECT_THROW(writer.drain(), Error);
  EXPECT_THROW(writer.acquire(), Error);
  EXPECT_EQ(files[0].steps(), 1);
}

TEST(LogWriter, WantsOneFilePerReplica) {
  EXPECT_THROW(LogWriter({nullptr}, kShape), Error);
  LogWriter writer({nullptr, nullptr, nullptr}, kShape);
  EXPECT_THROW(writer.submit(), Error);
}

}  // namespace
}  // namespace motley
