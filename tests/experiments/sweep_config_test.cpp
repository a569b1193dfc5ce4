/// Sweep files: what becomes a cell, what is said of a bad file, how shards part the cells.

#include "experiments/sweep_config.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "experiments/sweep_axis.hpp"
#include "experiments/sweep_emit.hpp"
#include "experiments/sweep_plan.hpp"
#include "experiments/sweep_rule.hpp"
#include "tests/temporary_folder.hpp"

namespace motley {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class SweepFile : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder_ / "base.ini") << "[run]\nsteps = 5\n[optim]\nlr = 1e-3\n";
  }

  SweepConfig read(const std::string& text, const std::vector<std::string>& overrides = {}) {
    std::ofstream(folder_ / "sweep.ini") << text;
    return read_sweep((folder_ / "sweep.ini").string(), overrides);
  }
  /// All faults, one line each.
  std::vector<std::string> faults(const std::string& text) {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::config);
      std::vector<std::string> lines;
      std::istringstream in(error.what());
      for (std::string line; std::getline(in, line);) lines.push_back(line);
      return lines;
    }
    return {};
  }
  const test::TemporaryFolder folder_;
};

std::vector<std::string> arms_of(const SweepConfig& sweep) {
  std::vector<std::string> out;
  for (const SweepCell& cell : sweep.cells) out.push_back(cell.arm);
  return out;
}

std::vector<double> rates_of(const SweepConfig& sweep) {
  std::vector<double> out;
  for (const SweepCell& cell : sweep.cells) out.push_back(cell.config.optim.lr);
  return out;
}

SweepAxis axis_of(const std::string& text, Faults& faults) {
  return read_axis({"optim.lr", text, "sweep.ini:3"}, faults);
}

TEST(SweepAxis, Forms) {
  Faults faults;
  EXPECT_THAT(axis_of("a, b,c", faults).values, ElementsAre("a", "b", "c"));
  EXPECT_THAT(axis_of("log(1e-4, 1e-2, 3)", faults).values, ElementsAre("0.0001", "0.001", "0.01"));
  EXPECT_THAT(axis_of("log(8, 1, 4)", faults).values, ElementsAre("8", "4", "2", "1"));
  EXPECT_THAT(axis_of("range(0, 3)", faults).values, ElementsAre("0", "1", "2"));
  EXPECT_THAT(axis_of("range(1, 2, .25)", faults).values, ElementsAre("1", "1.25", "1.5", "1.75"));
  // .1 + .1 + .1 is a hair below .3 as a double product would have it: the end stays out.
  EXPECT_THAT(axis_of("range(0, .3, .1)", faults).values, ElementsAre("0", "0.1", "0.2"));
  EXPECT_EQ(axis_of("uniform(1, 2)", faults).kind, SweepAxis::Kind::uniform);
  EXPECT_EQ(axis_of("log(1, 2)", faults).kind, SweepAxis::Kind::log_uniform);
  EXPECT_THAT(read_axis({"partition.merge", "*", "sweep.ini:3"}, faults).values,
              ElementsAre("single", "complete", "average"));
  EXPECT_TRUE(faults.empty());
  for (const char* bad : {"log(1)", "log(0, 1, 3)", "log(1, 2, 1)", "log(1, 2, 2.5)", "range(3, 1)",
                          "range(1, 2, 0)", "range(0, 1e9)", "uniform(2, 1)", "uniform(1)",
                          "log(1, x, 3)", "log(1, 2, 3", "a,,b", "logs(1, 2)", "*"}) {
    Faults fault;
    EXPECT_TRUE(axis_of(bad, fault).values.empty()) << bad;
    EXPECT_FALSE(fault.empty()) << bad;
  }
}

