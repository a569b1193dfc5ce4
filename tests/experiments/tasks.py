#!/usr/bin/env python3
"""Every task from the command line: train, eval, inspect, compare, and what their run files say.

usage: tasks.py MOTLEY CASE      CASE: commands | qualities | packed | refusals
Needs h5py and numpy.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import digest, expect, run

REWARD = """
[reward_model]
layers = 1
width = 16
pairs = 60
steps = 20
batch = 8
"""


def task_words(task):
    # The tiny file's prompts and lengths are the scratchpad's.
    if task == "scratchpad":
        return ["task.name=scratchpad"]
    return [f"task.name={task}", "rollout.max_tokens=13", "task.train_prompts=16", "task.eval_prompts=8"]


def commands(work):
    for task in ("scratchpad", "countdown", "ideas"):
        for method in ("darling", "grpo", "ngram"):
            run("train", "-c", "tiny.ini", *task_words(task), f"run.method={method}", "run.steps=3", f"run.name={method}", "-o", f"{task}/{method}", cwd=work)
        record = json.loads(run("eval", f"{task}/grpo", "-k", "1,2", "--samples", "8", "--json", cwd=work).stdout)
        expect(len(record["pass_at_k"]) == 2, f"{task}: eval gives {record}")
        expect("prompt 0" in run("inspect", f"{task}/darling", "--step", "2", "--prompt", "0", cwd=work).stdout, f"{task}: inspect shows no prompt")
        table = run("compare", f"{task}/darling", f"{task}/grpo", f"{task}/ngram", cwd=work).stdout
        expect(all(m in table for m in ("darling", "grpo", "ngram")), f"{task}: compare leaves arms out")
        run("train", "-c", "tiny.ini", *task_words(task), "classifier.form=cross_encoder", "run.steps=2", "-o", f"{task}/cross", cwd=work)


def qualities(work):
    """Training sees the reward model, evaluation the judge; where there is a verifier they are one."""
    run("train", "-c", "tiny.ini", *task_words("countdown"), "run.steps=3", "-o", "c", cwd=work)
    with h5py.File(work / "c" / "run.h5") as f:
        expect(np.array_equal(f["metrics/quality"], f["metrics/quality_true"]), "countdown: two qualities")
        expect("reward_model_accuracy" not in f["provenance"].attrs, "countdown has a reward model")
    words = ["train", "-c", "tiny.ini", *task_words("ideas"), "pretrain.steps=150", "pretrain.batch=48", "pretrain.gate_every=150", "pretrain.lr=1e-2",
             "model.width=32", "reward_model.pairs=600", "reward_model.steps=200", "reward_model.batch=32", "reward_model.width=32", "run.steps=4"]
    run(*words, "-o", "i", cwd=work)
    run(*words, "reward_model.squash=none", "-o", "n", cwd=work)
    with h5py.File(work / "i" / "run.h5") as f, h5py.File(work / "n" / "run.h5") as g:
        squashed, plain = f["rollouts/quality"][0], g["rollouts/quality"][0]
        # The first step has the same completions; one quality is the sigmoid of the other.
        expect(np.array_equal(f["rollouts/token"][0], g["rollouts/token"][0]), "the first step differs")
        expect(np.allclose(squashed, 1 / (1 + np.exp(-plain)), atol=1e-6), "squash is not the sigmoid of the score")
        malformed = g["rollouts/finish"][0] != 0
        expect((plain[malformed] == -4).all(), "malformed texts do not score -4")
        expect((plain[~malformed] != -4).all(), "well-formed texts score -4")
        expect((plain < 0).any(), "standardised scores are never negative")
        expect(not np.array_equal(f["metrics/quality"], f["metrics/quality_true"]), "ideas: training saw the judge")
        expect(f["metrics/quality_true"][0] == g["metrics/quality_true"][0], "the judge depends on the squash")
        accuracy = f["provenance"].attrs["reward_model_accuracy"]
        expect(0.55 < accuracy <= 1, f"reward model accuracy {accuracy} is chance")
        true = f["eval/mean_quality"][:]
        expect(((0 <= true) & (true <= 1)).all() and true.max() > 0, f"eval/mean_quality {true}")


def packed(work):
    (work / "sweep.ini").write_text("""
[sweep]
name = ideas
base = tiny.ini
seeds = 1:3
[arm.sigmoid]
run.method = darling
[arm.none]
run.method = darling
reward_model.squash = none
[arm.grpo]
run.method = grpo
""")
    run("sweep", "run", "sweep.ini", *task_words("ideas"), "run.steps=4", cwd=work)
    cells = sorted((work / "runs" / "ideas").glob("*/run.h5"))
    expect(len(cells) == 6, f"{len(cells)} cells instead of 6")
    for cell in cells:
        (work / "alone.ini").write_text(run("config", "show", str(cell)).stdout)
        alone = work / "alone" / cell.parent.name
        run("train", "-c", "alone.ini", "-o", str(alone), cwd=work)
        expect(digest(cell.parent) == digest(alone), f"{cell.parent.name} differs alone and packed")
        run("train", "-c", "alone.ini", "pretrain.cache=other", "-o", str(alone) + "-fresh", threads=1, cwd=work)
        expect(digest(cell.parent) == digest(str(alone) + "-fresh"), f"{cell.parent.name} differs with a fresh base")


def refusals(work):
    def refused(line, *words):
        done = run("train", "-c", "tiny.ini", *words, "-o", "x", check=False, cwd=work)
        expect(done.returncode == 2, f"{words}: exit {done.returncode}")
        expect(line in done.stderr, f"{words}: {done.stderr!r} instead of {line!r}")

    refused("rollout.max_tokens (command line): no answer of the task countdown fits, got 12; allowed: at least 13", "task.name=countdown", "rollout.max_tokens=12")
    refused("rollout.max_tokens (command line): no answer of the task ideas fits, got 4; allowed: at least 5", "task.name=ideas", "rollout.max_tokens=4")
    refused("reward_model.width (command line): must be a multiple of 8 (four even heads), got 20", "reward_model.width=20")
    refused('task.key (command line): unknown value "plott"; allowed: full, plot', "task.key=plott")
    refused("task.train_prompts: ideas has 64 themes, got 60 training and 16 held-out prompts; allowed: at most 64 together",
            "task.name=ideas", "task.train_prompts=60", "task.eval_prompts=16")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    case = {"commands": commands, "qualities": qualities, "packed": packed, "refusals": refusals}[sys.argv[2]]
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.TINY + REWARD)
        case(work)
    print(f"{sys.argv[2]}: as it should be")


if __name__ == "__main__":
    main()
