#pragma once
/// Hugging Face's files: config.json, model.safetensors (also sharded), tokenizer.json.

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/policy_file.hpp"

namespace motley {

/// Reads a folder with a Llama-shaped model. What motley's policy cannot be is refused: another
/// architecture, biases, another activation, scaled or partial rotations, a head width other than
/// width / heads, missing or unexpected tensors, other shapes, numbers that are not finite.
/// \throws Error(input) in one line
PolicyFile read_hugging_face(const std::filesystem::path& folder);

/// config.json of a policy; the same policy gives the same bytes.
std::string config_json(const PolicyFile& policy);
/// Sizes and special tokens of a config.json. \param where named at the start of every message
void parse_config_json(const std::string& text, const std::string& where, PolicyFile& policy);

/// tokenizer.json and tokenizer_config.json of a vocabulary of words that are joined by blanks.
std::string tokenizer_json(const std::vector<std::string>& token, const std::vector<bool>& special);
std::string tokenizer_config_json(const PolicyFile& policy);
std::string generation_config_json(const PolicyFile& policy);
/// Fills policy.token (and the special tokens that config.json leaves open) from a tokenizer.json:
/// word-level, or byte-pair encoding.
void parse_tokenizer_json(const std::string& text, const std::string& where, PolicyFile& policy);

/// f32 values of a tensor in F32, F16 or BF16. \throws Error(input) for other types and for
/// numbers that are not finite
std::vector<float> finite_floats(const Tensor& tensor, const std::string& where);

}  // namespace motley
