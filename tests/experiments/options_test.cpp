/// From text to configuration: ini files, layers, values, and what is said about faults.

#include "experiments/options.hpp"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "tests/temporary_folder.hpp"

namespace motley::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// `key = value (place)` of every assignment.
std::vector<std::string> listed(const Layer& layer) {
  std::vector<std::string> out;
  for (const Assignment& a : layer.assignments)
    out.push_back(a.key + " = " + a.value + " (" + a.place + ")");
  return out;
}

std::vector<std::string> lines_of(const Faults& faults) {
  std::vector<std::string> out;
  try {
    faults.raise();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::config);
    std::string text = error.what();
    for (std::size_t at = 0; at <= text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      out.push_back(text.substr(at, end - at));
      at = end + 1;
    }
  }
  return out;
}

std::vector<std::string> faults_of(const std::string& ini) {
  Faults faults;
  const Layer layer = read_ini(ini, "x.ini", "", faults);
  configure({layer}, faults);
  return lines_of(faults);
}

RunConfig config_of(const std::vector<std::string>& inis,
                    const std::vector<std::string>& words = {}) {
  Faults faults;
  std::vector<Layer> layers;
  for (const std::string& ini : inis) layers.push_back(read_ini(ini, "x.ini", "", faults));
  layers.push_back(read_overrides(words, faults));
  const RunConfig config = configure(layers, faults).config;
  EXPECT_EQ(lines_of(faults), std::vector<std::string>{});
  return config;
}

class Folder : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path();
};

TEST(Ini, CommentsQuotesBlanksLineEndsAndByteOrderMark) {
  Faults faults;
  const Layer layer = read_ini(
      "\xEF\xBB\xBF; first\n\n[ run ]\r\n name = \"a # b; c\" # rest\r\nmethod=grpo;x\n# [task]\n"
      "device = 'say \"cpu\"'\n[eval]\nk = 1, 4\n  [log]  ; comment\nrollouts =\n",
      "x.ini", "", faults);
  EXPECT_THAT(listed(layer),
              ElementsAre("run.name = a # b; c (x.ini:4)", "run.method = grpo (x.ini:5)",
                          "run.device = say \"cpu\" (x.ini:7)", "eval.k = 1, 4 (x.ini:9)",
                          "log.rollouts =  (x.ini:11)"));
  EXPECT_TRUE(faults.empty());
}

TEST(Ini, BrokenLinesAndDuplicatesAreAllReportedWithTheirLines) {
  Faults faults;
  const Layer layer =
      read_ini("[run\nseed 7\n[run]\nseed = 1\n[task]\nskew = .5\n[run]\nseed = 2\n[]\n", "x.ini",
               "", faults);
  EXPECT_THAT(listed(layer), ElementsAre("run.seed = 1 (x.ini:4)", "task.skew = .5 (x.ini:6)"));
  EXPECT_THAT(lines_of(faults),
              ElementsAre("x.ini:1: broken section header, got \"[run\"; allowed: [name]",
                          "x.ini:2: not an assignment, got \"seed 7\"; allowed: key = value",
                          "run.seed (x.ini:8): set twice, first in line 4",
                          "x.ini:9: broken section header, got \"[]\"; allowed: [name]"));
}

TEST(Ini, WordsOfTheCommandLine) {
  Faults faults;
  const Layer layer = read_overrides(
      {"run.name=\"x y\"", "optim.lr=1e-3", "run.seed=1", "run.seed=2", "kl.coef"}, faults);
  EXPECT_EQ(layer.assignments.at(0).value, "x y");
  EXPECT_EQ(layer.assignments.at(1).place, "command line");
  const std::vector<std::string> lines = lines_of(faults);
  ASSERT_GE(lines.size(), 1u);
  EXPECT_EQ(lines[0], "run.seed (command line): set twice, got \"1\" and \"2\"");
}

