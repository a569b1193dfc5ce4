/// config.json, generation_config.json.

#include <cmath>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/hf_folder.hpp"

namespace motley {

namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

/// The members of a config.json with motley's limits on each.
class ConfigReader {
 public:
  ConfigReader(const std::string& text, const std::string& where) : where_(where) {
    json_ = Json::parse(text, nullptr, false);
    if (json_.is_discarded() || !json_.is_object())
      throw Error(ErrorKind::input, concat(where, ": not a JSON object of UTF-8 text"));
  }

  template <class... Parts>
  [[noreturn]] void refuse(const std::string& key, const Parts&... parts) const {
    throw Error(ErrorKind::input, concat(where_, ": ", key, ": ", parts...));
  }
  bool has(const std::string& key) const { return json_.contains(key) && !json_[key].is_null(); }
  std::string dump(const std::string& key) const {
    return json_[key].dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  int count(const std::string& key, int low, int high) const {
    if (!has(key)) refuse(key, "is missing; allowed: ", low, " to ", high);
    return count_or(key, low, high, 0);
  }
  int count_or(const std::string& key, int low, int high, int otherwise) const {
    if (!has(key)) return otherwise;
    const Json& value = json_[key];
    if (!value.is_number_integer() || value.get<double>() < low || value.get<double>() > high)
      refuse(key, "out of range, got ", dump(key), "; allowed: ", low, " to ", high);
    return value.get<int>();
  }
  double number(const std::string& key, double low, double high, double otherwise) const {
    if (!has(key)) return otherwise;
    return checked(json_[key], key, low, high);
  }
  double checked(const Json& value, const std::string& key, double low, double high) const {
    if (!value.is_number() || !(value.get<double>() > low && value.get<double>() <= high))
      refuse(key, "out of range, got ", value.dump(-1, ' ', false, Json::error_handler_t::replace),
             "; allowed: above ", low, ", at most ", high);
    return value.get<double>();
  }
  bool flag(const std::string& key) const {
    if (!has(key)) return false;
    if (!json_[key].is_boolean()) refuse(key, "not true or false, got ", dump(key));
    return json_[key].get<bool>();
  }
  /// Refuses anything but these values, or the key's absence where `absent` allows it.
  void require_text(const std::string& key, const std::string& only, bool absent) const {
    if (!has(key)) {
      if (!absent) refuse(key, "is missing; allowed: ", only);
      return;
    }
    if (!json_[key].is_string() || json_[key].get<std::string>() != only)
      refuse(key, "unsupported, got ", dump(key), "; allowed: \"", only, "\"");
  }
  /// A token id, the first of a list of them, or -1.
  int token(const std::string& key, int vocab) const {
    if (!has(key)) return -1;
    Json value = json_[key];
    if (value.is_array() && !value.empty()) value = value[0];
    if (!value.is_number_integer() || value.get<double>() < -1 || value.get<double>() >= vocab)
      refuse(key, "not a token, got ", dump(key), "; allowed: 0 to ", vocab - 1);
    return value.get<int>();
  }
  const Json& at(const std::string& key) const { return json_.at(key); }

 private:
  std::string where_;
  Json json_;
};

/// "rope_scaling", and "rope_parameters" of newer files: the plain rotation alone.
void read_rotation(const ConfigReader& in, TransformerConfig& model) {
  model.rope_theta = in.number("rope_theta", 0.999, 1e9, 10000.0);
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    if (!in.has(key)) continue;
    const Json& rope = in.at(key);
    if (!rope.is_object()) in.refuse(key, "unsupported, got ", in.dump(key), "; allowed: null");
    for (const char* type : {"rope_type", "type"})
      if (rope.contains(type) && rope[type] != "default")
        in.refuse(key, "unsupported ", type, ", got ", rope[type].dump(), "; allowed: \"default\"");
    if (key == "rope_scaling" && !rope.contains("rope_type") && !rope.contains("type"))
      in.refuse(key, "unsupported, got ", in.dump(key), "; allowed: null");
    if (rope.contains("partial_rotary_factor") && rope["partial_rotary_factor"] != 1.0)
      in.refuse(key, "unsupported partial_rotary_factor, got ",
                rope["partial_rotary_factor"].dump(), "; allowed: 1");
    if (rope.contains("rope_theta"))
      model.rope_theta = in.checked(rope["rope_theta"], key + ".rope_theta", 0.999, 1e9);
  }
  if (in.has("partial_rotary_factor") && in.at("partial_rotary_factor") != 1.0)
    in.refuse("partial_rotary_factor", "unsupported, got ", in.dump("partial_rotary_factor"),
              "; allowed: 1");
}

}  // namespace

