#include "experiments/plot.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/html.hpp"
#include "experiments/plot_canvas.hpp"

namespace motley {

namespace {

constexpr std::size_t kLabelLength = 20;
constexpr double kLabelGap = 13;

std::string open_group(int color, const std::string& name) {
  return "<g class=\"" + color_class(color) + "\" data-arm=\"" + html(name) + "\">";
}

/// Unbroken stretches of finite points, [begin, end).
std::vector<std::pair<std::size_t, std::size_t>> stretches(const std::vector<double>& y) {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  for (std::size_t i = 0; i < y.size();) {
    if (!std::isfinite(y[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < y.size() && std::isfinite(y[end])) ++end;
    out.emplace_back(i, end);
    i = end;
  }
  return out;
}

std::string path_of(const Canvas& c, const std::vector<double>& x, const std::vector<double>& y,
                    std::size_t begin, std::size_t end) {
  std::string out;
  for (std::size_t i = begin; i < end; ++i)
    out += (i == begin ? "M" : "L") + px(c.x(x[i])) + " " + px(c.y(y[i]));
  return out;
}

void draw_band(Canvas& c, const PlotSeries& s) {
  for (const auto& [begin, end] : stretches(s.low)) {
    if (end - begin < 2) continue;
    std::string path = path_of(c, s.x, s.high, begin, end);
    for (std::size_t i = end; i-- > begin;) path += "L" + px(c.x(s.x[i])) + " " + px(c.y(s.low[i]));
    c.out += "<path class=\"band\" d=\"" + path + "Z\"/>";
  }
}

void draw_points(Canvas& c, const PlotSeries& s) {
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!std::isfinite(s.y[i]) || !std::isfinite(s.x[i])) continue;
    c.out += "<circle class=\"" + std::string(s.hollow ? "ring" : "dot") + "\" cx=\"" +
             px(c.x(s.x[i])) + "\" cy=\"" + px(c.y(s.y[i])) + "\" r=\"" + px(s.radius) + "\"";
    c.out += i < s.note.size() ? "><title>" + html(s.note[i]) + "</title></circle>" : "/>";
  }
}

/// Names at the ends of the curves, kept apart, joined to their ends where they had to move.
void draw_labels(Canvas& c, const std::vector<PlotSeries>& series) {
  std::vector<const PlotSeries*> named;
  std::vector<double> at_x, wanted;
  for (const PlotSeries& s : series) {
    if (!s.label) continue;
    for (std::size_t i = s.y.size(); i-- > 0;) {
      if (!std::isfinite(s.y[i])) continue;
      named.push_back(&s);
      at_x.push_back(c.x(s.x[i]));
      wanted.push_back(c.y(s.y[i]));
      break;
    }
  }
  const std::vector<double> at_y = spread(wanted, kLabelGap, c.y1() + 2, c.y0() - 2);
  for (std::size_t i = 0; i < named.size(); ++i) {
    c.out += open_group(named[i]->color, named[i]->name) + "<path class=\"lead\" d=\"M" +
             px(at_x[i] + 2 + named[i]->radius) + " " + px(wanted[i]) + "L" + px(c.x1() + 8) + " " +
             px(at_y[i]) + "\"/><text class=\"name\" x=\"" + px(c.x1() + 11) + "\" y=\"" +
             px(at_y[i] + 3.8) + "\">" + html(shortened(named[i]->name, kLabelLength));
    if (shortened(named[i]->name, kLabelLength) != named[i]->name)
      c.out += "<title>" + html(named[i]->name) + "</title>";
    c.out += "</text></g>\n";
  }
}

struct Box {
  double x0, y0, x1, y1;
  bool hits(const Box& b) const { return x0 < b.x1 && b.x0 < x1 && y0 < b.y1 && b.y0 < y1; }
};

/// What is drawn, as little boxes: points, and lines every few pixels.
std::vector<Box> drawn_boxes(const Canvas& c, const std::vector<PlotSeries>& series) {
  std::vector<Box> out;
  const auto add = [&](double x, double y, double r) {
    out.push_back({x - r, y - r, x + r, y + r});
  };
  for (const PlotSeries& s : series)
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      const double x = c.x(s.x[i]), y = c.y(s.y[i]);
      add(x, y, s.radius + 0.5);
      if (!s.line || i == 0) continue;
      const double x0 = c.x(s.x[i - 1]), y0 = c.y(s.y[i - 1]);
      const int n = static_cast<int>(std::hypot(x - x0, y - y0) / 4);
      for (int k = 1; k < n; ++k) add(x0 + (x - x0) * k / n, y0 + (y - y0) * k / n, 1);
    }
  return out;
}

/// Names beside the last points, where the least is drawn: right, left, above, below or askew.
void draw_near_labels(Canvas& c, const std::vector<PlotSeries>& series) {
  const std::vector<Box> drawn = drawn_boxes(c, series);
  std::vector<Box> taken;
  for (const PlotSeries& s : series) {
    if (!s.label) continue;
    const std::string name = shortened(s.name, kLabelLength);
    const double x = c.x(s.x.back()), y = c.y(s.y.back()), w = text_width(name), d = s.radius + 3;
    const Box places[] = {
        {x + d, y - 6, x + d + w, y + 6},          {x - d - w, y - 6, x - d, y + 6},
        {x - w / 2, y - d - 12, x + w / 2, y - d}, {x - w / 2, y + d, x + w / 2, y + d + 12},
        {x + 2, y - d - 12, x + 2 + w, y - d},     {x - 2 - w, y - d - 12, x - 2, y - d},
        {x + 2, y + d, x + 2 + w, y + d + 12},     {x - 2 - w, y + d, x - 2, y + d + 12}};
    Box best = places[0];
    double least = HUGE_VAL;
    for (const Box& place : places) {
      double cost = 0;
      for (const Box& box : taken) cost += box.hits(place) ? 100 : 0;
      for (const Box& box : drawn) cost += box.hits(place) ? 1 : 0;
      if (place.x0 < c.x0() || place.x1 > c.x1() + c.right) cost += 200;
      if (place.y0 < c.y1() || place.y1 > c.y0()) cost += 50;
      if (cost >= least) continue;
      least = cost;
      best = place;
    }
    taken.push_back(best);
    c.out += open_group(s.color, s.name) + "<text class=\"name halo\" x=\"" + px(best.x0) +
             "\" y=\"" + px(best.y0 + 9.8) + "\">" + html(name) + "</text></g>\n";
  }
}

std::vector<double> all_of(const std::vector<PlotSeries>& series, bool x) {
  std::vector<double> out;
  for (const PlotSeries& s : series)
    for (const auto* v : {x ? &s.x : &s.y, x ? nullptr : &s.low, x ? nullptr : &s.high})
      if (v != nullptr) out.insert(out.end(), v->begin(), v->end());
  return out;
}

}  // namespace

