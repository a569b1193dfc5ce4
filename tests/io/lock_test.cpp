#include "io/lock.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

using test::TemporaryFolder;
using ::testing::HasSubstr;

std::string refusal(const std::filesystem::path& directory) {
  try {
    const RunLock lock(directory);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::refused);
    return error.what();
  }
  return "taken";
}

TEST(RunLock, SecondHolderIsRefusedAndToldThePid) {
  const TemporaryFolder folder;
  {
    const RunLock lock(folder.path());
    EXPECT_THAT(refusal(folder.path()), HasSubstr(concat("got pid ", ::getpid(), ";")));
    EXPECT_THAT(refusal(folder.path()), HasSubstr(folder.path().string()));
  }
  EXPECT_EQ(refusal(folder.path()), "taken");
}

TEST(RunLock, MovesWithItsOwner) {
  const TemporaryFolder folder;
  RunLock first(folder.path());
  {
    const RunLock second(std::move(first));
    EXPECT_NE(refusal(folder.path()), "taken");
  }
  EXPECT_EQ(refusal(folder.path()), "taken");
}

TEST(RunLock, AnUnusableFolderIsRefused) {
  const TemporaryFolder folder;
  EXPECT_THAT(refusal(folder / "missing"), HasSubstr("cannot make the lock file"));
}

TEST(RunLock, IsFreeWhenTheHolderIsKilled) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const RunLock lock(folder.path());
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THAT(refusal(folder.path()), HasSubstr(concat("got pid ", child, ";")));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(refusal(folder.path()), "taken");
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace motley
