#!/usr/bin/env python3
"""The page of `motley report`: well-formed, self-contained, and the numbers those of the files.

usage: report.py MOTLEY CASE      CASE: page | numbers | unfinished | refusals | browser
`browser` opens the page in chromium and exits 77 where there is none. Exits 1 with the first fault.
"""

import csv
import io
import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
import zlib

import h5py
import numpy as np

import reproduce
from reproduce import LEARNT, expect, run

SWEEP = """
[sweep]
name = pages
base = tiny.ini
seeds = 1:4
[arm.grpo]
run.method = grpo
[arm.darling]
run.method = darling
[arm.exact]
run.method = darling
partition.method = exact
"""
HOSTILE = '<script>alert("1")</script>&amp;"x"'


def tag(element):
    return element.tag.split("}")[-1]


def page_of(work, *words):
    run("report", *words, "-o", "page.html", cwd=work)
    text = (work / "page.html").read_text()
    return text, ET.fromstring(text[text.index("<html") :])


def words_of(element):
    return " ".join("".join(element.itertext()).split())


def tables(root):
    """Caption of every table -> rows of cells (elements)."""
    out = {}
    for figure in root.iter():
        if tag(figure) != "figure" or "tabular" not in figure.get("class", ""):
            continue
        caption = next(words_of(e) for e in figure.iter() if tag(e) == "figcaption")
        table = next((e for e in figure.iter() if tag(e) == "table"), None)
        out[caption] = [[c for c in row if tag(c) in ("th", "td")] for row in table.iter() if tag(row) == "tr"]
    return out


def table(root, beginning):
    for caption, rows in tables(root).items():
        if re.match(r"Table \d+\. " + re.escape(beginning), caption):
            return rows
    raise SystemExit(f"FAILED: no table whose caption begins with {beginning!r}: {list(tables(root))}")


def sheets(root):
    """Rows of all folded CSV texts, by header."""
    out = {}
    for pre in root.iter():
        if tag(pre) == "pre" and "," in (pre.text or "").splitlines()[0]:
            rows = list(csv.reader(io.StringIO(pre.text)))
            out[tuple(rows[0])] = [dict(zip(rows[0], row)) for row in rows[1:]]
    return out


def sheet(root, *columns):
    for head, rows in sheets(root).items():
        if set(columns) <= set(head):
            return rows
    raise SystemExit(f"FAILED: no CSV with the columns {columns}: {list(sheets(root))}")


def value(cell):
    data = [e for e in cell.iter() if tag(e) == "data"]
    return float(data[0].get("value")) if data else math.nan


def near(got, want, what, tolerance=1e-5):
    expect(abs(got - want) <= tolerance * max(1, abs(want)), f"{what}: the page says {got}, expected {want}")


def sweep(work):
    (work / "sweep.ini").write_text(SWEEP)
    run("sweep", "run", "-q", "sweep.ini", cwd=work)
    return work / "runs" / "pages"


def expect_self_contained(text, root):
    for element in root.iter():
        for name, content in element.attrib.items():
            local = name.split("}")[-1]
            if local in ("href", "src", "data", "action", "srcset", "poster"):
                expect(content.startswith("#"), f"<{tag(element)} {local}={content!r}> leaves the page")
        expect(tag(element) not in ("link", "img", "iframe", "object", "embed", "base"), f"the page has a <{tag(element)}>")
        expect(not any(n.startswith("on") for n in element.attrib), f"<{tag(element)}> has an event attribute")
    style = next(e.text for e in root.iter() if tag(e) == "style")
    expect("url(" not in style and "@import" not in style, "the style sheet loads something")
    bare = text.replace("http://www.w3.org/1999/xhtml", "")
    expect("http://" not in bare and "https://" not in bare, "the page names an address")
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    expect(len(ids) == len(set(ids)), "an id occurs twice")
    for element in root.iter():
        if tag(element) == "a":
            expect(element.get("href")[1:] in ids, f"no section {element.get('href')}")


