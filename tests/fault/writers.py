#!/usr/bin/env python3
"""A second writer of the same run is refused at once, named the holder, and changes nothing.

usage: writers.py MOTLEY CASE [--full]      CASE: second_writer | sweeps
"""

import random
import shutil
import signal
import time

import program
from program import REFUSED, Undisturbed, digest, done, expect, one_line, run, start, train


def wait_for(path, child):
    while not path.exists():
        expect(child.poll() is None, f"the first run ended before {path.name} was there")
        time.sleep(0.001)


def held(child, wait):
    """Stops the holder in its tracks, after a while, so that it surely holds on."""
    time.sleep(wait)
    child.send_signal(signal.SIGSTOP)
    expect(child.poll() is None, "the first run was faster than the second could be")


def second_writer(work):
    """Short: 10 refusals. Full: 100. Before run.h5 exists and while it is live."""
    rounds = 10 if program.full else 1
    steps = 400
    want = Undisturbed(work, steps)
    random.seed(7)
    count = {"starting": 0, "live": 0}
    seconds = []
    for i in range(rounds):
        folder = work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        child = start(*train(steps), "-o", folder, cwd=work)
        tries = [("-o", folder), ("-r", folder), ("-o", folder, "--overwrite"), ("-r", folder, "-o", folder), ("-o", folder, "run.seed=9", "--overwrite")]
        for n in range(10):
            wait_for(folder / (".lock" if n == 0 else "run.h5"), child)
            held(child, 0 if n == 0 else random.uniform(0, 0.01))
            begin = time.monotonic()
            pid = (folder / ".lock").read_text().strip()
            if pid:  # flock comes a moment before the text
                expect(pid == str(child.pid), f"the lock names {pid}, the holder is {child.pid}")
                one_line(run(*train(steps), *tries[n % len(tries)], cwd=work), REFUSED, str(folder), "another motley is writing this run", f"pid {child.pid};")
                count["live" if (folder / "run.h5").exists() else "starting"] += 1
                seconds.append(time.monotonic() - begin)
            child.send_signal(signal.SIGCONT)
        said = child.communicate(timeout=120)[1]
        expect(child.returncode == 0, f"the first run: exit {child.returncode}\n{said}")
        want.check_same(folder, f"round {i}")
    expect(sum(count.values()) >= 9 * rounds and count["live"] > 0, f"too few tries: {count}")
    print(f"{sum(count.values())} of {sum(count.values())} second writers refused ({count}), at most {max(seconds):.2f} s; {rounds} of {rounds} digests equal")


def sweeps(work):
    """A sweep and a run by hand want the same cell; two sweeps at once."""
    (work / "sweep.ini").write_text("[sweep]\nname = two\nbase = learnt.ini\nseeds = 1:3\n[arm.darling]\nrun.method = darling\n")
    words = ("sweep", "run", "-q", "sweep.ini", "run.steps=300")
    done(*words, cwd=work)
    cells = sorted(p.parent for p in (work / "runs/two").glob("*/run.h5"))
    want = [digest(cell) for cell in cells]
    for i in range(10 if program.full else 2):
        # The sweep first: a cell by hand is refused.
        shutil.rmtree(work / "runs/two")
        child = start(*words, cwd=work)
        for cell in cells:
            wait_for(cell / "run.h5", child)
        held(child, 0.05)
        one_line(run("train", "-q", "-r", cells[1], cwd=work), REFUSED, cells[1].name, f"pid {child.pid};")
        # Another runner of the same sweep has nothing to do that is not being done.
        other = run(*words, "--pack", "1", cwd=work)
        expect(other.returncode == REFUSED and f"pid {child.pid};" in other.stderr, f"a second sweep: exit {other.returncode}\n{other.stderr}")
        child.send_signal(signal.SIGCONT)
        said = child.communicate(timeout=120)[1]
        expect(child.returncode == 0 and [digest(cell) for cell in cells] == want, f"the sweep: exit {child.returncode}\n{said}")
        # A cell by hand first: the sweep trains the other one, says why it left this one, and finishes later.
        shutil.rmtree(cells[0])
        shutil.rmtree(cells[1])
        by_hand = done("sweep", "list", "--commands", "sweep.ini", "run.steps=300", cwd=work).stdout.splitlines()[0].split()[1:]
        child = start(*by_hand, cwd=work)
        wait_for(cells[0] / "run.h5", child)
        held(child, 0.05)
        other = run(*words, cwd=work)
        expect(other.returncode == REFUSED and f"pid {child.pid};" in other.stderr, f"a sweep beside a cell: exit {other.returncode}\n{other.stderr}")
        expect(digest(cells[1]) == want[1], "the sweep did not train the free cell")
        child.send_signal(signal.SIGCONT)
        said = child.communicate(timeout=120)[1]
        expect(child.returncode == 0, f"a cell by hand: exit {child.returncode}\n{said}")
        stamp = (cells[0] / "run.h5").stat().st_mtime_ns
        done(*words, cwd=work)
        expect([digest(cell) for cell in cells] == want and (cells[0] / "run.h5").stat().st_mtime_ns == stamp, "the sweep did not leave the finished cell alone")
    print("sweeps and runs by hand keep out of each other's way")


if __name__ == "__main__":
    program.main([second_writer, sweeps])