void parse_config_json(const std::string& text, const std::string& where, PolicyFile& policy) {
  const ConfigReader in(text, where);
  in.require_text("model_type", "llama", false);
  in.require_text("hidden_act", "silu", true);
  for (const char* key : {"attention_bias", "mlp_bias"})
    if (in.flag(key)) in.refuse(key, "unsupported, got true; allowed: false");
  for (const char* key : {"quantization_config", "sliding_window"})
    if (in.has(key)) in.refuse(key, "unsupported, got ", in.dump(key), "; allowed: null");
  TransformerConfig& m = policy.model;
  m.vocab = in.count("vocab_size", 2, 1 << 24);
  m.width = in.count("hidden_size", 8, 8192);
  m.ff = in.count("intermediate_size", 8, 65536);
  m.layers = in.count("num_hidden_layers", 1, kMaxLayers);
  m.heads = in.count("num_attention_heads", 1, 128);
  m.kv_heads = in.count_or("num_key_value_heads", 1, 128, m.heads);
  if (m.width % m.heads != 0)
    in.refuse("num_attention_heads", "must divide hidden_size = ", m.width, ", got ", m.heads);
  if (m.heads % m.kv_heads != 0)
    in.refuse("num_key_value_heads", "must divide num_attention_heads = ", m.heads, ", got ",
              m.kv_heads);
  if (const int hd = in.count_or("head_dim", 1, 8192, m.head_dim()); hd != m.head_dim())
    in.refuse("head_dim", "must be hidden_size / num_attention_heads, got ", hd,
              "; allowed: ", m.head_dim());
  if (m.head_dim() % 2 != 0)
    in.refuse("head_dim", "the width of a head must be even, got ", m.head_dim());
  m.max_positions = in.count_or("max_position_embeddings", 1, 1 << 24, 2048);
  m.norm_eps = in.number("rms_norm_eps", 0, 1, 1e-6);
  read_rotation(in, m);
  m.tied = in.flag("tie_word_embeddings");
  policy.special.pad = in.token("pad_token_id", m.vocab);
  policy.special.eos = in.token("eos_token_id", m.vocab);
  policy.special.bos = in.token("bos_token_id", m.vocab);
}

std::string config_json(const PolicyFile& policy) {
  const TransformerConfig& m = policy.model;
  const auto token = [](int id) { return id < 0 ? OrderedJson() : OrderedJson(id); };
  OrderedJson json;
  json["architectures"] = {"LlamaForCausalLM"};
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  json["bos_token_id"] = token(policy.special.bos);
  json["dtype"] = "float32";
  json["eos_token_id"] = token(policy.special.eos);
  json["head_dim"] = m.head_dim();
  json["hidden_act"] = "silu";
  json["hidden_size"] = m.width;
  json["initializer_range"] = 0.02;
  json["intermediate_size"] = m.ff;
  json["max_position_embeddings"] = m.max_positions;
  json["mlp_bias"] = false;
  json["model_type"] = "llama";
  json["num_attention_heads"] = m.heads;
  json["num_hidden_layers"] = m.layers;
  json["num_key_value_heads"] = m.kv_heads;
  json["pad_token_id"] = token(policy.special.pad);
  json["rms_norm_eps"] = m.norm_eps;
  json["rope_parameters"] = {{"rope_theta", m.rope_theta}, {"rope_type", "default"}};
  json["rope_theta"] = m.rope_theta;
  json["tie_word_embeddings"] = m.tied;
  json["torch_dtype"] = "float32";
  json["use_cache"] = true;
  json["vocab_size"] = m.vocab;
  return json.dump(2) + "\n";
}

std::string generation_config_json(const PolicyFile& policy) {
  const auto token = [](int id) { return id < 0 ? OrderedJson() : OrderedJson(id); };
  OrderedJson json;
  json["bos_token_id"] = token(policy.special.bos);
  json["do_sample"] = false;
  json["eos_token_id"] = token(policy.special.eos);
  json["pad_token_id"] = token(policy.special.pad);
  return json.dump(2) + "\n";
}

}  // namespace motley
