#!/usr/bin/env python3
"""Sampler and trainer agree to the bit: a step before a checkpoint checks it, here every step, over all that
could part them.

usage: agreement.py MOTLEY CASE      CASE: samplers | tasks | broken | schedule
Needs h5py and numpy. Exits 1 with the first difference.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "experiments"))
import reproduce  # noqa: E402
from numeric import motley  # noqa: E402
from reproduce import expect  # noqa: E402
from tasks import REWARD, task_words  # noqa: E402

SAMPLERS = {
    "plain": [],
    "greedy": ["rollout.temperature=0"],
    "hot": ["rollout.temperature=1.7"],
    "cold": ["rollout.temperature=0.31"],
    "top_k": ["rollout.top_k=3"],
    "top_p": ["rollout.top_p=0.83"],
    "min_p": ["rollout.min_p=0.05"],
    "all_cuts": ["rollout.temperature=1.3", "rollout.top_k=9", "rollout.top_p=0.97", "rollout.min_p=0.01"],
    "linear": ["rollout.temperature_schedule=linear:0.4"],
    "cosine": ["rollout.temperature_schedule=cosine:2.1"],
}
LEARNERS = {
    "plain": [],
    "filtered": ["filter_groups.metric=acc", "filter_groups.max_batches=4"],
    "passes": ["loss.epochs=2", "loss.minibatches=3"],
    "reference": ["kl.coef=0.1", "kl.reset_every=3"],
    "exact": ["kl.coef=0.1", "kl.estimator=exact", "loss.micro_batches=3"],
    "simko": ["loss.policy=simko"],
    "group_of_one": ["rollout.group_size=1", "run.method=grpo", "advantage.norm=none", "partition.method=exact"],
    "split_group": ["rollout.group_size=40", "rollout.prompts=2"],  # its completions share a prompt over several tiles
    "wide": ["model.width=48", "model.heads=3", "model.kv_heads=1", "model.layers=3"],
    "bf16": ["model.precision=bf16", "loss.minibatches=2"],
    "bf16_odd": ["model.precision=bf16", "model.width=42", "model.heads=3", "model.kv_heads=1", "model.ff=101", "kl.coef=0.1", "kl.estimator=exact"],
}


def agrees(work, name, *words, steps=6, threads=2):
    folder = work / name
    done = motley(work, "train", "-q", "-c", "tiny.ini", f"run.steps={steps}", "eval.every_steps=0", "eval.samples=2", "eval.k=1", "checkpoint.every_steps=1", *words, "-o", folder, threads=threads)
    expect(done.returncode == 0, f"{name} {words}: exit {done.returncode}\n{done.stderr}")
    with h5py.File(folder / "run.h5") as f:
        for metric in ("mismatch_abs", "mismatch_max", "mismatch_kl"):
            expect((f["metrics/" + metric][:] == 0).all(), f"{name}: {metric} {f['metrics/' + metric][:]}")
        expect("old_log_prob" not in f["rollouts"], f"{name}: logs old_log_prob")
        log_prob = f["rollouts/log_prob"][:]
        return np.isfinite(log_prob).sum()


def samplers(work):
    """Every way to sample, with every way to learn that touches the log-probabilities."""
    tokens = 0
    for i, (name, words) in enumerate(SAMPLERS.items()):
        tokens += agrees(work, name, *words, threads=1 + i % 2)
    for i, (name, words) in enumerate(LEARNERS.items()):
        sampler = list(SAMPLERS.values())[(3 * i) % len(SAMPLERS)]
        tokens += agrees(work, "l-" + name, *sampler, *words, threads=1 + i % 2)
    print(f"{tokens} tokens, no bit apart")


def tasks(work):
    (work / "tiny.ini").write_text(reproduce.TINY + REWARD)
    tokens = 0
    for task in ("scratchpad", "countdown", "ideas"):
        for i, words in enumerate((["rollout.temperature=1.2", "rollout.top_p=0.9"], ["loss.minibatches=2", "loss.epochs=2", "kl.coef=0.01"])):
            tokens += agrees(work, f"{task}{i}", *task_words(task), *words)
    print(f"{tokens} tokens, no bit apart")


def broken(work):
    """One bit of one token's log-probability, alone and packed: motley's own fault, exit 1, with the address."""
    words = ["run.steps=5", "checkpoint.every_steps=2"]
    for step, address in ((0, (0, 0, 0)), (3, (2, 5, 1))):
        b, g, t = address
        done = motley(work, "train", "-q", "-c", "tiny.ini", *words, "-o", f"b{step}", inject=f"mismatch=1 step={step} prompt={b} completion={g} position={t}")
        expect(done.returncode == 1, f"exit {done.returncode}\n{done.stderr}")
        want = f"b{step}: step {step}, replica 0, stage mismatch, prompt {b}, completion {g}, position {t}: sampler and trainer disagree, sampler_log_prob is "
        expect(done.stderr.startswith(want) and ", 1 tokens in all" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr)
        dump = json.loads((work / f"b{step}" / f"fault-step-{step}.json").read_text())
        expect(dump["disagreeing_tokens"] == 1 and not dump["not_finite"], f"{dump['disagreeing_tokens']} {dump['not_finite']}")
        done = motley(work, "train", "-q", "-r", f"b{step}")
        expect(done.returncode == 0, f"resumed: exit {done.returncode}\n{done.stderr}")
    # Beside a run that asked for noise, which may disagree, the other still may not.
    (work / "sweep.ini").write_text("[sweep]\nname = two\nbase = tiny.ini\nseeds = 1:2\n[arm.noise]\nmismatch.noise_std = 0.3\n[arm.plain]\nrun.method = grpo\n")
    for replica, code in ((0, 0), (1, 1)):
        done = motley(work, "sweep", "run", "sweep.ini", *words, "-q", "-o", f"s{replica}", inject=f"mismatch=1 step=2 replica={replica}")
        expect(done.returncode == code, f"replica {replica}: exit {done.returncode}\n{done.stderr}")
        if code:
            expect("/plain-" in done.stderr or "stage mismatch" in done.stderr, done.stderr)


def schedule(work):
    """A sampler that leaves the trainer for one token: seen on every sixteenth step and on the step before a checkpoint."""
    for step, every in ((0, 100), (16, 100), (6, 7)):
        done = motley(work, "train", "-q", "-c", "tiny.ini", "run.steps=18", f"checkpoint.every_steps={every}", "eval.every_steps=0", "-o", f"d{step}",
                      inject=f"logits=1.5 step={step} prompt=1 completion=2 position=1")
        expect(done.returncode == 1, f"step {step}: exit {done.returncode}, the trainer was not asked\n{done.stderr}")
        expect(f"step {step}, replica 0, stage mismatch, prompt 1, completion 2, position 1" in done.stderr, done.stderr)


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (samplers, tasks, broken, schedule)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
