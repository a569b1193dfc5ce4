#!/usr/bin/env python3
"""Exact figures of an evaluation and `motley eval`, run as a user would.

usage: evaluation.py MOTLEY CASE      CASE: exact | front | compare | refusals
Needs numpy and h5py. Exits 1 with the first difference.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import LEARNT, digest, expect, expect_equal_alone, run

EXACT = ["exact_pass_at_1", "exact_class_entropy", "exact_quality", "exact_mass", "exact_pass_at_k"]


def exact(work):
    """Sampled figures scatter around the enumerated ones; bits depend on neither threads nor packing; nothing else changes."""
    words = ["eval.samples=256", "run.steps=10", "eval.exact_prompts=3", "run.method=grpo"]
    run("train", "-c", "tiny.ini", *words, "-o", "plain", cwd=work, threads=1)
    run("train", "-c", "tiny.ini", *words, "eval.exact=on", "-o", "one", cwd=work, threads=1)
    run("train", "-c", "tiny.ini", *words, "eval.exact=on", "-o", "two", cwd=work, threads=2)
    expect(digest(work / "one") == digest(work / "two"), "threads change the exact figures")
    with h5py.File(work / "plain/run.h5") as file:
        expect(not set(EXACT) & set(file["eval"]), "exact figures that nobody asked for")
        plain = {name: file["eval"][name][:] for name in file["eval"]}
    with h5py.File(work / "one/run.h5") as file:
        e = {name: file["eval"][name][:] for name in file["eval"]}
    for name, values in plain.items():
        expect(np.array_equal(values, e[name], equal_nan=True), f"eval.exact changes {name}")
    p, mass = e["exact_pass_at_1"][:, :3], e["exact_mass"][:, :3]
    expect(np.isnan(e["exact_pass_at_1"][:, 3:]).all(), "prompts beyond eval.exact_prompts")
    expect(((mass > 0.9) & (mass <= 1 + 1e-12) & (p > 0.01) & (p <= mass)).all(), f"mass {mass}, pass@1 {p}")
    sampled = e["num_correct"][:, :3] / 256
    # 5 standard errors, and the missing mass, which can only be added.
    error = 5 * np.sqrt(p * (1 - p) / 256) + 1e-9
    expect(((sampled > p - error) & (sampled < p + 1 - mass + error)).all(), f"sampled {sampled}, exact {p}")
    # Entropies: |H(p) - H(p')| <= d ln(K - 1) + h(d) for the missing d, K = 4 * 2 + 1 classes; sampling 5 * .1.
    d = 1 - mass
    bound = d * np.log(8) - d * np.log(d) - (1 - d) * np.log(1 - d) + 0.5
    expect((np.abs(e["exact_class_entropy"][:, :3] - e["class_entropy"][:, :3]) < bound).all(), "class entropy")
    k = np.array([1, 4])
    expect(np.allclose(e["exact_pass_at_k"], (1 - (1 - p[:, :, None]) ** k).mean(axis=1), rtol=1e-12), "pass@k does not follow from pass@1")
    expect(np.allclose(e["exact_quality"][:, :3], p, rtol=1e-12), "quality of a task of right and wrong is pass@1")
    (work / "sweep.ini").write_text(
        "[sweep]\nname = exact\nbase = tiny.ini\nseeds = 3:5\n[arm.grpo]\nrun.method = grpo\neval.exact = on\nrun.steps = 10\n"
        "[arm.hot]\nrun.method = grpo\neval.exact = on\nrun.steps = 10\neval.temperature = 1.2\n"
    )
    run("sweep", "run", "sweep.ini", cwd=work, threads=2)
    for cell in sorted((work / "runs" / "exact").glob("*/run.h5")):
        expect_equal_alone(work, cell, threads=1)


def hypervolume(points):
    area, height = 0.0, 0.0
    for quality, diversity in sorted(points, reverse=True):
        if diversity > height:
            area, height = area + quality * (diversity - height), diversity
    return area


def front(work):
    """The front of `motley eval` is its single temperatures side by side; the budgets are their best buys."""
    run("train", "-c", "tiny.ini", "run.steps=6", "-o", "run", cwd=work)
    words = ["--samples", "32", "-k", "1,4,16"]
    grid = [0.2, 0.6, 1.0]
    many = json.loads(run("eval", "run", *words, "--temperature", ",".join(map(str, grid)), "--json", cwd=work).stdout)
    alone = [json.loads(run("eval", "run", *words, "--temperature", str(t), "--json", "--exact", cwd=work).stdout) for t in grid]
    for x, y in zip(many["front"], alone):
        for key, value in x.items():
            expect(value == y[key], f"temperature {y['temperature']}: {key} is {value} in the front, {y[key]} alone")
        expect(abs(y["exact_quality"] - y["quality"]) < 0.25 and y["exact_mass_least"] > 0.9, f"exact figures: {y}")
    expect([x["temperature"] for x in many["front"]] == grid, "temperatures")
    expect(abs(many["hypervolume"] - hypervolume([(x["quality"], x["class_entropy"]) for x in many["front"]])) < 1e-12, "hypervolume")
    names = {"pass@k": "pass_at_k", "maj@k": "maj_at_k", "maxg@k": "maxg_at_k"}
    for entry in many["compute"]:
        within = [(v, -k * x["length"]) for x in many["front"] for k, v in zip(many["k"], x[names[entry["metric"]]]) if k * x["length"] <= entry["budget"]]
        value, tokens = max(within)
        expect((entry["value"], entry["tokens"]) == (value, -tokens), f"{entry}: the best buy is {value} for {-tokens}")
    text = run("eval", "run", *words, "--temperature", "0.2,1", cwd=work).stdout
    expect("hypervolume" in text and "budget" in text, text)


def law(entropy, quality, share):
    """Least squares of quality in x = exp(H) on the first share of the steps; errors on the others."""
    x, n = np.exp(entropy), max(2, int(np.ceil(share * len(entropy))))
    slope, b = np.polyfit(x[:n], quality[:n], 1)
    residual = quality - (slope * x + b)
    total = ((quality[:n] - quality[:n].mean()) ** 2).sum()
    rmse = np.sqrt((residual[n:] ** 2).mean()) if n < len(x) else np.nan
    return {"a": -slope, "b": b, "ceiling": b + slope, "r2": 1 - (residual[:n] ** 2).sum() / total if total > 0 else np.nan, "rmse": rmse}


def compare(work):
    """The law's figures, diagnostics and the reading at equal cost, from the files by numpy."""
    text = LEARNT.replace("group_size = 8", "group_size = 2").replace("every_steps = 10", "every_steps = 2")
    (work / "tiny.ini").write_text(text)
    (work / "s.ini").write_text(
        "[sweep]\nname = s\nbase = tiny.ini\nseeds = 1:3\n[arm.grpo]\nrun.method = grpo\nlog.diagnostics = every:5\n"
        "[arm.dapo]\nrun.method = dapo\nlog.diagnostics = every:5\n"
    )
    run("sweep", "run", "s.ini", cwd=work)
    runs = {}
    for cell in sorted((work / "runs/s").glob("*/run.h5")):
        with h5py.File(cell) as file:
            runs.setdefault(cell.parent.name.split("-")[0], []).append({
                "entropy": file["metrics/entropy"][:].astype(float), "quality": file["metrics/quality"][:].astype(float),
                "tokens": file["metrics/tokens_total"][:], "noise": file["diagnostics/gradient_noise_ratio"][:].astype(float),
                "step": file["eval/step"][:], "pass": file["eval/pass_at_k"][:, 0], "length": file["metrics/length"][:].astype(float)})

    def means(*words):
        out = json.loads(run("compare", "runs/s", "--json", *words, cwd=work).stdout)
        return out, {(a["arm"], a["metric"]): a["mean"] for a in out["arms"]}

    _, got = means("--law", "--metric", "diagnostics.gradient_noise_ratio", "--metric", "metrics.tokens_total")
    for arm, cells in runs.items():
        for name in ("a", "b", "ceiling", "r2", "rmse"):
            of_cells = np.array([law(c["entropy"], c["quality"], 0.2 if name == "rmse" else 1.0)[name] for c in cells])
            of_cells = of_cells[np.isfinite(of_cells)]
            found = got[arm, f"law.{name}"]
            if len(of_cells) == 0:  # r2 where no run of the arm ever changes its quality
                expect(name == "r2" and found is None, f"{arm} law.{name}: {found}, expected none")
                continue
            want = of_cells.mean()
            expect(found is not None and abs(found - want) < 1e-6 * max(1, abs(want)), f"{arm} law.{name}: {found}, expected {want}")
    expect(any(got[arm, "law.r2"] is not None for arm in runs), "no arm with an r2: the test shows nothing of it")
    for arm, cells in runs.items():
        noise = [c["noise"][np.isfinite(c["noise"])][-1] for c in cells]
        expect(abs(got[arm, "diagnostics.gradient_noise_ratio"] - np.mean(noise)) < 1e-6, f"{arm}: diagnostics")
        expect(got[arm, "metrics.tokens_total"] == np.mean([c["tokens"][-1] for c in cells]), f"{arm}: tokens")
    least = min(c["tokens"][-1] for cells in runs.values() for c in cells)
    dear = np.mean([c["tokens"][-1] for c in runs["dapo"]]) / np.mean([c["tokens"][-1] for c in runs["grpo"]])
    expect(dear > 1.05, f"dynamic sampling costs {dear} times as much")
    expect(f"Not at equal cost: tokens sampled, grpo = 1: dapo {dear:.2f}" in run("compare", "runs/s", cwd=work).stdout, "no word of the cost")
    out, got = means("--tokens", "equal", "--metric", "eval.pass_at_1", "--metric", "metrics.length")
    expect(out["at_tokens"] == least, f"{out['at_tokens']} tokens, expected {least}")
    for arm, cells in runs.items():
        at, length = [], []
        for c in cells:
            steps = int((c["tokens"] <= least).sum())
            at.append(c["pass"][c["step"] <= steps][-1])
            length.append(c["length"][:steps][-max(1, steps // 10):].mean())
        expect(abs(got[arm, "eval.pass_at_1"] - np.mean(at)) < 1e-12, f"{arm}: pass@1 at equal cost")
        expect(abs(got[arm, "metrics.length"] - np.mean(length)) < 1e-5, f"{arm}: length at equal cost")
    for words, text in [(["--tokens", "0"], "equal, or a count"), (["--tokens", "1e15"], "sampled only"), (["--metric", "law.x"], "law.ceiling")]:
        done = run("compare", "runs/s", *words, cwd=work, check=False)
        expect(done.returncode == 2 and text in done.stderr, f"{words}: {done.stderr}")


def refusals(work):
    run("train", "-c", "tiny.ini", "run.steps=2", "-o", "run", cwd=work)
    for words, text in [
        (["optim.lr=1"], "allowed: eval.*"),
        (["--temperature", "1,x"], "not a finite number"),
        (["-k", "64", "--samples", "8"], "at least k samples"),
        (["--exact", "eval.exact_prefixes=0"], "eval.exact_prefixes"),
    ]:
        done = run("eval", "run", *words, cwd=work, check=False)
        expect(done.returncode == 2 and text in done.stderr, f"{words}: exit {done.returncode}, {done.stderr}")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {"exact": exact, "front": front, "compare": compare, "refusals": refusals}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
