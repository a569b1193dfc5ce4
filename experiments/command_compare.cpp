/// motley compare: arms side by side, paired on seeds.

#include <cstdio>

#include "core/base/error.hpp"
#include "experiments/cli.hpp"
#include "experiments/compare.hpp"

namespace motley {

namespace {

int run_compare(const CommandLine& line) {
  require_words(line, "compare", 1, 10000, "RUN or SWEEP");
  CompareRequest request;
  request.files = find_runs(line.positional);
  if (const auto given = line.flags.find("metric"); given != line.flags.end())
    request.metrics = given->second;
  if (line.has("law"))
    for (const char* figure : {"a", "b", "ceiling", "r2", "rmse"})
      request.metrics.push_back(std::string("law.") + figure);
  if (const std::string tokens = line.get("tokens", ""); tokens == "equal") {
    request.tokens = -1;
  } else if (!tokens.empty()) {
    std::int64_t n = 0;
    MOTLEY_REQUIRE(parse_integer(tokens, n) && n >= 1, ErrorKind::config, "--tokens: got \"",
                   tokens, "\"; allowed: equal, or a count");
    request.tokens = static_cast<double>(n);
  }
  request.by = line.get("by", request.by);
  request.baseline = line.get("baseline", "");
  std::int64_t reps = request.reps, seed = 0;
  MOTLEY_REQUIRE(parse_integer(line.get("reps", "50000"), reps) && reps >= 100 && reps <= 10000000,
                 ErrorKind::config, "--reps: got \"", line.get("reps", ""),
                 "\"; allowed: [100, 1e7]");
  MOTLEY_REQUIRE(parse_integer(line.get("ci-seed", "0"), seed) && seed >= 0, ErrorKind::config,
                 "--ci-seed: got \"", line.get("ci-seed", ""), "\"; allowed: [0, 9.2e18]");
  MOTLEY_REQUIRE(int{line.has("json")} + int{line.has("markdown")} + int{line.has("latex")} <= 1,
                 ErrorKind::config,
                 "motley compare: several formats; allowed: one of --json, --markdown, --latex");
  request.reps = static_cast<int>(reps);
  request.seed = static_cast<std::uint64_t>(seed);

  std::size_t unfinished = 0;
  const Comparison c = compare_runs(request, unfinished);
  if (unfinished > 0) std::fprintf(stderr, "%zu unfinished run(s) are left out\n", unfinished);
  if (line.has("json")) {
    std::printf("%s\n", comparison_json(c).c_str());
    return 0;
  }
  const TableFormat format = line.has("markdown") ? TableFormat::markdown
                             : line.has("latex")  ? TableFormat::latex
                                                  : TableFormat::text;
  const bool details = line.has("details") ||
                       (format == TableFormat::text && (line.has("metric") || line.has("law")));
  std::fputs(comparison_text(c, format, details).c_str(), stdout);
  return 0;
}

}  // namespace

const Command kCompare = {
    "compare",
    "RUN|SWEEP ... [--by run.name] [--baseline grpo] [--metric eval.pass_at_16] [--details]",
    "compares arms over seeds, paired, with intervals",
    "  motley compare runs/quickstart\n  motley compare runs/quickstart --metric eval.pass_at_64 --metric eval.num_distinct_correct\n"
    "  motley compare runs/quickstart --by run.method --baseline run.method=grpo --metric eval.pass_at_64 --json\n"
    "  motley compare runs/quickstart --law                # R = -a exp(H) + b of every run, by arm\n"
    "  motley compare runs/methods --tokens equal          # every run at the cost of the cheapest\n"
    "  motley compare runs/quickstart --latex > table.tex\n",
    {{"metric", 0, 0, "NAME",
      "eval.NAME, metrics.NAME, diagnostics.NAME, law.NAME or base.NAME; may be repeated"},
     {"law", 0, 0, "",
      "the entropy law R = -a exp(H) + b: law.a, law.b, law.ceiling, law.r2, law.rmse"},
     {"tokens", 0, 0, "equal|N",
      "reads every run where it had sampled N tokens, or the least total of the runs"},
     {"by", 0, 0, "KEY", "option that names the arm; default run.name"},
     {"baseline", 0, 0, "ARM", "arm the others are compared with; default grpo"},
     {"details", 0, 0, "", "every figure, one table per metric; default where --metric is given"},
     {"markdown", 0, 0, "", "tables as Markdown"},
     {"latex", 0, 0, "", "tables as LaTeX (booktabs)"},
     {"reps", 0, 0, "N", "bootstrap resamples; default 50000"},
     {"ci-seed", 0, 0, "N", "seed of the bootstrap; default 0"}},
    false,
    run_compare,
    believes};

}  // namespace motley
