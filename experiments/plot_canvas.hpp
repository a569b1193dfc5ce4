#pragma once
/// What the plots of plot.hpp share: the frame with its axes, and numbers as SVG writes them.

#include <string>
#include <vector>

#include "experiments/plot.hpp"

namespace motley {

/// A coordinate, in tenths of a pixel.
std::string px(double value);
/// The text's width in pixels, a little more than most fonts need.
double text_width(const std::string& text, double size = 11);
/// At most `most` characters, the rest as an ellipsis.
std::string shortened(const std::string& text, std::size_t most);

/// A scale from numbers to pixels.
struct PlotScale {
  double low = 0, high = 1, from = 0, to = 1;
  bool log2 = false;
  double operator()(double value) const;
};

struct Canvas {
  double left = 44, right = 12, top = 26, bottom = 34;
  PlotScale x, y;
  std::vector<double> x_ticks, y_ticks;
  std::string out;  ///< the SVG so far

  double x0() const { return x.from; }
  double x1() const { return x.to; }
  double y0() const { return y.from; }  ///< the bottom
  double y1() const { return y.to; }
};

/// Data limits of an axis: the given ones, else those of the values, widened to round numbers.
struct Limits {
  double low = 0, high = 1;
};
Limits limits_of(const PlotAxis& axis, const std::vector<double>& values);

/// Opens the SVG, draws title, grid, ticks and axis titles. `row_axis`: no y axis, rows instead.
Canvas open_canvas(const PlotFrame& frame, Limits x, Limits y, double right, double left,
                   bool row_axis = false);
std::string close_canvas(Canvas& canvas);

}  // namespace motley
