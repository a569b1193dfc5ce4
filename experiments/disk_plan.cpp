#include "experiments/disk_plan.hpp"

#include <algorithm>
#include <sys/statvfs.h>

#include "core/base/error.hpp"
#include "experiments/base_policy.hpp"
#include "experiments/cli.hpp"
#include "experiments/trainer.hpp"
#include "experiments/training_step.hpp"
#include "io/run_size.hpp"
#include "models/net.hpp"

namespace motley {

namespace fs = std::filesystem;

double planned_folder_bytes(const RunConfig& config) {
  const auto task = make_task(config.task, {config.base_seed()});
  const RunHeader header = make_run_header(config, *task, 0, BasePolicy{});
  const auto every = [&](int steps) { return steps > 0 ? config.run.steps / steps : 0; };
  const std::int64_t checkpoints = every(config.checkpoint.every_steps) + 1;
  const double weights =
      static_cast<double>(make_net_layout(policy_model(config, *task), true).tensors.weights());
  // One more than are kept: the new one is whole before the oldest goes.
  const auto held =
      static_cast<double>(std::min<std::int64_t>(checkpoints, config.checkpoint.keep + 1));
  return planned_bytes(header, every(config.eval.every_steps) + 2, checkpoints) +
         held * (3 * 4 * weights + 64 * 1024) +
         64 * 1024;  // weights, moments; texts, buffered rows
}

double folder_bytes(const fs::path& folder) {
  double total = 0;
  std::error_code failed;
  for (const auto& entry : fs::recursive_directory_iterator(folder, failed))
    if (entry.is_regular_file(failed)) total += static_cast<double>(entry.file_size(failed));
  return total;
}

std::optional<double> free_disk(const fs::path& path) {
  std::error_code failed;
  fs::path there = fs::absolute(path, failed);
  while (!there.empty() && !fs::exists(there, failed) && there != there.parent_path())
    there = there.parent_path();
  struct statvfs info {};
  if (::statvfs(there.c_str(), &info) != 0 || info.f_blocks == 0) return std::nullopt;
  return static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
}

void require_disk(const fs::path& path, double bytes) {
  const std::optional<double> room = free_disk(path);
  if (!room || bytes <= *room) return;
  throw Error(ErrorKind::refused,
              concat(path.string(), ": not enough disk, got ", size_text(*room),
                     " free, the runs may take ", size_text(bytes),
                     " before compression; allowed: another -o, fewer run.steps, log.rollouts = "
                     "every:N or none, or --any-disk to try"));
}

std::string size_text(double bytes) {
  return bytes < 1e9 ? fixed(bytes / 1e6, 1) + " MB" : fixed(bytes / 1e9, 2) + " GB";
}

}  // namespace motley
