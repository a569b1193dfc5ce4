/// The made-up training loop as a process of its own, for tests that kill it.
///
///     io_run_child DIR STEPS [crash=POINT:N] [fsize=BYTES] [sleep_us=N]
///
/// crash=POINT:N kills the process (SIGKILL) when it reaches a point of the protocol for the N-th
/// time. Exit code and message are those of the error.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/fault.hpp"
#include "run_fixture.hpp"

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  Kokkos::ScopeGuard kokkos(argc, argv);
  motley::test::Loop loop;
  loop.header = motley::test::make_header({.R = 1, .B = 4, .G = 4, .P = 2, .T = 8, .V = 11},
                                          std::atoll(argv[2]));
  for (int i = 3; i < argc; ++i) {
    const std::string option = argv[i];
    const std::string value = option.substr(option.find('=') + 1);
    if (option.starts_with("crash=")) {
      motley::arm_fault_point(value.c_str());
    } else if (option.starts_with("fsize=")) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{std::strtoull(value.c_str(), nullptr, 10), RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    } else if (option.starts_with("sleep_us=")) {
      loop.sleep_us = static_cast<unsigned>(std::atoi(value.c_str()));
    }
  }
  try {
    loop(argv[1]);
  } catch (const motley::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return motley::exit_code(error.kind());
  }
  return 0;
}
