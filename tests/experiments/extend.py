#!/usr/bin/env python3
"""Methods of a user's own in whole runs: the program with docs/examples beside the plain one.

usage: extend.py MOTLEY MOTLEY_EXTENDED CASE      CASE: packed | task | commands | plain | refusals | explain
Needs h5py and numpy.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import digest, expect, expect_equal_alone, run

SWEEP = """
[sweep]
name = own
base = base.ini
seeds = 1:3
[arm.darling]
run.method = darling
[arm.grpo]
run.method = grpo
[arm.shaping]
diversity.shaping = shortest_first
[arm.other]
diversity.shaping = shortest_first
shortest_first.decay = 0.2
shortest_first.among_correct = on
[arm.partitioner]
partition.method = common_start
common_start.skip = 1
partition.threshold = 0.4
[arm.both]
partition.method = common_start
partition.linkage = greedy_first
diversity.shaping = shortest_first
[arm.bleu]
diversity.shaping = bleu_bonus
bleu_bonus.only_all_correct = off
"""
SPLIT = ["task.name=split", "task.train_prompts=0", "task.eval_prompts=8", "split.modulus=4", "split.rare_prior=0.5", "rollout.max_tokens=4"]


def swept(work, folder, arms):
    run("sweep", "run", "own.sweep", cwd=work)
    cells = sorted((work / "runs" / folder).glob("*/run.h5"))
    expect(len(cells) == arms, f"{len(cells)} cells instead of {arms}")
    for cell in cells:
        with h5py.File(cell) as f:
            expect(f["provenance"].attrs["replicas"] == arms, "the arms were not packed")
        for threads in (1, 2):
            alone = work / "alone" / cell.parent.name
            if alone.exists():
                for file in sorted(alone.rglob("*"), reverse=True):
                    file.rmdir() if file.is_dir() else file.unlink()
            expect_equal_alone(work, cell, threads=threads)
    return cells


def packed(work):
    """Built-in methods and own ones in one batch give the bits of each alone, from the text that each run keeps."""
    (work / "base.ini").write_text("include = learnt.ini\n[run]\nsteps = 5\n")
    (work / "own.sweep").write_text(SWEEP)
    cells = swept(work, "own", 14)
    expect(len({digest(c.parent) for c in cells}) == 14, "two arms gave the same run")


def task(work):
    """An own task trains, and the same bits come from a fresh base policy, packed with other arms and alone."""
    words = [*SPLIT, "pretrain.steps=150", "pretrain.gate_every=150", "run.steps=6"]
    run("train", "-c", "learnt.ini", *words, "-o", "split", cwd=work)
    with h5py.File(work / "split" / "run.h5") as f:
        quality, classes = f["rollouts/quality"][:], f["rollouts/class_id"][:]
        text = [t.decode() for t in f["vocab/token"][:]]
        expect(text == ["<pad>", "<eos>", "0", "1", "2", "3"], f"the vocabulary is {text}")
        expect(0 < quality.mean() < 1, f"mean quality {quality.mean()}")
        right = classes[quality == 1]
        expect(len(set(right.tolist())) > 4, "right answers of one kind only")
        expect((f["prompts/n_classes"][:] == 4).all(), "another number of classes")
    run("train", "-c", "learnt.ini", *words, "pretrain.cache=fresh", "-o", "again", cwd=work, threads=1)
    expect(digest(work / "split") == digest(work / "again"), "a fresh base policy gives another run")
    # An own option of the task makes another base policy.
    run("train", "-c", "learnt.ini", *[w.replace("prior=0.5", "prior=0.1") for w in words], "-o", "habit", cwd=work)
    with h5py.File(work / "split" / "run.h5") as f, h5py.File(work / "habit" / "run.h5") as g:
        expect(f["provenance"].attrs["base_key"] != g["provenance"].attrs["base_key"], "split.rare_prior does not make the base policy")
    (work / "base.ini").write_text(run("config", "show", "split", cwd=work).stdout)
    (work / "own.sweep").write_text("[sweep]\nname = mixed\nbase = base.ini\nseeds = 3\n[arm.a]\nrun.method = darling\n[arm.b]\nrun.method = grpo\n"
                                    "[arm.c]\npartition.method = common_start\ndiversity.shaping = shortest_first\n")
    swept(work, "mixed", 3)


def commands(work):
    run("train", "-c", "learnt.ini", "run.steps=3", "diversity.shaping=shortest_first", "partition.method=common_start", "-o", "a", cwd=work)
    got = json.loads(run("partition", "a", "--method", "oracle,common_start,common_start/greedy_first,logged", "--json", cwd=work).stdout)
    same = [p for p in got["pairs"] if {p["truth"], p["against"]} == {"common_start", "logged"}]
    expect(len(same) == 1 and same[0]["ari"] == 1, f"a new partition by the run's own method differs: {same}")
    expect("common_start" in run("partition", "a", cwd=work).stdout, "the default table leaves the method out")
    got = json.loads(run("reshape", "a", "--set", "diversity.shaping=shortest_first", "--set", "shortest_first.decay=0", "--json", cwd=work).stdout)
    expect(got[1]["sign_flips"] == 0 and got[1]["reward"] == got[0]["reward"], "the run's own shaping rewards anew otherwise")
    expect(got[2]["reward"] < got[0]["reward"], "a smaller factor gives no smaller reward")
    # Stopped and going on, as with any method.
    (work / "r").mkdir()
    for _ in range(2):
        (work / "r" / "stop_now").touch()
        done = run("train", "-c", "learnt.ini", "run.steps=3", "diversity.shaping=shortest_first", "partition.method=common_start", "-r", "r", check=False, cwd=work)
        expect(done.returncode == 75, f"exit {done.returncode}\n{done.stderr}")
    run("train", "-r", "r", cwd=work)
    expect(digest(work / "r") == digest(work / "a"), "a stopped run has another digest")


def plain(work):
    """Runs that use no own method are those of the plain program, text and digest; own ones it refuses by name."""
    extended = reproduce.motley
    run("train", "-c", "learnt.ini", "run.steps=2", "-o", "a", cwd=work)
    run("train", "-c", "learnt.ini", "run.steps=2", "diversity.shaping=shortest_first", "-o", "own", cwd=work)
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    run("train", "-c", "learnt.ini", "run.steps=2", "-o", "b", cwd=work)
    expect(digest(work / "a") == digest(work / "b"), "the extended program gives another run")
    with h5py.File(work / "a" / "run.h5") as f, h5py.File(work / "b" / "run.h5") as g:
        expect(f.attrs["config_sha256"] == g.attrs["config_sha256"], "the extended program gives another config_sha256")
        expect(dict(f["config"].attrs)["ini"] == dict(g["config"].attrs)["ini"], "the extended program writes another configuration")
        expect(set(f["config"].attrs) == set(g["config"].attrs), "the extended program writes other options")
    done = run("config", "show", "own", check=False, cwd=work)
    expect(done.returncode == 2 and 'unknown value "shortest_first"' in done.stderr, f"exit {done.returncode}: {done.stderr}")
    reproduce.motley = extended


def refusals(work):
    def refused(line, *words):
        done = run("train", "-c", "learnt.ini", *words, "-o", "x", check=False, cwd=work)
        expect(done.returncode == 2, f"{words}: exit {done.returncode}")
        expect(line in done.stderr, f"{words}: {done.stderr!r} instead of {line!r}")
        # What only the task itself can refuse comes later, as with the built-in tasks.
        expect(line.startswith("task.") or not (work / "x").exists(), "a refused run left a folder")

    refused("shortest_first.decay (command line): out of range, got 2; allowed: [0, 1]", "shortest_first.decay=2")
    refused('shortest_first.dekay (command line): unknown option; did you mean "shortest_first.decay"?', "shortest_first.dekay=1")
    refused('shortest_first.among_correct (command line): not a switch, got "maybe"; allowed: on, off', "shortest_first.among_correct=maybe")
    refused('did you mean "common_start"?', "partition.method=comon_start")
    refused('did you mean "split"?', "task.name=splt")
    refused("split.modulus (command line): not an integer, got \"x\"; allowed: [2, 16]", "split.modulus=x")
    refused("partition.linkage (command line): shortest_first needs clusters, got soft", "diversity.shaping=shortest_first", "partition.linkage=soft")
    refused("rollout.max_tokens (command line): no answer of the task split fits, got 2; allowed: at least 3", *SPLIT[:-1], "rollout.max_tokens=2")
    refused("advantage.estimator", "diversity.shaping=shortest_first", "advantage.estimator=gdpo")
    refused("task.train_prompts: split has 16 prompts, got 12 training and 8 held-out prompts; allowed: at most 16 together", SPLIT[0], "task.train_prompts=12", *SPLIT[2:])


def explain(work):
    schema = {o["key"]: o for o in json.loads(run("config", "schema", "--json", cwd=work).stdout)}
    for key, names in (("task.name", ["split", "scratchpad"]), ("partition.method", ["common_start"]), ("diversity.shaping", ["shortest_first", "bleu_bonus"])):
        for name in names:
            expect(name in schema[key]["allowed"].split(", "), f"{key} does not allow {name}")
            expect(f"  {name}: " in run("config", "explain", key, cwd=work).stdout, f"{key}: no sentence for {name}")
    for key, default in (("shortest_first.decay", 0.5), ("shortest_first.among_correct", False), ("common_start.skip", 0), ("split.modulus", 8)):
        got = json.loads(run("config", "explain", key, "--json", cwd=work).stdout)
        expect(got["default"] == default and got["unit"] and got["allowed"] and len(got["text"].split()) > 2, f"{key}: {got}")
    shown = run("config", "show", "shortest_first.decay=0.25", cwd=work).stdout
    expect("[shortest_first]\ndecay = 0.25\n" in shown and "[common_start]" not in shown, "what is set is not shown, or what is not")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[2]).resolve())
    cases = {c.__name__: c for c in (packed, task, commands, plain, refusals, explain)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "learnt.ini").write_text(reproduce.LEARNT)
        cases[sys.argv[3]](work)
    print(f"{sys.argv[3]}: as it should be")


if __name__ == "__main__":
    main()
