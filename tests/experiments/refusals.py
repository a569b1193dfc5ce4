#!/usr/bin/env python3
"""What the program refuses, with which exit code, and that a refusal creates and loses nothing.

usage: refusals.py MOTLEY CASE      CASE: configuration | folder | files | checkpoints  | limits
"""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

from reproduce import TINY

motley = ""
CONFIG, REFUSED, INPUT = 2, 3, 4


def snapshot(work):
    """Every file with its content; lock files, which hold a process id, by name alone."""
    out = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        out[name] = path.read_bytes() if path.is_file() and not name.endswith("lock") else None
    return out


def run(*words, cwd, before=()):
    env = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", OMP_PROC_BIND="false")
    return subprocess.run([*before, motley, *map(str, words)], cwd=cwd, env=env, capture_output=True, text=True)


def train(work, *words):
    done = run("train", "-q", "-c", "tiny.ini", *words, cwd=work)
    if done.returncode != 0:
        raise SystemExit(f"train {words}: exit {done.returncode}\n{done.stderr}")


def refused(work, code, parts, *words, lines=1, before=()):
    """Exit code, one line per fault with all `parts` in it, and a folder that is as it was."""
    was = snapshot(work)
    done = run(*words, cwd=work, before=before)
    text = done.stderr.strip()
    if done.returncode != code:
        raise SystemExit(f"{words}: exit {done.returncode}, expected {code}\n{done.stderr}")
    if len(text.splitlines()) != lines:
        raise SystemExit(f"{words}: expected {lines} line(s), got\n{done.stderr}")
    for part in parts:
        if part not in text:
            raise SystemExit(f"{words}: no '{part}' in\n{text}")
    now = snapshot(work)
    if now != was:
        changed = sorted(k for k in was.keys() | now.keys() if was.get(k, 0) != now.get(k, 0))
        raise SystemExit(f"{words}: changed {changed}")


def configuration(work):
    for word, parts in {
        "optim.lrr=1": ["optim.lrr (command line): unknown option", 'did you mean "optim.lr"?'],
        "group_size=4": ["unexpected word, got \"group_size=4\""],
        "rollout.group_size=0": ["rollout.group_size (command line): out of range, got 0; allowed: [1, 4096]"],
        "optim.lr=nan": ["optim.lr (command line): not a finite number, got \"nan\"; allowed: "],
        "optim.lr=inf": ["not a finite number, got \"inf\""],
        "kl.coef=1e999": ["not a finite number, got \"1e999\""],
        "rollout.group_size=1.5": ["not an integer, got \"1.5\""],
        "partition.method=clasifier": ["unknown value \"clasifier\"", 'did you mean "classifier"?'],
        "model.heads=6": ["model.heads (command line): must divide model.width = 16, got 6"],
        "rollout.group_size=1": ["a group of 1"],
        "rollout.temperature_schedule=linear": ["rollout.temperature_schedule (command line): unknown value \"linear\"; allowed: constant, linear:END, cosine:END"],
        "rollout.temperature_schedule=cosine:0": ["unknown value \"cosine:0\"; allowed: constant, linear:END, cosine:END"],
        "overlong.cache=3": ["overlong.cache (command line): the ramp cannot be wider than overlong.max_length, got 3 with overlong.max_length = 0"],
        "mismatch.cap=0.5": ["mismatch.cap (command line): out of range, got 0.5; allowed: [1, 1e+06]"],
        "mismatch.correction=tsi": ["unknown value \"tsi\"; allowed: none, tis, mis", 'did you mean "tis"?'],
        "filter_groups.metric=accuracy": ["unknown value \"accuracy\"; allowed: none, acc, shaped"],
        "eval.k=1,4096": ["eval.k (command line): "],
    }.items():
        refused(work, CONFIG, parts, "train", "-c", "tiny.ini", word, "-o", "out")
    for words, parts in (
        (["kl.estimator=exact", "kl.placement=reward"], ["kl.placement (command line): the exact divergence is a function of the whole distribution, got reward with kl.estimator = exact; allowed: loss"]),
        (["rollout.temperature=0", "rollout.temperature_schedule=linear:1"], ["rollout.temperature_schedule (command line): a schedule starts at rollout.temperature, which must be above 0, got 0"]),
        (["filter_groups.metric=acc", "filter_groups.max_batches=10000", "rollout.prompts=200000"], ["filter_groups.max_batches (command line): ", "must be below 2^32, got 10000 * 200000 * 4"]),
        (["filter_groups.metric=acc", "rollout.group_size=1", "run.method=rloo", "advantage.baseline=mean"], ["filter_groups.metric (command line): a group of 1 never tells its completions apart"]),
    ):
        refused(work, CONFIG, parts, "train", "-c", "tiny.ini", *words, "-o", "out")
    (work / "bad.ini").write_text("[run]\nseed = 1\nseed = 2\n[optim]\nlr = fast\nfoo = 1\n[kl\n")
    refused(work, CONFIG, ["run.seed (bad.ini:3): set twice, first in line 2", "optim.lr (bad.ini:5)", "optim.foo (bad.ini:6)", "bad.ini:7"],
            "train", "-c", "bad.ini", "-o", "out", lines=4)
    refused(work, CONFIG, ["none.ini", "cannot read the configuration file"], "train", "-c", "none.ini", "-o", "out")
    (work / "inc.ini").write_text("include = gone.ini\n")
    refused(work, CONFIG, ["inc.ini:1", "gone.ini"], "train", "-c", "inc.ini", "-o", "out")
    refused(work, CONFIG, ["unknown flag"], "train", "--outt", "x")
    refused(work, CONFIG, ["run.threads"], "train", "-c", "tiny.ini", "run.threads=-1", "-o", "out")
    refused(work, CONFIG, ["unknown option", "nonsense"], "config", "explain", "nonsense")


