#include "io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "io/files.hpp"

namespace motley {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxHeader = 100'000'000;

struct TypeInfo {
  TensorType type;
  std::string_view spelling;
  std::size_t size;
};

/// By descending size; this order is also the order of the data in a file.
constexpr std::array<TypeInfo, 8> kTypes = {{{TensorType::f64, "F64", 8},
                                             {TensorType::i64, "I64", 8},
                                             {TensorType::f32, "F32", 4},
                                             {TensorType::i32, "I32", 4},
                                             {TensorType::f16, "F16", 2},
                                             {TensorType::bf16, "BF16", 2},
                                             {TensorType::u8, "U8", 1},
                                             {TensorType::boolean, "BOOL", 1}}};

const TypeInfo& info(TensorType type) {
  return kTypes[static_cast<std::size_t>(type)];
}

/// Builds the header and refuses repeated keys on the way: a JSON object would keep one of the two
/// and hide the other.
class HeaderReader : public nlohmann::detail::json_sax_dom_parser<Json> {
  using Base = nlohmann::detail::json_sax_dom_parser<Json>;

 public:
  explicit HeaderReader(Json& result) : Base(result, false) {}

  bool start_object(std::size_t n) {
    keys_.emplace_back();
    return keys_.size() <= 3 && Base::start_object(n);
  }
  bool key(std::string& text) {
    if (!keys_.back().insert(text).second) {
      repeated_ = text;
      return false;
    }
    return Base::key(text);
  }
  bool end_object() {
    keys_.pop_back();
    return Base::end_object();
  }
  /// The format needs no list inside a list; without this a header of brackets is a deep stack.
  bool start_array(std::size_t n) { return ++lists_ == 1 && Base::start_array(n); }
  bool end_array() {
    --lists_;
    return Base::end_array();
  }
  const std::string& repeated() const { return repeated_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string repeated_;
  int lists_ = 0;
};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw Error(ErrorKind::input, concat(where, ": not a valid safetensors file: ", what));
}

std::uint64_t read_length(std::span<const std::byte> bytes) {
  std::uint64_t n = 0;
  for (std::size_t i = 0; i < 8; ++i) n |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  return n;
}

Json parse_header(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < 8)
    refuse(where, concat("it ends inside the header length, got ", bytes.size(), " bytes"));
  const std::uint64_t n = read_length(bytes);
  if (n > kMaxHeader) refuse(where, concat("header too large, got ", n, "; allowed: ", kMaxHeader));
  if (n > bytes.size() - 8)
    refuse(where,
           concat("header of ", n, " bytes ends past the file, got ", bytes.size(), " bytes"));
  const char* text = reinterpret_cast<const char*>(bytes.data() + 8);
  std::size_t length = static_cast<std::size_t>(n);
  if (length == 0 || text[0] != '{') refuse(where, "the header does not start with {");
  while (text[length - 1] == ' ') --length;  // the padding; nothing else may follow the object
  if (text[length - 1] != '}') refuse(where, "the header does not end with } and blanks");
  Json header;
  HeaderReader reader(header);
  bool good = false;
  try {
    good = Json::sax_parse(text, text + length, &reader);
  } catch (const nlohmann::json::exception&) {
    good = false;
  }
  if (!reader.repeated().empty())
    refuse(where, concat("the key \"", reader.repeated(), "\" stands twice"));
  if (!good || !header.is_object()) refuse(where, "the header is no JSON object of UTF-8 text");
  return header;
}

std::uint64_t natural(const Json& value, const std::string& where, const std::string& what) {
  if (!value.is_number_unsigned())
    refuse(where, concat(what, " must be a whole number >= 0, got ", value.dump()));
  return value.get<std::uint64_t>();
}

struct Entry {
  Tensor tensor;
  std::uint64_t begin = 0, end = 0;
};

Entry parse_entry(const std::string& name, const Json& json, const std::string& where) {
  const std::string what = concat("tensor \"", name, "\"");
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets"))
    refuse(where, concat(what, " must have exactly dtype, shape and data_offsets"));
  Entry entry;
  entry.tensor.name = name;
  const Json& dtype = json["dtype"];
  const auto* type = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& t) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == t.spelling;
  });
  if (type == kTypes.end())
    refuse(where, concat(what, " has unknown dtype, got ", dtype.dump(),
                         "; allowed: F64, I64, F32, I32, F16, BF16, U8, BOOL"));
  entry.tensor.type = type->type;
  if (!json["shape"].is_array()) refuse(where, concat(what, ": shape is not a list"));
  std::uint64_t bytes = type->size;
  for (const Json& dim : json["shape"]) {
    const std::uint64_t n = natural(dim, where, concat(what, ": shape"));
    if (n > std::uint64_t(std::numeric_limits<std::int64_t>::max()) ||
        (n != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / n))
      refuse(where, concat(what, ": the shape overflows"));
    bytes *= n;
    entry.tensor.dims.push_back(static_cast<std::int64_t>(n));
  }
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    refuse(where, concat(what, ": data_offsets is not a pair"));
  entry.begin = natural(offsets[0], where, concat(what, ": data_offsets"));
  entry.end = natural(offsets[1], where, concat(what, ": data_offsets"));
  if (entry.end < entry.begin || entry.end - entry.begin != bytes)
    refuse(where, concat(what, ": its shape needs ", bytes, " bytes, got [", entry.begin, ", ",
                         entry.end, ")"));
  return entry;
}

}  // namespace

