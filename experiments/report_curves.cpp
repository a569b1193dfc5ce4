/// Curves of a report: tracks of single runs, and their middles with intervals over seeds.

#include <algorithm>
#include <cmath>
#include <set>

#include "core/eval_metrics.hpp"
#include "experiments/report_data.hpp"

namespace motley {

const std::vector<double>& metric_of(const ReportRun& run, const std::string& name) {
  static const std::vector<double> none;
  const auto found = run.metric.find(name);
  return found == run.metric.end() ? none : found->second;
}

std::int64_t bin_width(const Report& report) {
  std::int64_t most = 1;
  for (const ReportRun& run : report.runs) most = std::max(most, run.committed);
  return (most + 59) / 60;
}

Track binned(const std::vector<double>& values, std::int64_t width) {
  Track out;
  const auto w = static_cast<std::size_t>(width);
  for (std::size_t first = 0; first < values.size(); first += w) {
    double sum = 0;
    std::size_t n = 0;
    for (std::size_t i = first; i < std::min(values.size(), first + w); ++i)
      if (std::isfinite(values[i])) {
        sum += values[i];
        ++n;
      }
    const double middle = static_cast<double>(first) + 0.5 * (static_cast<double>(w) - 1);
    if (n > 0) out.emplace_back(middle, sum / static_cast<double>(n));
  }
  return out;
}

Track eval_track(const ReportRun& run, const std::string& column, int k) {
  Track out;
  if (!run.eval) return out;
  const auto found = run.eval->columns.find(column);
  if (found == run.eval->columns.end()) return out;
  const std::vector<double>& values = found->second;
  const std::size_t E = run.eval->step.size();
  const std::size_t width = E == 0 ? 0 : values.size() / E;
  std::size_t first = 0, last = width;
  if (k > 0) {
    const auto at = std::find(run.eval->k.begin(), run.eval->k.end(), k);
    if (at == run.eval->k.end()) return out;
    first = static_cast<std::size_t>(at - run.eval->k.begin());
    last = first + 1;
  }
  for (std::size_t e = 0; e < E; ++e) {
    double sum = 0;
    std::size_t n = 0;
    for (std::size_t i = first; i < last; ++i)
      if (std::isfinite(values[e * width + i])) {
        sum += values[e * width + i];
        ++n;
      }
    if (n > 0)
      out.emplace_back(static_cast<double>(run.eval->step[e]), sum / static_cast<double>(n));
  }
  return out;
}

Track last_over_k(const ReportRun& run, const std::string& column) {
  Track out;
  if (!run.eval || run.eval->columns.count(column) == 0) return out;
  const std::vector<double>& values = run.eval->columns.at(column);
  const std::size_t K = run.eval->k.size();
  if (values.size() != K * run.eval->step.size()) return out;
  for (std::size_t i = 0; i < K; ++i)
    out.emplace_back(run.eval->k[i], values[values.size() - K + i]);
  return out;
}

Track pass_curve(const ReportRun& run) {
  const Track logged = last_over_k(run, "pass_at_k");
  if (logged.empty()) return logged;
  const auto& columns = run.eval->columns;
  const auto samples = columns.find("num_samples"), correct = columns.find("num_correct");
  if (samples == columns.end() || correct == columns.end()) return logged;
  const auto Q = static_cast<std::size_t>(run.eval->prompts);
  const std::size_t first = samples->second.size() - Q;
  double least = samples->second.empty() ? 0 : samples->second[first];
  for (std::size_t q = 0; q < Q; ++q) least = std::min(least, samples->second[first + q]);
  std::set<int> ks;
  for (int k = 1; k <= static_cast<int>(least); k *= 2) ks.insert(k);
  Track out;
  for (const auto& [k, value] : logged) ks.erase(static_cast<int>(k));
  for (const int k : ks) {
    double sum = 0;
    for (std::size_t q = 0; q < Q; ++q)
      sum += pass_at_k(static_cast<int>(samples->second[first + q]),
                       static_cast<int>(correct->second[first + q]), k);
    out.emplace_back(k, sum / static_cast<double>(Q));
  }
  out.insert(out.end(), logged.begin(), logged.end());
  std::sort(out.begin(), out.end());
  return out;
}

Curve curve_over_seeds(const Report& report, const ReportArm& arm, const std::vector<Track>& tracks,
                       Middle middle, Bootstrap& bootstrap) {
  // x -> task -> values, in the order of the runs: tasks, then seeds.
  std::map<double, std::map<std::string, std::vector<double>>> at;
  for (std::size_t i = 0; i < tracks.size(); ++i)
    for (const auto& [x, y] : tracks[i])
      if (std::isfinite(y)) at[x][report.runs[arm.runs[i]].task].push_back(y);
  Curve curve;
  for (const auto& [x, tasks] : at) {
    Strata strata;
    for (const auto& [task, values] : tasks) strata.push_back(values);
    const bool iqm = middle == Middle::iqm;
    curve.x.push_back(x);
    curve.middle.push_back(iqm ? interquartile_mean(strata) : mean_of(strata));
    curve.n.push_back(count_of(strata));
    Interval band{std::nan(""), std::nan("")};
    if (curve.n.back() > 1)
      band = iqm ? bootstrap.interquartile_mean(strata) : bootstrap.mean(strata);
    curve.low.push_back(band.low);
    curve.high.push_back(band.high);
  }
  return curve;
}

}  // namespace motley