def folder(work):
    train(work, "-o", "a")
    refused(work, REFUSED, ["a", "--overwrite"], "train", "-c", "tiny.ini", "-o", "a")
    (work / "file").write_text("x")
    refused(work, REFUSED, ["file/run"], "train", "-c", "tiny.ini", "-o", "file/run")
    # Root may write anywhere, so the locked folder is tried as another user where that is possible.
    locked = work / "locked"
    locked.mkdir()
    os.chmod(locked, 0o555)
    before = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            print("no setpriv: a folder without write permission is not tried as root")
            return
        before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        os.chmod(work, 0o755)
        probe = subprocess.run([*before, motley, "--version"], cwd=work, capture_output=True)
        if probe.returncode != 0:
            print("the program cannot be run by another user here: a locked folder is not tried")
            return
    refused(work, REFUSED, ["locked/run", "Permission denied"], "train", "-c", "tiny.ini", "-o", "locked/run", before=before)
    refused(work, REFUSED, ["Permission denied"], "train", "-c", "tiny.ini", "pretrain.cache=locked/base", "-o", "locked/run", before=before)
    # With --overwrite the run is replaced.
    train(work, "-o", "a", "run.seed=9", "--overwrite")


def files(work):
    train(work, "-o", "a")
    whole = (work / "a/run.h5").read_bytes()
    (work / "text.h5").write_bytes(b"not a run file")
    (work / "empty.h5").write_bytes(b"")
    for name, part in {"half": 2, "tenth": 10}.items():
        (work / f"{name}.h5").write_bytes(whole[: len(whole) // part])
    broken = work / "broken"
    shutil.copytree(work / "a", broken)
    (broken / "run.h5").write_bytes(whole[: len(whole) // 2])
    for name in ("text.h5", "empty.h5", "half.h5", "tenth.h5", "absent.h5", "broken"):
        for words in (("digest", name), ("config", "show", name), ("inspect", name, "--step", "0", "--prompt", "0")):
            refused(work, INPUT, [name], *words)
    refused(work, INPUT, ["broken"], "train", "-r", "broken")
    refused(work, INPUT, ["broken"], "train", "-c", "tiny.ini", "-o", "broken")


def rewritten(path, change):
    """Changes the header of a checkpoint and seals it again: SHA-256 of the file with zeros for its digits."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    header["__metadata__"]["payload_sha256"] = "0" * 64
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = struct.pack("<Q", len(text)) + text + data[8 + size :]
    zeros = b'"payload_sha256":"' + b"0" * 64
    seal = hashlib.sha256(data).hexdigest().encode()
    assert data.count(zeros) == 1
    path.write_bytes(data.replace(zeros, zeros[:-64] + seal))


def interrupted(work, name, *words):
    done = run("train", "-q", "-c", "tiny.ini", "-o", name, "-t", "00:00:01", "run.steps=100k", "eval.every_steps=0", *words, cwd=work)
    if done.returncode != 75:
        raise SystemExit(f"the run was not interrupted: exit {done.returncode}\n{done.stderr}")
    return sorted((work / name / "checkpoints").glob("*.safetensors"))[-1]


def checkpoints(work):
    newest = interrupted(work, "a")

    def version(header):
        header["__metadata__"]["format"] = "motley-checkpoint-9"

    def shape(header):
        tensor = header["model.norm.weight"]
        other = header["model.layers.0.input_layernorm.weight"]
        tensor["shape"], tensor["data_offsets"], header["model.embed_tokens.weight"] = (
            header["model.embed_tokens.weight"]["shape"],
            header["model.embed_tokens.weight"]["data_offsets"],
            dict(other, shape=tensor["shape"], data_offsets=tensor["data_offsets"]),
        )

    def missing(header):
        header["model.renamed.weight"] = header.pop("model.norm.weight")

    expected = {
        "version": (version, ["version.safetensors: unknown checkpoint format, got \"motley-checkpoint-9\"; allowed: motley-checkpoint-1"]),
        "shape": (shape, ["tensor model.embed_tokens.weight has 16 values, expected "]),
        "missing": (missing, ["model.norm.weight"]),
        "same": (lambda header: None, None),
    }
    for name, (change, parts) in expected.items():
        copy = work / f"{name}.safetensors"
        shutil.copy(newest, copy)
        rewritten(copy, change)
        if parts is None:  # the test's own seal is a valid one
            done = run("eval", copy.name, "--samples", "4", "-k", "1", cwd=work)
            if done.returncode != 0:
                raise SystemExit(f"a checkpoint sealed again is refused:\n{done.stderr}")
        else:
            refused(work, INPUT, parts, "eval", copy.name)
    (work / "cut.safetensors").write_bytes(newest.read_bytes()[:-100])
    refused(work, INPUT, ["cut.safetensors: damaged checkpoint"], "eval", "cut.safetensors")
    # A run that finds the checkpoint of a run of another shape, another format, or none that is whole.
    wide = interrupted(work, "wide", "model.width=24", "model.ff=40")
    for name in ("version.safetensors", "cut.safetensors", wide):
        copy = work / "copy"
        shutil.copytree(work / "a", copy)
        for path in (copy / "checkpoints").iterdir():
            path.unlink()
        shutil.copy(work / name, copy / "checkpoints" / "step-00000004.safetensors")
        parts = ["written by another configuration"] if name == wide else ["no usable checkpoint, got 1 damaged"]
        refused(work, INPUT, ["copy/checkpoints", *parts], "train", "-q", "-r", "copy")
        shutil.rmtree(copy)
    refused(work, CONFIG, ["optim.lr (command line): a resumed run keeps its configuration"], "train", "-r", "a", "optim.lr=1e-3")


def limits(work):
    """Memory, file size and numbers that run out: exit 3, 5 and 6, one line, nothing lost."""
    train(work, "run.steps=600", "checkpoint.every_steps=50", "-o", "whole")
    digest = run("digest", "whole", cwd=work).stdout
    big = ("train", "-q", "-c", "tiny.ini", "rollout.prompts=2000", "rollout.group_size=128", "pretrain.cache=runs/base", "-o", "big")
    done = run(*big, cwd=work, before=("prlimit", "--as=700000000"))
    text = done.stderr.strip()
    if done.returncode != REFUSED or len(text.splitlines()) != 1 or "memory: the run would take" not in text:
        raise SystemExit(f"memory: exit {done.returncode}\n{done.stderr}")
    if (work / "big" / "run.h5").exists():
        raise SystemExit("memory: a run file was begun")

    # The log outgrows what a file may hold, in the middle of the run.
    size = (work / "whole" / "run.h5").stat().st_size
    words = ("train", "-q", "-c", "tiny.ini", "run.steps=600", "checkpoint.every_steps=50")
    done = run(*words, "-o", "full", cwd=work, before=("prlimit", f"--fsize={size * 9 // 10}"))
    text = done.stderr.strip()
    if done.returncode != 5 or len(text.splitlines()) != 1 or "readable up to step" not in text:
        raise SystemExit(f"file size: exit {done.returncode}\n{done.stderr}")
    committed = int(text.split("readable up to step")[1].split()[0])
    if not 0 < committed < 600 or run("inspect", "full", "--step", committed - 1, cwd=work).returncode != 0:
        raise SystemExit(f"file size: the log is not readable up to {committed}")
    done = run(*words, "-r", "full", cwd=work)
    if done.returncode != 0 or run("digest", "full", cwd=work).stdout != digest:
        raise SystemExit(f"file size: resumed with room, another digest\n{done.stderr}")

    # Numbers that are none: the step and the stage are named, and what was logged before stays.
    wild = ("optim.lr=10", "optim.grad_clip=0", "loss.epochs=8", "optim.weight_decay=1")
    done = run("train", "-q", "-c", "tiny.ini", *wild, "run.steps=200", "-o", "wild", cwd=work)
    text = done.stderr.strip()
    if done.returncode != 6 or len(text.splitlines()) != 1 or not text.startswith("wild: step "):
        raise SystemExit(f"numbers: exit {done.returncode}\n{done.stderr}")
    if run("inspect", "wild", cwd=work).returncode != 0:
        raise SystemExit("numbers: the log of a failed run cannot be read")


def main():
    global motley
    motley = str(pathlib.Path(sys.argv[1]).resolve())
    case = {c.__name__: c for c in (configuration, folder, files, checkpoints, limits)}[sys.argv[2]]
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        (work / "tiny.ini").write_text(TINY)
        case(work)


if __name__ == "__main__":
    main()
