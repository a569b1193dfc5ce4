/// config.json and tokenizer.json of an import.

#include "experiments/hf_folder.hpp"
#include "target.hpp"

namespace motley::fuzz {
namespace {

void run_config(const std::uint8_t* data, std::size_t size) {
  may_refuse([&] {
    PolicyFile policy;
    parse_config_json(text_of(data, size), "config.json", policy);
    PolicyFile again;
    parse_config_json(config_json(policy), "written.json", again);
  });
}

void run_tokenizer(const std::uint8_t* data, std::size_t size) {
  may_refuse([&] {
    PolicyFile policy;
    policy.model.vocab = 64;
    parse_tokenizer_json(text_of(data, size), "tokenizer.json", policy);
  });
}

const Registration config("hf_config", run_config);
const Registration tokenizer("hf_tokenizer", run_tokenizer);

}  // namespace
}  // namespace motley::fuzz
