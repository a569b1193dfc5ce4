#pragma once
/// A small made-up run: every number is a formula of its address, so that any row can be checked.

#include <cmath>
#include <filesystem>
#include <stdlib.h>
#include <string>
#include <unistd.h>

#include "core/base/rng.hpp"
#include "io/checkpoint.hpp"
#include "io/run_file.hpp"
#include "tests/temporary_folder.hpp"

namespace motley::test {

inline RunHeader make_header(const Shape& shape, std::int64_t steps, const LogOptions& log = {}) {
  RunHeader h;
  h.run_name = "made-up";
  h.motley_version = "0.1.0";
  h.git_commit = "0123456789abcdef";
  h.created_utc = "2026-01-02T03:04:05Z";
  h.seed = 18446744073709551615ull;
  h.ini = "[run]\nname = made-up\n";
  h.config = {{"run.name", std::string("made-up")},
              {"run.steps", steps},
              {"optim.lr", 3e-4},
              {"mmr.adaptive", true}};
  h.provenance = {{"command_line", std::string("motley train")}, {"threads", std::int64_t{2}}};
  for (int v = 0; v < shape.V; ++v) {
    h.vocab.push_back(v < 2 ? (v == 0 ? "<pad>" : "<eos>") : "t\xC3\xA9" + std::to_string(v));
    h.special.push_back(v < 2);
  }
  constexpr int n = 5;
  for (int i = 0; i < n; ++i) {
    h.prompts.text.push_back("prompt " + std::to_string(i));
    h.prompts.length.push_back(1 + i % shape.P);
    for (int p = 0; p < shape.P; ++p)
      h.prompts.token.push_back(p <= i % shape.P ? 1 + (i + p) % (shape.V - 1) : 0);
    h.prompts.split.push_back(i >= 3);
    h.prompts.n_classes.push_back(i == 0 ? -1 : i);
    h.prompts.difficulty.push_back(0.25f * static_cast<float>(i));
  }
  h.shape = shape;
  h.steps = steps;
  h.eval_k = {1, 4, 16};
  h.eval_prompts = 3;
  h.eval_samples = 6;
  h.log = log;
  return h;
}

/// 32 bits that depend on everything that names a number.
inline std::uint32_t bits_at(std::int64_t step, int replica, std::uint32_t field, std::size_t i) {
  return draw_bits(
             {static_cast<std::uint64_t>(replica), Stream::task, static_cast<std::uint32_t>(step)},
             field, static_cast<std::uint32_t>(i))
      .x[0];
}

/// Fills the rows of all replicas; `seed_of[r]` stands for replica r, so that a replica's rows do
/// not depend on its slot.
inline void fill_record(StepRecord& record, std::int64_t step, int first_replica = 0) {
  record.step = step;
  const Shape& s = record.shape;
  std::uint32_t field = 0;
  const auto each = [&](auto& view, const auto& value) {
    ++field;
    const std::size_t n = view.size() / view.extent(0);
    for (int r = 0; r < s.R; ++r)
      for (std::size_t i = 0; i < n; ++i)
        view.data()[static_cast<std::size_t>(r) * n + i] =
            value(bits_at(step, first_replica + r, field, i));
  };
  const auto below = [](int n) {
    return [n](std::uint32_t b) {
      return static_cast<int>(uniform_below(b, static_cast<std::uint32_t>(n)));
    };
  };
  const auto real = [](std::uint32_t b) { return 4 * unit_float(b) - 2; };
  each(record.prompt_id, below(5));
  each(record.token, below(s.V));
  for (auto* view : {&record.log_prob, &record.kept_mass, &record.entropy, &record.pair_score,
                     &record.old_log_prob})
    each(*view, real);
  each(record.length, below(s.T + 1));
  each(record.finish, below(3));
  for (auto* view : {&record.quality, &record.diversity, &record.reward, &record.advantage})
    each(*view, real);
  each(record.used, below(2));
  each(record.class_id, [&](std::uint32_t b) { return below(7)(b) - 1; });
  each(record.cluster, [&](std::uint32_t b) { return below(s.G + 1)(b) - 1; });
  each(record.cluster_size, [&](std::uint32_t b) { return 1 + below(s.G)(b); });
  each(record.num_clusters, [&](std::uint32_t b) { return 1 + below(s.G)(b); });
  each(record.metrics, [](std::uint32_t b) {
    return b % 13 == 0 ? std::nan("") : std::floor(1e4 * unit_float(b));
  });
  for (int r = 0; r < s.R; ++r) {
    record.metrics(r, static_cast<int>(Metric::tokens_total)) = 1e10 + static_cast<double>(step);
    // More than a float can hold.
    record.metrics(r, static_cast<int>(Metric::params_hash)) =
        0x1p52 + 3 * static_cast<double>(step) + first_replica + r;
  }
  each(record.diagnostics,
       [](std::uint32_t b) { return b % 5 == 0 ? std::nan("") : std::floor(1e4 * unit_float(b)); });
  record.timing = {0.1, 0.2, 0.3, 0.4, 0.5, 1.5, 1000 + static_cast<double>(step)};
}

inline EvalRecord make_eval(const RunHeader& header, std::int64_t step) {
  EvalRecord e;
  e.step = step;
  std::uint32_t field = 100;
  const auto fill = [&](auto& values, std::size_t n, double scale) {
    ++field;
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(static_cast<typename std::remove_reference_t<decltype(values)>::value_type>(
          scale * unit_float(bits_at(step, 0, field, i))));
  };
  const auto q = static_cast<std::size_t>(header.eval_prompts), k = header.eval_k.size(),
             m = static_cast<std::size_t>(header.eval_samples),
             T = static_cast<std::size_t>(header.shape.T);
  for_each_eval_column(e, [&](const char*, auto& values, EvalAxes axes, auto...) {
    if (!is_held(axes, header.log.eval_samples, header.log.eval_exact)) return;
    fill(values, eval_count(axes, q, k, m, T), axes == EvalAxes::token ? header.shape.V : 64);
  });
  return e;
}

/// A training loop in small: steps from the newest checkpoint to the end, an evaluation every
/// `eval_every`, a checkpoint every `checkpoint_every`.
struct Loop {
  RunHeader header;
  std::int64_t checkpoint_every = 7, eval_every = 10;
  std::int64_t stop_after = -1;  ///< leaves without closing after this many steps
  int replica = 0;
  unsigned sleep_us = 0;  ///< per step, so that a kill finds the run at work

