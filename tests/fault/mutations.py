#!/usr/bin/env python3
"""Damaged files, as a user would meet them: never a crash, never believed.

usage: mutations.py MOTLEY CASE [COUNT]   CASE: finished | unfinished | checkpoint | repair | side_file | guard
COUNT mutations (default 60) of a tiny run; SEED=N in the environment takes others.
Exits 1 with the first mutation that is believed, or that ends the program by a signal.
"""

import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "experiments"))
from reproduce import TINY  # noqa: E402

motley = ""
INPUT = 4


def run(*words, cwd, limit=300):
    return subprocess.run([motley, *map(str, words)], cwd=cwd, capture_output=True, text=True, errors="replace", timeout=limit)


def expect(ok, what):
    if not ok:
        raise SystemExit(what)


def mutate(data, random):
    """One of the ways in which disks, copies and memory damage files. Returns what was done and the bytes."""
    bad = bytearray(data)
    kind = random.choice(["bit", "bits", "run", "run", "cut", "zeros", "moved"])
    at = random.randrange(len(data))
    if kind == "bit":
        bad[at] ^= 1 << random.randrange(8)
        return f"bit of byte {at}", bytes(bad)
    if kind == "bits":
        places = [random.randrange(len(data)) for _ in range(random.randint(2, 64))]
        for place in places:
            bad[place] ^= 1 << random.randrange(8)
        return f"{len(places)} bits, byte {places[0]}, ...", bytes(bad)
    if kind == "run":
        n = random.randint(1, 256)
        bad[at : at + n] = random.randbytes(len(bad[at : at + n]))
        return f"{n} random bytes at {at}", bytes(bad)
    if kind == "cut":
        return f"cut to {at}", bytes(bad[:at])
    block = random.choice([512, 4096])
    at = at // block * block
    if kind == "zeros":
        bad[at : at + block] = bytes(len(bad[at : at + block]))
        return f"{block} zeros at {at}", bytes(bad)
    source = random.randrange(len(data)) // block * block
    bad[at : at + block] = bad[source : source + block]
    return f"block of {block} at {source} again at {at}", bytes(bad)


