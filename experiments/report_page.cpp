/// The page of a report: its frame, its style sheet and its few lines of script.

#include "experiments/html.hpp"
#include "experiments/report.hpp"

namespace motley {

void ReportPage::section(const std::string& id, const std::string& title,
                         const std::string& intro) {
  if (!sections_.empty()) body_ += "</section>\n";
  sections_.emplace_back(id, title);
  body_ += "<section id=\"" + id + "\">\n<h2>" + title + "</h2>\n";
  if (!intro.empty()) body_ += "<p class=\"intro\">" + intro + "</p>\n";
}

void ReportPage::figure(const std::string& plots, const std::string& caption,
                        const std::string& data) {
  body_ += "<figure>\n<div class=\"panels\">\n" + plots + "</div>\n<figcaption><b>Figure " +
           std::to_string(++figures_) + ".</b> " + caption + "</figcaption>\n" + data +
           "</figure>\n";
}

void ReportPage::table(const std::string& table, const std::string& caption,
                       const std::string& data) {
  body_ += "<figure class=\"tabular\">\n<figcaption><b>Table " + std::to_string(++tables_) +
           ".</b> " + caption + "</figcaption>\n" + table + data + "</figure>\n";
}

void ReportPage::missing(const std::string& what) {
  body_ += "<p class=\"missing\">" + what + "</p>\n";
}

std::string ReportPage::finish(const std::string& title, const std::string& head) const {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
      "<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
      "<meta name=\"generator\" content=\"motley report\"/>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\"/>\n<title>" +
      html(title) + " – motley report</title>\n<style>" + kReportStyle +
      "</style>\n</head>\n<body>\n<main>\n" + head + "<nav aria-label=\"Sections\"><ol>";
  for (const auto& [id, name] : sections_)
    out += "<li><a href=\"#" + id + "\">" + name + "</a></li>";
  out += "</ol></nav>\n" + body_;
  if (!sections_.empty()) out += "</section>\n";
  return out + "</main>\n<script>" + kReportScript + "</script>\n</body>\n</html>\n";
}

std::string arm_cell(const ReportArm& arm) {
  return "<span class=\"arm " + color_class(arm.color) + "\" data-arm=\"" + html(arm.name) +
         "\"><i></i>" + html(arm.name) + "</span>";
}

std::string over_seeds(const Report& report) {
  const std::size_t n = report.seeds();
  return n < 2 ? "" : "over " + std::to_string(n) + " seeds";
}

PlotSeries series_of(const ReportArm& arm, const Curve& curve) {
  PlotSeries s;
  s.name = arm.name;
  s.color = arm.color;
  s.x = curve.x;
  s.y = curve.middle;
  s.low = curve.low;
  s.high = curve.high;
  return s;
}

std::string report_html(const Report& report) {
  ReportPage page;
  add_findings(page, report);
  add_learning(page, report);
  add_draws(page, report);
  add_plane(page, report);
  add_entropy(page, report);
  add_rollouts(page, report);
  add_machine(page, report);
  add_reproduce(page, report);
  add_glossary(page);
  return page.finish(report.title, report_head(report));
}

const char* const kReportStyle = R"css(
:root{--bg:#fff;--ink:#1a1e24;--soft:#57606c;--faint:#e4e7eb;--panel:#f6f7f9;--link:#0b5cad;
--up:#00694e;--down:#a33a00;--kn:#7d8590;--k0:#454d58;--k1:#0b6bb0;--k2:#c04a00;--k3:#00785a;--k4:#a53a7d;
--k5:#856000;--k6:#6246c4;--k7:#0a7a86}
@media (prefers-color-scheme:dark){:root{--bg:#14171c;--ink:#e6e9ed;--soft:#a3adb8;--faint:#2c323a;--panel:#1c2026;
--link:#7ab8f5;--up:#5fd0a5;--down:#ff9f6e;--kn:#8b949e;--k0:#c3cad3;--k1:#5fb2f2;--k2:#ff9a5c;--k3:#45cf9f;
--k4:#ef93cb;--k5:#e0b54d;--k6:#ab98ff;--k7:#62d0dc}}
@media print{:root{--bg:#fff;--ink:#000;--soft:#444;--faint:#ddd;--panel:#fff;--link:#000;--up:#00694e;
--down:#a33a00;--kn:#7d8590;--k0:#454d58;--k1:#0b6bb0;--k2:#c04a00;--k3:#00785a;--k4:#a53a7d;--k5:#856000;
--k6:#6246c4;--k7:#0a7a86}}
.kn{--c:var(--kn)}.k0{--c:var(--k0)}.k1{--c:var(--k1)}.k2{--c:var(--k2)}.k3{--c:var(--k3)}.k4{--c:var(--k4)}
.k5{--c:var(--k5)}.k6{--c:var(--k6)}.k7{--c:var(--k7)}
*{box-sizing:border-box}
html{background:var(--bg);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:2rem;line-height:1.2;margin:.1em 0 .4em;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.35rem;margin:0 0 .3em;letter-spacing:-.005em}
h3{font-size:1rem;margin:1.6em 0 .4em}
p,figcaption,li,dd{max-width:44rem}
a{color:var(--link)}
.eyebrow{color:var(--soft);font-size:.85rem;margin:0}
.lead{font-size:1.1rem;margin:0 0 1.2em}
.intro{margin:.2em 0 1em}
section{border-top:1px solid var(--faint);margin-top:48px;padding-top:28px}
nav ol{display:flex;flex-wrap:wrap;gap:.2em 1.3em;padding:0;margin:28px 0 0;list-style:none;font-size:.92rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3em 1.4em;margin:0 0 1.4em}
dt{color:var(--soft)}dd{margin:0}
figure{margin:24px 0 32px}
figcaption{color:var(--soft);font-size:.9rem;margin:.6em 0}
figcaption b{color:var(--ink)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));gap:22px 30px}
.panels>.wide{grid-column:1/-1}
svg{display:block;width:100%;max-width:560px;height:auto;font-family:inherit;overflow:visible}
svg text{font-size:11px;fill:var(--soft);font-variant-numeric:tabular-nums}
svg .ptitle{font-size:12.5px;font-weight:600;fill:var(--ink)}
svg .row{fill:var(--ink)}
svg .name{fill:var(--c);font-weight:500}
svg .halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
.axis path{stroke:var(--faint);fill:none;shape-rendering:crispEdges}
.axis .base{stroke:var(--kn)}
.line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.dashed{stroke-dasharray:5 4}
.band{fill:var(--c);opacity:.13}
.dot{fill:var(--c)}.ring{fill:var(--bg);stroke:var(--c);stroke-width:1.6}
.faintdots .dot{opacity:.35}
path.lead{fill:none;stroke:var(--c);stroke-width:.8;opacity:.55}
.area,.bar{fill:var(--c);stroke:var(--bg);stroke-width:.7}
.pale{opacity:.38}
.whisker{stroke:var(--c);stroke-width:2.4;stroke-linecap:round}
.zero{stroke:var(--soft);stroke-dasharray:3 3;fill:none}
.off{opacity:.12}
.legend{display:flex;flex-wrap:wrap;gap:.2em 1.2em;list-style:none;padding:0;margin:.2em 0 .8em;font-size:.88rem}
.legend i,.arm i{display:inline-block;width:.75em;height:.75em;border-radius:2px;background:var(--c);margin-right:.45em}
.arm{white-space:nowrap}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.3em 0}
th,td{padding:.34em .8em;text-align:right;border-bottom:1px solid var(--faint);vertical-align:top;white-space:nowrap}
th:first-child,td.text,th.text{text-align:left}th:first-child{padding-left:0}td.text{white-space:normal}
td:last-child,th:last-child{padding-right:0}
thead th{color:var(--soft);font-weight:500;vertical-align:bottom;border-bottom:1px solid var(--kn)}
tbody th{font-weight:500}
td small{display:block;color:var(--soft);font-size:.82em}
.up{color:var(--up);font-weight:600}.down{color:var(--down);font-weight:600}.open{color:var(--soft)}
.short{white-space:nowrap}
.missing,.note{border-left:3px solid var(--kn);background:var(--panel);padding:.6em 1em;margin:1em 0}
.findings{padding-left:1.1em}
details{margin:.5em 0}summary{cursor:pointer;color:var(--link);font-size:.9rem}
pre,code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.8rem}
pre{background:var(--panel);padding:.8em 1em;overflow:auto;max-height:26em;margin:.4em 0;line-height:1.45}
.groups{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:24px 32px}
.group h4{margin:0 0 .3em;font-size:.92rem;font-weight:600}
.group table{font-size:.82rem;width:100%}
.group th,.group td{padding:.28em .4em}
.group td.text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;width:99%}
.chip{display:inline-block;min-width:1.6em;text-align:center;border-left:5px solid var(--c);padding-left:.45em}
.copy{font:inherit;font-size:.8rem;color:var(--link);background:none;border:1px solid var(--faint);border-radius:4px;
padding:.1em .6em;cursor:pointer;margin:.3em 0}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media (max-width:640px){main{padding:24px 16px 60px}h1{font-size:1.6rem}dl{grid-template-columns:1fr;gap:0}
dd{margin:0 0 .6em}section{margin-top:36px}}
@media print{main{max-width:none;padding:0}body{font-size:10pt}nav,.copy{display:none}
figure,.group,tr{break-inside:avoid}.panels{grid-template-columns:1fr 1fr}h2,h3{break-after:avoid}
.scroll{overflow:visible}table{font-size:7.6pt}th,td{padding:.25em .5em}section{margin-top:18px;padding-top:12px}}
)css";

// Comfort only: the page says the same without it. Pointing at an arm's name dims the others;
// folded texts get a button that copies them.
const char* const kReportScript = R"js(
(function(){
var marked=document.querySelectorAll("[data-arm]");
function show(name){marked.forEach(function(e){
e.classList.toggle("off",name!==null)});
if(name!==null)marked.forEach(function(e){if(e.getAttribute("data-arm")===name)e.classList.remove("off")});}
marked.forEach(function(e){
e.addEventListener("mouseenter",function(){show(e.getAttribute("data-arm"))});
e.addEventListener("mouseleave",function(){show(null)});});
document.querySelectorAll("details pre").forEach(function(pre){
if(!navigator.clipboard)return;
var b=document.createElement("button");b.className="copy";b.type="button";b.textContent="copy";
b.addEventListener("click",function(){navigator.clipboard.writeText(pre.textContent).then(function(){
b.textContent="copied";});});
pre.parentNode.insertBefore(b,pre);});
})();
)js";

}  // namespace motley
