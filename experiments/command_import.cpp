/// motley import

#include <algorithm>
#include <cstdio>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/policy_file.hpp"
#include "io/checkpoint.hpp"
#include "models/logits.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

std::vector<int> parse_tokens(const std::string& text, int vocab) {
  std::vector<int> out;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    std::int64_t id = 0;
    MOTLEY_REQUIRE(parse_integer(word, id) && id >= 0 && id < vocab, ErrorKind::config,
                   "--check: not a token id, got \"", word, "\"; allowed: 0 to ", vocab - 1);
    out.push_back(static_cast<int>(id));
  }
  MOTLEY_REQUIRE(!out.empty(), ErrorKind::config, "--check: no token ids, got \"", text, "\"");
  return out;
}

/// A policy answering about given tokens, by the kernels of training and sampling.
class Asked {
 public:
  Asked(const PolicyFile& policy, int positions)
      : positions_(positions), eos_(policy.special.eos), loaded_(load_policy(policy, positions)) {
    workspace_ = make_logits_workspace<float>(loaded_.layout.net, 1, 1, positions);
    token_ = View3<int>("motley::import::token", 1, 1, positions);
    length_ = View2<int>("motley::import::length", 1, 1);
    logits_ = View4<float>("motley::import::logits", 1, 1, positions, loaded_.layout.net.vocab);
  }

  /// [text][V]
  std::vector<std::vector<float>> logits(const std::vector<int>& text) {
    const auto token = Kokkos::create_mirror(token_);
    const auto length = Kokkos::create_mirror(length_);
    for (std::size_t i = 0; i < text.size(); ++i) token(0, 0, i) = text[i];
    length(0, 0) = static_cast<int>(text.size());
    Kokkos::deep_copy(token_, token);
    Kokkos::deep_copy(length_, length);
    token_logits<float>(Exec(), loaded_.layout.net, loaded_.weights, workspace_, token_, length_,
                        logits_);
    const auto host = Kokkos::create_mirror(logits_);
    Kokkos::deep_copy(host, logits_);
    std::vector<std::vector<float>> out(text.size());
    for (std::size_t i = 0; i < text.size(); ++i)
      out[i].assign(&host(0, 0, i, 0), &host(0, 0, i, 0) + host.extent(3));
    return out;
  }

  /// The most probable continuation, the end token included.
  std::vector<int> greedy(std::vector<int> text, int most) {
    std::vector<int> out;
    while (static_cast<int>(out.size()) < most && static_cast<int>(text.size()) < positions_) {
      const std::vector<float> last = logits(text).back();
      const auto best = std::max_element(last.begin(), last.end());  // the first of equals
      out.push_back(static_cast<int>(best - last.begin()));
      text.push_back(out.back());
      if (out.back() == eos_) break;
    }
    return out;
  }

 private:
  int positions_, eos_;
  LoadedPolicy loaded_;
  TileWorkspace<float> workspace_;
  View3<int> token_;
  View2<int> length_;
  View4<float> logits_;
};

/// One JSON object a line: the tokens, the logits after each of them, a greedy continuation.
void check(const CommandLine& line, const PolicyFile& policy) {
  std::int64_t most = 0;
  MOTLEY_REQUIRE(parse_integer(line.get("greedy", "0"), most) && most >= 0 && most <= 65535,
                 ErrorKind::config, "--greedy: not a count, got \"", line.get("greedy", ""),
                 "\"; allowed: 0 to 65535");
  std::vector<std::vector<int>> texts;
  std::size_t longest = 1;
  for (const std::string& text : line.flags.at("check")) {
    texts.push_back(parse_tokens(text, policy.model.vocab));
    longest = std::max(longest, texts.back().size());
  }
  Asked asked(policy, static_cast<int>(longest) + static_cast<int>(most));
  for (const std::vector<int>& text : texts) {
    nlohmann::json json = {{"token", text}, {"logits", asked.logits(text)}};
    if (most > 0) json["greedy"] = asked.greedy(text, static_cast<int>(most));
    std::printf("%s\n", json.dump().c_str());
  }
}

std::int64_t weights_of(const PolicyFile& policy) {
  std::int64_t sum = 0;
  for (const Tensor& tensor : policy.tensors) sum += tensor.size();
  return sum;
}

int run_import(const CommandLine& line) {
  require_words(line, "import", 1, 1, "DIR");
  const PolicyFile policy = read_policy(line.positional[0]);
  if (line.has("check")) {
    check(line, policy);
    return 0;
  }
  const TransformerConfig& m = policy.model;
  nlohmann::json result = {
      {"from", policy.source}, {"sha256", digest_of(policy)}, {"weights", weights_of(policy)},
      {"vocab", m.vocab},      {"layers", m.layers},          {"width", m.width},
      {"heads", m.heads},      {"kv_heads", m.kv_heads},      {"ff", m.ff},
      {"tied", m.tied},        {"rope_theta", m.rope_theta},  {"norm_eps", m.norm_eps}};
  if (line.has("output")) {
    const fs::path folder(line.get("output", ""));
    MOTLEY_REQUIRE(line.has("overwrite") || list_checkpoints(folder).empty(), ErrorKind::refused,
                   folder.string(),
                   ": holds a policy already; choose another folder with -o, or replace it with "
                   "--overwrite");
    MOTLEY_REQUIRE(!fs::exists(folder / "run.h5") && !fs::exists(folder / "config.json"),
                   ErrorKind::refused, folder.string(),
                   ": holds a run or a model; choose another folder with -o");
    result["file"] = (folder / write_imported(policy, folder)).string();
    result["ini"] = (folder / "import.ini").string();
  }
  if (line.has("json")) {
    std::printf("%s\n", result.dump(2).c_str());
    return 0;
  }
  std::printf("%s: %lld weights, %d layers of width %d, %d heads (%d key-value), %d tokens\n",
              policy.source.c_str(), static_cast<long long>(weights_of(policy)), m.layers, m.width,
              m.heads, m.kv_heads, m.vocab);
  if (line.has("output"))
    std::printf("written: %s\nnext:    motley train -c experiments/base.ini -c %s\n",
                result["file"].get<std::string>().c_str(),
                result["ini"].get<std::string>().c_str());
  else
    std::printf("next:    motley import %s -o DIR\n", line.positional[0].c_str());
  return 0;
}

}  // namespace

const Command kImport = {
    "import",
    "DIR [-o DIR] [--overwrite] [--check \"ID ...\" [--greedy N]]",
    "reads a Llama-shaped policy of Hugging Face as a base to train from",
    "  motley import policy -o runs/imported\n"
    "  motley train -c experiments/base.ini -c runs/imported/import.ini\n"
    "  motley import policy --check \"2 3 4\" --greedy 8    # logits and greedy continuation, as JSON\n",
    {{"output", 'o', 0, "DIR", "where the policy is written; without it, it is only looked at"},
     {"overwrite", 0, 0, "", "replaces the policy in DIR"},
     {"check", 0, 0, "IDS", "prints the logits after each of these tokens; may be repeated"},
     {"greedy", 0, 0, "N", "with --check: also the most probable continuation of N tokens"}},
    true,
    run_import};

}  // namespace motley