TEST(SweepAxis, DrawsFollowTheirDistributionAndTheirAddress) {
  Faults faults;
  const SweepAxis uniform = axis_of("uniform(2, 6)", faults), log = axis_of("log(1e-4, 1)", faults);
  SweepAxis other = log;
  other.key = "kl.coef";
  constexpr int n = 4000;
  double sum = 0, log_sum = 0, product = 0;
  std::set<std::string> seen;
  for (std::uint32_t i = 0; i < n; ++i) {
    const double u = (std::stod(draw_value(uniform, 3, i)) - 2) / 4;
    const double l = std::log10(std::stod(draw_value(log, 3, i))) / 4 + 1;
    const double o = std::log10(std::stod(draw_value(other, 3, i))) / 4 + 1;
    ASSERT_TRUE(u >= 0 && u < 1 && l > -1e-9 && l < 1 + 1e-9) << u << " " << l;
    sum += u;
    log_sum += l;
    product += (l - 0.5) * (o - 0.5);
    seen.insert(draw_value(uniform, 3, i));
  }
  // Mean of n uniforms: deviation 1 / sqrt(12 n); of n products of two: 1 / (12 sqrt(n)). 5 of
  // each.
  EXPECT_NEAR(sum / n, 0.5, 5 / std::sqrt(12.0 * n));
  EXPECT_NEAR(log_sum / n, 0.5, 5 / std::sqrt(12.0 * n));
  EXPECT_NEAR(product / n, 0, 5 / (12 * std::sqrt(double(n))));
  EXPECT_GT(seen.size(), 3990U);
  EXPECT_EQ(draw_value(uniform, 3, 7), draw_value(uniform, 3, 7));
  EXPECT_NE(draw_value(uniform, 3, 7), draw_value(uniform, 4, 7));
  const SweepAxis list = axis_of("a, b, c", faults);
  std::map<std::string, int> counts;
  for (std::uint32_t i = 0; i < 3000; ++i) ++counts[draw_value(list, 0, i)];
  // Binomial(3000, 1/3): deviation 25.8.
  for (const char* value : {"a", "b", "c"}) EXPECT_NEAR(counts[value], 1000, 130) << value;
}

TEST_F(SweepFile, GridIsTheProductAndSeedsAreOutermost) {
  const SweepConfig sweep = read(
      "[sweep]\nbase = base.ini\nseeds = 3:5\n[grid]\noptim.lr = 1e-4, 1e-3\nrun.method = "
      "grpo, darling\n");
  EXPECT_EQ(sweep.name, "sweep");
  ASSERT_EQ(sweep.cells.size(), 8U);
  EXPECT_THAT(arms_of(sweep),
              ElementsAre("1e-4,grpo", "1e-4,darling", "1e-3,grpo", "1e-3,darling", "1e-4,grpo",
                          "1e-4,darling", "1e-3,grpo", "1e-3,darling"));
  EXPECT_EQ(sweep.cells[0].config.run.seed, 3U);
  EXPECT_EQ(sweep.cells[4].config.run.seed, 4U);
  EXPECT_EQ(sweep.cells[0].config.run.steps, 5);
  EXPECT_EQ(sweep.cells[7].index, 7);
}

TEST_F(SweepFile, ZipGoesAlongTheListsTogether) {
  const SweepConfig sweep =
      read("[sweep]\nmethod = zip\n[grid]\noptim.lr = 1e-4, 1e-3\nrollout.group_size = 4, 8\n");
  ASSERT_EQ(sweep.cells.size(), 2U);
  EXPECT_EQ(sweep.cells[1].config.optim.lr, 1e-3);
  EXPECT_EQ(sweep.cells[1].config.rollout.group_size, 8);
  EXPECT_THAT(faults("[sweep]\nmethod = zip\n[grid]\noptim.lr = 1e-4, 1e-3\nrun.steps = 1, 2, 3\n"),
              ElementsAre("run.steps (sweep.ini:5): the lists of a zip are equally long, got 3; "
                          "allowed: 2, as optim.lr has"));
}

TEST_F(SweepFile, RandomDrawsAreTheSameForEveryArmAndExtend) {
  const std::string text =
      "[sweep]\nbase = base.ini\nmethod = random\nsamples = 3\nseed = 11\nseeds = 1:3\n[grid]\n"
      "optim.lr = log(1e-5, 1e-2)\n[arm.a]\nrun.method = grpo\n[arm.b]\nrun.method = darling\n";
  const SweepConfig sweep = read(text);
  ASSERT_EQ(sweep.cells.size(), 12U);
  EXPECT_EQ(sweep.cells[1].arm, "a,r001");
  const std::vector<double> lr = rates_of(sweep);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lr[i], lr[i + 3]);
    EXPECT_EQ(lr[i], lr[i + 6]);
    EXPECT_TRUE(lr[i] >= 1e-5 && lr[i] < 1e-2);
  }
  EXPECT_NE(lr[0], lr[1]);
  // More samples and one more axis: the first samples keep their values.
  std::string more = text;
  more.replace(more.find("samples = 3"), 11, "samples = 5");
  more.replace(more.find("[arm.a]"), 0, "entropy.coef = uniform(0, .1)\n");
  const std::vector<double> again = rates_of(read(more));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(again[i], lr[i]);
  EXPECT_THAT(manifest_of(sweep), HasSubstr("optim.lr = \""));
}

