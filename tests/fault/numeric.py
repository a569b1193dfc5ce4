#!/usr/bin/env python3
"""Numbers that are not finite: found in the step they appear in, named in one line, dumped, and nothing lost.

usage: numeric.py MOTLEY CASE      CASE: alone | packed | reward_model | pretraining | partitioners | injection
Needs h5py. Every fault is injected by MOTLEY_INJECT. Exits 1 with the first difference.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import h5py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "experiments"))
import reproduce  # noqa: E402
from reproduce import digest, expect, run, tensor  # noqa: E402
from tasks import REWARD, task_words  # noqa: E402

STEPS = 14
LONG = ["run.steps=14", "checkpoint.every_steps=4", "checkpoint.keep=9"]

# What is injected -> the stage that must be named, and the parts of the address it has.
STAGES = {
    "weights": ("rollout", "bgt"),
    "logits": ("rollout", "bgt"),
    "log_prob": ("score_tokens", "bgt"),
    "reward_model": ("score", "bg"),
    "quality": ("score", "bg"),
    "classifier": ("pair_scores", "bgj"),
    "reward": ("shape_reward", "bg"),
    "advantage": ("group_advantage", "bg"),
    "gradient": ("adamw_step", "n"),
    "moment": ("adamw_step", "n"),
}


def motley(work, *words, inject=None, threads=2):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive", OMP_PROC_BIND="false")
    if inject is not None:
        env["MOTLEY_INJECT"] = inject
    return subprocess.run([reproduce.motley, *map(str, words)], cwd=work, env=env, capture_output=True, text=True, timeout=120)


def longest(folder, step):
    """The completion with most tokens of a logged step: every position is there."""
    with h5py.File(folder / "run.h5") as f:
        length = f["rollouts/length"][step]
    b, g = divmod(int(length.argmax()), length.shape[1])
    return b, g, int(length[b, g])


def used_parameter(folder, step, i):
    """Element i of the embedding of the first token of the step's first prompt: every rollout of it meets it at once."""
    with h5py.File(folder / "run.h5") as f:
        return int(f["prompts/token"][int(f["rollouts/prompt_id"][step, 0]), 0]) * 32 + i


def same_weights(folder, clean, step):
    """The checkpoint of a step holds the weights and moments of the run that met no fault."""
    name = f"step-{step:08d}.safetensors"
    mine, theirs = folder / "checkpoints" / name, clean / "checkpoints" / name
    data = mine.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    names = [k for k in header if k.startswith(("model.", "adam.", "state."))]
    expect(len(names) > 10, f"{mine}: {names}")
    for key in names:
        expect(tensor(mine, key) == tensor(theirs, key), f"{folder.name}: {key} of step {step} differs from the clean run's")


def check_line(line, folder, step, replica, target, address):
    """One line: run, step, replica, stage and address."""
    stage, parts = STAGES[target]
    want = f"{folder}: step {step}, replica {replica}, stage {stage}"
    b, g, t = address
    if target == "weights":  # met where the replica's first logits are
        b = g = t = 0
    if "b" in parts:
        want += f", prompt {b}, completion {g}"
    if "t" in parts:
        want += f", position {t}"
    if "j" in parts:
        want += f" with completion {t}"
    if "n" in parts:
        want += f", parameter {t}"
    expect(line.startswith(want + ": "), f"{target}: {line!r} instead of {want!r}")
    expect(re.search(r" is (nan|-?inf)\b", line), f"{target}: the value is not named: {line!r}")


def check_dump(work, folder, step, target, address, inject, seed):
    """The dump names the same fault, and holds the numbers of its group as the clean run logs them."""
    stage, parts = STAGES[target]
    b, g, t = (0, 0, 0) if target == "weights" else address
    text = (work / folder / f"fault-step-{step}.json").read_text()
    dump = json.loads(text, parse_constant=lambda name: expect(False, f"{name} is not JSON"))
    expect(dump["kind"] == "motley-fault" and dump["stage"] == stage and dump["injected"] == inject, f"{dump['stage']}")
    want = {"seed": seed, "step": step}
    if "b" in parts:
        want.update(prompt=b, completion=g)
    want.update({k: t for part, k in (("t", "position"), ("j", "with_completion"), ("n", "parameter")) if part in parts})
    expect(dump["address"] == want, f"{target}: {dump['address']} instead of {want}")
    expect(dump["run"]["folder"] == str(folder), f"{dump['run']}")
    field = {"log_prob": "old_log_prob", "quality": "quality", "classifier": "pair_score", "reward": "reward", "advantage": "advantage"}.get(target)
    if field:
        at = {"log_prob": [b, g, t], "classifier": [b, g, t]}.get(target, [b, g])
        expect(dump["not_finite"][field]["first"] == at, f"{target}: {dump['not_finite']}")
    if "b" in parts:
        completion = dump["group"]["completions"][g]
        expect(completion["completion"] == g and dump["group"]["prompt"]["prompt"] == b, "another group")
        expect(len(completion["token"]) == len(completion["sampler_log_prob"]) > 0, "no tokens")
        shown = {"log_prob": lambda: completion["log_prob"][t], "classifier": lambda: dump["group"]["pair_score"][g][t],
                 "logits": lambda: completion["sampler_log_prob"][t]}.get(target, lambda: completion.get(target))()
        expect(target in ("weights", "reward_model") or shown in ("nan", "inf", "-inf"), f"{target}: shows {shown}")
    else:
        tensors = [p for p in dump["parameters"] if p["gradient_not_finite"] + p["moment_not_finite"] + p["not_finite"] > 0]
        expect(len(tensors) == 1 and tensors[0]["tensor"] in dump["what"], f"{target}: {tensors}, {dump['what']}")
    return dump


