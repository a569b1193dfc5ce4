#include "experiments/counterfactual_output.hpp"

#include <algorithm>
#include <cstdio>

#include "core/base/error.hpp"

namespace motley {

void say_on_stderr(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
}

std::vector<std::int64_t> chosen_steps(const CommandLine& line, const Counterfactual& replay) {
  if (!line.has("step")) return replay.steps();
  const std::string text = line.get("step", "");
  const std::vector<std::int64_t>& all = replay.steps();
  std::int64_t step = 0;
  MOTLEY_REQUIRE(parse_integer(text, step) && std::find(all.begin(), all.end(), step) != all.end(),
                 ErrorKind::config, "--step: not a logged step, got \"", text,
                 "\"; allowed: ", all.size(), " steps from ", all.front(), " to ", all.back());
  return {step};
}

SideOutput::SideOutput(const CommandLine& line, const Counterfactual& replay,
                       const std::vector<std::int64_t>& steps)
    : replay_(replay) {
  if (!line.has("output")) return;
  SideHeader header;
  header.source = replay.file();
  header.config_sha256 = config_sha256(replay.own());
  header.steps = steps;
  header.B = replay.shape().B;
  header.G = replay.shape().G;
  for (const Variant& v : replay.variants())
    header.settings.push_back({v.name, effective_ini(v.config)});
  file_.emplace(line.get("output", ""), header, line.has("overwrite"));
}

void SideOutput::write(std::size_t index) {
  if (!file_) return;
  const Rewarded& x = replay_.rewarded();
  const std::size_t R = replay_.variants().size();
  for (std::size_t r = 0; r < R; ++r) {
    const auto row = [&](const auto& values) {
      const auto one = static_cast<long>(values.size() / R), first = static_cast<long>(r) * one;
      return std::decay_t<decltype(values)>(values.begin() + first, values.begin() + first + one);
    };
    file_->write(r, index,
                 {row(x.cluster), row(x.cluster_size), row(x.num_clusters), row(x.diversity),
                  row(x.reward), row(x.advantage)});
  }
}

void SideOutput::close() {
  if (file_) file_->close();
}

}  // namespace motley