std::string color_class(int color) {
  return color < 0 || color >= kPlotColors ? "kn" : "k" + std::to_string(color);
}

std::string xy_plot(const PlotFrame& frame, const std::vector<PlotSeries>& series) {
  double label = 0;
  for (const PlotSeries& s : series)
    if (s.label && !frame.near_labels)
      label = std::max(label, text_width(shortened(s.name, kLabelLength)) + 12);
  Canvas c = open_canvas(frame, limits_of(frame.x, all_of(series, true)),
                         limits_of(frame.y, all_of(series, false)), std::max(12.0, label), 44);
  for (const bool bands : {true, false})
    for (const PlotSeries& s : series) {
      if (bands && s.low.empty()) continue;
      c.out += open_group(s.color, s.name);
      if (bands) {
        draw_band(c, s);
      } else {
        for (const auto& [begin, end] : stretches(s.y))
          if (s.line && end - begin > 1)
            c.out += "<path class=\"line" + std::string(s.dashed ? " dashed" : "") + "\" d=\"" +
                     path_of(c, s.x, s.y, begin, end) + "\"/>";
        if (s.radius > 0) draw_points(c, s);
      }
      c.out += "</g>\n";
    }
  if (frame.near_labels)
    draw_near_labels(c, series);
  else
    draw_labels(c, series);
  return close_canvas(c);
}

std::string area_plot(const PlotFrame& frame, const std::vector<double>& x,
                      const std::vector<PlotLayer>& layers) {
  std::vector<double> below(x.size(), 0.0), total(x.size(), 0.0);
  for (const PlotLayer& layer : layers)
    for (std::size_t i = 0; i < x.size(); ++i) total[i] += layer.value[i];
  total.push_back(0);
  Canvas c = open_canvas(frame, limits_of(frame.x, x), limits_of(frame.y, total), 12, 44);
  for (const PlotLayer& layer : layers) {
    std::vector<double> above = below;
    for (std::size_t i = 0; i < x.size(); ++i) above[i] += layer.value[i];
    std::string path = path_of(c, x, above, 0, x.size());
    for (std::size_t i = x.size(); i-- > 0;) path += "L" + px(c.x(x[i])) + " " + px(c.y(below[i]));
    c.out += open_group(layer.color, layer.name) + "<path class=\"area" +
             (layer.hatched ? " pale" : "") + "\" d=\"" + path + "Z\"><title>" + html(layer.name) +
             "</title></path></g>\n";
    below = above;
  }
  return close_canvas(c);
}