TEST_F(Folder, IncludesAreRelativeAndComeFirst) {
  write("main.ini", "include = sub/base.ini\n[run]\nseed = 3\n");
  write("sub/base.ini", "include = more.ini\n[run]\nseed = 2\nsteps = 20\n");
  write("sub/more.ini", "[run]\nseed = 1\nsteps = 10\nthreads = 2\n");
  Faults faults;
  const Layer layer = read_ini_file((path / "main.ini").string(), faults);
  const Configured c = configure({layer}, faults);
  EXPECT_EQ(lines_of(faults), std::vector<std::string>{});
  EXPECT_EQ(c.config.run.seed, 3u);
  EXPECT_EQ(c.config.run.steps, 20);
  EXPECT_EQ(c.config.run.threads, 2);
  EXPECT_EQ(c.origin.at("run.seed"), "main.ini:3");
  EXPECT_EQ(c.origin.at("run.steps"), "base.ini:4");
  EXPECT_EQ(c.origin.at("run.threads"), "more.ini:4");
  EXPECT_EQ(c.origin.at("optim.lr"), "default");
}

TEST_F(Folder, MissingAndEndlessIncludesAndMissingFilesAreFaults) {
  write("main.ini", "include = none.ini\n");
  write("loop.ini", "include = loop.ini\n");
  Faults faults;
  read_ini_file((path / "main.ini").string(), faults);
  read_ini_file((path / "loop.ini").string(), faults);
  read_ini_file((path / "absent.ini").string(), faults);
  read_ini_file(path.string(), faults);
  const std::vector<std::string> lines = lines_of(faults);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_THAT(lines[0], HasSubstr("main.ini:1: cannot read the included file, got \""));
  EXPECT_THAT(lines[1], HasSubstr("loop.ini:1: includes nest deeper than 8"));
  EXPECT_THAT(lines[2], HasSubstr("absent.ini: cannot read the configuration file"));
  EXPECT_THAT(lines[3], HasSubstr("cannot read the configuration file"));
}

TEST(Layers, LaterLayersWinAndTheCommandLineWinsLast) {
  const RunConfig c =
      config_of({"[run]\nseed = 1\nsteps = 11\nthreads = 1\n", "[run]\nseed = 2\nsteps = 12\n"},
                {"run.seed=3"});
  EXPECT_EQ(c.run.seed, 3u);
  EXPECT_EQ(c.run.steps, 12);
  EXPECT_EQ(c.run.threads, 1);
}

TEST(Layers, APresetOverridesEarlierLayersAndYieldsToItsOwn) {
  // The key stands before the preset in the same file, and still wins.
  const RunConfig same = config_of({"[diversity]\nfloor = 0.3\n[run]\nmethod = darling\n"});
  EXPECT_EQ(same.diversity.floor, 0.3);
  EXPECT_EQ(same.diversity.shaping, Shaping::multiplicative);
  // A key of an earlier layer does not.
  const RunConfig earlier = config_of({"[diversity]\nfloor = 0.3\n", "[run]\nmethod = darling\n"});
  EXPECT_EQ(earlier.diversity.floor, 0.1);
  // A key of a later layer does.
  const RunConfig later = config_of({"[run]\nmethod = darling\n", "[diversity]\nfloor = 0.3\n"});
  EXPECT_EQ(later.diversity.floor, 0.3);
  const RunConfig words =
      config_of({"[run]\nmethod = darling\n"}, {"diversity.shaping=none", "run.method=grpo"});
  EXPECT_EQ(words.diversity.shaping, Shaping::none);
  EXPECT_EQ(words.advantage.norm, AdvantageNorm::group);
}

TEST(Layers, AnEstimatorBesideAMethodExpandsWhereverItStands) {
  for (const char* ini : {"[advantage]\nestimator = rloo\n[run]\nmethod = grpo\n",
                          "[run]\nmethod = grpo\n[advantage]\nestimator = rloo\n"}) {
    const RunConfig c = config_of({ini});
    EXPECT_EQ(c.advantage.baseline, Baseline::loo) << ini;
    EXPECT_EQ(c.advantage.norm, AdvantageNorm::none) << ini;
  }
  const RunConfig c = config_of({"[advantage]\nestimator = rloo\nbaseline = mean\n"});
  EXPECT_EQ(c.advantage.baseline, Baseline::mean);
}