def expect_drawn(root, least):
    plots = [e for e in root.iter() if tag(e) == "svg"]
    expect(len(plots) >= least, f"{len(plots)} plots, expected at least {least}")
    for plot in plots:
        marks = [e for e in plot.iter() if e.get("class", "").split(" ")[0] in ("line", "dot", "ring", "area", "bar", "whisker")]
        expect(marks, f"nothing is drawn in {plot.get('aria-label')!r}")
        expect(plot.get("aria-label"), "a plot says nothing to those who do not see it")
        width, height = map(float, plot.get("viewBox").split()[2:])
        for element in plot.iter():
            for name in ("d", "cx", "cy", "x", "y", "width", "height"):
                text = element.get(name, "0")
                expect(not re.search("nan|inf", text), f"{plot.get('aria-label')!r} has {name}={text}")
            if "line" in element.get("class", "").split():
                numbers = [float(n) for n in re.findall(r"-?[\d.]+", element.get("d"))]
                expect(all(-1 <= x <= width + 1 for x in numbers[0::2]), f"a line leaves {plot.get('aria-label')!r}")
                expect(all(-1 <= y <= height + 1 for y in numbers[1::2]), f"a line leaves {plot.get('aria-label')!r}")
    captions = [e for e in root.iter() if tag(e) == "figcaption"]
    figures = [e for e in root.iter() if tag(e) == "figure"]
    expect(len(captions) == len(figures), "a figure has no caption")


def page(work):
    sweep(work)
    text, root = page_of(work, "runs/pages")
    expect_self_contained(text, root)
    expect_drawn(root, 15)
    sections = [e.get("id") for e in root.iter() if tag(e) == "section"]
    expect(sections == ["found", "learning", "draws", "plane", "entropy", "answers", "machine", "again", "words"], f"sections {sections}")
    expect(page_of(work, "runs/pages")[0] == text, "a second page of the same runs has other bytes")
    cell = sorted((work / "runs" / "pages").glob("darling-*"))[0]
    text, root = page_of(work, str(cell.relative_to(work)))
    expect_self_contained(text, root)
    expect_drawn(root, 12)
    expect("One run: nothing is said between seeds" in words_of(root), "a single run does not say that it is one")
    # A hostile name stays text, in the heading as in the arms.
    run("train", "-q", "-c", "tiny.ini", f"run.name={HOSTILE}", "run.steps=4", "-o", "hostile", cwd=work)
    grpo = sorted((work / "runs" / "pages").glob("grpo-*"))[0]
    text, root = page_of(work, "hostile", str(grpo.relative_to(work)), "--title", HOSTILE)
    expect_self_contained(text, root)
    expect([e.text for e in root.iter() if tag(e) == "h1"] == [HOSTILE], "the heading is not the title")
    expect(len([e for e in root.iter() if tag(e) == "script"]) == 1, "a name became a script")
    expect("<script>alert" not in text, "a name is not escaped")
    expect(any(e.get("data-arm") == HOSTILE for e in root.iter()), "the arm's name is not the given one")


