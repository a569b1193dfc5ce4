#pragma once
/// A policy with its vocabulary, wherever it stands: a run's checkpoint, a base, a folder that
/// `motley import` wrote, or a Hugging Face folder.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "experiments/run_config.hpp"
#include "io/safetensors.hpp"
#include "models/net.hpp"

namespace motley {

/// Ids of the special tokens; -1 = there is none.
struct SpecialTokens {
  int pad = -1, eos = -1, bos = -1, unk = -1;
};

struct PolicyFile {
  std::string source;              ///< file or folder that was read, for messages
  TransformerConfig model;         ///< with vocab and max_positions
  std::vector<std::string> token;  ///< [V] as the tokenizer spells them, "" where it has none
  SpecialTokens special;
  std::vector<Tensor> tensors;  ///< f32, named and shaped as in Hugging Face's Llama
  /// Further files of its folder, byte for byte: tokenizer.json, README.md, ...
  std::map<std::string, std::string> documents;
};

/// Reads any of the four. A run is its newest checkpoint.
/// \throws Error(input) in one line: file, what, value, allowed
PolicyFile read_policy(const std::filesystem::path& what);

/// Writes the folder as transformers reads it: config.json, model.safetensors and the documents.
/// Every file appears whole; the folder must exist. \throws Error(io)
void write_hugging_face(const PolicyFile& policy, const std::filesystem::path& folder);

/// Writes DIR/step-00000000.safetensors and DIR/import.ini, from which a run can start with
/// `-c DIR/import.ini`. \return the checkpoint's name
std::string write_imported(const PolicyFile& policy, const std::filesystem::path& folder);

/// SHA-256 over sizes, vocabulary and weights: what decides the runs that start from it.
std::string digest_of(const PolicyFile& policy);

/// The policy's weights as the layout of a task's policy, one row of the arena. A row of the
/// embedding and of the head is that of the token of the same spelling (also with the mark of a
/// blank before it); the others are left out: the policy given that it stays in the vocabulary.
/// \throws Error(config) where model.* differs from the policy's sizes, Error(input) where the
/// tokenizer lacks a token
std::vector<float> adapted_policy(const PolicyFile& policy, const RunConfig& config,
                                  const std::vector<std::string>& vocabulary,
                                  const NetLayout& layout);

/// Weights of one policy on the device, ready for a forward pass.
struct LoadedPolicy {
  NetLayout layout;
  Weights<float> weights;
};
/// \param positions  tokens of the longest text
LoadedPolicy load_policy(const PolicyFile& policy, int positions);

}  // namespace motley
