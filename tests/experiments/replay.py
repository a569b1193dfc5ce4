#!/usr/bin/env python3
"""motley replay: logged steps made again, from checkpoints and from the base policy; a changed number is found.

usage: replay.py MOTLEY CASE      CASE: methods | addresses | changed | parted | refusals
Needs h5py and numpy.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import expect, run

# What carries numbers from step to step, or draws beside the tokens.
ARMS = {
    "darling": ["run.method=darling"],
    "filtered": ["run.method=dapo", "diversity.shaping=multiplicative"],
    "adaptive": ["run.method=grpo", "entropy.adaptive=threshold", "entropy.target=1.0", "rollout.temperature_schedule=linear:0.5"],
    "classes": ["diversity.shaping=ucb", "partition.method=kmeans", "partition.across_steps=on", "partition.embedding=ngram"],
    "reference": ["run.method=grpo", "kl.coef=0.05", "kl.reset_every=5", "loss.minibatches=2", "loss.epochs=2"],
    "noisy": ["partition.method=noisy_oracle", "partition.false_merge=0.2", "partition.false_split=0.1", "mismatch.noise_std=0.05"],
    "permuted": ["run.method=permuted", "rollout.top_p=0.9"],
}
LOGGED = ["log.pair_score=on", "log.entropy=on", "log.diagnostics=every:3"]


def replay(work, *words, code=0):
    done = run("replay", *words, "--json", check=False, cwd=work)
    expect(done.returncode == code, f"replay {words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)


def methods(work):
    """Every arm at a random address from the nearest checkpoint, and whole steps from the base policy."""
    for name, words in ARMS.items():
        run("train", "-c", "learnt.ini", "run.steps=14", "checkpoint.keep=5", *LOGGED, *words, "-o", name, cwd=work)
        out = replay(work, name, "--random", "20")
        expect(out["addresses"] == 20 and out["equal"] == 20 and not out["differences"], f"{name}: {out}")
        for step in ("12", "13"):  # 12 is due for diagnostics
            out = replay(work, name, "--step", step)
            expect(out["equal"] == 1, f"{name}, step {step}: {out}")
        done = run("replay", name, "--step", "13", cwd=work)
        expect("2 steps made again, the last from" in done.stderr and "step-00000012" in done.stderr, done.stderr)
        fields = set(out["fields"])
        need = {"/rollouts/token", "/rollouts/log_prob", "/rollouts/entropy", "/rollouts/reward", "/rollouts/advantage",
                "/partition/cluster", "/partition/pair_score", "/metrics/params_hash", "/metrics/tokens_total"}
        expect(need <= fields, f"{name}: not compared: {need - fields}")
        expect("/diagnostics/grad_norm_positive" in replay(work, name, "--step", "12")["fields"], "diagnostics are not compared")
        done = run("replay", name, "--step", "13", "--from-base", cwd=work)
        expect("14 steps made again, the last from the base policy" in done.stderr, done.stderr)
        expect("1 of 1 equal" in done.stdout, done.stdout)


def addresses(work):
    """A sweep packed, addresses spread over all of its runs; thread counts make no difference."""
    (work / "tiny.ini").write_text(reproduce.TINY)
    (work / "sweep.ini").write_text(reproduce.SWEEP)
    run("sweep", "run", "sweep.ini", cwd=work)
    out = replay(work, "runs/tiny", "--random", "120")
    expect(out["addresses"] == 120 and out["equal"] == 120, f"{out['equal']} of 120 equal: {out['differences'][:3]}")
    done = run("replay", "runs/tiny", "--random", "24", "--draw-seed", "5", threads=1, cwd=work)
    expect(done.stdout.startswith("24 of 24 equal"), done.stdout)
    one = replay(work, "runs/tiny", "--step", "3", "--prompt", "1", "--rollout", "2")
    expect(one["equal"] == one["addresses"] == 12, f"{one}")
    expect("/metrics/quality" not in one["fields"] and "/rollouts/token" in one["fields"], f"{one['fields']}")


def changed(work):
    """One number of every dataset of a step is changed in the file: that number is named, and nothing else."""
    run("train", "-c", "learnt.ini", "run.steps=9", *LOGGED, "run.method=darling", "-o", "a", cwd=work)
    with h5py.File(work / "a" / "run.h5") as f:
        length = f["rollouts/length"][6, 1, 2]
    paths = replay(work, "a", "--step", "6")["fields"]
    tried = 0
    for path in paths:
        if path.endswith("/step"):
            continue
        shutil.copytree(work / "a", work / "b", dirs_exist_ok=True)
        with h5py.File(work / "b" / "run.h5", "r+") as f:
            data = f[path]
            at = (2 if path.startswith("/diagnostics") else 6, 1, 2, min(3, int(length) - 1))[: data.ndim]
            old = data[at]
            new = old + 1 if data.dtype.kind in "iu" and old < np.iinfo(data.dtype).max else (old - 1 if data.dtype.kind in "iu" else data.dtype.type(0.123))
            data[at] = new
        out = replay(work, "b", "--step", "6", code=4)
        expect(len(out["differences"]) == 1, f"{path}: {out['differences']}")
        d = out["differences"][0]
        want = list(at[1:]) + [-1] * (4 - len(at))
        expect(d["field"] == path and [d["prompt"], d["rollout"], d["position"]] == want and d["count"] == 1, f"{path} {at}: {d}")
        expect(float(d["logged"]) == float(np.float32(new)) or abs(float(d["logged"]) - float(new)) < 1e-6, f"{path}: {d}, {new}")
        if data_has_groups(at):
            other = replay(work, "b", "--step", "6", "--prompt", "0")
            expect(other["equal"] == 1, f"{path}: prompt 0 was not changed: {other}")
        tried += 1
    expect(tried >= 60, f"only {tried} datasets were tried")


def data_has_groups(at):
    return len(at) > 1


def parted(work):
    """Two runs that differ from some step on: params_hash and replay say from which."""
    run("train", "-c", "learnt.ini", "run.steps=10", "run.method=darling", "-o", "a", cwd=work)
    # The run's configuration, but for one that acts from step 5 on: the reference is reset there.
    run("train", "-c", "learnt.ini", "run.steps=10", "run.method=darling", "kl.coef=0.1", "-o", "b", cwd=work)
    run("train", "-c", "learnt.ini", "run.steps=10", "run.method=darling", "kl.coef=0.1", "kl.reset_every=5", "-o", "c", cwd=work)
    done = run("digest", "b", "c", "--common", check=False, cwd=work)
    with h5py.File(work / "b" / "run.h5") as f, h5py.File(work / "c" / "run.h5") as g:
        first = int(np.nonzero(f["metrics/params_hash"][:] != g["metrics/params_hash"][:])[0][0])
    expect(first == 5, f"the runs part in step {first}, not 5")
    expect(done.returncode == 4 and f"parameters part in step {first}" in done.stdout, done.stdout)
    # A log of c under the configuration of b: the replay of b's settings parts there.
    ini = run("config", "show", "b", cwd=work).stdout
    with h5py.File(work / "c" / "run.h5", "r+") as f:
        f["config"].attrs["ini"] = ini
    shutil.rmtree(work / "c" / "checkpoints")
    out = replay(work, "c", "--step", "9", code=4)
    expect(out["parted"] == {"c": 5}, f"{out['parted']}")


def refusals(work):
    run("train", "-c", "learnt.ini", "run.steps=6", "log.rollouts=every:4", "-o", "a", cwd=work)

    def fails(code, text, *words):
        done = run("replay", *words, check=False, cwd=work)
        expect(done.returncode == code, f"{words}: exit {done.returncode}, expected {code}\n{done.stderr}")
        expect(text in done.stderr and len(done.stderr.strip().splitlines()) == 1, f"{words}: no '{text}' in\n{done.stderr}")

    fails(2, "which step?", "a")
    fails(2, "allowed: [0, 5]", "a", "--step", "6")
    fails(2, "--prompt: out of range, got 9", "a", "--step", "1", "--prompt", "9")
    fails(2, "give --prompt B as well", "a", "--step", "1", "--rollout", "1")
    fails(2, "not a count", "a", "--step", "x")
    fails(2, "not beside --step", "a", "--step", "1", "--random", "3")
    fails(4, "nothing", "nothing", "--step", "1")
    # A step whose rollouts are not logged is compared by what is.
    out = replay(work, "a", "--step", "3")
    expect(out["equal"] == 1 and not any(f.startswith("/rollouts") for f in out["fields"]), f"{out['fields']}")
    # A damaged checkpoint is passed over.
    newest = sorted((work / "a" / "checkpoints").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    done = run("replay", "a", "--step", "5", cwd=work)
    expect("1 of 1 equal" in done.stdout, done.stdout)


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (methods, addresses, changed, parted, refusals)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "learnt.ini").write_text(reproduce.LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