std::size_t size_of(TensorType type) {
  return info(type).size;
}
std::string_view spelling(TensorType type) {
  return info(type).spelling;
}

Tensor Tensor::from_floats(std::string name, std::vector<std::int64_t> dims,
                           std::span<const float> values) {
  Tensor tensor{std::move(name), TensorType::f32, std::move(dims), {}};
  MOTLEY_REQUIRE(tensor.size() == static_cast<std::int64_t>(values.size()), ErrorKind::internal,
                 "tensor ", tensor.name, ": ", values.size(), " values for ", tensor.size());
  const auto bytes = std::as_bytes(values);
  tensor.data.assign(bytes.begin(), bytes.end());
  return tensor;
}

Tensor Tensor::from_bytes(std::string name, std::span<const std::byte> bytes) {
  return {std::move(name),
          TensorType::u8,
          {static_cast<std::int64_t>(bytes.size())},
          std::vector<std::byte>(bytes.begin(), bytes.end())};
}

std::int64_t Tensor::size() const {
  // Unsigned, because dims such as {2^62, 2, 0} are legal and pass through an overflow.
  std::uint64_t n = 1;
  for (const std::int64_t dim : dims) n *= static_cast<std::uint64_t>(dim);
  return static_cast<std::int64_t>(n);
}

std::vector<float> Tensor::floats() const {
  if (type != TensorType::f32)
    throw Error(ErrorKind::input,
                concat("tensor ", name, ": wrong dtype, got ", spelling(type), "; allowed: F32"));
  std::vector<float> values(data.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), data.data(), values.size() * sizeof(float));
  return values;
}

bool TensorFile::contains(std::string_view name) const {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const Tensor& t) { return t.name == name; });
}

const Tensor& TensorFile::at(std::string_view name) const {
  std::vector<std::string> names;
  for (const Tensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
    names.push_back(tensor.name);
  }
  throw Error(ErrorKind::input,
              concat("tensor ", name, ": not in the file", did_you_mean(name, names)));
}

std::vector<std::byte> to_safetensors(const TensorFile& file) {
  std::vector<const Tensor*> order;
  for (const Tensor& tensor : file.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const Tensor* a, const Tensor* b) {
    return a->type != b->type ? a->type < b->type : a->name < b->name;
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  std::size_t end = 0;
  for (const Tensor* tensor : order) {
    MOTLEY_REQUIRE(!header.contains(tensor->name) && tensor->name != "__metadata__",
                   ErrorKind::internal, "safetensors: the name ", tensor->name, " stands twice");
    MOTLEY_REQUIRE(
        tensor->data.size() == static_cast<std::size_t>(tensor->size()) * size_of(tensor->type),
        ErrorKind::internal, "safetensors: ", tensor->name, " has ", tensor->data.size(), " bytes");
    const std::size_t begin = end;
    end += tensor->data.size();
    header[tensor->name] = {
        {"dtype", spelling(tensor->type)}, {"shape", tensor->dims}, {"data_offsets", {begin, end}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::internal,
                concat("safetensors: the header is not UTF-8: ", error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  std::vector<std::byte> bytes(8 + text.size() + end);
  for (std::size_t i = 0; i < 8; ++i)
    bytes[i] = static_cast<std::byte>((text.size() >> (8 * i)) & 0xFF);
  std::memcpy(bytes.data() + 8, text.data(), text.size());
  std::byte* out = bytes.data() + 8 + text.size();
  for (const Tensor* tensor : order) out = std::copy(tensor->data.begin(), tensor->data.end(), out);
  return bytes;
}

TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& where) {
  const Json header = parse_header(bytes, where);
  const std::span<const std::byte> data =
      bytes.subspan(8 + static_cast<std::size_t>(read_length(bytes)));
  TensorFile file;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries.push_back(parse_entry(name, value, where));
      continue;
    }
    if (!value.is_object()) refuse(where, "__metadata__ is not an object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string())
        refuse(where, concat("__metadata__ \"", key, "\" is not a text, got ", text.dump()));
      file.metadata[key] = text.get<std::string>();
    }
  }
  // Zero-size tensors share an offset with their neighbour: order by both ends.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t expected = 0;
  for (Entry& entry : entries) {
    if (entry.begin != expected)
      refuse(where, concat("tensor \"", entry.tensor.name, "\" starts at ", entry.begin,
                           ", expected ", expected, " (a hole or an overlap)"));
    if (entry.end > data.size())
      refuse(where, concat("tensor \"", entry.tensor.name, "\" ends at ", entry.end,
                           ", past the data, got ", data.size(), " bytes"));
    const auto part = data.subspan(static_cast<std::size_t>(entry.begin),
                                   static_cast<std::size_t>(entry.end - entry.begin));
    entry.tensor.data.assign(part.begin(), part.end());
    expected = entry.end;
    file.tensors.push_back(std::move(entry.tensor));
  }
  if (expected != data.size())
    refuse(where, concat("the tensors end at ", expected, ", the file at ", data.size()));
  return file;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  replace_file(path, to_safetensors(file));
}

}  // namespace motley
