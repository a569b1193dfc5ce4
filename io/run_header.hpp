#pragma once
/// Everything a run file says before the first step.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/shape.hpp"

namespace motley {

/// In the file: bool u1, integer i8, double f8, text variable-length UTF-8.
using AttributeValue = std::variant<bool, std::int64_t, double, std::string>;

struct Attribute {
  std::string key;
  AttributeValue value;
};

/// The numbers stand in the file (flag_meanings of /status).
enum class RunStatus : int { running = 0, complete = 1, interrupted = 2, failed = 3 };
std::string_view name_of(RunStatus status);

enum class LogProbFormat { f32, f16, none };

/// The [log] section, as far as it shapes the file.
struct LogOptions {
  int rollouts_every = 1;  ///< /rollouts and /partition hold the steps divisible by it; 0 = none
  LogProbFormat log_prob = LogProbFormat::f32;
  bool entropy = false;
  bool pair_score = false;
  bool kept_mass = false;
  int diagnostics_every = 0;  ///< /diagnostics holds the steps divisible by it; 0 = none
  bool eval_samples = false;  ///< /eval holds its samples
  bool eval_exact = false;    ///< /eval holds figures by enumeration
  bool old_log_prob = false;
};

/// Rows of /prompts. N prompts of at most P tokens.
struct PromptColumns {
  std::vector<std::string> text;  ///< [N]
  std::vector<int> token;         ///< [N,P] row-major, pad 0
  std::vector<int> length;        ///< [N]
  std::vector<int> split;         ///< [N] 0 train, 1 eval
  std::vector<int> n_classes;     ///< [N] true number of semantic classes, -1 unknown
  std::vector<float> difficulty;  ///< [N]
};

struct RunHeader {
  std::string title = "motley run";
  std::string run_name;
  std::string motley_version, git_commit, created_utc;
  bool git_dirty = false;
  std::uint64_t seed = 0;
  std::string config_sha256;          ///< 64 hexadecimal digits; "" = SHA-256 of `ini`
  std::vector<Attribute> config;      ///< full dotted keys, one per option
  std::string ini;                    ///< the text that reproduces the run
  std::vector<Attribute> provenance;  ///< command_line, compiler, threads, ...; integers as i4

  std::vector<std::string> vocab;  ///< [V]
  std::vector<bool> special;       ///< [V]
  PromptColumns prompts;

  Shape shape;  ///< B, G, P, T, V of the run; R is not looked at (a file holds one replica)
  std::int64_t steps = 0;   ///< planned
  std::vector<int> eval_k;  ///< [K]; empty = the file has no /eval
  int eval_prompts = 0;     ///< Q; 0 = the file has no /eval
  int eval_samples = 0;     ///< M
  LogOptions log;
};

}  // namespace motley
