#!/usr/bin/env python3
"""The same bits, run as a user would: repeated, threaded, packed, with classes kept across a kill.

usage: reproduce.py MOTLEY CASE      CASE: repeat | threads | logged | packed | classes | refusals | options
Standard library only. Exits 1 with the first difference.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

TINY = """
[run]
steps = 30
[task]
modulus = 2
digits = 6
train_prompts = 16
eval_prompts = 8
skew = 0.5
[model]
layers = 1
width = 16
heads = 2
kv_heads = 2
ff = 32
[pretrain]
steps = 6
gate_every = 3
batch = 8
habit_steps = 3
gate = off
[classifier]
layers = 1
width = 16
heads = 2
ff = 16
steps = 4
[rollout]
prompts = 4
group_size = 4
max_tokens = 12
[checkpoint]
every_steps = 4
[eval]
every_steps = 10
samples = 8
k = 1,4
"""

# A policy that has learnt enough for groups to hold right and wrong answers of several classes.
LEARNT = """
[run]
steps = 30
[task]
modulus = 2
digits = 4
train_prompts = 6
eval_prompts = 4
skew = 0.5
rare_prior = 0.1
[model]
layers = 1
width = 32
heads = 2
kv_heads = 2
ff = 32
[pretrain]
steps = 200
gate_every = 200
batch = 64
habit_steps = 3
gate = off
[classifier]
layers = 1
width = 32
heads = 2
ff = 16
steps = 400
[rollout]
prompts = 4
group_size = 8
max_tokens = 12
[checkpoint]
every_steps = 4
[eval]
every_steps = 10
samples = 8
k = 1,4
"""

SWEEP = """
[sweep]
name = tiny
base = tiny.ini
seeds = 1:3
[arm.grpo]
run.method = grpo
[arm.darling]
run.method = darling
[arm.kl]
run.method = darling
kl.coef = 0.01
partition.method = exact
[arm.kmeans]
run.method = darling
partition.method = kmeans
partition.across_steps = on
[arm.judge]
run.method = darling
partition.method = noisy_oracle
partition.false_merge = 0.1
partition.linkage = correlation
[arm.hdbscan]
run.method = darling
partition.method = hdbscan
partition.embedding = ngram
partition.ngram_n = 2
"""

motley = ""


def run(*words, threads=None, check=True, cwd=None):
    env = dict(os.environ, OMP_WAIT_POLICY="passive", OMP_PROC_BIND="false")
    if threads is not None:
        env["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run([motley, *words], env=env, cwd=cwd, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise SystemExit(f"motley {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return done


def digest(folder):
    return run("digest", str(folder)).stdout.strip()


def expect(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")


def expect_equal_alone(work, cell, threads=None):
    """Trains the cell of a sweep, a run.h5, alone from its own configuration: the same digest, which is returned."""
    (work / "alone.ini").write_text(run("config", "show", str(cell)).stdout)
    alone = work / "alone" / cell.parent.name
    run("train", "-c", "alone.ini", "-o", str(alone), threads=threads, cwd=work)
    expect(digest(cell.parent) == digest(alone), f"{cell.parent.name} differs alone and packed")
    return digest(alone)


def expect_moves(folder):
    """The run's gradients are not zero: its last logged steps show it (the last column of motley inspect)."""
    rows = [line.split() for line in run("inspect", str(folder)).stdout.splitlines() if line[:1].isdigit()]
    expect(sum(float(row[-1]) > 0 for row in rows) > len(rows) / 2, f"{folder}: the policy does not move")


def repeat(work):
    run("train", "-c", "tiny.ini", "-o", "a", cwd=work)
    expect_moves(work / "a")
    ini = run("config", "show", "a", cwd=work).stdout
    (work / "again.ini").write_text(ini)
    run("train", "-c", "again.ini", "-o", "b", cwd=work)
    expect(digest(work / "a") == digest(work / "b"), "a run from its own /config text has another digest")
    # The base policy itself must come out the same when nothing is cached.
    run("train", "-c", "tiny.ini", "pretrain.cache=other", "-o", "c", cwd=work)
    expect(digest(work / "a") == digest(work / "c"), "a run with a fresh base policy has another digest")
    run("train", "-c", "tiny.ini", "run.seed=8", "-o", "d", cwd=work)
    expect(digest(work / "a") != digest(work / "d"), "another seed has the same digest")


