#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/h5.hpp"
#include "io/half.hpp"
#include "io/run_digest.hpp"
#include "io/run_reader.hpp"
#include "io/run_verify.hpp"
#include "io/schema.hpp"
#include "run_fixture.hpp"

namespace motley {
namespace {

using test::fill_record;
using test::make_eval;
using test::make_header;
using test::TemporaryFolder;
using ::testing::HasSubstr;

const Shape kShape{.R = 1, .B = 3, .G = 4, .P = 2, .T = 5, .V = 11};
const LogOptions kEverything{
    .entropy = true, .pair_score = true, .kept_mass = true, .old_log_prob = true};

template <class F>
std::string error_of(F&& f, ErrorKind kind) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

void expect_same(const std::vector<int>& got, const int* want, std::size_t n, const char* name) {
  ASSERT_EQ(got.size(), n) << name;
  for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(got[i], want[i]) << name << " " << i;
}

/// What is equal to `want` after rounding to the file's type; NaN where `length` masks.
void expect_close(const std::vector<float>& got, const float* want, const StepRecord& record,
                  bool half, const char* name) {
  const std::size_t n = record.token.size(), t = static_cast<std::size_t>(record.shape.T);
  ASSERT_EQ(got.size(), n) << name;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    // Half has 11 significant bits: relative 2^-11; subnormal below 2^-14.
    const float tolerance = half ? std::abs(want[i]) * 0x1p-11f + 0x1p-25f : 0.0f;
    const bool past = static_cast<int>(i % t) >= record.length.data()[i / t];
    const bool right = past ? std::isnan(got[i]) : std::abs(got[i] - want[i]) <= tolerance;
    if (!right && wrong++ == 0)
      ADD_FAILURE() << name << " " << i << ": got " << got[i] << ", want " << want[i];
  }
  EXPECT_EQ(wrong, 0u) << name;
}

void check_rollouts(const RunReader& run, const RunHeader& header, std::int64_t step) {
  Shape shape = header.shape;
  StepRecord want(shape);
  fill_record(want, step);
  const RolloutStep got = run.rollouts(step);
  const std::size_t groups = shape.groups(), completions = shape.completions();
  expect_same(got.prompt_id, want.prompt_id.data(), groups, "prompt_id");
  expect_same(got.token, want.token.data(), shape.tokens(), "token");
  expect_same(got.length, want.length.data(), completions, "length");
  expect_same(got.finish, want.finish.data(), completions, "finish");
  expect_same(got.used, want.used.data(), completions, "used");
  expect_same(got.class_id, want.class_id.data(), completions, "class_id");
  expect_same(got.cluster, want.cluster.data(), completions, "cluster");
  expect_same(got.cluster_size, want.cluster_size.data(), completions, "cluster_size");
  expect_same(got.num_clusters, want.num_clusters.data(), groups, "num_clusters");
  for (std::size_t i = 0; i < completions; ++i) {
    EXPECT_EQ(got.quality.at(i), want.quality.data()[i]);
    EXPECT_EQ(got.diversity.at(i), want.diversity.data()[i]);
    EXPECT_EQ(got.reward.at(i), want.reward.data()[i]);
    EXPECT_EQ(got.advantage.at(i), want.advantage.data()[i]);
  }
  if (header.log.log_prob != LogProbFormat::none)
    expect_close(got.log_prob, want.log_prob.data(), want,
                 header.log.log_prob == LogProbFormat::f16, "log_prob");
  if (header.log.old_log_prob)
    expect_close(got.old_log_prob, want.old_log_prob.data(), want, false, "old_log_prob");
  if (header.log.kept_mass)
    expect_close(got.kept_mass, want.kept_mass.data(), want, false, "kept_mass");
  if (header.log.entropy) expect_close(got.entropy, want.entropy.data(), want, true, "entropy");
  if (header.log.pair_score) {
    ASSERT_EQ(got.pair_score.size(), want.pair_score.size());
    for (std::size_t i = 0; i < want.pair_score.size(); ++i)
      EXPECT_NEAR(got.pair_score[i], want.pair_score.data()[i], 2 * 0x1p-11);
  }
}

void round_trip(const RunHeader& header) {
  const TemporaryFolder folder;
  test::Loop{.header = header}(folder.path());
  const RunReader run(folder / "run.h5");
  EXPECT_EQ(run.status(), RunStatus::complete);
  EXPECT_EQ(run.committed(), header.steps);
  EXPECT_EQ(run.steps_planned(), header.steps);
  EXPECT_EQ(run.ini(), header.ini);
  EXPECT_EQ(run.vocab(), header.vocab);
  const PromptColumns p = run.prompts();
  EXPECT_EQ(p.text, header.prompts.text);
  EXPECT_EQ(p.token, header.prompts.token);
  EXPECT_EQ(p.length, header.prompts.length);
  EXPECT_EQ(p.split, header.prompts.split);
  EXPECT_EQ(p.n_classes, header.prompts.n_classes);
  EXPECT_EQ(p.difficulty, header.prompts.difficulty);
  std::map<std::string, AttributeValue> config;
  for (const Attribute& a : run.config()) config[a.key] = a.value;
  ASSERT_EQ(config.size(), header.config.size());
  for (const Attribute& a : header.config) EXPECT_EQ(config.at(a.key), a.value) << a.key;

  ASSERT_EQ(run.columns().size(), std::size_t{kMetrics});
  StepRecord want(header.shape);
  for (int m = 0; m < kMetrics; ++m) {
    const std::vector<double> got = run.column(metric_info(static_cast<Metric>(m)).name);
    ASSERT_EQ(got.size(), static_cast<std::size_t>(header.steps));
    for (std::int64_t s = 0; s < header.steps; ++s) {
      fill_record(want, s);
      const double value = want.metrics(0, m);
      if (std::isnan(value))
        EXPECT_TRUE(std::isnan(got[static_cast<std::size_t>(s)])) << m << " " << s;
      else
        EXPECT_EQ(got[static_cast<std::size_t>(s)], value) << m << " " << s;
    }
  }
  EXPECT_EQ(run.column("tokens_per_s", "/timing").back(),
            1000.0 + static_cast<double>(header.steps - 1));
  for (const std::int64_t step : run.rollout_steps()) check_rollouts(run, header, step);

  const EvalTable eval = run.eval();
  EXPECT_EQ(eval.k, header.eval_k);
  ASSERT_EQ(eval.step.size(), static_cast<std::size_t>(header.steps / 10));
  const EvalRecord first = make_eval(header, 10);
  for (std::size_t i = 0; i < first.pass_at_k.size(); ++i) {
    EXPECT_EQ(eval.columns.at("pass_at_k")[i], first.pass_at_k[i]);
    EXPECT_EQ(eval.columns.at("coverage_at_k")[i], first.coverage_at_k[i]);
  }
  for (std::size_t i = 0; i < first.num_distinct_wrong.size(); ++i) {
    EXPECT_EQ(eval.columns.at("num_distinct_wrong")[i], first.num_distinct_wrong[i]);
    EXPECT_EQ(eval.columns.at("class_entropy")[i], first.class_entropy[i]);
  }
  EXPECT_NO_THROW(verify_run(folder / "run.h5"));
}

TEST(RunFile, EveryDatasetComesBackAsWritten) {
  round_trip(make_header(kShape, 150, kEverything));
}

TEST(RunFile, HalfLogProbAndSparseRolloutsComeBack) {
  round_trip(make_header(kShape, 71, {.rollouts_every = 10, .log_prob = LogProbFormat::f16}));
}

TEST(RunFile, LargeVocabularyTakesTwoBytes) {
  Shape shape = kShape;
  shape.V = 300;
  round_trip(make_header(shape, 20, {.log_prob = LogProbFormat::none}));
}

TEST(RunFile, ShapesOfOneComeBack) {
  round_trip(make_header({.R = 1, .B = 1, .G = 1, .P = 1, .T = 1, .V = 3}, 20));
  // One step of log_prob is above 1 MiB: c = 1 and the chunk is split along B.
  round_trip(make_header({.R = 1, .B = 9, .G = 512, .P = 1, .T = 64, .V = 3}, 10));
}

TEST(RunFile, RolloutsCanBeLeftOut) {
  const TemporaryFolder folder;
  const RunHeader header = make_header(kShape, 20, {.rollouts_every = 0});
  test::Loop{.header = header}(folder.path());
  const RunReader run(folder / "run.h5");
  EXPECT_EQ(run.committed(), 20);
  EXPECT_TRUE(run.rollout_steps().empty());
  EXPECT_THAT(error_of([&] { run.rollouts(3); }, ErrorKind::input),
              HasSubstr("no rollouts of step 3"));
}

TEST(RunFile, ReplicaOfABatchWritesTheSameFileAsAlone) {
  const TemporaryFolder folder;
  const RunHeader header = make_header(kShape, 40);
  Shape shape = kShape;
  shape.R = 3;
  std::vector<RunFile> files;
  for (int r = 0; r < 3; ++r)
    files.push_back(RunFile::create(folder / concat("r", r, ".h5"), header));
  StepRecord record(shape);
  for (std::int64_t step = 0; step < 40; ++step) {
    fill_record(record, step, 5);
    for (int r = 0; r < 3; ++r) files[static_cast<std::size_t>(r)].append_step(record, r);
  }
  for (RunFile& file : files) file.close(RunStatus::complete);
  RunFile alone = RunFile::create(folder / "alone.h5", header);
  StepRecord single(kShape);
  for (std::int64_t step = 0; step < 40; ++step) {
    fill_record(single, step, 6);
    alone.append_step(single, 0);
  }
  alone.close(RunStatus::complete);
  EXPECT_EQ(digest_of_run(folder / "r1.h5"), digest_of_run(folder / "alone.h5"));
  EXPECT_NE(digest_of_run(folder / "r0.h5"), digest_of_run(folder / "alone.h5"));
}

TEST(RunFile, CommittedMovesByWholeChunksOfEveryGroup) {
  const TemporaryFolder folder;
  const Shape shape{.R = 1, .B = 8, .G = 8, .P = 1, .T = 128, .V = 5};  // 32 KiB of log_prob a step
  RunFile file = RunFile::create(folder / "run.h5", make_header(shape, 100));
  ASSERT_EQ(file.chunk_steps(), 4);
  StepRecord record(shape);
  for (std::int64_t step = 0; step < 11; ++step) {
    fill_record(record, step);
    file.append_step(record, 0);
  }
  EXPECT_EQ(file.committed(), 8);
  const RunReader live(folder / "run.h5");
  EXPECT_EQ(live.committed(), 8);
  EXPECT_EQ(live.status(), RunStatus::running);
  EXPECT_EQ(live.rollout_steps().size(), 8u);
  EXPECT_EQ(live.rollouts(7).token.size(), shape.tokens());
  file.commit();
  EXPECT_EQ(file.committed(), 8);
  const RunReader later(folder / "run.h5");
  EXPECT_EQ(later.column("reward").size(), 8u);
  EXPECT_EQ(later.column("reward", "/metrics", true).size(), 11u);
}

TEST(RunFile, RefusesWhatDoesNotBelong) {
  const TemporaryFolder folder;
  const RunHeader header = make_header(kShape, 20);
  RunFile file = RunFile::create(folder / "run.h5", header);
  StepRecord record(kShape);
  record.step = 1;
  EXPECT_THAT(error_of([&] { file.append_step(record, 0); }, ErrorKind::internal),
              HasSubstr("got 1, expected 0"));
  Shape other = kShape;
  other.G = 5;
  EXPECT_THAT(error_of([&] { file.append_step(StepRecord(other), 0); }, ErrorKind::shape),
              HasSubstr("[1,3,5,5]"));
  EvalRecord eval = make_eval(header, 1);
  eval.pass_at_k.pop_back();
  EXPECT_THAT(error_of([&] { file.append_eval(eval); }, ErrorKind::shape),
              HasSubstr("/eval/pass_at_k has 2 values, expected 3"));
  RunHeader crooked = header;
  crooked.prompts.split.pop_back();
  EXPECT_THAT(error_of([&] { RunFile::create(folder / "no.h5", crooked); }, ErrorKind::shape),
              HasSubstr("prompt columns"));
  file.close(RunStatus::complete);
  EXPECT_THAT(error_of([&] { file.commit(); }, ErrorKind::internal), HasSubstr("closed"));
  EXPECT_THAT(error_of([&] { RunFile::create(folder / "nowhere/run.h5", header); }, ErrorKind::io),
              HasSubstr("nowhere"));
}

TEST(Half, RoundsToNearestEvenAndComesBackExactly) {
  for (int bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_half(half);
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(float_from_half(half_from_float(value))));
    else
      EXPECT_EQ(half_from_float(value), half);
  }
  EXPECT_EQ(half_from_float(1.0f), 0x3C00);
  EXPECT_EQ(half_from_float(65504.0f), 0x7BFF);
  EXPECT_EQ(half_from_float(65520.0f), 0x7C00);
  EXPECT_EQ(half_from_float(65519.0f), 0x7BFF);
  EXPECT_EQ(half_from_float(1.0f + 0x1p-11f), 0x3C00);  // a tie: to even
  EXPECT_EQ(half_from_float(1.0f + 3 * 0x1p-11f), 0x3C02);
  EXPECT_EQ(half_from_float(0x1p-25f), 0x0000);
  EXPECT_EQ(half_from_float(0x1.8p-25f), 0x0001);
  EXPECT_EQ(half_from_float(-0x1p-24f), 0x8001);
}

}  // namespace
}  // namespace motley
