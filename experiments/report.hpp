#pragma once
/// `motley report`: one self-contained page about a run or a sweep.

#include <string>
#include <utility>
#include <vector>

#include "experiments/plot.hpp"
#include "experiments/report_data.hpp"

namespace motley {

struct Command;
extern const Command kReport;

/// The page while it is written. Everything handed in is HTML.
class ReportPage {
 public:
  void section(const std::string& id, const std::string& title, const std::string& intro);
  void text(const std::string& html) { body_ += html; }
  /// \param plots SVGs   \param caption what it is and how to read it   \param data folded tables
  void figure(const std::string& plots, const std::string& caption, const std::string& data);
  /// The same for a table: the caption stands above it.
  void table(const std::string& table, const std::string& caption, const std::string& data = "");
  /// What a section cannot show, and why.
  void missing(const std::string& what);
  std::string finish(const std::string& title, const std::string& head) const;

 private:
  std::string body_;
  std::vector<std::pair<std::string, std::string>> sections_;
  int figures_ = 0, tables_ = 0;
};

/// HTML5 that is well-formed XML. A function of the files alone: no clock, no network, no path of
/// the machine but the words given.
std::string report_html(const Report& report);

// --- sections, in the order of the page ---
std::string report_head(const Report& report);               // report_head.cpp
void add_findings(ReportPage& page, const Report& report);   // report_findings.cpp
void add_learning(ReportPage& page, const Report& report);   // report_learning.cpp
void add_draws(ReportPage& page, const Report& report);      // report_learning.cpp
void add_plane(ReportPage& page, const Report& report);      // report_entropy.cpp
void add_entropy(ReportPage& page, const Report& report);    // report_entropy.cpp
void add_rollouts(ReportPage& page, const Report& report);   // report_rollouts.cpp
void add_machine(ReportPage& page, const Report& report);    // report_machine.cpp
void add_reproduce(ReportPage& page, const Report& report);  // report_machine.cpp
void add_glossary(ReportPage& page);                         // report_head.cpp

// --- shared ---
/// The arm's name with its swatch.
std::string arm_cell(const ReportArm& arm);
/// "over 5 seeds" as captions say it; "" for a single run.
std::string over_seeds(const Report& report);
/// A curve as a series of the arm's colour.
PlotSeries series_of(const ReportArm& arm, const Curve& curve);
extern const char* const kReportStyle;
extern const char* const kReportScript;

}  // namespace motley