def numbers(work):
    folder = sweep(work)
    _, root = page_of(work, "runs/pages", "--baseline", "grpo")
    told = json.loads(run("compare", "runs/pages", "--baseline", "grpo", "--json", cwd=work).stdout)
    rows = table(root, "Means over seeds")
    arms = {(a["arm"], a["metric"]): a for a in told["arms"]}
    metrics = list(dict.fromkeys(a["metric"] for a in told["arms"]))
    expect(len(rows[0]) == 2 + len(metrics), f"the table of means has {len(rows[0])} columns for {len(metrics)} metrics")
    expect([words_of(r[0]) for r in rows[2:]] == ["grpo", "darling", "exact"], "arms of the table of means")
    for row in rows[2:]:
        for metric, cell in zip(metrics, row[2:]):
            figures = arms[words_of(row[0]), metric]
            near(value(cell), figures["mean"], f"mean {metric} of {words_of(row[0])}")
            want = f"[{figures['low']:.3f}, {figures['high']:.3f}]"
            expect(want in words_of(cell).replace("−", "-").replace("-0.000", "0.000"), f"{words_of(cell)} lacks {want}")
    rows = table(root, "Paired differences to grpo")
    pairs = {(p["arm"], p["metric"]): p for p in told["pairs"]}
    shown = [m for m in metrics if not m.startswith("base.")]
    for row in rows[1:]:
        for metric, cell in zip(shown, row[2:]):
            pair = pairs[words_of(row[0]), metric]
            near(value(cell), pair["difference"], f"difference of {words_of(row[0])} in {metric}")
            mark = "▲" if pair["low"] > 0 else "▼" if pair["high"] < 0 else ""
            expect(("▲" in words_of(cell)) == (mark == "▲") and ("▼" in words_of(cell)) == (mark == "▼"), f"mark of {words_of(cell)}")
    said = words_of(root)
    for line in run("compare", "runs/pages", "--baseline", "grpo", cwd=work).stdout.splitlines():
        if "undecided" in line or "interval" in line and ":" in line and "paired" not in line or "demonstration" in line:
            expect(" ".join(line.split()) in said, f"the page lacks the line {line!r}")

    # Curves: interquartile means over seeds, of the columns of the files.
    files = {}
    for path in sorted(folder.glob("*/run.h5")):
        with h5py.File(path, "r") as f:
            files.setdefault(f["config"].attrs["run.name"], []).append(
                {"entropy": f["metrics/entropy"][:], "quality": f["metrics/quality"][:], "pass": f["eval/pass_at_k"][:], "k": f["eval/k"][:],
                 "correct": f["eval/num_correct"][-1], "samples": f["eval/num_samples"][-1], "step": f["eval/step"][:],
                 "class": f["rollouts/class_id"][:], "right": f["rollouts/quality"][:] > 0,
                 "advantage": f["rollouts/advantage"][:], "size": f["partition/cluster_size"][:]})
    for row in sheet(root, "quantity", "update", "iqm"):
        if row["quantity"] == "entropy":
            seeds = sorted(float(run_["entropy"][int(float(row["update"]))]) for run_ in files[row["arm"]])
            near(float(row["iqm"]), np.mean(seeds), f"entropy of {row['arm']} at {row['update']}")  # three seeds: floor(3/4) = 0 cut
            expect(seeds[0] - 1e-6 <= float(row["low"]) <= float(row["iqm"]) <= float(row["high"]) <= seeds[-1] + 1e-6, "band")
        elif row["quantity"] == "pass_at_1":
            seeds = [r["pass"][list(r["step"]).index(int(row["update"])), 0] for r in files[row["arm"]]]
            near(float(row["iqm"]), np.mean(seeds), f"pass@1 of {row['arm']} at {row['update']}")
    seen = set()
    for row in sheet(root, "quantity", "k", "mean"):
        if row["quantity"] == "pass_at_k":
            k = int(row["k"])
            want = np.mean([np.mean([1 - math.comb(int(n - c), k) / math.comb(int(n), k) for n, c in zip(r["samples"], r["correct"])])
                            for r in files[row["arm"]]])
            near(float(row["mean"]), want, f"pass@{k} of {row['arm']}")
            seen.add(k)
    expect(seen == {1, 2, 4, 8}, f"pass@k at {seen}")
    # The law, by numpy's own least squares.
    for row in table(root, "R = b − a exp(H)")[1:]:
        fits = [np.polyfit(np.exp(r["entropy"].astype(float)), r["quality"].astype(float), 1) for r in files[words_of(row[0])]]
        near(value(row[2]), -np.mean([f[0] for f in fits]), f"a of {words_of(row[0])}", 1e-4)
        near(value(row[3]), np.mean([f[1] for f in fits]), f"b of {words_of(row[0])}", 1e-4)
    # Advantages by cluster size.
    for row in sheet(root, "completions", "cluster_size"):
        want = []
        for r in files[row["arm"]]:
            signal_ = np.any(r["advantage"] != 0, axis=2, keepdims=True) & np.ones_like(r["right"])
            pick = signal_ & (r["right"] == (row["completions"] == "right")) & (r["size"] == int(row["cluster_size"]))
            if pick.any():
                want.append(r["advantage"][pick].astype(float).mean() / np.sqrt((r["advantage"][signal_].astype(float) ** 2).mean()))
        near(float(row["mean"]), np.mean(want), f"advantage of {row}", 1e-4)
        expect(int(row["seeds"]) == len(want), f"seeds of {row}")
    # Ways of answering: shares add up, right ones are the quality.
    head = next(h for h in sheets(root) if "wrong" in h and "malformed" in h)
    for row in sheets(root)[head]:
        parts = [float(row[c]) for c in head[2:]]
        near(sum(parts), 1, f"shares of {row}", 1e-5)
        step = int(float(row["update"]))
        near(sum(parts[:-2]), np.mean([r["right"][step].mean() for r in files[row["arm"]]]), f"right share of {row}", 1e-5)
    # Digests and commands.
    for path in folder.glob("*/run.h5"):
        expect(run("digest", str(path)).stdout.strip() in said, f"no digest of {path.parent.name}")
        expect(f"motley train -c runs/pages/{path.parent.name}/config.ini" in said, f"no command for {path.parent.name}")


