#pragma once
/// Schema 1.1 of run.h5: one table of every dataset. Creation, staging, resume, digest, docs and
/// tests go through it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/h5.hpp"
#include "io/run_header.hpp"

namespace motley {

inline constexpr std::string_view kRunFormat = "motley-run";
inline constexpr std::string_view kRunFormatVersion = "1.1.0";

/// Who fills a dataset, and with it how its rows reach the file.
enum class Source {
  header,      ///< at creation
  metric,      ///< append_step: /metrics and /timing, one row per step, in place
  rollout,     ///< append_step: /rollouts and /partition, whole chunks
  eval,        ///< append_eval
  diagnostic,  ///< append_step: /diagnostics, one row per due step, in place
  checkpoint,  ///< append_checkpoint
  resume,      ///< open_for_resume
  marker,      ///< /committed, /status
  integrity,   ///< close
};

struct DatasetSpec {
  std::string path;               ///< "/rollouts/token"
  std::vector<std::string> axes;  ///< names of the scales, in the same group
  h5::Type type = h5::Type::f4;
  Source source = Source::header;
  std::string units, long_name;
  std::string stage;                  ///< function that wrote the field
  std::string flags;                  ///< CF flag_meanings; the values count from 0
  std::string alias_trl, alias_verl;  ///< the same quantity in other trainers
  int column = -1;                    ///< Metric, Diagnostic, or the member of StepTiming
  bool pad = false;                   ///< integer padding 0 after the end: attribute pad_value

  std::string group() const { return path.substr(0, path.rfind('/')); }
  std::string name() const { return path.substr(path.rfind('/') + 1); }
  /// A coordinate: its own only axis.
  bool is_scale() const { return axes.size() == 1 && axes[0] == name(); }
};

/// All datasets of a run with this header, in file order.
std::vector<DatasetSpec> run_schema(const RunHeader& header);

/// Length of an axis at creation; `unlimited` axes start at 0 and are always the first.
struct Axis {
  hsize_t size = 0;
  bool unlimited = false;
};
Axis axis_of(const RunHeader& header, const DatasetSpec& spec, const std::string& name);

/// Paths whose content is not part of the content digest: /timing, /provenance, /resumes, /status,
/// /checkpoints.
bool is_volatile(std::string_view path);

/// Steps per chunk of /rollouts and /partition: a power of two <= 64, the smallest that brings the
/// largest dataset's chunk to 128 KiB (u1 tokens beside f4 log_prob: 32 KiB); 1 where a step alone
/// is larger.
int chunk_steps(const RunHeader& header);
/// Rows of a chunk of a column (a dataset of one axis that grows): the planned steps where there
/// are few, since a chunk is in the file as a whole.
int column_chunk(const RunHeader& header, const DatasetSpec& spec);

/// Markdown table of the schema (docs/schema.md).
std::string schema_markdown(const RunHeader& header);

}  // namespace motley