TEST_F(Folder, APresetOverridesWhatItsFileIncludes) {
  write("main.ini", "include = base.ini\n[run]\nmethod = darling\n");
  write("base.ini", "[run]\nmethod = grpo\n[diversity]\nfloor = 0.3\n[advantage]\nnorm = batch\n");
  Faults faults;
  const Configured c = configure({read_ini_file((path / "main.ini").string(), faults)}, faults);
  EXPECT_EQ(lines_of(faults), std::vector<std::string>{});
  EXPECT_EQ(c.config.diversity.floor, 0.1);
  EXPECT_EQ(c.config.advantage.norm, AdvantageNorm::none);
  EXPECT_EQ(c.origin.at("diversity.floor"), "run.method = darling, main.ini:3");
}

TEST(Values, IntegerForms) {
  for (const auto& [text, value] : std::vector<std::pair<std::string, std::int64_t>>{
           {"100", 100},
           {"1e3", 1000},
           {"1_000", 1000},
           {"4k", 4000},
           {"2M", 2000000},
           {"1.5k", 1500},
           {"-1", -1},
           {"+7", 7},
           {"1_0_0", 100},
           {"0", 0},
           {"2.0", 2},
           {"9007199254740993", 9007199254740993},
           {"9200000000000000000", 9200000000000000000}}) {
    std::int64_t x = -77;
    EXPECT_TRUE(parse_integer(text, x)) << text;
    EXPECT_EQ(x, value) << text;
  }
  for (const char* text : {"", "x", "1.5", "1e", "1 000", "k", "_", "nan", "inf", "1e300", "0x10",
                           "4kk", "4 k", "--1", "1e-1"}) {
    std::int64_t x = 0;
    EXPECT_FALSE(parse_integer(text, x)) << text;
  }
}

TEST(Values, NumberForms) {
  for (const auto& [text, value] : std::vector<std::pair<std::string, double>>{{"0.1", 0.1},
                                                                               {".5", 0.5},
                                                                               {"1e-3", 1e-3},
                                                                               {"1_000.5", 1000.5},
                                                                               {"-2.5", -2.5},
                                                                               {"3k", 3000.0}}) {
    double x = -77;
    EXPECT_TRUE(parse_number(text, x)) << text;
    EXPECT_EQ(x, value) << text;
  }
  for (const char* text : {"", "nan", "inf", "-inf", "1e999", "1,5", "1.2.3", "one", "1 2"}) {
    double x = 0;
    EXPECT_FALSE(parse_number(text, x)) << text;
  }
}

TEST(Values, EveryChoiceIsAcceptedAndReadsBack) {
  int choices = 0;
  const RunConfig defaults;
  for (const OptionEntry& option : list_options(defaults)) {
    EXPECT_NE(option.help, "") << option.key;
    EXPECT_NE(option.type, "") << option.key;
    EXPECT_NE(option.unit, "") << option.key;
    EXPECT_NE(option.allowed, "") << option.key;
    EXPECT_EQ(option.text, option.default_text) << option.key;
    if (option.type != "choice" && option.key != "run.method" && option.key != "run.device" &&
        option.type != "switch")
      continue;
    for (std::size_t at = 0; at < option.allowed.size();) {
      const auto end = std::min(option.allowed.find(", ", at), option.allowed.size());
      const std::string word = option.allowed.substr(at, end - at);
      at = end + 2;
      // Contradictions with the other defaults are another matter: only the value is judged here.
      for (const std::string& line :
           faults_of("[" + option.key.substr(0, option.key.find('.')) + "]\n" +
                     option.key.substr(option.key.find('.') + 1) + " = " + word + "\n")) {
        EXPECT_THAT(line, ::testing::Not(HasSubstr("unknown value"))) << option.key;
        EXPECT_THAT(line, ::testing::Not(HasSubstr("not a switch"))) << option.key;
      }
      ++choices;
    }
  }
  EXPECT_GT(choices, 60);
}

