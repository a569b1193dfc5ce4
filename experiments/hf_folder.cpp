#include "experiments/hf_folder.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "io/files.hpp"
#include "io/half.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string read_text(const fs::path& path) {
  MOTLEY_REQUIRE(fs::is_regular_file(path), ErrorKind::input, path.string(), ": is missing");
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The tensors of model.safetensors, or of the shards that model.safetensors.index.json names.
std::vector<Tensor> read_tensors(const fs::path& folder) {
  const fs::path index = folder / "model.safetensors.index.json";
  if (!fs::exists(index)) {
    MOTLEY_REQUIRE(fs::exists(folder / "model.safetensors"), ErrorKind::input,
                   (folder / "model.safetensors").string(),
                   ": is missing; allowed: model.safetensors or model.safetensors.index.json");
    return read_safetensors(folder / "model.safetensors").tensors;
  }
  const Json json = Json::parse(read_text(index), nullptr, false);
  MOTLEY_REQUIRE(!json.is_discarded() && json.is_object() && json.contains("weight_map") &&
                     json["weight_map"].is_object(),
                 ErrorKind::input, index.string(), ": weight_map is missing");
  std::set<std::string> shards;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    MOTLEY_REQUIRE(shard.is_string() && shard.get<std::string>().find('/') == std::string::npos,
                   ErrorKind::input, index.string(), ": weight_map: ", name,
                   " names no file of the folder, got ",
                   shard.dump(-1, ' ', false, Json::error_handler_t::replace));
    shards.insert(shard.get<std::string>());
  }
  std::vector<Tensor> all;
  for (const std::string& shard : shards) {
    TensorFile file = read_safetensors(folder / shard);
    for (Tensor& tensor : file.tensors) all.push_back(std::move(tensor));
  }
  return all;
}

std::string dims_text(const std::vector<std::int64_t>& dims) {
  return "[" + join(dims) + "]";
}

/// Takes the tensor `name` out of `all`, as f32 of these extents.
Tensor take(std::vector<Tensor>& all, const std::string& name,
            const std::vector<std::int64_t>& dims, const std::string& where) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Tensor& t) { return t.name == name; });
  if (found == all.end()) {
    std::vector<std::string> names;
    for (const Tensor& t : all) names.push_back(t.name);
    throw Error(ErrorKind::input,
                concat(where, ": tensor ", name, " is missing", did_you_mean(name, names)));
  }
  MOTLEY_REQUIRE(found->dims == dims, ErrorKind::input, where, ": tensor ", name,
                 " has another shape, got ", dims_text(found->dims), "; allowed: ", dims_text(dims),
                 " by config.json");
  Tensor out = Tensor::from_floats(name, dims, finite_floats(*found, where));
  all.erase(found);
  return out;
}

/// Exactly the tensors of the layout. A head beside tied embeddings must be the embedding; the
/// rotary tables of old files are derived numbers and left out.
void check_tensors(const fs::path& folder, PolicyFile& policy) {
  const std::string where = (folder / "model.safetensors").string();
  std::vector<Tensor> all = read_tensors(folder);
  const NetLayout layout = make_net_layout(policy.model, true);
  for (const TensorSpec& spec : layout.tensors.tensors()) {
    std::vector<std::int64_t> dims = {spec.rows, spec.cols};
    if (!spec.matrix()) dims = {spec.cols};
    policy.tensors.push_back(take(all, spec.name, dims, where));
  }
  for (const Tensor& left : all) {
    if (left.name.ends_with("rotary_emb.inv_freq")) continue;
    if (policy.model.tied && left.name == "lm_head.weight") {
      MOTLEY_REQUIRE(finite_floats(left, where) == policy.tensors.front().floats(),
                     ErrorKind::input, where,
                     ": tensor lm_head.weight differs from the embedding, got it with "
                     "tie_word_embeddings = true; allowed: equal, or tie_word_embeddings = false");
      continue;
    }
    throw Error(ErrorKind::input, concat(where, ": unexpected tensor, got ", left.name,
                                         "; allowed: those of LlamaForCausalLM without biases"));
  }
}

}  // namespace

std::vector<float> finite_floats(const Tensor& tensor, const std::string& where) {
  std::vector<float> out;
  const auto halves = [&](auto convert) {
    out.resize(tensor.data.size() / 2);
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, tensor.data.data() + 2 * i, 2);
      out[i] = convert(bits);
    }
  };
  if (tensor.type == TensorType::f32)
    out = tensor.floats();
  else if (tensor.type == TensorType::f16)
    halves(float_from_half);
  else if (tensor.type == TensorType::bf16)
    halves([](std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); });
  else
    throw Error(ErrorKind::input,
                concat(where, ": tensor ", tensor.name, " has an unsupported dtype, got ",
                       spelling(tensor.type), "; allowed: F32, F16, BF16"));
  const auto bad =
      std::find_if(out.begin(), out.end(), [](float value) { return !std::isfinite(value); });
  MOTLEY_REQUIRE(bad == out.end(), ErrorKind::input, where, ": tensor ", tensor.name, ": element ",
                 bad - out.begin(), " is not finite, got ", *bad);
  return out;
}

PolicyFile read_hugging_face(const fs::path& folder) {
  PolicyFile policy;
  policy.source = folder.string();
  const fs::path config = folder / "config.json";
  parse_config_json(read_text(config), config.string(), policy);
  const fs::path tokenizer = folder / "tokenizer.json";
  parse_tokenizer_json(read_text(tokenizer), tokenizer.string(), policy);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json", "README.md"})
    if (fs::exists(folder / name)) policy.documents[name] = read_text(folder / name);
  check_tensors(folder, policy);
  return policy;
}

}  // namespace motley
