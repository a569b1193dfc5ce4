#!/usr/bin/env python3
"""A reader of the live file sees whole rows only, and never disturbs the writer, however it ends.

usage: readers.py MOTLEY CASE [--full]      CASE: polling
       readers.py read FILE LOG             the reader itself: polls FILE, appends to LOG what it has seen
"""

import random
import shutil
import sys
import time

import h5py
import numpy

METRICS = ("step", "reward", "quality", "num_clusters", "tokens_total", "grad_norm")
ROLLOUTS = ("step", "reward", "token", "length")


def read(path, log):
    """Keeps the file open as a viewer does; exits with 1 at the first thing that cannot be."""
    with h5py.File(path, "r", libver="latest", swmr=True) as file, open(log, "a") as out:
        committed = file["committed"]
        last = -1
        while True:
            committed.refresh()
            now = int(committed[()])
            if now < last:
                sys.exit(f"committed goes from {last} back to {now}")
            last = now
            for group, names in (("metrics", METRICS), ("rollouts", ROLLOUTS)):
                for name in names:
                    column = file[group][name]
                    column.refresh()
                    if len(column) < now:
                        sys.exit(f"{group}/{name} has {len(column)} rows, {now} are committed")
                    rows = column[max(0, now - 80) : now]
                    if name == "step" and not numpy.array_equal(rows, numpy.arange(max(0, now - 80), now)):
                        sys.exit(f"{group}/step is not 0, 1, 2 ... before {now}")
                    if name == "length" and now > 0 and rows.min() < 1:
                        sys.exit(f"a completion without a token before {now}")
            if now > 0:
                out.write(f"{now} {file['metrics/reward'][now - 1]!r} {file['rollouts/reward'][now - 1].tobytes().hex()}\n")
            else:
                out.write("0\n")
            out.flush()


def polling(work):
    """1500 steps under one reader after another; short: 10 readers killed, full: 100."""
    import subprocess

    steps = 1500
    want = program.Undisturbed(work, steps)
    random.seed(3)
    wanted = 100 if program.full else 10
    killed = polls = runs = 0
    while killed < wanted:
        folder = work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        child = program.start(*program.train(steps), "-o", folder, cwd=work)
        seen = []
        while child.poll() is None:
            if not (folder / "run.h5").exists():
                time.sleep(0.005)
                continue
            log = work / f"log{killed}"
            reader = subprocess.Popen([sys.executable, __file__, "read", folder / "run.h5", log], stderr=subprocess.PIPE, text=True)
            while not log.exists() and reader.poll() is None and child.poll() is None:
                time.sleep(0.005)
            time.sleep(random.uniform(0.05, 0.5))
            ended = reader.poll()
            reader.kill()
            said = reader.communicate()[1]
            program.expect(ended is None, f"the reader gave up: {said}")
            if log.exists():
                seen += [line.split() for line in log.read_text().splitlines() if line.endswith("\n") or len(line.split()) in (1, 3)][:-1]
                killed += child.poll() is None
        said = child.communicate()[1]
        program.expect(child.returncode == 0, f"the writer: exit {child.returncode}\n{said}")
        want.check_same(folder, "read while it was written")
        for line in seen:
            now = int(line[0])
            if now == 0:
                continue
            program.expect(line[2] == want.rollouts["reward"][now - 1].tobytes().hex(), f"a live reader saw other rewards of step {now - 1}")
            program.expect(line[1] == repr(want.metrics["reward"][now - 1]), f"a live reader saw {line[1]} as the reward of step {now - 1}")
        live = len({line[0] for line in seen})
        program.expect(live > 3, f"the readers saw {live} states only")
        polls += len(seen)
        runs += 1
    print(f"{runs} runs of {steps} steps, {killed} readers killed, {polls} looks, none inconsistent, all digests equal")


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(*sys.argv[2:4])
    else:
        import program

        program.main([polling])