TEST_F(SweepFile, RulesKeepAndLeaveOut) {
  const std::string head = "[sweep]\nbase = base.ini\n";
  const std::string grid =
      "[grid]\nrun.method = grpo, dr_grpo, darling\noptim.lr = 1e-4, 2e-4, 1e-3\n";
  EXPECT_THAT(
      arms_of(read(head + "exclude = run.method=grpo|dr_grpo & optim.lr!=0.0002\n" + grid)),
      ElementsAre("grpo,2e-4", "dr_grpo,2e-4", "darling,1e-4", "darling,2e-4", "darling,1e-3"));
  EXPECT_THAT(
      arms_of(read(head + "exclude.fast = optim.lr>2e-4\nexclude.slow = optim.lr<=1e-4\n" + grid)),
      ElementsAre("grpo,2e-4", "dr_grpo,2e-4", "darling,2e-4"));
  EXPECT_THAT(arms_of(read(head +
                           "include.a = run.method=grpo & optim.lr>=1e-3\ninclude.b = "
                           "run.method=darling & optim.lr<2e-4\n" +
                           grid)),
              ElementsAre("grpo,1e-3", "darling,1e-4"));
  EXPECT_THAT(arms_of(read(head + "include = run.method=grpo\nexclude = optim.lr=1e-3\n" + grid)),
              ElementsAre("grpo,1e-4", "grpo,2e-4"));
  EXPECT_THAT(arms_of(read(head + "exclude = arm=b\n[arm.a]\nrun.method = grpo\n[arm.b]\n"
                                  "run.method = darling\n")),
              ElementsAre("a"));
  EXPECT_THAT(read(head + "exclude = run.method=rloo\n" + grid).warnings,
              ElementsAre("sweep.exclude (sweep.ini:3): holds for no cell"));
  EXPECT_THAT(faults(head + "exclude = optim.lr>0\n" + grid),
              ElementsAre(HasSubstr("the sweep has no cells")));
}

TEST_F(SweepFile, AllFaultsOfABadFileAtOnce) {
  EXPECT_THAT(
      faults(
          "[sweep]\nname = a/b\nbase = none.ini\nmethod = girid\nsamples = 3\nsedes = 1:3\n"
          "seeds = 5:2\nexclude = run.methd=grpo\nexclude.x = nonsense\nexclude.y = "
          "run.method>2x\n[grid]\noptim.lrr = 1, 2\noptim.lr = log(1, 2)\nkl.coef = range(2, 1)\n"
          "[other]\nx = 1\n[arm.a]\nrollout.group_size = many\n"),
      testing::UnorderedElementsAre(
          "sweep.sedes (sweep.ini:6): unknown key of [sweep]; allowed: name, base, method, seeds, "
          "samples, seed, include, exclude; did you mean \"seeds\"?",
          "sweep.exclude (sweep.ini:8): unknown option, got \"run.methd\"; did you mean "
          "\"run.method\"?",
          "sweep.exclude.x (sweep.ini:9): not a term, got \"nonsense\"; allowed: key = value, with = "
          "!= < <= > >=, joined by &",
          "sweep.exclude.y (sweep.ini:10): not a number after >, got \"2x\"",
          "kl.coef (sweep.ini:14): got \"range(2, 1)\"; allowed: range(first, end[, step]) with "
          "first < end, step > 0 and at most 100000 values",
          "other.x (sweep.ini:16): not in a section of a sweep; allowed: [sweep], [grid], "
          "[arm.NAME]",
          "sweep.name (sweep.ini:2): becomes a folder, got \"a/b\"; allowed: a name without / that "
          "does not begin with a dot",
          HasSubstr("sweep.base (sweep.ini:3): cannot read the base file, got \""),
          "sweep.seeds (sweep.ini:7): got \"5:2\"; allowed: first:end or a list of seeds, each once",
          "sweep.method (sweep.ini:4): unknown value, got \"girid\"; allowed: grid, zip, random; did "
          "you mean \"grid\"?",
          "sweep.samples (sweep.ini:5): belongs to method = random, got method = girid",
          "optim.lr (sweep.ini:13): is drawn from, which takes method = random, got method = girid; "
          "allowed: a list, log(low, high, n), range(first, end[, step])",
          "optim.lrr (sweep.ini:12): unknown option; did you mean \"optim.lr\"?",
          HasSubstr("rollout.group_size (sweep.ini:18): not an integer, got \"many\"")));
  EXPECT_THAT(faults("[sweep]\nmethod = random\nsamples = 0\nseed = -1\n"),
              testing::UnorderedElementsAre(
                  HasSubstr("sweep.samples (sweep.ini:3): got \"0\"; allowed: [1, 100000]"),
                  HasSubstr("sweep.seed (sweep.ini:4): got \"-1\""),
                  HasSubstr("draws from the axes of [grid], and there are none")));
  EXPECT_THAT(faults("[sweep]\nmethod = random\n[grid]\noptim.lr = 1e-3\n"),
              ElementsAre(HasSubstr("sweep.samples: a random sweep needs it")));
  EXPECT_THAT(faults("[sweep]\nseeds = 1,1\n"), ElementsAre(HasSubstr("each once")));
  EXPECT_THAT(faults("[grid]\nrun.seed = range(0, 1000)\nrun.steps = range(0, 1000)\n"),
              ElementsAre(HasSubstr("the grid has 1e+06 combinations; allowed: at most 100000")));
}

