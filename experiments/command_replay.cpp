/// motley replay: steps of a run made again, and compared with its log number by number.

#include <algorithm>
#include <cstdio>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/base/rng.hpp"
#include "experiments/cli.hpp"
#include "experiments/machine.hpp"
#include "experiments/replay.hpp"
#include "experiments/run_status.hpp"
#include "io/step_compare.hpp"

namespace motley {

namespace {

struct Address {
  std::int64_t step = 0;
  StepAddress part;
};

/// What was asked of one run, in rising order of steps.
using Addresses = std::vector<Address>;

/// Random completions: run i of n, step, prompt and rollout by addressed draws.
std::vector<Addresses> random_addresses(const std::vector<std::string>& files, std::int64_t count,
                                        std::uint64_t seed) {
  std::vector<Addresses> out(files.size());
  for (std::size_t f = 0; f < files.size(); ++f) {
    const RunReader reader(files[f]);
    const std::vector<std::int64_t> steps = reader.rollout_steps();
    MOTLEY_REQUIRE(!steps.empty(), ErrorKind::input, files[f], ": no rollouts are logged");
    const RolloutStep shape = reader.rollouts(steps.front());
    for (auto i = static_cast<std::int64_t>(f); i < count;
         i += static_cast<std::int64_t>(files.size())) {
      const Philox4 bits =
          draw_bits({seed, Stream::order, 0}, static_cast<std::uint32_t>(i), 0xFFFFFFFFu);
      const auto below = [&](int word, std::size_t n) {
        return uniform_below(bits.x[word], static_cast<std::uint32_t>(n));
      };
      out[f].push_back({steps[below(0, steps.size())],
                        {static_cast<int>(below(1, static_cast<std::size_t>(shape.B))),
                         static_cast<int>(below(2, static_cast<std::size_t>(shape.G)))}});
    }
    std::stable_sort(out[f].begin(), out[f].end(),
                     [](const Address& a, const Address& b) { return a.step < b.step; });
  }
  return out;
}

/// --step, --prompt, --rollout of the command line, for every run.
Address asked_address(const CommandLine& line) {
  MOTLEY_REQUIRE(line.has("step"), ErrorKind::config,
                 "motley replay: which step? give --step S, or --random N");
  Address a;
  a.step = count_flag(line, "step", 0, 0);
  a.part.prompt = static_cast<int>(count_flag(line, "prompt", -1, 0));
  a.part.rollout = static_cast<int>(count_flag(line, "rollout", -1, 0));
  MOTLEY_REQUIRE(a.part.rollout < 0 || a.part.prompt >= 0, ErrorKind::config,
                 "--rollout: of which prompt? give --prompt B as well");
  return a;
}

void require_inside(const Address& a, const Shape& shape) {
  MOTLEY_REQUIRE(a.part.prompt < shape.B, ErrorKind::config, "--prompt: out of range, got ",
                 a.part.prompt, "; allowed: [0, ", shape.B - 1, "]");
  MOTLEY_REQUIRE(a.part.rollout < shape.G, ErrorKind::config, "--rollout: out of range, got ",
                 a.part.rollout, "; allowed: [0, ", shape.G - 1, "]");
}

/// Equal bits are promised to equal builds on one kind of processor: says where this is another.
std::string other_maker(const RunReader& reader) {
  std::string out;
  const std::vector<Attribute> made = reader.provenance(), here = machine_provenance();
  for (const char* name :
       {"compiler", "compiler_flags", "build_type", "kokkos_version", "backend", "device"}) {
    const auto value = [&](const std::vector<Attribute>& all) {
      for (const Attribute& a : all)
        if (a.key == name && std::holds_alternative<std::string>(a.value))
          return std::get<std::string>(a.value);
      return std::string();
    };
    if (value(made) != value(here))
      out += concat(out.empty() ? "" : "; ", name, " was ", value(made), ", is ", value(here));
  }
  return out;
}

nlohmann::json json_of(const std::string& run, std::int64_t step, const FieldDifference& d) {
  return {{"run", run},         {"step", step},           {"field", d.path},
          {"prompt", d.prompt}, {"rollout", d.rollout},   {"position", d.position},
          {"logged", d.logged}, {"replayed", d.replayed}, {"count", d.count},
          {"of", d.of}};
}

/// What came of all addresses.
struct Tally {
  std::int64_t addresses = 0, equal = 0;
  std::set<std::string> fields;
  nlohmann::json differences = nlohmann::json::array();
  nlohmann::json parted = nlohmann::json::object();
};

void replay_run(const std::string& run, const std::string& file, const Addresses& addresses,
                const CommandLine& line, Tally& tally) {
  const bool quiet = line.has("quiet") || line.has("json");
  const Message say = [&](const std::string& text) {
    if (!line.has("quiet")) std::fprintf(stderr, "%s\n", text.c_str());
  };
  Replay replay(file, line.has("from-base"), say);
  bool any_different = false;
  for (const Address& a : addresses) {
    const StepRecord& record = replay.regenerate(a.step);
    require_inside(a, record.shape);
    const StepComparison c = compare_step(replay.reader(), record, 0, a.part);
    ++tally.addresses;
    tally.equal += c.equal() ? 1 : 0;
    tally.fields.insert(c.fields.begin(), c.fields.end());
    for (const FieldDifference& d : c.differences) {
      any_different = true;
      tally.differences.push_back(json_of(run, a.step, d));
      if (!quiet)
        std::printf("%s: step %lld: %s\n", run.c_str(), static_cast<long long>(a.step),
                    d.text().c_str());
    }
  }
  if (replay.first_parted()) {
    tally.parted[run] = *replay.first_parted();
    if (!quiet)
      std::printf("%s: the parameters part from the log's in step %lld\n", run.c_str(),
                  static_cast<long long>(*replay.first_parted()));
  }
  say(concat(run, ": ", replay.steps_made(), " steps made again, the last from ",
             replay.started_from()));
  const std::string other = other_maker(replay.reader());
  if (any_different && !other.empty())
    say(concat(run,
               ": equal bits are promised to the same build on the same kind of machine: ", other));
}

int run_replay(const CommandLine& line) {
  require_words(line, "replay", 1, 10000, "RUN");
  std::vector<std::string> runs;
  for (const auto& folder : run_folders(line.positional)) runs.push_back(folder.string());
  MOTLEY_REQUIRE(!runs.empty(), ErrorKind::input, line.positional[0], ": no runs there");
  std::vector<std::string> files;
  for (const std::string& run : runs) files.push_back(run_file_of(run));

  std::vector<Addresses> addresses(files.size());
  if (line.has("random")) {
    MOTLEY_REQUIRE(!line.has("step"), ErrorKind::config, "--random: not beside --step");
    addresses = random_addresses(files, count_flag(line, "random", 1, 1),
                                 static_cast<std::uint64_t>(count_flag(line, "draw-seed", 0, 0)));
  } else {
    addresses.assign(files.size(), {asked_address(line)});
  }
  Tally tally;
  for (std::size_t i = 0; i < files.size(); ++i)
    if (!addresses[i].empty()) replay_run(runs[i], files[i], addresses[i], line, tally);

  if (line.has("json")) {
    std::printf("%s\n", nlohmann::json{{"addresses", tally.addresses},
                                       {"equal", tally.equal},
                                       {"fields", tally.fields},
                                       {"differences", tally.differences},
                                       {"parted", tally.parted}}
                            .dump()
                            .c_str());
  } else {
    std::printf("%lld of %lld equal, %zu fields each\n", static_cast<long long>(tally.equal),
                static_cast<long long>(tally.addresses), tally.fields.size());
  }
  return tally.equal == tally.addresses ? 0 : 4;
}

}  // namespace

const Command kReplay = {
    "replay",
    "RUN|SWEEP ... --step S [--prompt B [--rollout G]] | --random N",
    "makes logged steps again from the nearest checkpoint and compares them with the log, bit for bit",
    "  motley replay runs/first --step 100\n"
    "  motley replay runs/first --step 100 --prompt 3 --rollout 2\n"
    "  motley replay runs/quickstart --random 1000     # completions drawn over all runs of a sweep\n",
    {{"step", 0, 0, "S", "the step to make again"},
     {"prompt", 0, 0, "B", "compare this prompt of the step only"},
     {"rollout", 0, 0, "G", "compare this rollout of the prompt only"},
     {"random", 0, 0, "N", "N completions drawn at random, spread over the runs"},
     {"draw-seed", 0, 0, "SEED", "seed of --random; default 0"},
     {"from-base", 0, 0, "", "start at step 0, whatever checkpoints there are"}},
    true,
    run_replay,
    looks};

}  // namespace motley