def check_same_text(dump, clean, step):
    """Prompt and completions are those the run without a fault has at this address."""
    with h5py.File(clean / "run.h5") as f:
        b = dump["group"]["prompt"]["prompt"]
        ids, length = f["rollouts/token"][step, b], f["rollouts/length"][step, b]
        expect(dump["group"]["prompt"]["prompt_id"] == f["rollouts/prompt_id"][step, b], "another prompt")
        for c in dump["group"]["completions"]:
            g = c["completion"]
            expect(c["token"] == ids[g, : length[g]].tolist(), f"completion {g} has other tokens")
        text = f["prompts/text"][int(dump["group"]["prompt"]["prompt_id"])].decode()
        expect(dump["group"]["prompt"]["text"] == text, f"{dump['group']['prompt']['text']!r} is not {text!r}")


def alone(work):
    run("train", "-q", "-c", "tiny.ini", *LONG, "-o", "clean", cwd=work)
    want = digest(work / "clean")
    tried = 0
    for target in [t for t in STAGES if t != "reward_model"]:
        for i, step in enumerate((0, 5, 13)):
            b, g, n = longest(work / "clean", step)
            t = {"classifier": (g + 3) % 8, "gradient": 70 * i, "moment": 33 * i + 1, "weights": used_parameter(work / "clean", step, i)}.get(target, (0, n // 2, n - 1)[i])
            value = ("nan", "inf", "-inf" if target not in ("logits", "weights") else "nan")[i]
            inject = f"{target}={value} step={step} prompt={b} completion={g} position={t}"
            folder = pathlib.Path(f"{target}{step}")
            done = motley(work, "train", "-q", "-c", "tiny.ini", *LONG, "-o", folder, inject=inject, threads=1 + i % 2)
            expect(done.returncode == 6, f"{inject}: exit {done.returncode}\n{done.stderr}")
            lines = done.stderr.strip().splitlines()
            expect(len(lines) == 1, f"{inject}: {lines}")
            check_line(lines[0], folder, step, 0, target, (b, g, t))
            dump = check_dump(work, folder, step, target, (b, g, t), inject, 7)
            if target not in ("weights", "logits") and dump["group"]:
                check_same_text(dump, work / "clean", step)
            with h5py.File(work / folder / "run.h5") as f:
                expect(int(f["committed"][()]) == step and len(f["metrics/quality"]) == step, f"{inject}: {f['committed'][()]} steps are logged")
                expect(f["provenance"].attrs["injected"] == inject, "the provenance does not name the injection")
            for k in range(4, step + 1, 4):
                same_weights(work / folder, work / "clean", k)
            expect(dump["last_checkpoint"] == (step // 4 * 4 or None), f"{dump['last_checkpoint']}")
            expect(not list((work / folder / "checkpoints").glob(f"*{step + 1:08d}*")), "the faulty step was saved")
            # Made again without the injection, the step meets no fault, and says so.
            if i == 1:
                again = motley(work, "replay", folder, "--step", step)
                expect(again.returncode == 4 and "meets no fault" in again.stderr, f"{again.returncode} {again.stderr}")
                again = motley(work, "replay", folder, "--step", step, inject=inject)
                expect(again.returncode == 6 and f"stage {STAGES[target][0]}" in again.stderr, f"{again.returncode} {again.stderr}")
            done = motley(work, "train", "-q", "-r", folder)
            expect(done.returncode == 0 and digest(work / folder) == want, f"{inject}: resumed, exit {done.returncode}\n{done.stderr}")
            tried += 1
    print(f"{tried} faults found and resumed, all digests equal")


SWEEP = """
[sweep]
name = pack
base = tiny.ini
seeds = 1:3
[arm.grpo]
run.method = grpo
[arm.filter]
run.method = dapo
diversity.shaping = multiplicative
[arm.kl]
run.method = darling
kl.coef = 0.01
loss.minibatches = 1
"""


def packed(work):
    """A fault in one replica of six: it is named, the others end with the bits they have without it."""
    (work / "sweep.ini").write_text(SWEEP)
    done = motley(work, "sweep", "run", "sweep.ini", *LONG, "-o", "clean", "-q")
    expect(done.returncode == 0, done.stderr)
    listed = json.loads(motley(work, "sweep", "list", "sweep.ini", *LONG, "-o", "clean", "--json").stdout)
    cells = [pathlib.Path(c["folder"]) for c in listed]
    want = {c.name: digest(work / c) for c in cells}
    # After step 9 an evaluation falls due: there the others go on from their last checkpoint.
    for i, (target, step, replica) in enumerate((("quality", 5, 4), ("logits", 0, 0), ("gradient", 9, 2), ("classifier", 13, 5), ("moment", 6, 3), ("reward", 9, 1))):
        b, g, n = longest(work / cells[replica], step)
        t = {"classifier": (g + 1) % 8}.get(target, n - 1)
        inject = f"{target}=nan step={step} replica={replica} prompt={b} completion={g} position={t}"
        out = f"out{i}"
        done = motley(work, "sweep", "run", "sweep.ini", *LONG, "-o", out, "-q", inject=inject)
        expect(done.returncode == 6, f"{inject}: exit {done.returncode}\n{done.stderr}")
        lines = done.stderr.strip().splitlines()
        expect(len(lines) == 1, f"{inject}: {lines}")
        faulty = pathlib.Path(out) / "pack" / cells[replica].name
        check_line(lines[0], faulty, step, replica, target, (b, g, t))
        expect("the 5 other runs of the batch" in lines[0], lines[0])
        seed = listed[replica]["seed"]
        dump = check_dump(work, faulty, step, target, (b, g, t), inject, seed)
        expect(dump["run"]["replica"] == replica and dump["run"]["replicas"] == 6, f"{dump['run']}")
        for cell in cells:
            mine = work / out / "pack" / cell.name
            if mine == work / faulty:
                with h5py.File(mine / "run.h5") as f:
                    expect(int(f["committed"][()]) == step, f"{inject}: {f['committed'][()]} steps of the faulty run are logged")
                for k in range(4, step + 1, 4):
                    same_weights(mine, work / cell, k)
            else:
                expect(digest(mine) == want[cell.name], f"{inject}: {cell.name} differs from the sweep without a fault")
                expect(not list(mine.glob("fault-*")), f"{cell.name} has a dump")
        done = motley(work, "sweep", "run", "sweep.ini", *LONG, "-o", out, "-q")
        expect(done.returncode == 0 and digest(work / faulty) == want[faulty.name], f"{inject}: run again, exit {done.returncode}\n{done.stderr}")


def reward_model(work):
    """The reward model's score of a completion, and the judge's task altogether."""
    # Of texts without an end the format check would hide the model's score.
    words = [*task_words("ideas"), "run.steps=6", "eval.every_steps=0", "reward_model.format=trusted"]
    (work / "tiny.ini").write_text(reproduce.TINY + REWARD)
    run("train", "-q", "-c", "tiny.ini", *words, "-o", "clean", cwd=work)
    for i, (target, value) in enumerate((("reward_model", "nan"), ("reward_model", "-inf"), ("quality", "inf"), ("logits", "inf"), ("moment", "nan"))):
        b, g = i % 4, (i + 1) % 4
        inject = f"{target}={value} step=3 prompt={b} completion={g} position=0"
        folder = pathlib.Path(f"f{i}")
        done = motley(work, "train", "-q", "-c", "tiny.ini", *words, "-o", folder, inject=inject)
        expect(done.returncode == 6, f"{inject}: exit {done.returncode}\n{done.stderr}")
        line = done.stderr.strip()
        stage = STAGES[target][0]
        expect(line.startswith(f"{folder}: step 3, replica 0, stage {stage}"), line)
        if stage == "score":
            expect(f"stage score, prompt {b}, completion {g}: quality" in line, line)
        expect((work / folder / "fault-step-3.json").exists(), "no dump")
        done = motley(work, "train", "-q", "-r", folder)
        expect(done.returncode == 0 and digest(work / folder) == digest(work / "clean"), f"{inject}: resumed\n{done.stderr}")


def pretraining(work):
    """A gradient of pretraining: the base is not kept, and the next start makes it whole."""
    (work / "tiny.ini").write_text(reproduce.TINY + REWARD)
    words = [*task_words("ideas"), "run.steps=2", "eval.every_steps=0", "pretrain.steps=6", "classifier.steps=4", "reward_model.steps=4"]
    run("train", "-q", "-c", "tiny.ini", *words, "-o", "clean", cwd=work)
    for i, (target, name) in enumerate((("pretrain", "skill stage"), ("pretrain_classifier", "pair classifier"), ("pretrain_reward", "reward model"))):
        cache = f"pretrain.cache=cache{i}"
        done = motley(work, "train", "-q", "-c", "tiny.ini", *words, cache, "-o", f"r{i}", inject=f"{target}=nan step=2 position={i}")
        expect(done.returncode == 6, f"{target}: exit {done.returncode}\n{done.stderr}")
        expect(done.stderr == f"pretrain: {name} of base seed 7, step 2, replica 0, stage adamw_step, parameter {i}: a number is not finite\n", done.stderr)
        expect(not list((work / f"cache{i}").rglob("*.safetensors")), "a faulty base was kept")
        expect(not (work / f"r{i}" / "run.h5").exists(), "a run was begun")
        done = motley(work, "train", "-q", "-c", "tiny.ini", *words, cache, "-o", f"r{i}")
        expect(done.returncode == 0 and digest(work / f"r{i}") == digest(work / "clean"), f"{target}: again\n{done.stderr}")


def partitioners(work):
    """What groups completions meets scores and embeddings that are none: it ends, and the pair is named."""
    schema = {o["key"]: o for o in json.loads(run("config", "schema", "--json").stdout)}
    allowed = lambda key: [v.strip() for v in schema[key]["allowed"].split(",")]
    tried = []
    for method in allowed("partition.method"):
        settings = [["partition.embedding=" + e] for e in allowed("partition.embedding")] if method in ("kmeans", "agglomerative", "dbscan", "spectral", "hdbscan") else \
            [["partition.linkage=" + l] for l in allowed("partition.linkage")]
        for words in settings:
            embeds = words[0].startswith("partition.embedding")
            soft = words[0].endswith("soft")
            for target in ("embedding", "classifier") if embeds else ("classifier",):
                inject = f"{target}=nan step=1 prompt=1 completion=2 position=3"
                name = f"{method}-{len(tried)}"
                done = motley(work, "train", "-q", "-c", "tiny.ini", "run.steps=3", "run.method=" + ("grpo" if soft else "darling"), f"partition.method={method}",
                              *words, "-o", name, inject=inject)
                if done.returncode == 2:
                    continue  # a contradiction of settings
                expect(done.returncode == 6, f"{method} {words} {target}: exit {done.returncode}\n{done.stderr}")
                expect("step 1, replica 0, stage pair_scores, prompt 1, completion " in done.stderr, done.stderr)
                tried.append(method)
    expect(len(set(tried)) >= 10 and len(tried) >= 30, f"only {sorted(set(tried))}")
    print(f"{len(tried)} partitions")


def injection(work):
    """The injection itself: off unless asked for, no part of a configuration, and its words are checked."""
    run("train", "-q", "-c", "tiny.ini", "-o", "clean", cwd=work)
    late = motley(work, "train", "-q", "-c", "tiny.ini", "-o", "late", inject="quality=nan step=100000")
    expect(late.returncode == 0 and digest(work / "late") == digest(work / "clean"), f"an injection that never strikes\n{late.stderr}")
    with h5py.File(work / "late" / "run.h5") as f, h5py.File(work / "clean" / "run.h5") as g:
        expect(f["provenance"].attrs["injected"] == "quality=nan step=100000" and "injected" not in g["provenance"].attrs, "provenance")
        expect(f.attrs["config_sha256"] == g.attrs["config_sha256"], "config_sha256 knows of the injection")
    for text, part in (("", "got nothing"), ("qualty=nan", 'did you mean "quality"?'), ("quality", "allowed: WHAT=NUMBER"), ("quality=many", 'got "many"'),
                       ("quality=nan stp=1", "allowed: step, replica, prompt, completion, position"), ("quality=nan step=-1", "allowed: ADDRESS=COUNT"),
                       ("quality=nan step=1 prompt=99", "has no element 99 on axis 1")):
        done = motley(work, "train", "-q", "-c", "tiny.ini", "-o", "bad", inject=text)
        expect(done.returncode == 2 and done.stderr.startswith("MOTLEY_INJECT: ") and part in done.stderr, f"{text!r}: exit {done.returncode}\n{done.stderr}")
        shutil.rmtree(work / "bad", ignore_errors=True)


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (alone, packed, reward_model, pretraining, partitioners, injection)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
