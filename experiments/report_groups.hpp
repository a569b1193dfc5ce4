#pragma once
/// Rollouts of a report: the prompt that is followed, its classes over training, its groups.

#include "experiments/report.hpp"

namespace motley {

/// The lead run of an arm with its rollout columns.
struct LeadRun {
  const ReportArm* arm = nullptr;
  const ReportRun* run = nullptr;
  RolloutColumns columns;
};

/// Training prompt shown in detail, and its visits [row of columns.step, prompt of the step].
struct FollowedPrompt {
  int id = -1;
  std::size_t visits = 0;
};

bool is_right(const Report& report, const RolloutColumns& c, std::size_t i);
/// Rows (s * B + b) at which the prompt was drawn, in order.
std::vector<std::size_t> visits_of(const RolloutColumns& c, int prompt);
/// The prompt that the first lead run drew most often; of those the one with the most right
/// classes over all lead runs; of those the first.
FollowedPrompt follow_prompt(const Report& report, const std::vector<LeadRun>& leads);

void add_timeline(ReportPage& page, const Report& report, const std::vector<LeadRun>& leads,
                  const FollowedPrompt& prompt);  // report_rollouts.cpp
void add_groups(ReportPage& page, const Report& report, const std::vector<LeadRun>& leads,
                const FollowedPrompt& prompt);                // report_groups.cpp
void add_advantages(ReportPage& page, const Report& report);  // report_groups.cpp

}  // namespace motley
