#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "io/checkpoint.hpp"
#include "io/files.hpp"
#include "tests/temporary_folder.hpp"

namespace motley {
namespace {

using test::TemporaryFolder;
using ::testing::HasSubstr;

/// About 2 KB, as a run's: texts, weights, bytes of rows.
Checkpoint small(std::int64_t step) {
  Checkpoint c;
  c.step = step;
  c.meta = {{"config_sha256", std::string(64, 'a')},
            {"ini", "[run]\nname = small\nseed = 7\n"},
            {"tokens_total", "1234"},
            {"updates", "8"}};
  std::vector<float> w(96);
  for (std::size_t i = 0; i < w.size(); ++i)
    w[i] = static_cast<float>(step) + 0.01f * static_cast<float>(i);
  c.tensors = {Tensor::from_floats("model.weight", {8, 12}, w),
               Tensor::from_floats("adam.m.model.weight", {8, 12}, w),
               Tensor::from_bytes("run.rows", std::as_bytes(std::span(w)))};
  return c;
}

class DamagedCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    save_checkpoint(folder_.path(), small(4));
    newest_ = folder_ / save_checkpoint(folder_.path(), small(8)).file;
    whole_ = read_file(newest_);
    ASSERT_GT(whole_.size(), 1500u);
    ASSERT_LT(whole_.size(), 4000u);
  }

  /// The damaged newest one is passed over with a warning that names it, for the one before.
  void expect_passed_over(const std::vector<std::byte>& bytes, const std::string& what) {
    std::ofstream(newest_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    const auto found = load_newest_checkpoint(folder_.path());
    ASSERT_TRUE(found.has_value()) << what;
    ASSERT_EQ(found->checkpoint.step, 4) << what;
    ASSERT_THAT(found->warnings,
                testing::AllOf(HasSubstr(newest_.filename().string()), HasSubstr("passed over")))
        << what;
  }

  TemporaryFolder folder_;
  std::filesystem::path newest_;
  std::vector<std::byte> whole_;
};

TEST_F(DamagedCheckpoint, EveryLengthIsFound) {
  for (std::size_t n = 0; n < whole_.size(); ++n)
    expect_passed_over({whole_.begin(), whole_.begin() + static_cast<std::ptrdiff_t>(n)},
                       concat("cut to ", n));
  std::vector<std::byte> longer = whole_;
  longer.push_back(std::byte{0});
  expect_passed_over(longer, "one byte more");
}

TEST_F(DamagedCheckpoint, EveryBitOfEveryByteIsFound) {
  for (std::size_t i = 0; i < whole_.size(); ++i) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::vector<std::byte> bad = whole_;
      bad[i] ^= static_cast<std::byte>(change);
      expect_passed_over(bad, concat("byte ", i, " ^ ", change));
    }
  }
}

TEST_F(DamagedCheckpoint, AWholeOneIsNotPassedOver) {
  const auto found = load_newest_checkpoint(folder_.path());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->checkpoint.step, 8);
  EXPECT_EQ(found->warnings, "");
}

}  // namespace
}  // namespace motley