def threads(work):
    digests = set()
    for n in (1, 2, 3, 4):
        run("train", "-c", "tiny.ini", f"pretrain.cache=base{n}", "-o", f"t{n}", threads=n, cwd=work)
        digests.add(digest(work / f"t{n}"))
    run("train", "-c", "tiny.ini", "loss.micro_batches=3", "checkpoint.every_steps=7", "-o", "m", cwd=work)
    digests.add(digest(work / "m"))
    expect(len(digests) == 1, f"digests differ over thread counts or micro-batches: {digests}")
    for i, words in enumerate(([], ["loss.micro_batches=3", "checkpoint.every_steps=7"])):
        run("train", "-c", "tiny.ini", "model.precision=bf16", *words, "-o", f"bf{i}", threads=1 + i, cwd=work)
    expect(digest(work / "bf0") == digest(work / "bf1") not in digests, "bf16: digests differ over thread counts or micro-batches, or are those of fp32")


def logged(work):
    """What is logged changes no number: over what both files hold, every setting of log.* gives the same."""
    run("train", "-c", "tiny.ini", "-o", "plain", cwd=work)
    expect_moves(work / "plain")
    settings = (
        ["log.rollouts=none"], ["log.rollouts=every:4"], ["log.log_prob=f16"], ["log.log_prob=none"], ["log.entropy=on", "log.pair_score=on"],
        ["log.diagnostics=every:3"], ["log.eval_samples=on"],
        ["log.rollouts=every:7", "log.log_prob=f16", "log.entropy=on", "log.pair_score=on", "log.diagnostics=every:5", "log.eval_samples=on", "checkpoint.every_steps=3"],
    )
    folders = ["plain"]
    for i, words in enumerate(settings):
        run("train", "-c", "tiny.ini", *words, "-o", f"log{i}", threads=1 + i % 2, cwd=work)
        folders.append(f"log{i}")
    for a in folders:
        for b in folders:
            done = run("digest", a, b, "--common", check=False, cwd=work)
            expect(done.returncode == 0, f"{a} and {b} differ in what both hold:\n{done.stdout}")
    # The comparison sees a run that is another: also where few steps are common.
    run("train", "-c", "tiny.ini", "run.seed=8", "log.rollouts=every:4", "-o", "other", cwd=work)
    different = run("digest", "log7", "other", "--common", check=False, cwd=work)
    expect(different.returncode == 4 and "/rollouts/token" in different.stdout, f"another seed passes as the same:\n{different.stdout}")
    for interval in (1, 2, 7, 100):
        run("train", "-c", "tiny.ini", f"checkpoint.every_steps={interval}", f"loss.micro_batches={1 + interval % 5}", "-o", f"c{interval}", cwd=work)
        expect(digest(work / f"c{interval}") == digest(work / "plain"), f"a checkpoint every {interval} steps gives another digest")


def packed(work):
    (work / "sweep.ini").write_text(SWEEP)
    run("sweep", "run", "sweep.ini", cwd=work)
    cells = sorted((work / "runs" / "tiny").glob("*/run.h5"))
    expect(len(cells) == 12, f"{len(cells)} cells instead of 12")
    for cell in cells:
        expect_equal_alone(work, cell)
    # Finished cells are skipped; a removed one is run again and comes out the same.
    kept = digest(cells[0].parent)
    for file in sorted(cells[0].parent.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    again = run("sweep", "run", "sweep.ini", cwd=work)
    expect("11 of 12 cells are done already" in again.stderr, "finished cells were not skipped")
    expect(digest(cells[0].parent) == kept, "a cell run again has another digest")
    table = run("compare", "runs/tiny", "--baseline", "grpo", cwd=work).stdout
    expect("demonstration, not evidence" in table, "two seeds are not called a demonstration")


def tensor(file, name):
    """Bytes of one tensor of a safetensors file."""
    import json

    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8 : 8 + size])[name]["data_offsets"]
    return data[8 + size + begin : 8 + size + end]


