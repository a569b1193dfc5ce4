#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "io/files.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

using test::TemporaryFolder;
using ::testing::HasSubstr;

Checkpoint small(std::int64_t step) {
  Checkpoint c;
  c.step = step;
  c.meta = {{"config_sha256", "abc"}, {"note", "\"payload_sha256\":\"quoted\""}};
  const std::vector<float> w = {static_cast<float>(step), 2, 3};
  const std::vector<std::byte> rows = {std::byte{1}, std::byte{0}};
  c.tensors = {Tensor::from_floats("r0.params", {3}, w), Tensor::from_bytes("r0.rows", rows)};
  return c;
}

void put(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

std::string refusal(const std::filesystem::path& path) {
  try {
    load_checkpoint(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "accepted";
}

TEST(Checkpoint, ComesBackAsSaved) {
  const TemporaryFolder folder;
  const Checkpoint saved = small(50);
  const SavedCheckpoint name = save_checkpoint(folder / "checkpoints", saved);
  EXPECT_EQ(name.file, "step-00000050.safetensors");
  const Checkpoint back = load_checkpoint(folder / "checkpoints" / name.file);
  EXPECT_EQ(back.step, 50);
  EXPECT_EQ(back.meta, saved.meta);
  EXPECT_EQ(back.tensor("r0.params").floats(), saved.tensors[0].floats());
  EXPECT_EQ(back.tensor("r0.rows").data, saved.tensors[1].data);
  EXPECT_EQ(back.text("config_sha256"), "abc");
  EXPECT_THROW(back.tensor("r1.params"), Error);
  EXPECT_THROW(back.text("nothing"), Error);
  EXPECT_EQ(read_safetensors(folder / "checkpoints" / name.file).metadata.at("payload_sha256"),
            hex(name.sha256));
  // The same state gives the same bytes.
  const auto first = read_file(folder / "checkpoints" / name.file);
  save_checkpoint(folder / "checkpoints", saved);
  EXPECT_EQ(read_file(folder / "checkpoints" / name.file), first);
}

TEST(Checkpoint, EveryCutAndEveryChangedByteIsFound) {
  const TemporaryFolder folder;
  const SavedCheckpoint saved = save_checkpoint(folder.path(), small(1));
  const std::vector<std::byte> good = read_file(folder.path() / saved.file);
  for (std::size_t n = 0; n < good.size(); ++n) {
    put(folder / "bad", std::span(good).first(n));
    EXPECT_NE(refusal(folder / "bad"), "accepted") << "cut to " << n;
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int change : {0x01, 0x20, 0xFF}) {
      std::vector<std::byte> bad = good;
      bad[i] ^= static_cast<std::byte>(change);
      put(folder / "bad", bad);
      EXPECT_NE(refusal(folder / "bad"), "accepted") << "byte " << i << " ^ " << change;
    }
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  put(folder / "bad", longer);
  EXPECT_THAT(refusal(folder / "bad"), HasSubstr("do not match"));
}

TEST(Checkpoint, NewestWholeOneWinsAndDamagedOnesAreNamed) {
  const TemporaryFolder folder;
  EXPECT_FALSE(load_newest_checkpoint(folder / "nowhere").has_value());
  EXPECT_FALSE(load_newest_checkpoint(folder.path()).has_value());
  for (const std::int64_t step : {9, 10, 100}) save_checkpoint(folder.path(), small(step), 5);
  put(folder / "step-00000100.safetensors.tmp", {});
  put(folder / "step-x.safetensors", {});
  auto found = load_newest_checkpoint(folder.path());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->checkpoint.step, 100);
  EXPECT_EQ(found->warnings, "");
  std::filesystem::resize_file(folder / "step-00000100.safetensors", 100);
  found = load_newest_checkpoint(folder.path());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->checkpoint.step, 10);
  EXPECT_EQ(found->file, "step-00000010.safetensors");
  EXPECT_THAT(found->warnings,
              testing::AllOf(HasSubstr("step-00000100.safetensors"), HasSubstr("passed over")));
  put(folder / "step-00000010.safetensors", {});
  put(folder / "step-00000009.safetensors", {});
  try {
    load_newest_checkpoint(folder.path());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(), HasSubstr("no usable checkpoint, got 3 damaged"));
  }
}

TEST(Checkpoint, KeepsTheNewest) {
  const TemporaryFolder folder;
  const auto names = [&] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  };
  for (std::int64_t step = 10; step <= 50; step += 10)
    save_checkpoint(folder.path(), small(step), 2);
  EXPECT_EQ(names(),
            (std::vector<std::string>{"step-00000040.safetensors", "step-00000050.safetensors"}));
  // Behind a later one, as after falling back from a damaged file: what was just written stays.
  save_checkpoint(folder.path(), small(30), 1);
  EXPECT_THAT(names(), testing::Contains("step-00000030.safetensors"));
  EXPECT_THROW(save_checkpoint(folder.path(), small(60), 0), Error);
}

TEST(Checkpoint, AFolderThatCannotBeMadeIsAnIoError) {
  const TemporaryFolder folder;
  put(folder / "file", {});
  try {
    save_checkpoint(folder / "file/checkpoints", small(1));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_THAT(error.what(), HasSubstr("file/checkpoints"));
  }
}

TEST(Sha256, KnownAnswers) {
  // FIPS 180-2, appendix B.
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 hash;
  for (const char c : {'a', 'b', 'c'}) hash.update(&c, 1);
  EXPECT_EQ(hash.finish(), sha256("abc"));
  EXPECT_EQ(hex(hash.finish()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

}  // namespace
}  // namespace motley