TEST(Values, TextsWithAwkwardCharactersReadBackTheSame) {
  RunConfig c;
  for (const char* name : {"plain", "", "two words", "a # b", "semi;colon", "say \"hi\"; # now",
                           "it's", " blanks ", "a=b", "[x]", "\xC3\xBC", "\"", "'"}) {
    c.run.name = name;
    const RunConfig back = config_from_ini(effective_ini(c), "printed");
    EXPECT_EQ(back.run.name, name);
    EXPECT_EQ(effective_ini(back), effective_ini(c));
  }
  for (const char* word : {"run.name=a\nb", "run.name=both ' and \"", "run.name=a\rb"}) {
    Faults faults;
    configure({read_overrides({word}, faults)}, faults);
    ASSERT_EQ(lines_of(faults).size(), 1u);
    EXPECT_THAT(lines_of(faults)[0], HasSubstr("not one line that an ini file can hold"));
  }
}

TEST(Faults, AllAtOnceEachWithPlaceValueAndWhatIsAllowed) {
  EXPECT_THAT(
      faults_of("[optim]\nlrr = 1\n[partition]\nmethod = clasifier\n[rollout]\ngroup_size = 0\n"
                "prompts = many\n[kl]\ncoef = nan\n[model]\ntied = maybe\n[eval]\nk = 1,x\n[log]\n"
                "rollouts = every:0\n[task]\nname = chess\n"),
      ElementsAre(
          "optim.lrr (x.ini:2): unknown option; did you mean \"optim.lr\"?",
          ::testing::AllOf(
              HasSubstr("partition.method (x.ini:4): unknown value \"clasifier\"; allowed: "),
              HasSubstr("did you mean \"classifier\"?")),
          "rollout.group_size (x.ini:6): out of range, got 0; allowed: [1, 4096]",
          "rollout.prompts (x.ini:7): not an integer, got \"many\"; allowed: [1, 1e+06]",
          "kl.coef (x.ini:9): not a finite number, got \"nan\"; allowed: [0, 1e+06]",
          "model.tied (x.ini:11): not a switch, got \"maybe\"; allowed: on, off",
          HasSubstr("eval.k (x.ini:13): not a list of integers, got \"1,x\"; allowed: "),
          "log.rollouts (x.ini:15): unknown value \"every:0\"; allowed: all, every:N, none",
          HasSubstr("task.name (x.ini:17): unknown value \"chess\"; allowed: scratchpad")));
}

TEST(Faults, AKeyWithoutItsSectionNamesTheSection) {
  EXPECT_THAT(faults_of("group_size = 4\n"),
              ElementsAre("group_size (x.ini:1): unknown option; did you mean "
                          "\"rollout.group_size\"?"));
}

TEST(Faults, ContradictionsNameTheKeyThePlaceAndTheOtherKey) {
  const auto expect = [](const std::string& ini, const std::string& text) {
    const std::vector<std::string> lines = faults_of(ini);
    EXPECT_THAT(lines, ::testing::Contains(HasSubstr(text))) << ini;
  };
  expect("[rollout]\ngroup_size = 1\n[run]\nmethod = grpo\n",
         "rollout.group_size (x.ini:2): a group of 1 has no deviation to divide by, got 1");
  expect("[rollout]\ngroup_size = 1\n[run]\nmethod = rloo\n",
         "a group of 1 has no other completion");
  expect("[rollout]\ngroup_size = 1\n", "a group of 1 has no diversity, got 1");
  expect("[model]\nwidth = 30\nheads = 4\n", "model.heads (x.ini:3): must divide model.width = 30");
  expect("[model]\nwidth = 12\nheads = 4\n", "the width of a head must be even");
  expect("[model]\nkv_heads = 3\n", "model.kv_heads (x.ini:2): must divide model.heads = 4, got 3");
  expect("[classifier]\nheads = 5\n", "classifier.heads (x.ini:2)");
  expect("[eval]\nsamples = 8\nk = 1,16\n", "got k = 16 with eval.samples = 8");
  expect("[loss]\nminibatches = 64\n", "loss.minibatches (x.ini:2): a minibatch needs a prompt");
  expect("[checkpoint]\nevery_steps = 0\nevery_minutes = 0\n", "allowed: one of them at most");
}

}  // namespace
}  // namespace motley::test