  /// Returns the steps done in this call.
  std::int64_t operator()(const std::filesystem::path& directory) const {
    const std::filesystem::path path = directory / "run.h5";
    const auto loaded = load_newest_checkpoint(directory / "checkpoints");
    RunFile file = !std::filesystem::exists(path) ? RunFile::create(path, header)
                   : loaded                       ? RunFile::open_for_resume(path, header,
                                                                             loaded->checkpoint.tensor("run.rows").data)
                                                  : RunFile::open_for_resume(path, header, {});
    Shape shape = header.shape;
    shape.R = 1;
    StepRecord record(shape);
    const std::int64_t first = file.steps();
    for (std::int64_t step = first; step < header.steps; ++step) {
      if (step == stop_after) return step - first;
      if (sleep_us > 0) ::usleep(sleep_us);
      fill_record(record, step, replica);
      file.append_step(record, 0);
      if (header.eval_prompts > 0 && (step + 1) % eval_every == 0)
        file.append_eval(make_eval(header, step + 1));
      if ((step + 1) % checkpoint_every == 0) {
        file.commit();
        Checkpoint checkpoint;
        checkpoint.step = step + 1;
        checkpoint.tensors.push_back(Tensor::from_bytes("run.rows", file.buffered_rows()));
        const SavedCheckpoint saved = save_checkpoint(directory / "checkpoints", checkpoint);
        file.append_checkpoint(checkpoint.step, saved.sha256, saved.file);
      }
    }
    file.close(RunStatus::complete);
    return header.steps - first;
  }
};

}  // namespace motley::test
