#!/usr/bin/env python3
"""Dynamic sampling, overlong completions, schedules and mismatch, run as a user would.

usage: generation.py MOTLEY CASE      CASE: packed | resumed | logged
Needs numpy and h5py. Exits 1 with the first difference.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import TINY, digest, expect, expect_equal_alone, run

# A base policy that answers some prompts: without it no group has a signal.
BASE = TINY.replace("steps = 6\ngate_every = 3\nbatch = 8\nhabit_steps = 3", "steps = 200\ngate_every = 200\nbatch = 32\nhabit_steps = 30")

ARMS = {
    "plain": ["run.method=darling"],
    "acc": ["run.method=grpo", "filter_groups.metric=acc", "filter_groups.max_batches=4"],
    "shaped": ["run.method=darling", "filter_groups.metric=shaped", "filter_groups.max_batches=3", "overlong.max_length=8", "overlong.cache=4"],
    "noise": ["run.method=darling", "mismatch.noise_std=0.3", "mismatch.correction=mis", "mismatch.level=geometric", "rollout.temperature_schedule=linear:0.5"],
    "both": ["run.method=grpo", "filter_groups.metric=acc", "filter_groups.max_batches=2", "mismatch.noise_std=0.1", "mismatch.correction=tis"],
    "kl": ["run.method=grpo", "kl.coef=0.5", "kl.placement=reward", "kl.estimator=k1", "overlong.filter=on", "optim.lr=3e-3"],
    "long": ["run.method=grpo", "overlong.max_length=9", "overlong.cache=5"],
}


def train(work, name, *more, threads=None):
    run("train", "-c", "tiny.ini", *ARMS[name], *more, "-o", name, cwd=work, threads=threads)
    return work / name


def packed(work):
    """Seven arms in one batch write what each writes alone, on one thread and on two."""
    text = "[sweep]\nname = gen\nbase = tiny.ini\nseeds = 3:5\n"
    for name, words in ARMS.items():
        text += f"[arm.{name}]\n" + "".join(w.replace("=", " = ", 1) + "\n" for w in words)
    (work / "sweep.ini").write_text(text)
    run("sweep", "run", "sweep.ini", cwd=work, threads=2)
    cells = sorted((work / "runs" / "gen").glob("*/run.h5"))
    expect(len(cells) == 2 * len(ARMS), f"{len(cells)} cells")
    digests = set()
    for i, cell in enumerate(cells):
        with h5py.File(cell) as file:
            replicas = int(file["provenance"].attrs["replicas"])
        expect(replicas == len(cells), f"{cell.parent.name} was packed with {replicas} replicas")
        digests.add(expect_equal_alone(work, cell, threads=1 + i % 2))
    expect(len(digests) == len(cells), "two settings gave the same run")


def resumed(work):
    """A run stopped after every step comes out as the run that never stopped."""
    for name in ("shaped", "both", "kl"):
        whole = train(work, name, "run.steps=7")
        cut = work / f"{name}-cut"
        cut.mkdir()
        for stops in range(20):
            (cut / "stop_now").write_text("")
            words = ["train", "-c", "tiny.ini", *ARMS[name], "run.steps=7", "-r", str(cut)]
            done = run(*words, cwd=work, check=False, threads=1 + stops % 2)
            if done.returncode == 0:
                break
            expect(done.returncode == 75, f"exit {done.returncode}: {done.stderr}")
        expect(stops >= 5, f"the run was stopped {stops} times only")
        expect(digest(whole) == digest(cut), f"{name} differs when it is stopped and resumed")


def logged(work):
    for name in ARMS:
        train(work, name)
    files = {name: h5py.File(work / name / "run.h5") for name in ARMS}
    column = lambda name, metric: files[name][f"metrics/{metric}"][:]
    field = lambda name, what: files[name][f"rollouts/{what}"][:]

    for name, most, signal in (("acc", 4, "quality"), ("shaped", 3, "reward"), ("both", 2, "quality")):
        value = field(name, signal)
        if signal == "quality":
            value = value > 0
        good = (value != value[:, :, :1]).any(axis=2)
        used = field(name, "used")
        expect((used == good[:, :, None]).all(), f"{name}: a group without a signal is used, or one with it is not")
        batches = column(name, "num_gen_batches")
        expect(batches.min() >= 1 and batches.max() <= most, f"{name}: {batches}")
        expect((batches[~good.all(axis=1)] == most).all(), f"{name}: a step gave up early")
        expect((batches > 1).any() and good.any(), f"{name}: nothing was drawn again")
        expect(np.allclose(column(name, "frac_used"), used.mean(axis=(1, 2)), atol=1e-7), f"{name}: frac_used")
        sampled = np.diff(column(name, "tokens_total"), prepend=0)
        kept = field(name, "length").astype(int).sum(axis=(1, 2))
        expect((sampled >= kept).all() and ((sampled > kept) == (batches > 1)).all(), f"{name}: tokens_total")
        expect((field(name, "advantage")[used == 0] == 0).all(), f"{name}: an unused completion has an advantage")

    for name in ("plain", "noise", "kl", "long"):
        expect((column(name, "num_gen_batches") == 1).all(), f"{name}: drew again without a filter")
        kept = field(name, "length").astype(int).sum(axis=(1, 2))
        expect((column(name, "tokens_total") == kept.cumsum()).all(), f"{name}: tokens_total")

    length = field("long", "length").astype(int)
    penalty = np.where(length <= 4, 0.0, np.where(length <= 9, (4 - length) / 5, -1.0))
    expect(np.allclose(field("long", "reward"), field("long", "quality") + penalty, atol=1e-6), "overlong penalty")
    expect(len(np.unique(penalty)) > 3, "lengths do not reach the ramp")
    cut = field("kl", "finish") == 1
    expect(cut.any() and not cut.all(), "no truncated completions to filter")
    expect((field("kl", "used") == ~cut).all(), "overlong.filter")
    # At step 0 the policy is its own reference: the divergence is exactly 0.
    difference = field("kl", "reward") - field("kl", "quality")
    expect((difference[0] == 0).all() and np.abs(difference[-1]).max() > 1e-4, "divergence in the reward")
    expect("old_log_prob" not in files["plain"]["rollouts"], "old_log_prob is logged without a mismatch")
    for metric in ("mismatch_abs", "mismatch_max", "mismatch_kl"):
        expect((column("plain", metric) == 0).all(), f"sampler and trainer disagree: {metric}")
    for name in ("noise", "both"):
        gap = np.abs(field(name, "old_log_prob").astype(float) - field(name, "log_prob"))
        expect(np.allclose(np.nanmean(gap, axis=(1, 2, 3)), column(name, "mismatch_abs"), rtol=1e-5), f"{name}: mismatch_abs")
        expect(np.allclose(np.nanmax(gap, axis=(1, 2, 3)), column(name, "mismatch_max"), rtol=1e-6), f"{name}: mismatch_max")
        expect((column(name, "mismatch_kl") > 0).all(), f"{name}: mismatch_kl")
    steps = len(column("noise", "temperature"))
    expect(np.allclose(column("noise", "temperature"), np.linspace(1.0, 0.5, steps), rtol=1e-6), "temperature")
    expect((column("plain", "temperature") == 1).all(), "a constant temperature moves")

    # Rewarding the logged rollouts anew gives what the run did, where groups were given up as well.
    for name in ("shaped", "noise"):
        own, same = json.loads(run("reshape", str(work / name), "--set", "diversity.floor=0.1", "--json").stdout)
        for key in ("diversity", "reward", "advantage_magnitude", "silent_groups"):
            expect(own[key] == same[key], f"{name}: reshape to its own settings changes {key}: {own[key]}, {same[key]}")
        expect(same["sign_flips"] == same["signal_born"] == same["signal_lost"] == 0, f"{name}: reshape changes advantages")
        expect(abs(same["gradient_cosine"] - 1) < 1e-6, f"{name}: reshape changes the gradient")
    done = run("reshape", str(work / "kl"), "--set", "diversity.floor=0.2", check=False)
    expect(done.returncode == 2 and "kl.placement = reward" in done.stderr, f"reshape of kl in the reward: {done.returncode} {done.stderr}")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (packed, resumed, logged)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(BASE)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