def classes(work):
    """Classes kept across steps: the same after a kill, alone and packed, and counted at all."""
    words = ["train", "-c", "tiny.ini", "run.steps=40", "partition.method=agglomerative", "partition.across_steps=on"]
    run(*words, "-o", "whole", cwd=work)
    newest = sorted((work / "whole" / "checkpoints").glob("*.safetensors"))[-1].name
    want = tensor(work / "whole" / "checkpoints" / newest, "state.partition.classes")
    import struct

    values = struct.unpack(f"<{len(want) // 8}d", want)
    expect(sum(values[2::4]) > 0, "no completion was remembered")
    expect(max(values[3::4]) == 40, "the last step was not remembered")
    for delay in (0.25, 0.5, 0.75, 1.0):
        folder = work / f"cut{delay}"
        begin = time.monotonic()
        child = subprocess.Popen([motley, *words, "-r", str(folder)], cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and not list(folder.glob("checkpoints/*.safetensors")) and time.monotonic() - begin < 60:
            time.sleep(0.01)
        time.sleep(delay / 10)
        child.send_signal(signal.SIGKILL)
        child.wait()
        run(*words, "-r", str(folder), cwd=work)
        got = tensor(folder / "checkpoints" / newest, "state.partition.classes")
        expect(got == want, "classes differ after a kill")
        expect(digest(folder) == digest(work / "whole"), "a killed run has another digest")


def refusals(work):
    def fails(code, text, *words):
        done = run(*words, check=False, cwd=work)
        expect(done.returncode == code, f"{words}: exit {done.returncode}, expected {code}\n{done.stderr}")
        expect(text in done.stderr, f"{words}: no '{text}' in\n{done.stderr}")

    run("train", "-c", "tiny.ini", "-o", "a", cwd=work)
    want = digest(work / "a")
    fails(3, "--overwrite", "train", "-c", "tiny.ini", "-o", "a")
    fails(2, 'did you mean "optim.lr"?', "train", "-c", "tiny.ini", "optim.lrr=1", "-o", "b")
    fails(2, "not a finite number", "train", "-c", "tiny.ini", "optim.lr=nan", "-o", "b")
    fails(2, "a resumed run keeps its configuration", "train", "-r", "a", "-c", "tiny.ini", "optim.lr=1e-3")
    fails(2, "makes clusters without a linkage", "train", "-c", "tiny.ini", "partition.method=dbscan", "partition.linkage=greedy_first", "-o", "b")
    fails(2, "allowed: ngram, policy, or classifier.form = bi_encoder", "train", "-c", "tiny.ini", "partition.method=kmeans", "classifier.form=cross_encoder", "-o", "b")
    fails(2, "allowed: 1 to 128", "train", "-c", "tiny.ini", "partition.method=kmeans", "rollout.group_size=129", "-o", "b")
    fails(2, "did you mean \"train\"?", "trian")
    (work / "file").write_text("x")
    fails(3, "file/run", "train", "-c", "tiny.ini", "-o", "file/run")
    both = run("train", "-c", "tiny.ini", "optim.lr=x", "rollout.group_size=0", "-o", "b", check=False, cwd=work).stderr
    expect(len(both.strip().splitlines()) == 2, f"two faults, but:\n{both}")
    expect(not (work / "b").exists(), "a refused run left a folder")
    cut = (work / "a" / "run.h5").read_bytes()
    (work / "cut.h5").write_bytes(cut[: len(cut) // 2])
    (work / "text.h5").write_bytes(b"not a run file")
    for name in ("cut.h5", "text.h5"):
        done = run("digest", name, check=False, cwd=work)
        expect(done.returncode == 4 and len(done.stderr.strip().splitlines()) == 1, f"{name}: {done.returncode} {done.stderr}")
    (work / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      x")
    fails(4, "bad.safetensors", "eval", "bad.safetensors")
    run("eval", "a", "--samples", "8", "-k", "1,8", cwd=work)
    expect(digest(work / "a") == want, "a refused command changed the run")


def options(work):
    import json

    schema = json.loads(run("config", "schema", "--json").stdout)
    for option in schema:
        expect(all(option[k] != "" for k in ("key", "type", "unit", "allowed", "text")), f"undocumented: {option}")
        one = json.loads(run("config", "explain", option["key"], "--json").stdout)
        expect(one["default"] == option["default"], f"explain differs: {option['key']}")
    shown = run("config", "defaults").stdout
    (work / "defaults.ini").write_text(shown)
    expect(run("config", "show", "-c", "defaults.ini", cwd=work).stdout == shown, "printed configuration reads back differently")
    for command in ("pretrain", "train", "eval", "sweep", "compare", "inspect", "digest", "config", "info"):
        text = run(command, "--help").stdout
        expect("examples:" in text and "usage:" in text, f"no help for {command}")
    info = json.loads(run("info", "--json").stdout)
    expect(info["threads"] >= 1, "info without threads")


def main():
    global motley
    motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (repeat, threads, logged, packed, classes, refusals, options)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        # Where numbers must agree, a policy that is rewarded: one whose weights never move agrees with anything.
        (work / "tiny.ini").write_text(TINY if sys.argv[2] in ("refusals", "options") else LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
