#include "io/safetensors.hpp"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> container(const std::string& header, std::size_t data,
                                 std::uint64_t length) {
  std::vector<std::byte> bytes(8 + header.size() + data);
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>((length >> (8 * i)) & 0xFF);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}
std::vector<std::byte> container(const std::string& header, std::size_t data) {
  return container(header, data, header.size());
}

std::string refusal(std::span<const std::byte> bytes) {
  try {
    parse_safetensors(bytes, "file");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(), HasSubstr("file: not a valid safetensors file"));
    return error.what();
  }
  return "accepted";
}

TEST(Safetensors, WritesTheBytesOfTheFormat) {
  const std::vector<float> two = {1.0f, -2.0f};
  const std::vector<std::byte> one = {std::byte{7}};
  TensorFile file;
  file.metadata["format"] = "pt";
  file.tensors = {Tensor::from_bytes("a", one),
                  Tensor::from_floats("w", {2, 1}, two),
                  {"n", TensorType::i64, {}, std::vector<std::byte>(8)},
                  Tensor::from_floats("b", {0}, {})};
  // By descending element size, then name: n (8), b and w (4), a (1). Written down by hand from the
  // format's description, padding included.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},"a":{"dtype":"U8","shape":[1],"data_offsets":[16,17]}})";
  std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  std::vector<std::byte> expected = container(padded, 17);
  std::memcpy(expected.data() + 8 + padded.size() + 8, two.data(), 8);
  expected.back() = std::byte{7};
  EXPECT_EQ(to_safetensors(file), expected);

  const TensorFile back = parse_safetensors(expected, "file");
  EXPECT_EQ(back.metadata, file.metadata);
  ASSERT_EQ(back.tensors.size(), 4u);
  EXPECT_EQ(back.at("w").floats(), two);
  EXPECT_EQ(back.at("w").dims, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(back.at("a").data, one);
  EXPECT_TRUE(back.at("n").dims.empty());
  EXPECT_EQ(to_safetensors(back), expected);
}

TEST(Safetensors, FileRoundTripAndLookUp) {
  const test::TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  write_safetensors(folder / "m.safetensors",
                    {{}, {Tensor::from_floats("model.norm.weight", {2, 3}, values)}});
  const TensorFile back = read_safetensors(folder / "m.safetensors");
  EXPECT_TRUE(back.contains("model.norm.weight"));
  EXPECT_EQ(back.at("model.norm.weight").floats(), values);
  try {
    back.at("model.norm.weigth");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean \"model.norm.weight\"?"));
  }
  EXPECT_THROW(Tensor::from_bytes("b", {}).floats(), Error);
  EXPECT_THROW(read_safetensors(folder / "none"), Error);
}

TEST(Safetensors, WriterRefusesWhatCouldNotBeRead) {
  const std::vector<float> one = {1};
  EXPECT_THROW(to_safetensors(
                   {{}, {Tensor::from_floats("a", {1}, one), Tensor::from_floats("a", {1}, one)}}),
               Error);
  EXPECT_THROW(to_safetensors({{}, {{"a", TensorType::f32, {2}, std::vector<std::byte>(4)}}}),
               Error);
  EXPECT_THROW(to_safetensors({{}, {Tensor::from_floats("__metadata__", {1}, one)}}), Error);
  EXPECT_THROW(to_safetensors({{{"k", "\xFF"}}, {}}), Error);
  EXPECT_THROW(Tensor::from_floats("a", {3}, one), Error);
}

