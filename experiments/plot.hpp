#pragma once
/// Plots as inline SVG: curves with bands, scatters with fits, stacked areas and bars, intervals.
///
/// A plot knows nothing of runs. Colours are the classes k0 to k7 (and kn, the neutral one) of the
/// page's style sheet, so that light, dark and printed pages each have their own; numbers are
/// written with a fixed count of digits, so the same input gives the same bytes.

#include <cmath>
#include <string>
#include <vector>

namespace motley {

inline constexpr int kPlotColors = 8;
inline constexpr int kNeutral = -1;
/// "k3", or "kn" beyond the palette.
std::string color_class(int color);

struct PlotAxis {
  std::string title;
  double low = std::nan(""), high = std::nan("");  ///< NaN: from the data
  bool log2 = false;
  std::vector<double> ticks = {};  ///< empty: round numbers
};

struct PlotFrame {
  std::string title;    ///< the quantity and its unit, above the plot
  std::string summary;  ///< what one sees, for those who do not
  PlotAxis x, y;
  double width = 460, height = 262;
  bool near_labels = false;  ///< names beside the last points instead of in a column at the right
};

/// Points in the order of x. A NaN breaks the line.
struct PlotSeries {
  std::string name;
  int color = kNeutral;
  std::vector<double> x, y;
  std::vector<double> low = {}, high = {};  ///< the band; empty: none
  bool line = true, dashed = false;
  double radius = 0;  ///< of the points; 0 = none
  bool hollow = false;
  bool label = false;                  ///< the name at the end of the curve
  std::vector<std::string> note = {};  ///< what a point says when it is pointed at
};
std::string xy_plot(const PlotFrame& frame, const std::vector<PlotSeries>& series);

/// One layer of a stack: values that add up, one per x.
struct PlotLayer {
  std::string name;
  int color = kNeutral;
  bool hatched = false;
  std::vector<double> value;
};
/// From the bottom to the top.
std::string area_plot(const PlotFrame& frame, const std::vector<double>& x,
                      const std::vector<PlotLayer>& layers);
/// One horizontal bar a row, parts end to end; `value` holds one number per row.
std::string bar_plot(const PlotFrame& frame, const std::vector<std::string>& rows,
                     const std::vector<PlotLayer>& parts);

/// A value with its interval, one row each; a line at `at`.
struct PlotInterval {
  std::string name;
  int color = kNeutral;
  double value = 0, low = 0, high = 0;
};
std::string interval_plot(const PlotFrame& frame, const std::vector<PlotInterval>& rows, double at);

/// Swatches and names, in the order given.
std::string plot_legend(const std::vector<PlotLayer>& layers);

/// Round numbers inside [low, high], about `count` of them.
std::vector<double> round_ticks(double low, double high, int count);
/// Moves values apart until neighbours keep `gap`, all inside [low, high] as far as they fit;
/// keeps their order.
std::vector<double> spread(const std::vector<double>& wanted, double gap, double low, double high);

}  // namespace motley
