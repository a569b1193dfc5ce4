#!/usr/bin/env python3
"""Disks, files, memory and folders that are too small, full, missing or locked.

usage: room.py MOTLEY CASE [--full]      CASE: full_disk | estimate | file_size | memory | places
full_disk and estimate mount a tmpfs; without that right they are skipped.
"""

import json
import os
import shutil
import subprocess
import time

import program
from program import IO, REFUSED, Undisturbed, done, environment, expect, one_line, run, skip, start, train


class SmallDisk:
    """A tmpfs of so many bytes."""

    def __init__(self, path, size):
        self.path, self.size = path, size

    def __enter__(self):
        self.path.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "none", self.path], capture_output=True, text=True)
        if mounted.returncode != 0:
            skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
        return self.path

    def __exit__(self, *_):
        subprocess.run(["umount", self.path], check=True)


def fill(path):
    """A file that leaves no byte free."""
    with open(path, "wb", buffering=0) as ballast:
        for size in (65536, 4096, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                pass


def full_disk(work):
    """The disk of 4 MB is full from one moment to the next, at several moments of the run."""
    steps = 300
    want = Undisturbed(work, steps)
    with SmallDisk(work / "disk", "4m") as disk:
        ended = []
        for share in (0.0, 0.2, 0.4, 0.6, 0.8):
            folder = disk / "run"
            shutil.rmtree(folder, ignore_errors=True)
            child = start(*train(steps), "--any-disk", "-o", folder, cwd=work)
            # By what the run has written, so that the moment does not depend on the machine's speed.
            while child.poll() is None and not list(folder.glob(f"checkpoints/step-*{int(share * steps) // 20 * 20:08d}*")) and share > 0:
                time.sleep(0.002)
            fill(disk / "ballast")
            said = child.communicate(timeout=60)[1]
            ended.append(child.returncode)
            if child.returncode != 0:
                expect(child.returncode in (IO, REFUSED), f"share {share}: exit {child.returncode}\n{said}")
                expect(len(said.strip().splitlines()) == 1 and "No space left" in said and str(disk) in said, f"share {share}: {said}")
            want.check_left(folder, f"full at {share}")
            (disk / "ballast").unlink()
            done(*train(steps), "--any-disk", "-r", folder, cwd=work)
            want.check_same(folder, f"full at {share}")
        expect(sum(code in (IO, REFUSED) for code in ended) >= 4, f"the full disk stopped too few runs: {ended}")
        print(f"a full disk at 5 moments: exit codes {ended}, all digests equal")


def estimate(work):
    """A run that will not fit is refused before it begins; so is a sweep; what fits is not."""
    done(*train(4), "-o", "warm", cwd=work)
    (work / "sweep.ini").write_text("[sweep]\nname = two\nbase = learnt.ini\nseeds = 1:3\n[arm.darling]\nrun.method = darling\n")
    with SmallDisk(work / "disk", "8m") as disk:
        refused = run(*train(20000), "-o", disk / "run", cwd=work)
        one_line(refused, REFUSED, str(disk / "run"), "not enough disk", "8.4 MB free", "log.rollouts", "--any-disk")
        refused = run("sweep", "run", "sweep.ini", "run.steps=8000", "-o", disk, cwd=work)
        one_line(refused, REFUSED, str(disk / "two"), "not enough disk")
        expect(list(disk.iterdir()) == [], f"a refused run has left {list(disk.iterdir())}")
        done(*train(30), "-o", disk / "run", cwd=work)
    # The estimate is an upper bound, and not far off.
    listing = json.loads(done("sweep", "list", "sweep.ini", "run.steps=400", "--json", cwd=work).stdout)
    planned = sum(cell["disk_bytes"] for cell in listing)
    done("sweep", "run", "-q", "sweep.ini", "run.steps=400", cwd=work)
    taken = sum(file.stat().st_size for file in (work / "runs/two").glob("*/**/*") if file.is_file())
    expect(taken <= planned <= 4 * taken, f"planned {planned} bytes, taken {taken}")
    print(f"planned {planned / 1e6:.1f} MB, taken {taken / 1e6:.1f} MB")


def file_size(work):
    """`ulimit -f` at every size up to that of the whole file."""
    steps = 120
    want = Undisturbed(work, steps)
    size = (want.folder / "run.h5").stat().st_size
    parts = 40 if program.full else 10
    codes = {}
    for part in range(parts):
        limit = size * part // parts
        folder = work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        failed = run(*train(steps), "-o", folder, cwd=work, before=("prlimit", f"--fsize={limit}"))
        what = f"files of at most {limit} bytes"
        expect(failed.returncode == IO, f"{what}: exit {failed.returncode}\n{failed.stderr}")
        one_line(failed, IO, str(folder))
        codes[failed.returncode] = codes.get(failed.returncode, 0) + 1
        want.check_left(folder, what)
        done(*train(steps), "-r", folder, cwd=work)
        want.check_same(folder, what)
    print(f"{parts} limits: exit codes {codes}, all digests equal")


def memory(work):
    """Address space and data of many sizes: a clean message, or the whole run."""
    steps = 30
    want = Undisturbed(work, steps)
    codes, lines = {}, set()
    for limit in ("as", "data"):
        low = smallest_start(work, limit)
        values = 60 if program.full else 12
        high = low + (64 << 20)
        for i in range(values):
            size = low + (high - low) * i // values
            folder = work / "run"
            shutil.rmtree(folder, ignore_errors=True)
            failed = run(*train(steps), "-o", folder, cwd=work, before=("prlimit", f"--{limit}={size}"))
            what = f"--{limit}={size}"
            codes[failed.returncode] = codes.get(failed.returncode, 0) + 1
            expect(failed.returncode in (0, IO, REFUSED), f"{what}: exit {failed.returncode}\n{failed.stderr}")
            if failed.returncode != 0:
                lines.add(one_line(failed, failed.returncode, "memory"))
            want.check_left(folder, what)
            done(*train(steps), "-r", folder, cwd=work)
            want.check_same(folder, what)
    expect(codes.get(0, 0) > 0 and codes.get(REFUSED, 0) > 0, f"one kind of end only: {codes}")
    print(f"{sum(codes.values())} limits: exit codes {codes}, all digests equal")


def smallest_start(work, limit):
    """The smallest limit, to a MB, under which the program's own libraries can be loaded."""
    low, high = 1, 4096
    while high - low > 1:
        middle = (low + high) // 2
        if run("--version", cwd=work, before=("prlimit", f"--{limit}={middle << 20}")).returncode == 0:
            high = middle
        else:
            low = middle
    return high << 20


def places(work):
    """Folders in which no run can be made: exit 3, the path named, nothing created."""
    done(*train(4), "-o", "warm", cwd=work)
    (work / "file").write_text("x")
    locked = work / "locked"
    locked.mkdir()
    (locked / "own").mkdir()
    cases = [(work / "file", "file"), (work / "file" / "below", "file/below"), (work / ("n" * 300), "nnn")]
    before = ()
    if os.geteuid() == 0:
        probe = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chmod(work, 0o755)
        try:
            works = subprocess.run([*probe, program.motley, "--version"], cwd=work, capture_output=True).returncode == 0
        except FileNotFoundError:
            works = False
        before = tuple(probe) if works else ()
        if not works:
            print("the program cannot be run by another user here: locked folders are not tried")
    if before or os.geteuid() != 0:
        os.chmod(locked, 0o555)
        os.chmod(locked / "own", 0o555)
        cases += [(locked / "run", "locked/run"), (locked / "own", "locked/own")]
    for folder, named in cases:
        was = sorted(p.relative_to(work) for p in work.rglob("*"))
        refused = run(*train(4), "-o", folder, cwd=work, before=before)
        one_line(refused, REFUSED, named)
        now = sorted(p.relative_to(work) for p in work.rglob("*"))
        expect(was == now, f"{folder}: a refused run has left {sorted(set(now) - set(was))}")
    # Missing folders, several deep, are made.
    done(*train(4), "-o", work / "a/b/c", cwd=work)
    # A disk that is mounted to be read only.
    readonly = work / "readonly"
    readonly.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64m", "none", readonly], capture_output=True).returncode == 0:
        try:
            one_line(run(*train(4), "-o", readonly / "run", cwd=work), REFUSED, "readonly/run", "Read-only")
        finally:
            subprocess.run(["umount", readonly], check=True)
    print(f"{len(cases)} places refused")


if __name__ == "__main__":
    program.main([full_disk, estimate, file_size, memory, places])