TEST(Safetensors, MalformedFilesAreRefused) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(refusal(container(good, 8)), "accepted");
  EXPECT_EQ(refusal(container(good + "     ", 8)), "accepted");
  EXPECT_EQ(refusal(container("{}", 0)), "accepted");
  EXPECT_EQ(refusal(container(R"({"a":{"dtype":"F32","shape":[2,0,9],"data_offsets":[0,0]}})", 0)),
            "accepted");
  EXPECT_THAT(refusal(std::vector<std::byte>(7)), HasSubstr("inside the header length"));
  EXPECT_THAT(refusal(container(good, 8, 100'000'001)), HasSubstr("header too large"));
  EXPECT_THAT(refusal(container(good, 8, ~std::uint64_t{0})), HasSubstr("header too large"));
  EXPECT_THAT(refusal(container(good, 8, good.size() + 9)), HasSubstr("ends past the file"));
  EXPECT_THAT(refusal(container("", 8)), HasSubstr("does not start with {"));
  EXPECT_THAT(refusal(container(" " + good, 8)), HasSubstr("does not start with {"));
  EXPECT_THAT(refusal(container("     ", 0)), HasSubstr("does not start with {"));
  EXPECT_THAT(refusal(container(good + "\n", 8)), HasSubstr("does not end with }"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 8)),
              HasSubstr("no JSON object"));
  EXPECT_THAT(refusal(container("{\"\xFF\":1}", 0)), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal(container("{\"a\":" + std::string(100000, '[') + "}", 0)),
              HasSubstr("no JSON object"));
  std::string deep;
  for (int i = 0; i < 50000; ++i) deep += "{\"a\":";
  EXPECT_THAT(refusal(container(deep + "}", 0)), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal(container(R"({"a":1})", 0)), HasSubstr("must have exactly"));
  const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_THAT(refusal(container("{\"a\":" + entry + ",\"a\":" + entry + "}", 8)),
              HasSubstr("\"a\" stands twice"));
  EXPECT_THAT(refusal(container(
                  R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("\"dtype\" stands twice"));
  EXPECT_THAT(
      refusal(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", 8)),
      HasSubstr("must have exactly"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("unknown dtype, got \"F33\""));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("unknown dtype"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8)),
              HasSubstr("shape is not a list"));
  for (const char* dim : {"-2", "2.0", "\"2\"", "null", "18446744073709551616"})
    EXPECT_THAT(
        refusal(container(
            concat(R"({"a":{"dtype":"F32","shape":[)", dim, R"(],"data_offsets":[0,8]}})"), 8)),
        HasSubstr("must be a whole number"))
        << dim;
  EXPECT_THAT(
      refusal(container(
          R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8)),
      HasSubstr("overflows"));
  EXPECT_THAT(
      refusal(container(
          R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8)),
      HasSubstr("overflows"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)),
              HasSubstr("needs 12 bytes, got [0, 8)"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)),
              HasSubstr("needs 8 bytes"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8)),
              HasSubstr("not a pair"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-1,7]}})", 8)),
              HasSubstr("must be a whole number"));
  EXPECT_THAT(refusal(container(good, 7)), HasSubstr("past the data"));
  EXPECT_THAT(refusal(container(good, 9)), HasSubstr("the tensors end at 8, the file at 9"));
  EXPECT_THAT(refusal(container("{}", 1)), HasSubstr("the tensors end at 0"));
  EXPECT_THAT(refusal(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12)),
              HasSubstr("starts at 4, expected 0"));
  EXPECT_THAT(
      refusal(container(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          8)),
      HasSubstr("a hole or an overlap"));
  EXPECT_THAT(refusal(container(R"({"__metadata__":1})", 0)),
              HasSubstr("__metadata__ is not an object"));
  EXPECT_THAT(refusal(container(R"({"__metadata__":{"a":1}})", 0)), HasSubstr("is not a text"));
}

TEST(Safetensors, NoMutationEscapesTheParser) {
  const std::vector<float> values = {1, 2, 3};
  const std::vector<std::byte> good = to_safetensors(
      {{{"k", "v"}}, {Tensor::from_floats("a", {3}, values), Tensor::from_bytes("b", {})}});
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_NE(refusal(std::span(good).first(length)), "accepted") << length;
  // A changed byte may give another valid file, but never anything except a file or Error(input).
  for (std::size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> bad = good;
      bad[i] ^= static_cast<std::byte>(1 << bit);
      refusal(bad);
    }
}

}  // namespace
}  // namespace motley
