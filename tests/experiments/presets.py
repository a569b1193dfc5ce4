#!/usr/bin/env python3
"""Every value of run.method trains on every task, all packed into one batch, and each alone gives the same bits.

usage: presets.py MOTLEY TASK      TASK: scratchpad | countdown | ideas
Needs h5py and numpy.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
import tasks
from reproduce import expect, expect_equal_alone, run

SWEEP = """
[sweep]
name = presets
base = small.ini
seeds = 3
[grid]
run.method = *
"""
# Trained alone as well: rewards, advantages, losses and generation of different kinds.
ALONE = ("grpo", "set_rl", "dqo", "ucb_con", "pkpo", "gdpo", "gspo", "clip_cov", "simko", "divpo", "dapo", "darling_dynamic", "entropy_lagrangian", "prorl")


def check(work, task):
    words = tasks.task_words(task) + ["run.steps=4", "loss.minibatches=2", "checkpoint.every_steps=2"]
    (work / "small.ini").write_text(run("config", "show", "-c", "tiny.ini", *words, cwd=work).stdout)
    (work / "sweep.ini").write_text(SWEEP)
    methods = [p["name"] for p in json.loads(run("config", "explain", "run.method", "--json").stdout)["presets"]]
    expect(len(methods) > 40 and len(set(methods)) == len(methods), f"{len(methods)} presets")
    run("sweep", "run", "sweep.ini", cwd=work)
    cells = {f.parent.name.split("-s3-")[0]: f for f in (work / "runs" / "presets").glob("*/run.h5")}
    expect(set(cells) == set(methods), f"without a run: {set(methods) ^ set(cells)}")
    moved = set()
    for method, file in cells.items():
        with h5py.File(file) as f:
            if len(set(f["metrics/params_hash"][:])) > 1:
                moved.add(method)
            expect(f["committed"][()] == 4, f"{task}, {method}: {f['committed'][()]} steps")
            for name in ("rollouts/reward", "rollouts/advantage", "metrics/grad_norm"):
                expect(np.isfinite(f[name][:]).all(), f"{task}, {method}: {name} is not finite")
            expect(f["config"].attrs["run.method"] in (method, method.encode()), f"{method}: another method in /config")
    # Bits that agree say little of policies that stand still.
    expect(task != "scratchpad" or set(ALONE) <= moved, f"{task}: stand still: {sorted(set(ALONE) - moved)}")
    for method in ALONE:
        expect_equal_alone(work, cells[method])
    print(f"{len(cells)} methods on {task}, {len(ALONE)} of them alone as well, {len(moved)} moved")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.LEARNT + tasks.REWARD)
        check(work, sys.argv[2])


if __name__ == "__main__":
    main()