TEST_F(SweepFile, WordsMakeTheCellByHand) {
  // A preset on the command line is over a key of an arm: the words say that key outright.
  const SweepConfig sweep = read(
      "[sweep]\nbase = base.ini\nseeds = 1:3\n[arm.a]\nrun.method = darling\npartition.method = "
      "oracle\nadvantage.norm = group\n[arm.b]\nrun.method = grpo\n[grid]\noptim.lr = 1e-4, 1e-3\n",
      {"run.method=dr_grpo", "optim.grad_clip=0.5"});
  for (const SweepCell& cell : sweep.cells) {
    const Configured by_hand = configure({sweep.base, [&] {
                                            Faults faults;
                                            const Layer layer =
                                                read_overrides(words_of(sweep, cell), faults);
                                            faults.raise();
                                            return layer;
                                          }()});
    EXPECT_EQ(effective_ini(by_hand.config), effective_ini(cell.config)) << cell.arm;
  }
}

TEST(SweepSelection, ShardsPartTheCells) {
  for (const std::size_t cells : {1U, 5U, 12U, 30U})
    for (const int parts : {1, 2, 3, 7, 30}) {
      std::vector<std::size_t> all;
      std::size_t least = cells, most = 0;
      for (int part = 0; part < parts; ++part) {
        const auto mine = select_cells({"", "", concat(part, "/", parts)}, cells);
        all.insert(all.end(), mine.begin(), mine.end());
        least = std::min(least, mine.size());
        most = std::max(most, mine.size());
      }
      ASSERT_EQ(all.size(), cells);
      for (std::size_t i = 0; i < cells; ++i) EXPECT_EQ(all[i], i);
      EXPECT_LE(most - least, 1U);
    }
}

TEST(SweepSelection, ListsIndexAndEnvironment) {
  EXPECT_THAT(select_cells({"", "5,0,2-3", ""}, 6), ElementsAre(0, 2, 3, 5));
  EXPECT_THAT(select_cells({"4", "", ""}, 6), ElementsAre(4));
  setenv("SLURM_PROCID", "1", 1);
  setenv("SLURM_NTASKS", "3", 1);
  EXPECT_THAT(select_cells({"", "", "auto"}, 6), ElementsAre(2, 3));
  unsetenv("SLURM_PROCID");
  EXPECT_THROW(select_cells({"", "", "auto"}, 6), Error);
  setenv("OMPI_COMM_WORLD_RANK", "0", 1);
  setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_THAT(select_cells({"", "", "auto"}, 6), ElementsAre(0, 1, 2));
  unsetenv("OMPI_COMM_WORLD_RANK");
  for (const SweepSelection& bad :
       {SweepSelection{"6", "", ""}, SweepSelection{"-1", "", ""}, SweepSelection{"", "1-9", ""},
        SweepSelection{"", "x", ""}, SweepSelection{"", "", "3/3"}, SweepSelection{"", "", "2"},
        SweepSelection{"1", "2", ""}})
    EXPECT_THROW(select_cells(bad, 6), Error);
}

TEST(ShellQuoting, IsReadBackByAShell) {
  for (const std::string word :
       {"plain-1.5,x=/y", "two words", "it's", "a$b`c\"d\\e", "", "*?;&|"}) {
    FILE* shell = popen(concat("printf %s ", shell_quoted(word)).c_str(), "r");
    std::string back;
    for (int c = std::fgetc(shell); c != EOF; c = std::fgetc(shell)) back += static_cast<char>(c);
    pclose(shell);
    EXPECT_EQ(back, word);
  }
}

}  // namespace
}  // namespace motley
