/// What a process may still take, read from files as the kernel writes them.

#include "experiments/memory_limit.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/temporary_folder.hpp"

namespace motley::test {
namespace {

namespace fs = std::filesystem;

class FreeMemory : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const fs::path file = folder_.path() / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  MemoryLimit read() { return free_memory(folder_.path().string()); }
  void machine(const std::string& kibibytes) {
    write("proc/meminfo", "MemTotal:       64000000 kB\nMemAvailable:   " + kibibytes + " kB\n");
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(FreeMemory, IsWhatTheMachineHasWithoutALimit) {
  machine("1000000");
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "max\n");
  const MemoryLimit found = read();
  EXPECT_EQ(found.bytes, 1024000000u);
  EXPECT_EQ(found.of, "free memory of the machine");
}

TEST_F(FreeMemory, IsUnknownWhereNothingIsSaid) {
  EXPECT_EQ(read().bytes, 0u);
}

TEST_F(FreeMemory, IsLoweredByTheTightestCgroupAbove) {
  machine("1000000");
  write("proc/self/cgroup", "0::/user/job\n");
  write("sys/fs/cgroup/user/job/memory.max", "900000000\n");
  write("sys/fs/cgroup/user/job/memory.current", "100000000\n");
  EXPECT_EQ(read().bytes, 800000000u);
  write("sys/fs/cgroup/user/memory.max", "500000000\n");
  write("sys/fs/cgroup/user/memory.current", "200000000\n");
  EXPECT_EQ(read().bytes, 300000000u);
  EXPECT_EQ(read().of, "limit of the cgroup");
  // Pages that mirror files are given up when memory runs short.
  write("sys/fs/cgroup/user/memory.stat", "anon 50000000\ninactive_file 150000000\n");
  EXPECT_EQ(read().bytes, 450000000u);
}

TEST_F(FreeMemory, ReadsTheFirstVersionOfCgroupsToo) {
  machine("1000000");
  write("proc/self/cgroup", "12:cpu,cpuacct:/x\n9:memory:/job/7\n0::/\n");
  write("sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "1000\n");
  EXPECT_EQ(read().bytes, 1024000000u);
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "300000000\n");
  write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "250000000\n");
  EXPECT_EQ(read().bytes, 50000000u);
  write("sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 40000000\n");
  EXPECT_EQ(read().bytes, 90000000u);
  // Inside of a container the path may be the outside's: the mount's own files still count.
  write("proc/self/cgroup", "9:memory:/somewhere/else\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "70000000\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "20000000\n");
  EXPECT_EQ(read().bytes, 50000000u);
}

TEST_F(FreeMemory, AFullCgroupLeavesNothing) {
  machine("1000000");
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "1000\n");
  write("sys/fs/cgroup/memory.current", "2000\n");
  EXPECT_EQ(read().bytes, 1u);  // 0 would say unknown
}

}  // namespace
}  // namespace motley::test
