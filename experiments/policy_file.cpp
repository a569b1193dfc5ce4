#include "experiments/policy_file.hpp"

#include <algorithm>
#include <span>

#include "core/base/error.hpp"
#include "experiments/hf_folder.hpp"
#include "experiments/options.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"
#include "io/checkpoint.hpp"
#include "io/files.hpp"
#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "version.hpp"

namespace motley {

namespace {

namespace fs = std::filesystem;

constexpr const char* kImported = "motley-policy";

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// The model card of a run's policy. It says where the weights come from and no date, so that the
/// same policy gives the same card.
std::string model_card(const std::string& name, std::int64_t step, const std::string& digest,
                       const std::string& weights, const RunConfig& config) {
  return concat(
      "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- motley\n---\n# ",
      name, "\n\nA policy of motley ", kVersion, ", task ", config.task.name, ", after ", step,
      " training steps. Words are joined by blanks; a prompt stands alone, without a start token.\n\n"
      "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
      "model = AutoModelForCausalLM.from_pretrained(\"DIR\")\n"
      "tokenizer = AutoTokenizer.from_pretrained(\"DIR\")\n```\n\n",
      "| | |\n| --- | --- |\n| run digest | ", digest, " |\n| weights | ", weights,
      " |\n| configuration | ", config_sha256(config), " |\n\n```ini\n", effective_ini(config),
      "```\n");
}

/// SHA-256 over the tensors as they stand.
std::string weights_digest(const std::vector<Tensor>& tensors) {
  Sha256 sha;
  for (const Tensor& tensor : tensors) {
    sha.update(tensor.name);
    sha.update(tensor.data.data(), tensor.data.size());
  }
  return hex(sha.finish());
}

/// A policy of one of motley's own tasks.
PolicyFile policy_of_task(const RunConfig& config, const std::string& source) {
  PolicyFile policy;
  policy.source = source;
  const auto task = make_task(config.task, {config.base_seed()});
  policy.model = policy_model(config, *task);
  policy.token = task->vocabulary().token;
  policy.special = {kPad, kEos, -1, kPad};
  policy.documents["tokenizer.json"] = tokenizer_json(policy.token, task->vocabulary().special);
  policy.documents["tokenizer_config.json"] = tokenizer_config_json(policy);
  policy.documents["generation_config.json"] = generation_config_json(policy);
  return policy;
}

void split_arena(const std::vector<float>& arena, const NetLayout& layout, PolicyFile& policy) {
  MOTLEY_REQUIRE(static_cast<std::int64_t>(arena.size()) == layout.net.size, ErrorKind::input,
                 policy.source, ": the policy has ", arena.size(), " numbers, expected ",
                 layout.net.size);
  for (const TensorSpec& spec : layout.tensors.tensors()) {
    std::vector<std::int64_t> dims = {spec.rows, spec.cols};
    if (!spec.matrix()) dims = {spec.cols};
    policy.tensors.push_back(
        Tensor::from_floats(spec.name, dims,
                            std::span(arena).subspan(static_cast<std::size_t>(spec.offset),
                                                     static_cast<std::size_t>(spec.size()))));
  }
}

/// A run's digest where its file says that the checkpoint is its end.
std::string run_digest(const fs::path& checkpoint, std::int64_t step) {
  const fs::path file = checkpoint.parent_path().parent_path() / "run.h5";
  if (!fs::exists(file)) return "unknown: the checkpoint stands alone";
  const RunReader reader(file);
  if (reader.status() != RunStatus::complete || reader.committed() != step)
    return concat("none: the run is ", name_of(reader.status()), " at step ", reader.committed());
  return digest_of_run(file);
}

PolicyFile imported(const Checkpoint& checkpoint, const std::string& where) {
  PolicyFile policy;
  policy.source = where;
  parse_config_json(checkpoint.text("config.json"), where, policy);
  for (const Tensor& tensor : checkpoint.tensors) {
    constexpr std::string_view kDocument = "document/";
    if (!tensor.name.starts_with(kDocument)) continue;
    policy.documents[tensor.name.substr(kDocument.size())] =
        std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  parse_tokenizer_json(policy.documents["tokenizer.json"], where, policy);
  const NetLayout layout = make_net_layout(policy.model, true);
  split_arena(policy_of_checkpoint(checkpoint, layout.tensors), layout, policy);
  return policy;
}

PolicyFile from_checkpoint(const fs::path& path, const Checkpoint& checkpoint) {
  const std::string where = path.string();
  const auto kind = checkpoint.meta.find("kind");
  if (kind != checkpoint.meta.end() && kind->second == kImported)
    return imported(checkpoint, where);
  const bool base = kind != checkpoint.meta.end() && kind->second == "motley-base";
  const RunConfig config = config_from_ini(checkpoint.text(base ? "config" : "ini"), where);
  PolicyFile policy = policy_of_task(config, where);
  const NetLayout layout = make_net_layout(policy.model, true);
  split_arena(base ? checkpoint.tensor("policy").floats()
                   : policy_of_checkpoint(checkpoint, layout.tensors),
              layout, policy);
  policy.documents["README.md"] =
      model_card(base ? concat("base policy of seed ", config.base_seed()) : config.run.name,
                 checkpoint.step, base ? "none: a base policy" : run_digest(path, checkpoint.step),
                 weights_digest(policy.tensors), config);
  return policy;
}

/// The task's token in the policy's vocabulary, or -1: with the mark of a blank before it that
/// byte-level ("Ġ") and SentencePiece ("▁") vocabularies use, or the word itself.
int id_of(const std::map<std::string, int>& ids, const std::string& word) {
  for (const char* before : {"\u0120", "\u2581", ""})
    if (const auto found = ids.find(before + word); found != ids.end()) return found->second;
  return -1;
}

}  // namespace

PolicyFile read_policy(const fs::path& what) {
  MOTLEY_REQUIRE(fs::exists(what), ErrorKind::input, what.string(),
                 ": no such run, checkpoint or folder");
  if (!fs::is_directory(what)) return from_checkpoint(what, load_checkpoint(what));
  if (fs::exists(what / "config.json")) return read_hugging_face(what);
  const fs::path folder =
      fs::exists(what / "run.h5") || fs::exists(what / "checkpoints") ? what / "checkpoints" : what;
  const auto found = load_newest_checkpoint(folder);
  MOTLEY_REQUIRE(found.has_value(), ErrorKind::input, what.string(),
                 ": no policy in the folder; allowed: a run with a checkpoint, a folder of motley "
                 "import, or config.json and model.safetensors of Hugging Face");
  return from_checkpoint(folder / found->file, found->checkpoint);
}

void write_hugging_face(const PolicyFile& policy, const fs::path& folder) {
  for (const auto& [name, text] : policy.documents) replace_file(folder / name, bytes_of(text));
  replace_file(folder / "config.json", bytes_of(config_json(policy)));
  TensorFile file;
  file.metadata["format"] = "pt";
  file.tensors = policy.tensors;
  write_safetensors(folder / "model.safetensors", file);
}

std::string write_imported(const PolicyFile& policy, const fs::path& folder) {
  Checkpoint checkpoint;
  checkpoint.meta["kind"] = kImported;
  checkpoint.meta["config.json"] = config_json(policy);
  checkpoint.tensors = policy.tensors;
  for (const auto& [name, text] : policy.documents)
    checkpoint.tensors.push_back(Tensor::from_bytes("document/" + name, bytes_of(text)));
  const std::string file = save_checkpoint(folder, checkpoint, 1).file;
  RunConfig config;
  config.model = policy.model;
  config.pretrain.from = folder.string();
  std::string ini =
      "; starts a run from the imported policy: motley train -c base.ini -c this.ini\n";
  std::string section;
  for (const OptionEntry& entry : list_options(config)) {
    const std::string mine = entry.key.substr(0, entry.key.find('.'));
    if (mine != "model" && entry.key != "pretrain.from") continue;
    if (mine != section) ini += "[" + mine + "]\n";
    section = mine;
    ini += entry.key.substr(mine.size() + 1) + " = " + entry.text + "\n";
  }
  replace_file(folder / "import.ini", bytes_of(ini));
  return file;
}

std::string digest_of(const PolicyFile& policy) {
  Sha256 sha;
  sha.update(config_json(policy));
  for (const std::string& token : policy.token) sha.update(token + '\n');
  sha.update(weights_digest(policy.tensors));
  return hex(sha.finish());
}

std::vector<float> adapted_policy(const PolicyFile& policy, const RunConfig& config,
                                  const std::vector<std::string>& vocabulary,
                                  const NetLayout& layout) {
  RunConfig same = config;
  same.model = policy.model;
  const auto asked = list_options(config);
  const auto given = list_options(same);
  for (std::size_t i = 0; i < asked.size(); ++i)
    MOTLEY_REQUIRE(asked[i].text == given[i].text, ErrorKind::config, asked[i].key,
                   ": must be that of pretrain.from = ", config.pretrain.from, ", got ",
                   asked[i].text, "; allowed: ", given[i].text);
  std::map<std::string, int> ids;
  for (std::size_t id = 0; id < policy.token.size(); ++id)
    if (!policy.token[id].empty()) ids.emplace(policy.token[id], static_cast<int>(id));
  std::vector<int> row(vocabulary.size());
  std::vector<std::string> missing;
  for (std::size_t v = 0; v < vocabulary.size(); ++v) {
    row[v] = id_of(ids, vocabulary[v]);
    if (v == kEos && policy.special.eos >= 0) row[v] = policy.special.eos;
    // Nothing reads the padding's row but its own logit: any token that is no word will do.
    if (v == kPad)
      for (const int id : {policy.special.bos, policy.special.unk, policy.special.pad})
        if (id >= 0) row[v] = id;
    if (row[v] < 0) missing.push_back(vocabulary[v]);
  }
  if (!missing.empty()) {
    const std::size_t n = missing.size();
    if (n > 5) missing.resize(5);
    throw Error(ErrorKind::input,
                concat("pretrain.from: the tokenizer of ", config.pretrain.from, " lacks ", n,
                       " of the ", vocabulary.size(), " tokens of task.name = ", config.task.name,
                       ", got no ", join(missing), n > 5 ? ", ..." : "",
                       "; allowed: a tokenizer with every one of them as one token"));
  }
  std::vector<float> out(static_cast<std::size_t>(layout.net.size), 0.0f);
  for (std::size_t i = 0; i < layout.tensors.tensors().size(); ++i) {
    const TensorSpec& spec = layout.tensors.tensors()[i];
    const std::vector<float> values = policy.tensors[i].floats();
    float* to = out.data() + spec.offset;
    if (spec.name != "model.embed_tokens.weight" && spec.name != "lm_head.weight") {
      std::copy(values.begin(), values.end(), to);
      continue;
    }
    for (std::size_t v = 0; v < row.size(); ++v)
      std::copy_n(values.begin() + std::ptrdiff_t{row[v]} * spec.cols, spec.cols,
                  to + static_cast<std::ptrdiff_t>(v) * spec.cols);
  }
  return out;
}

LoadedPolicy load_policy(const PolicyFile& policy, int positions) {
  LoadedPolicy out;
  TransformerConfig model = policy.model;
  model.max_positions = positions;
  out.layout = make_net_layout(model, true);
  out.weights = make_weights<float>("policy", 1, out.layout.net, policy.model.rope_theta);
  const auto host = Kokkos::create_mirror(out.weights.params);
  for (std::size_t i = 0; i < policy.tensors.size(); ++i) {
    const std::vector<float> values = policy.tensors[i].floats();
    std::copy(values.begin(), values.end(), &host(0, out.layout.tensors.tensors()[i].offset));
  }
  Kokkos::deep_copy(out.weights.params, host);
  pack_weights(Exec(), out.layout.net, out.weights);
  return out;
}

}  // namespace motley