def unfinished(work):
    sweep(work)
    # Stopped in the middle by a kill.
    words = [reproduce.motley, "train", "-q", "-c", "tiny.ini", "run.steps=100000", "run.name=cut", "eval.every_steps=5", "-o", "cut"]
    child = subprocess.Popen(words, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    committed = 0
    for _ in range(600):
        time.sleep(0.1)
        try:
            with h5py.File(work / "cut" / "run.h5", "r", libver="latest", swmr=True) as f:
                committed = int(f["committed"][()])
        except OSError:
            pass
        if committed >= 12:
            break
    live, _ = page_of(work, "cut")
    expect("This run is not complete" in live, "a live run does not say so")
    child.send_signal(signal.SIGKILL)
    child.wait()
    with h5py.File(work / "cut" / "run.h5", "r", libver="latest", swmr=True) as f:
        committed = int(f["committed"][()])
        entropy = f["metrics/entropy"][:committed]
    text, root = page_of(work, "cut")
    expect_self_contained(text, root)
    expect_drawn(root, 10)
    expect(f"its {committed} committed updates of 100000" in words_of(root), f"the page does not say that {committed} updates are committed")
    width = -(-committed // 60)
    rows = [r for r in sheet(root, "quantity", "update") if r["quantity"] == "entropy"]
    expect(len(rows) == -(-committed // width), f"{len(rows)} points of {committed} updates")
    near(float(rows[0]["value"]), entropy[:width].mean(), "first point of the entropy")
    # Beside finished ones it is named and left out of the tables.
    text, root = page_of(work, "runs/pages", "cut")
    expect("1 of 10 runs are not complete" in words_of(root), "the unfinished run is not counted")
    expect("cut" not in [words_of(r[0]) for r in table(root, "Means over seeds")], "an unfinished run is in the table of means")
    # No rollouts: said, with the way to get them, and nothing else missing.
    run("train", "-q", "-c", "tiny.ini", "log.rollouts=none", "-o", "blind", cwd=work)
    text, root = page_of(work, "blind")
    expect_self_contained(text, root)
    expect_drawn(root, 10)
    expect("log.rollouts = none" in words_of(root) and "log.rollouts=all" in words_of(root), "missing rollouts are not explained")
    expect(not any("completions to" in c for c in tables(root)), "rollouts are shown that were not logged")
    run("train", "-q", "-c", "tiny.ini", "log.rollouts=every:7", "-o", "sparse", cwd=work)
    expect_drawn(page_of(work, "sparse")[1], 12)
    # Nothing evaluated, nothing done.
    run("train", "-q", "-c", "tiny.ini", "run.steps=1", "-o", "short", cwd=work)
    expect_self_contained(*page_of(work, "short"))


def refusals(work):
    run("train", "-q", "-c", "tiny.ini", "run.steps=2", "-o", "a", cwd=work)

    def refused(code, part, *words):
        done = run("report", *words, check=False, cwd=work)
        expect(done.returncode == code, f"report {words}: exit {done.returncode}, expected {code}: {done.stderr}")
        expect(part in done.stderr and len(done.stderr.splitlines()) == 1, f"report {words}: {done.stderr!r} lacks {part!r}")

    refused(2, "RUN or SWEEP is missing")
    refused(4, "no such run", "nowhere")
    refused(2, 'did you mean "run.method"', "a", "--by", "run.metod")
    refused(2, "there is no folder", "a", "-o", "nowhere/x.html")
    refused(2, "is a folder", "a", "-o", "a")
    before = (work / "a" / "run.h5").read_bytes()
    refused(3, "exists and is no report", "a", "-o", "a/run.h5")
    expect((work / "a" / "run.h5").read_bytes() == before, "a run was overwritten")
    run("train", "-q", "-c", "tiny.ini", "run.steps=2", "run.name=b", "-o", "b", cwd=work)
    refused(2, "no such arm", "a", "b", "--baseline", "c")
    told = json.loads(run("report", "a", "-o", "x.html", "--json", cwd=work).stdout)
    expect(told["bytes"] == (work / "x.html").stat().st_size and told["runs"] == 1, f"--json says {told}")


def pixels(path):
    """Rows of an 8-bit RGB or RGBA PNG."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", data[at + 8 : at + 18])
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += 12 + size
    step = {2: 3, 6: 4}[color]
    raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * step)
    rows = np.zeros((height, width * step), np.uint8)
    for y in range(height):
        kind, line = raw[y, 0], raw[y, 1:].astype(np.int64)
        above = rows[y - 1].astype(np.int64) if y else np.zeros_like(line)
        if kind == 2:
            line = line + above
        elif kind in (1, 3, 4):
            for x in range(width * step):
                left = line[x - step] if x >= step else 0
                corner = above[x - step] if x >= step else 0
                if kind == 1:
                    guess = left
                elif kind == 3:
                    guess = (left + above[x]) // 2
                else:
                    p = left + above[x] - corner
                    guess = min((abs(p - left), 0, left), (abs(p - above[x]), 1, above[x]), (abs(p - corner), 2, corner))[2]
                line[x] = (line[x] + guess) % 256
        rows[y] = line % 256
    return rows.reshape(height, width, step)[:, :, :3]


def browser(work):
    chromium = next((c for c in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if c), None)
    if chromium is None:
        print("not run: no chromium on PATH (Debian: apt-get install chromium)")
        sys.exit(77)
    sweep(work)
    page_of(work, "runs/pages")

    def view(*words):
        common = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={work}/profile"]
        done = subprocess.run([chromium, *common, *words, f"file://{work}/page.html"], capture_output=True, text=True, timeout=120)
        faults = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        expect(not faults, f"the console says {faults}")
        return done.stdout

    dom = view("--dump-dom")
    expect(dom.count("<svg") >= 15 and 'class="copy"' not in dom.split("<script>")[0].split("<details")[0], "the page lost its plots")
    expect("NaN" not in dom.split("<script>")[0], "the page shows NaN")
    # A script that fails on purpose is caught by the same look at the console.
    broken = (work / "page.html").read_text().replace("<script>", "<script>no_such_function();", 1)
    (work / "broken").mkdir()
    kept = (work / "page.html").read_text()
    (work / "page.html").write_text(broken)
    try:
        view("--dump-dom")
    except SystemExit:
        pass
    else:
        raise SystemExit("FAILED: a failing script is not seen on the console")
    (work / "page.html").write_text(kept)
    for name, words in {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}.items():
        shot = work / f"{name}.png"
        view("--window-size=700,1500", f"--screenshot={shot}", *words)
        image = pixels(shot)
        background = image[-1, 0].astype(int)
        expect((background.mean() > 200) == (name == "light"), f"the {name} page has the background {background}")
        inked = np.mean(np.abs(image.astype(int) - background).max(axis=2) > 60)
        expect(inked > 0.01, f"the {name} page is empty: {inked:.4f} of it is inked")


CASES = {f.__name__: f for f in (page, numbers, unfinished, refusals, browser)}


def main():
    reproduce.motley = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(LEARNT)
        CASES[sys.argv[2]](work)
    print(f"{sys.argv[2]}: fine")


if __name__ == "__main__":
    main()
