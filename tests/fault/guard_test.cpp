#include "experiments/guard.hpp"

#include <csignal>
#include <cstdio>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "io/reading.hpp"

namespace motley {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::function<std::string()>& read, ErrorKind kind) {
  try {
    read_in_child("made-up.h5", read);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no refusal";
}

TEST(ReadInChild, PassesAnswersAndRefusals) {
  EXPECT_EQ(read_in_child("made-up.h5", [] { return std::string(200000, 'x'); }),
            std::string(200000, 'x'));
  EXPECT_EQ(read_in_child("made-up.h5", [] { return std::string(); }), "");
  EXPECT_EQ(refusal([]() -> std::string { throw Error(ErrorKind::input, "made-up.h5: no"); },
                    ErrorKind::input),
            "made-up.h5: no");
  EXPECT_EQ(refusal([]() -> std::string { throw Error(ErrorKind::io, "full"); }, ErrorKind::io),
            "full");
}

TEST(ReadInChild, TellsWhatEndedTheReader) {
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE}) {
    EXPECT_THAT(
        refusal(
            [number] {
              std::signal(number, SIG_DFL);
              std::raise(number);
              return std::string();
            },
            ErrorKind::input),
        testing::AllOf(HasSubstr("made-up.h5: damaged: reading it ended the reader (signal "),
                       HasSubstr(std::to_string(number))));
  }
  EXPECT_THAT(refusal([]() -> std::string { throw std::bad_alloc(); }, ErrorKind::input),
              HasSubstr("made-up.h5: damaged: reading it asks for absurd memory"));
}

TEST(ReadInChild, EndsACallThatNeverReturns) {
  EXPECT_THAT(refusal(
                  [] {
                    const Reading reading(0.1);
                    for (volatile int i = 0;; i = i + 1) {
                    }
                    return std::string();
                  },
                  ErrorKind::input),
              HasSubstr("made-up.h5: damaged: reading it came to no end"));
}

/// A command whose child does `work`; leaves with the parent's exit code.
void command(const std::function<void()>& work) {
  if (const std::optional<int> code = guard_command()) _exit(*code);
  work();
  std::fflush(nullptr);
  _exit(42);
}

TEST(GuardCommand, PassesTheExitCode) {
  EXPECT_EXIT(command([] {}), testing::ExitedWithCode(42), "");
}

TEST(GuardCommand, NamesTheFileThatEndedTheReader) {
  EXPECT_EXIT(command([] {
                note_file("other.h5");
                note_file("runs/made-up/run.h5");
                const Reading reading;
                std::signal(SIGSEGV, SIG_DFL);
                std::raise(SIGSEGV);
              }),
              testing::ExitedWithCode(4),
              "runs/made-up/run.h5: damaged: reading it ended the reader .signal 11");
}

TEST(GuardCommand, AFaultWithoutAFileIsAFaultOfTheProgram) {
  EXPECT_EXIT(command([] {
                std::signal(SIGSEGV, SIG_DFL);
                std::raise(SIGSEGV);
              }),
              testing::ExitedWithCode(1), "internal fault .signal 11");
}

TEST(GuardCommand, AFaultBesideAMissingFileIsTheFiles) {
  EXPECT_EXIT(command([] {
                note_file("absent.h5");
                std::signal(SIGABRT, SIG_DFL);
                std::raise(SIGABRT);
              }),
              testing::ExitedWithCode(4), "absent.h5");
}

TEST(GuardCommand, EndsAsTheChildWasEnded) {
  EXPECT_EXIT(command([] { std::raise(SIGKILL); }), testing::KilledBySignal(SIGKILL), "");
}

TEST(GuardCommand, PassesSignalsOn) {
  EXPECT_EXIT(command([] {
                static volatile std::sig_atomic_t got = 0;
                std::signal(SIGUSR1, [](int) { got = 1; });
                kill(getppid(), SIGUSR1);
                while (got == 0) usleep(1000);
                _exit(7);
              }),
              testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace motley
