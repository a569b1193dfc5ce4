#include "experiments/plot_canvas.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "experiments/html.hpp"

namespace motley {

std::string px(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", std::abs(value) < 0.05 ? 0.0 : value);
  std::string out = text;
  if (out.ends_with(".0")) out.resize(out.size() - 2);
  return out;
}

double text_width(const std::string& text, double size) {
  std::size_t characters = 0;
  for (const char c : text) characters += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u ? 1 : 0;
  return 0.6 * size * static_cast<double>(characters);
}

std::string shortened(const std::string& text, std::size_t most) {
  std::string out;
  std::size_t characters = 0;
  for (const char c : text) {
    characters += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u ? 1 : 0;
    if (characters > most) return out.substr(0, out.size() - 1) + "…";
    out += c;
  }
  return out;
}

double PlotScale::operator()(double value) const {
  const double at = log2 ? (std::log2(value) - std::log2(low)) / (std::log2(high) - std::log2(low))
                         : (value - low) / (high - low);
  return from + at * (to - from);
}

std::vector<double> round_ticks(double low, double high, int count) {
  const double raw = (high - low) / std::max(1, count);
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double each : {1.0, 2.0, 2.5, 5.0})
    if (each * power >= raw * 0.999) {
      step = each * power;
      break;
    }
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1)
    ticks.push_back(i * step);
  return ticks;
}

std::vector<double> spread(const std::vector<double>& wanted, double gap, double low, double high) {
  std::vector<std::size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
  // Blocks of neighbours that touch; each lies around the mean of what its members want.
  struct Block {
    double sum = 0;
    std::size_t n = 0;
    double first = 0;
  };
  std::vector<Block> blocks;
  const auto place = [&](Block& b) {
    const auto n = static_cast<double>(b.n);
    b.first = b.sum / n - gap * (n - 1) / 2;
    b.first = std::max(low, std::min(b.first, high - gap * (n - 1)));
  };
  for (const std::size_t i : order) {
    blocks.push_back({wanted[i], 1, 0});
    place(blocks.back());
    while (blocks.size() > 1) {
      Block& last = blocks.back();
      Block& before = blocks[blocks.size() - 2];
      if (before.first + gap * static_cast<double>(before.n) <= last.first) break;
      before.sum += last.sum;
      before.n += last.n;
      blocks.pop_back();
      place(blocks.back());
    }
  }
  std::vector<double> out(wanted.size());
  std::size_t at = 0;
  for (const Block& b : blocks)
    for (std::size_t i = 0; i < b.n; ++i) out[order[at++]] = b.first + gap * static_cast<double>(i);
  return out;
}

Limits limits_of(const PlotAxis& axis, const std::vector<double>& values) {
  Limits out{axis.low, axis.high};
  double low = std::nan(""), high = std::nan("");
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    low = std::isnan(low) ? v : std::min(low, v);
    high = std::isnan(high) ? v : std::max(high, v);
  }
  if (std::isnan(low)) low = 0, high = 1;
  const bool free_low = std::isnan(out.low), free_high = std::isnan(out.high);
  if (free_low) out.low = low;
  if (free_high) out.high = high;
  if (!(out.high > out.low)) {
    const double pad = std::max(1e-6, 0.1 * std::abs(out.high));
    if (free_low) out.low -= pad;
    if (free_high || !free_low) out.high = out.low + 2 * pad;
  }
  if (axis.log2) return out;
  const double margin = 0.04 * (out.high - out.low);
  if (free_low) out.low -= out.low >= 0 && out.low < margin ? out.low : margin;
  if (free_high) out.high += margin;
  return out;
}

namespace {

std::string tick_text(double value, const std::vector<double>& ticks) {
  if (value != 0 && (std::abs(value) >= 1e6 || std::abs(value) < 1e-4)) return short_number(value);
  int digits = 0;
  for (const double t : ticks)
    for (int d = digits; d < 6; ++d) {
      const double scaled = t * std::pow(10.0, d);
      if (std::abs(scaled - std::round(scaled)) < 1e-6 * std::max(1.0, std::abs(scaled))) break;
      digits = d + 1;
    }
  return number_text(value, digits);
}

}  // namespace

Canvas open_canvas(const PlotFrame& frame, Limits x, Limits y, double right, double left,
                   bool row_axis) {
  Canvas c;
  c.left = left;
  c.right = right;
  c.x = {x.low, x.high, c.left, frame.width - c.right, frame.x.log2};
  c.y = {y.low, y.high, frame.height - c.bottom, c.top, frame.y.log2};
  c.x_ticks = frame.x.ticks.empty() ? round_ticks(x.low, x.high, 5) : frame.x.ticks;
  c.y_ticks = frame.y.ticks.empty() ? round_ticks(y.low, y.high, 4) : frame.y.ticks;
  c.out = "<svg viewBox=\"0 0 " + px(frame.width) + " " + px(frame.height) +
          "\" role=\"img\" aria-label=\"" + html(frame.title + ". " + frame.summary) + "\">\n";
  if (!frame.title.empty())
    c.out += "<text class=\"ptitle\" x=\"0\" y=\"12\">" + html(frame.title) + "</text>\n";
  c.out += "<g class=\"axis\">\n";
  if (!row_axis)
    for (const double t : c.y_ticks) {
      const std::string at = px(c.y(t));
      c.out += "<path d=\"M" + px(c.x0()) + " " + at + "H" + px(c.x1()) + "\"/><text x=\"" +
               px(c.x0() - 6) + "\" y=\"" + px(c.y(t) + 3.8) + "\" text-anchor=\"end\">" +
               tick_text(t, c.y_ticks) + "</text>\n";
    }
  for (const double t : c.x_ticks) {
    const std::string at = px(c.x(t));
    c.out += "<path d=\"M" + at + " " + px(c.y0()) + (row_axis ? "V" + px(c.y1()) : "v4") +
             "\"/><text x=\"" + at + "\" y=\"" + px(c.y0() + 16) + "\" text-anchor=\"middle\">" +
             tick_text(t, c.x_ticks) + "</text>\n";
  }
  if (!row_axis)
    c.out +=
        "<path class=\"base\" d=\"M" + px(c.x0()) + " " + px(c.y0()) + "H" + px(c.x1()) + "\"/>\n";
  c.out += "</g>\n";
  if (!frame.x.title.empty())
    c.out += "<text class=\"atitle\" x=\"" + px(c.x1()) + "\" y=\"" + px(frame.height - 3) +
             "\" text-anchor=\"end\">" + html(frame.x.title) + "</text>\n";
  if (!frame.y.title.empty())
    c.out += "<text class=\"atitle\" x=\"" + px(c.x0()) + "\" y=\"" + px(c.y1() - 4) + "\">" +
             html(frame.y.title) + "</text>\n";
  return c;
}

std::string close_canvas(Canvas& canvas) {
  return canvas.out + "</svg>\n";
}

}  // namespace motley
