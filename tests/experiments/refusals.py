#!/usr/bin/env python3
"""What the program refuses, with which exit code, and that a refusal creates and loses nothing.

usage: refusals.py MOTLEY CASE      CASE: configuration | folder | files | checkpoints
"""

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
        "group_size=4x.y=1": ["unknown option"],
        "rollout.group_size=0": ["rollout.group_size (command line): out of range, got 0; allowed: [1, 4096]"],
        "optim.lr=nan": ["optim.lr (command line): not a finite number, got \"nan\"; allowed: "],
        "optim.lr=inf": ["not a finite number, got \"inf\""],
        "kl.coef=1e999": ["not a finite number, got \"1e999\""],
        "rollout.group_size=1.5": ["not an integer, got \"1.5\""],
        "partition.method=clasifier": ["unknown value \"clasifier\"", 'did you mean "classifier"?'],
        "model.heads=3": ["model.heads (command line): must divide model.width = 16, got 3"],
        "rollout.group_size=1": ["a group of 1"],
        "eval.k=1,4096": ["eval.k (command line): "],
    }.items():
        refused(work, CONFIG, parts, "train", "-c", "tiny.ini", word, "-o", "out")
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
        for words in (("digest", name), ("config", "show", name), ("inspect", name, "--step", "0", "--prompt", "0"), ("eval", name)):
            refused(work, INPUT, [name.split("/")[0]], *words)
    refused(work, INPUT, ["broken"], "train", "-r", "broken")
    refused(work, INPUT, ["broken"], "train", "-c", "tiny.ini", "-o", "broken")


def rewritten(path, change):
    """A safetensors file with another header."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def checkpoints(work):
    train(work, "-o", "a", "run.steps=12")
    pristine = work / "a"
    saved = sorted((pristine / "checkpoints").glob("*.safetensors"))
    if not saved:
        raise SystemExit("no checkpoint was written")
    newest = saved[-1].name

    def version(header):
        header["__metadata__"]["motley_checkpoint_version"] = "99"

    def shape(header):
        name = next(k for k in header if k.startswith("model.embed"))
        header[name]["shape"] = header[name]["shape"][::-1] + [1]

    def missing(header):
        header.pop("model.norm.weight")

    for name, change in (("version", version), ("shape", shape), ("missing", missing)):
        copy = work / f"{name}.safetensors"
        shutil.copy(pristine / "checkpoints" / newest, copy)
        rewritten(copy, change)
        refused(work, INPUT, [name], "eval", copy.name)
    cut = work / "cut.safetensors"
    cut.write_bytes((pristine / "checkpoints" / newest).read_bytes()[:-100])
    refused(work, INPUT, ["cut.safetensors"], "eval", "cut.safetensors")
    # A checkpoint of a run of another shape.
    train(work, "-o", "wide", "run.steps=4", "model.width=24", "model.ff=40")
    refused(work, CONFIG, ["a resumed run keeps its configuration"], "train", "-r", "a", "-c", "tiny.ini", "optim.lr=1e-3")


def main():
    global motley
    motley = str(pathlib.Path(sys.argv[1]).resolve())
    case = {c.__name__: c for c in (configuration, folder, files, checkpoints)}[sys.argv[2]]
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        (work / "tiny.ini").write_text(TINY)
        case(work)


if __name__ == "__main__":
    main()
