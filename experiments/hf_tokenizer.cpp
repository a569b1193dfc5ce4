/// tokenizer.json, tokenizer_config.json.

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/hf_folder.hpp"

namespace motley {

namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

Json parse_object(const std::string& text, const std::string& where) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object())
    throw Error(ErrorKind::input, concat(where, ": not a JSON object of UTF-8 text"));
  return json;
}

/// Puts a spelling at its id. Two entries of one id must be the same word.
void put(PolicyFile& policy, const std::string& where, const std::string& word, const Json& id) {
  const auto V = policy.token.size();
  MOTLEY_REQUIRE(id.is_number_unsigned() && id.get<std::uint64_t>() < V, ErrorKind::input, where,
                 ": the id of token \"", word, "\" is out of range, got ", id.dump(),
                 "; allowed: 0 to ", V - 1, " (vocab_size of config.json)");
  std::string& at = policy.token[id.get<std::size_t>()];
  MOTLEY_REQUIRE(at.empty() || at == word, ErrorKind::input, where, ": tokens \"", at, "\" and \"",
                 word, "\" share an id, got ", id.dump());
  at = word;
}

}  // namespace

std::string tokenizer_json(const std::vector<std::string>& token,
                           const std::vector<bool>& special) {
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = OrderedJson::array();
  OrderedJson vocab = OrderedJson::object();
  for (std::size_t id = 0; id < token.size(); ++id) {
    vocab[token[id]] = id;
    if (special[id])
      json["added_tokens"].push_back({{"id", id},
                                      {"content", token[id]},
                                      {"single_word", false},
                                      {"lstrip", false},
                                      {"rstrip", false},
                                      {"normalized", false},
                                      {"special", true}});
  }
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  json["post_processor"] = nullptr;
  json["decoder"] = nullptr;  // words are joined by blanks
  json["model"] = {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", token[0]}};
  return json.dump(2) + "\n";
}

std::string tokenizer_config_json(const PolicyFile& policy) {
  OrderedJson json;
  const auto name = [&](const char* key, int id) {
    if (id >= 0) json[key] = policy.token[static_cast<std::size_t>(id)];
  };
  name("bos_token", policy.special.bos);
  json["clean_up_tokenization_spaces"] = false;
  name("eos_token", policy.special.eos);
  json["model_max_length"] = policy.model.max_positions;
  name("pad_token", policy.special.pad);
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  name("unk_token", policy.special.unk);
  return json.dump(2) + "\n";
}

void parse_tokenizer_json(const std::string& text, const std::string& where, PolicyFile& policy) {
  const Json json = parse_object(text, where);
  MOTLEY_REQUIRE(json.contains("model") && json["model"].is_object(), ErrorKind::input, where,
                 ": model is missing; allowed: an object with type WordLevel or BPE");
  const Json& model = json["model"];
  const std::string type = model.value("type", Json()).is_string()
                               ? model["type"].get<std::string>()
                           : model.contains("merges") ? "BPE"
                                                      : "";
  MOTLEY_REQUIRE(type == "WordLevel" || type == "BPE", ErrorKind::input, where,
                 ": unsupported model.type, got \"", type, "\"; allowed: WordLevel, BPE");
  MOTLEY_REQUIRE(model.contains("vocab") && model["vocab"].is_object(), ErrorKind::input, where,
                 ": model.vocab is missing; allowed: an object of words and ids");
  policy.token.assign(static_cast<std::size_t>(policy.model.vocab), "");
  for (const auto& [word, id] : model["vocab"].items()) put(policy, where, word, id);
  if (json.contains("added_tokens") && json["added_tokens"].is_array())
    for (const Json& added : json["added_tokens"]) {
      MOTLEY_REQUIRE(added.is_object() && added.contains("id") && added.contains("content") &&
                         added["content"].is_string(),
                     ErrorKind::input, where, ": added_tokens: an entry without id and content");
      put(policy, where, added["content"].get<std::string>(), added["id"]);
    }
  if (!model.contains("unk_token") || !model["unk_token"].is_string()) return;
  const std::string unk = model["unk_token"].get<std::string>();
  for (std::size_t id = 0; id < policy.token.size(); ++id)
    if (policy.token[id] == unk) policy.special.unk = static_cast<int>(id);
}

}  // namespace motley