std::string bar_plot(const PlotFrame& frame, const std::vector<std::string>& rows,
                     const std::vector<PlotLayer>& parts) {
  double left = 0;
  for (const std::string& row : rows)
    left = std::max(left, text_width(shortened(row, kLabelLength)) + 10);
  std::vector<double> total(rows.size(), 0.0);
  for (const PlotLayer& part : parts)
    for (std::size_t i = 0; i < rows.size(); ++i) total[i] += part.value[i];
  total.push_back(0);
  PlotFrame sized = frame;
  sized.height = 62 + 22 * static_cast<double>(rows.size());
  Canvas c = open_canvas(sized, limits_of(frame.x, total), {0, 1}, 16, left, true);
  std::vector<double> from(rows.size(), 0.0);
  for (const PlotLayer& part : parts) {
    c.out += open_group(part.color, part.name);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!(part.value[i] > 0)) continue;
      const double x0 = c.x(from[i]), x1 = c.x(from[i] + part.value[i]);
      c.out += "<rect class=\"bar\" x=\"" + px(x0) + "\" y=\"" +
               px(c.top + 4 + 22 * static_cast<double>(i)) + "\" width=\"" + px(x1 - x0) +
               "\" height=\"15\"><title>" + html(rows[i] + ", " + part.name) + ": " +
               short_number(part.value[i]) + "</title></rect>";
      from[i] += part.value[i];
    }
    c.out += "</g>\n";
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    c.out += "<text class=\"row\" x=\"" + px(left - 8) + "\" y=\"" +
             px(c.top + 16 + 22 * static_cast<double>(i)) + "\" text-anchor=\"end\">" +
             html(shortened(rows[i], kLabelLength)) + "</text>\n";
  return close_canvas(c);
}

std::string interval_plot(const PlotFrame& frame, const std::vector<PlotInterval>& rows,
                          double at) {
  double left = 0;
  std::vector<double> ends = {at};
  for (const PlotInterval& row : rows) {
    left = std::max(left, text_width(shortened(row.name, kLabelLength)) + 10);
    ends.insert(ends.end(), {row.value, row.low, row.high});
  }
  PlotFrame sized = frame;
  sized.height = 62 + 22 * static_cast<double>(rows.size());
  PlotAxis axis = frame.x;
  Limits x = limits_of(axis, ends);
  const double margin = 0.05 * (x.high - x.low);
  if (std::isnan(axis.low)) x.low -= margin;
  Canvas c = open_canvas(sized, x, {0, 1}, 16, left, true);
  c.out +=
      "<path class=\"zero\" d=\"M" + px(c.x(at)) + " " + px(c.y1()) + "V" + px(c.y0()) + "\"/>\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const PlotInterval& r = rows[i];
    const std::string y = px(c.top + 12 + 22 * static_cast<double>(i));
    c.out += open_group(r.color, r.name) + "<text class=\"row name\" x=\"" + px(left - 8) +
             "\" y=\"" + px(c.top + 16 + 22 * static_cast<double>(i)) + "\" text-anchor=\"end\">" +
             html(shortened(r.name, kLabelLength)) + "</text>";
    if (std::isfinite(r.value))
      c.out += "<path class=\"whisker\" d=\"M" + px(c.x(r.low)) + " " + y + "H" + px(c.x(r.high)) +
               "\"/><circle class=\"dot\" cx=\"" + px(c.x(r.value)) + "\" cy=\"" + y +
               "\" r=\"4\"><title>" + html(r.name) + ": " + signed_text(r.value, 3) + " [" +
               signed_text(r.low, 3) + ", " + signed_text(r.high, 3) + "]</title></circle>";
    c.out += "</g>\n";
  }
  return close_canvas(c);
}

std::string plot_legend(const std::vector<PlotLayer>& layers) {
  std::string out = "<ul class=\"legend\">";
  for (const PlotLayer& layer : layers)
    out += "<li class=\"" + color_class(layer.color) + "\" data-arm=\"" + html(layer.name) +
           "\"><i" + (layer.hatched ? " class=\"pale\"" : "") + "></i>" + html(layer.name) +
           "</li>";
  return out + "</ul>\n";
}

}  // namespace motley