def check_exit(done, what, words):
    """0, or 4 with a line that names the file; never by a signal, never an internal fault."""
    expect(done.returncode in (0, INPUT), f"{what}: motley {' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    if done.returncode == INPUT:
        text = done.stdout + done.stderr
        expect("run.h5" in text or "bad" in text, f"{what}: no file is named by motley {' '.join(words)}\n{text}")
    expect("HDF5-DIAG" not in done.stderr, f"{what}: {done.stderr}")
    # Nor what the C library says of a broken heap.
    expect(not re.search(r"^(free|malloc|realloc|double free|corrupted|munmap_chunk)\b", done.stderr, re.M), f"{what}: {done.stderr}")


def started(work, name, steps=120):
    """A run killed after the checkpoint that follows its first whole chunk of rollouts."""
    for _ in range(30):
        shutil.rmtree(work / name, ignore_errors=True)
        process = subprocess.Popen([motley, "train", "-q", "-c", "tiny.ini", f"run.steps={steps}", "-o", name], cwd=work, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (work / name / "checkpoints/step-00000068.safetensors").exists():
            time.sleep(0.001)
        process.kill()
        process.wait()
        if (work / name / "run.h5").exists() and process.returncode == -signal.SIGKILL:
            return
    raise SystemExit("the run cannot be killed half-way")


def reference_digest(work, steps):
    expect(run("train", "-q", "-c", "tiny.ini", f"run.steps={steps}", "-o", "reference", cwd=work).returncode == 0, "the reference run failed")
    return run("digest", "reference", cwd=work).stdout.strip()


def tell(counts):
    print(", ".join(f"{name} {n}" for name, n in sorted(counts.items())))


def finished(work, count):
    """verify, digest, compare and train -r of a mutated finished run."""
    digest = reference_digest(work, 16)
    whole = (work / "reference/run.h5").read_bytes()
    shutil.copytree(work / "reference", work / "bad")
    expect(run("train", "-q", "-c", "tiny.ini", "run.steps=16", "run.seed=9", "-o", "other", cwd=work).returncode == 0, "no other run")
    report = run("compare", "bad", "other", "--metric", "eval.pass_at_4", "--reps", "100", "--json", cwd=work)
    expect(report.returncode == 0, report.stderr)
    random_numbers = random.Random(int(os.environ.get("SEED", "1")))
    counts = collections.Counter()
    for i in range(count):
        what, data = mutate(whole, random_numbers)
        what = f"mutation {i} ({what} of {len(whole)})"
        if data == whole:
            counts["unchanged"] += 1
            continue
        (work / "bad/run.h5").write_bytes(data)
        verified = run("verify", "bad/run.h5", cwd=work)
        check_exit(verified, what, ["verify"])
        expect(verified.returncode == INPUT, f"{what}: verify believes it: {verified.stdout}")
        counts["reader ended" if "ended the reader" in verified.stdout else "refused"] += 1
        for words in (["digest", "bad"], ["train", "-q", "-r", "bad"], ["compare", "bad", "other", "--metric", "eval.pass_at_4", "--reps", "100", "--json"],
                      ["inspect", "bad", "--step", "3", "--prompt", "0"])[: 4 if i % 4 == 0 else 3]:
            done = run(*words, cwd=work)
            check_exit(done, what, words)
            if done.returncode == 0:
                expect(words[0] == "train" and digest in done.stdout or words[0] == "digest" and done.stdout.strip() == digest or words[0] == "compare" and done.stdout == report.stdout,
                       f"{what}: motley {' '.join(words)} believes it\n{done.stdout}")
                counts[f"{words[0]} answers truly"] += 1
        expect((work / "bad/run.h5").read_bytes() == data, f"{what}: the damaged file was written to")
    (work / "bad/run.h5").write_bytes(whole)
    expect(run("verify", "bad", cwd=work).returncode == 0, "the whole file is refused")
    tell(counts)


def unfinished(work, count):
    """verify and train -r of a mutated run that was killed: what is believed ends in the digest of the run that was never stopped."""
    digest = reference_digest(work, 120)
    started(work, "killed")
    whole = (work / "killed/run.h5").read_bytes()
    expect(run("verify", "killed", cwd=work).returncode == 0, "a killed run is refused")
    random_numbers = random.Random(int(os.environ.get("SEED", "2")))
    counts = collections.Counter()
    for i in range(count):
        what, data = mutate(whole, random_numbers)
        what = f"mutation {i} ({what} of {len(whole)})"
        shutil.rmtree(work / "bad", ignore_errors=True)
        shutil.copytree(work / "killed", work / "bad")
        (work / "bad/run.h5").write_bytes(data)
        verified = run("verify", "bad/run.h5", cwd=work)
        check_exit(verified, what, ["verify"])
        resumed = run("train", "-q", "-r", "bad", cwd=work)
        check_exit(resumed, what, ["train", "-r"])
        believed = resumed.returncode == 0
        expect(verified.returncode == INPUT or believed, f"{what}: verify believes what a resume refuses: {resumed.stderr}")
        if believed:
            found = run("digest", "bad", cwd=work).stdout.strip()
            expect(found == digest, f"{what}: resumed to another digest, verify said {verified.returncode}")
        else:
            expect((work / "bad/run.h5").read_bytes() == data, f"{what}: the damaged file was written to")
        counts["resumed to the equal digest" if believed else "reader ended" if "ended the reader" in resumed.stderr else "refused"] += 1
        expect(not list((work / "bad").glob("*.trial")), f"{what}: the rehearsal left its copy")
    tell(counts)


def checkpoint(work, count):
    """A damaged newest checkpoint is passed over with a warning; the resume ends in the equal digest."""
    digest = reference_digest(work, 120)
    started(work, "killed")
    random_numbers = random.Random(int(os.environ.get("SEED", "3")))
    for i in range(max(3, count // 20)):
        shutil.rmtree(work / "bad", ignore_errors=True)
        shutil.copytree(work / "killed", work / "bad")
        newest = sorted((work / "bad/checkpoints").glob("*.safetensors"))[-1]
        what, data = mutate(newest.read_bytes(), random_numbers)
        if data == newest.read_bytes():
            continue
        newest.write_bytes(data)
        verified = run("verify", "bad", cwd=work)
        expect(verified.returncode == INPUT and f"damaged  bad/checkpoints/{newest.name}" in verified.stdout, f"{what}: {verified.stdout}")
        done = run("train", "-q", "-r", "bad", cwd=work)
        expect(done.returncode == 0 and f"{newest.name}" in done.stderr and "passed over" in done.stderr, f"{what}: {done.returncode} {done.stderr}")
        expect(run("digest", "bad", cwd=work).stdout.strip() == digest, f"{what}: another digest")
        expect(run("verify", "bad/run.h5", cwd=work).returncode == 0, f"{what}: the run is refused")


def repair(work, count):
    """A killed run opens in every reader after a repair, keeps its committed rows, and still resumes."""
    import h5py

    digest = reference_digest(work, 120)
    started(work, "killed")
    before = (work / "killed/run.h5").read_bytes()
    with h5py.File(work / "killed/run.h5", "r", libver="latest", swmr=True) as f:
        committed = int(f["committed"][()])
        reward = f["metrics/reward"][:committed].tobytes()
        at = f["metrics/reward"].id.get_chunk_info(0).byte_offset
    try:
        h5py.File(work / "killed/run.h5", "r").close()
        raise SystemExit("the killed file opens as it is: the test shows nothing")
    except OSError:
        pass
    shutil.copytree(work / "killed", work / "bad")
    expect(committed >= 64, f"only {committed} steps are committed")
    rows = bytearray(before)
    rows[at] ^= 1
    (work / "bad/run.h5").write_bytes(rows)
    done = run("repair", "bad", cwd=work)
    expect(done.returncode == INPUT and "/metrics/reward" in done.stderr, f"changed rows are repaired: {done.stdout}{done.stderr}")
    expect((work / "bad/run.h5").read_bytes() == bytes(rows) and not (work / "bad/run.h5.before-repair").exists(), "a repair that failed touched the file")
    done = run("repair", "killed", "--json", cwd=work)
    expect(done.returncode == 0, done.stderr)
    said = json.loads(done.stdout)
    expect(said["repaired"] and said["committed"] == committed, done.stdout)
    expect((work / "killed/run.h5.before-repair").read_bytes() == before, "the file as it was is not kept")
    with h5py.File(work / "killed/run.h5", "r") as f:
        expect(f["metrics/reward"][:committed].tobytes() == reward, "committed rows changed")
        expect(int(f["status"][()]) == 2 and int(f["committed"][()]) == committed, "status or committed is wrong")
        widths = {f["rollouts"][name].shape[0] for name in f["rollouts"] if f["rollouts"][name].ndim > 1}
        expect(len(widths) == 1, f"rollouts of unequal length: {widths}")
    verified = run("verify", "killed", cwd=work)
    expect(verified.returncode == 0 and "interrupted" in verified.stdout, verified.stdout)
    again = run("repair", "killed", cwd=work)
    expect(again.returncode == 0 and "nothing to repair" in again.stdout, again.stdout + again.stderr)
    expect(run("train", "-q", "-r", "killed", cwd=work).returncode == 0, "the repaired run does not resume")
    expect(run("digest", "killed", cwd=work).stdout.strip() == digest, "the repaired run resumes to another digest")


def side_file(work, count):
    """Side files: every changed value is found; edits by other programs are told apart from damage."""
    import h5py

    reference_digest(work, 16)
    expect(run("partition", "reference", "--method", "exact,oracle", "-o", "side.h5", cwd=work).returncode == 0, "no side file")
    expect(run("verify", "side.h5", cwd=work).returncode == 0, "a whole side file is refused")
    whole = (work / "side.h5").read_bytes()

    def values(path):
        out = {}
        with h5py.File(path) as f:
            f.visititems(lambda name, item: out.__setitem__(name, item[()].tobytes()) if isinstance(item, h5py.Dataset) else None)
        return out

    truth = values(work / "side.h5")
    random_numbers = random.Random(int(os.environ.get("SEED", "4")))
    for i in range(count):
        what, data = mutate(whole, random_numbers)
        (work / "bad.h5").write_bytes(data)
        done = run("verify", "bad.h5", cwd=work)
        check_exit(done, what, ["verify"])
        if done.returncode == 0:
            expect(values(work / "bad.h5") == truth, f"mutation {i} ({what}): verify believes other values")


def guard(work, count):
    """The child of a reading command: signals, output and exit codes are those of the command."""
    started(work, "killed", 100000)
    listed = run("config", "show", "killed", cwd=work)
    expect(listed.returncode == 0 and "steps = 100000" in listed.stdout and listed.stdout.endswith("\n"), listed.stdout + listed.stderr)
    expect(run("digest", "killed", cwd=work).returncode == INPUT, "exit codes do not pass")
    # A live run, watched.
    writer = subprocess.Popen([motley, "train", "-q", "-r", "killed"], cwd=work, stderr=subprocess.DEVNULL)
    while writer.poll() is None and json.loads(run("status", "killed", "--json", cwd=work).stdout)["running"] != 1:
        time.sleep(0.01)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            watch = subprocess.Popen([motley, "status", "killed", "--watch", "1"], cwd=work, stdout=subprocess.PIPE, text=True)
            first = watch.stdout.readline()
            expect("run" in first, first)
            children = pathlib.Path(f"/proc/{watch.pid}/task/{watch.pid}/children").read_text().split()
            expect(len(children) == 1, f"the command reads in no child: {children}")
            watch.send_signal(number)
            watch.communicate(timeout=60)
            expect(watch.returncode >= 0, f"{number.name} to the parent does not reach the child: {watch.returncode}")
            expect(not pathlib.Path(f"/proc/{children[0]}").exists(), "the child outlives its parent")
        # A parent that is killed takes the child with it.
        watch = subprocess.Popen([motley, "status", "killed", "--watch", "1"], cwd=work, stdout=subprocess.PIPE, text=True)
        watch.stdout.readline()
        child = pathlib.Path(f"/proc/{watch.pid}/task/{watch.pid}/children").read_text().split()[0]
        watch.kill()
        watch.stdout.read()  # ends when no one holds the pipe any more
        watch.wait()
        expect(writer.poll() is None, "the run that was watched ended")
        # Training itself has no child, once the file it goes on with has been tried.
        newest = max(path.name for path in (work / "killed/checkpoints").iterdir())
        while writer.poll() is None and max(path.name for path in (work / "killed/checkpoints").iterdir()) == newest:
            time.sleep(0.01)
        own = pathlib.Path(f"/proc/{writer.pid}/task/{writer.pid}/children").read_text().split()
        expect(own == [], f"training runs in a child: {own}")
        stopped = subprocess.Popen([motley, "status", "killed", "--watch", "1"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stopped.stdout.readline()
        child = int(pathlib.Path(f"/proc/{stopped.pid}/task/{stopped.pid}/children").read_text().split()[0])
        os.kill(child, signal.SIGSEGV)
        stopped.communicate(timeout=120)
        expect(stopped.returncode in (1, INPUT), f"a child that breaks ends the command with {stopped.returncode}")
    finally:
        writer.terminate()
        expect(writer.wait() == 75, "the writer did not stop in order")


def main():
    global motley
    motley = str(pathlib.Path(sys.argv[1]).resolve())
    case = sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(TINY)
        {"finished": finished, "unfinished": unfinished, "checkpoint": checkpoint, "repair": repair, "side_file": side_file, "guard": guard}[case](work, count)


if __name__ == "__main__":
    main()
