#pragma once
/// From text to RunConfig: layers, places, and all faults at once.
///
/// Order of the layers: defaults < include = files < -c files < sweep cell < command line. The
/// environment sets no option. `run.method` and `advantage.estimator` expand where they are
/// written: they override what earlier layers set, and keys of the same or a later layer override
/// them. Of several run.method the last alone counts: a method that an earlier layer named leaves
/// nothing behind.

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "experiments/run_config.hpp"

namespace motley {

/// One `key = value` with where it stands: "base.ini:12" or "command line".
struct Assignment {
  std::string key, value, place;
};

/// The assignments of one source, in order. A file that includes others is several layers in one:
/// each included file, then its own text.
struct Layer {
  std::vector<Assignment> assignments;
  std::vector<std::size_t> breaks = {};  ///< where a later layer begins
};

/// Faults collected while reading; thrown together.
class Faults {
 public:
  void add(std::string line) { lines_.push_back(std::move(line)); }
  bool empty() const { return lines_.empty(); }
  /// Throws Error(config) with one line per fault, if there is one.
  void raise() const;

 private:
  std::vector<std::string> lines_;
};

/// Sections and keys of an INI text: `;` and `#` comments outside quotes, quoted values, BOM
/// skipped, `include = file` relative to the file, duplicates refused with both lines.
/// Keys come back as `section.name`, in order.
Layer read_ini(const std::string& text, const std::string& name, const std::string& folder,
               Faults& faults);
Layer read_ini_file(const std::string& path, Faults& faults);

/// `key=value` words of the command line.
Layer read_overrides(const std::vector<std::string>& words, Faults& faults);

struct Configured {
  RunConfig config;
  std::map<std::string, std::string> origin;  ///< key -> place, "default" where not set
};

/// Applies the layers in order, checks every value and every contradiction.
Configured configure(const std::vector<Layer>& layers, Faults& faults);
/// The same, throwing.
Configured configure(const std::vector<Layer>& layers);

/// Adds a fault for every contradiction between keys (config_check.cpp).
void check_contradictions(const Configured& configured, Faults& faults);

/// All keys with their values, by section; read back it gives the same configuration.
std::string effective_ini(const RunConfig& config);
RunConfig config_from_ini(const std::string& ini, const std::string& name);

/// SHA-256 over the keys that decide the result: all but names, device, threads, cache, log.* and
/// checkpoint.*.
std::string config_sha256(const RunConfig& config);
/// Does the key decide the result?
bool decides_result(const std::string& key);
/// False for an option of a registered method that the run does not use (registered.cpp).
bool in_use(const RunConfig& config, const std::string& key);
/// Is it an option of a registered partitioner or shaping? Such may differ between the runs of a
/// batch and shape no rollout.
bool belongs_to_method(const std::string& key);
/// Faults of what is registered: a name that is taken, by another method or by a section of
/// options, or is no name. Throws Error(config) with one line each.
void check_registered();
/// "name: sentence" of the registered values of a choice.
std::vector<std::string> registered_texts(const std::string& key);

using OptionValue = std::variant<bool, std::int64_t, double, std::string>;
struct OptionEntry {
  std::string key;
  OptionValue value;
  std::string text;  ///< value as written in an ini file
  std::string default_text;
  std::string type, unit, allowed, help;
  /// False for an option of a registered method that is neither in use nor set: effective
  /// configurations, digests and run files leave it out, so that a run says the same, and is read
  /// by any motley, whatever else the program that made it could do.
  bool shown = true;
};
/// False for an option that came after the first files were written, at its default: what
/// identifies a configuration (config_sha256, the key of a base policy) leaves it out, so that
/// older files keep their hashes. A new option whose default is the old behaviour is added there.
bool identifies(const OptionEntry& entry);
/// Every option with its value, for files, help and docs.
std::vector<OptionEntry> list_options(const RunConfig& config);
std::vector<std::string> option_keys();

/// A value parsed as an integer in the forms 100, 1e3, 1_000, 4k; false if it is none.
bool parse_integer(const std::string& text, std::int64_t& value);
bool parse_number(const std::string& text, double& value);

/// Arguments of a subcommand.
struct FlagSpec {
  std::string name;   ///< "config"
  char letter;        ///< 'c', or 0
  char alias;         ///< another letter, or 0
  std::string value;  ///< name of the value in the help, "" for a switch
  std::string text;
};
struct CommandLine {
  std::vector<std::string> positional;
  std::vector<std::string> overrides;                     ///< key=value words
  std::map<std::string, std::vector<std::string>> flags;  ///< by long name
  bool has(const std::string& flag) const { return flags.count(flag) > 0; }
  std::string get(const std::string& flag, const std::string& otherwise) const;
};
/// Splits words by the flags of a subcommand; unknown flags are Error(config) with the nearest.
CommandLine parse_command_line(const std::string& command, const std::vector<std::string>& words,
                               const std::vector<FlagSpec>& flags);
/// The part of the help that lists flags.
std::string flag_help(const std::vector<FlagSpec>& flags);

}  // namespace motley
