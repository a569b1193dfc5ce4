"""How a step of case S grows with R, B, G, T, layers, width and threads: measured slopes and a plot.

    scaling.py MOTLEY [-o PREFIX]     writes PREFIX.json and PREFIX.png
"""

import argparse
import json
import math
import os
import pathlib
import subprocess

AXES = {
    "R": ([1, 2, 4, 8, 16], lambda n: ["-R", n]),
    "B": ([8, 16, 32, 64, 128], lambda n: [f"rollout.prompts={n}"]),
    "G": ([4, 8, 16, 32], lambda n: [f"rollout.group_size={n}"]),
    "T": ([10, 20, 40, 80], lambda n: [f"rollout.max_tokens={n}"]),
    "layers": ([1, 2, 4, 8], lambda n: [f"model.layers={n}"]),
    "width": ([32, 64, 128, 256], lambda n: [f"model.width={n}", f"model.ff={3 * n}"]),
}


def step(motley, words):
    # Pairs grow with the square of G, which is no property of the step: the slopes leave out the classifier.
    done = subprocess.run([motley, "bench", "--case", "S", "--json", "--blocks", "5", "--block-seconds", "0.2", "run.method=grpo", "partition.method=exact", *map(str, words)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def slope(xs, ys):
    """Of ln y over ln x by least squares: 1 = linear."""
    lx, ly = [math.log(x) for x in xs], [math.log(y) for y in ys]
    mx, my = sum(lx) / len(lx), sum(ly) / len(ly)
    return sum((a - mx) * (b - my) for a, b in zip(lx, ly)) / sum((a - mx) ** 2 for a in lx)


def plot(found, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(13, 6), constrained_layout=True)
    for axis, (name, rows) in zip(axes.flat, found.items()):
        xs, ys = [r["x"] for r in rows["steps"]], [1e3 * r["step_s"] for r in rows["steps"]]
        axis.loglog(xs, ys, "o-", base=2)
        axis.loglog(xs, [ys[0] * (x / xs[0]) ** (-1 if name == "threads" else 1) for x in xs], ":", base=2, color="grey")
        axis.set(title=f"{name}: slope {rows['slope']:.2f}", xlabel=name, ylabel="ms per step")
        axis.set_xticks(xs, [str(x) for x in xs])
    for axis in axes.flat[len(found) :]:
        axis.axis("off")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("motley")
    parser.add_argument("-o", "--output", default="scaling")
    args = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    axes = dict(AXES, threads=(sorted({1, threads} | {2**i for i in range(1, int(math.log2(threads)) + 1)}), lambda n: ["--threads", n]))
    found = {}
    print("\n| axis | values | ms per step | slope |\n| --- | --- | --- | --- |")
    for name, (values, words) in axes.items():
        steps = [{"x": n, **step(args.motley, words(n))} for n in values]
        found[name] = {"steps": steps, "slope": slope(values, [s["step_s"] for s in steps]) if len(values) > 1 else float("nan")}
        times = " ".join(f"{1e3 * s['step_s']:.1f}" for s in steps)
        print(f"| {name} | {' '.join(map(str, values))} | {times} | {found[name]['slope']:.2f} |", flush=True)
    pathlib.Path(args.output + ".json").write_text(json.dumps(found, indent=1))
    plot(found, args.output + ".png")


if __name__ == "__main__":
    main()
