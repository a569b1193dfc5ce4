#!/usr/bin/env python3
"""kill -9 at random moments and at every named point of a run; resumed, the run is the same.

usage: kills.py MOTLEY CASE [--full]      CASE: random_moments | every_point | packed
"""

import random
import re
import shutil
import signal
import subprocess
import time

import program
from program import Undisturbed, digest, done, environment, expect, run, start, train

# Every point of io/fault.hpp; the list is compared with the program's own.
NEW = ["config_written", "header_created", "before_live", "after_live", "after_evaluation", "mid_evaluation", "after_step"]
RESUMED = ["resume_copied", "resume_cut"]
BOTH = ["mid_data", "after_data", "after_flush", "after_commit", "mid_checkpoint", "before_rename", "after_rename", "before_removal", "after_removal",
        "mid_checkpoint_row", "before_close", "after_integrity", "after_status", "after_close"]


def random_moments(work):
    """Short: 20 runs. Full: 200 runs and at least 1000 kills."""
    runs, wanted = (200, 1000) if program.full else (20, 60)
    want = Undisturbed(work, 120)
    begin = time.monotonic()
    done(*train(120), "-o", "timed", cwd=work)
    length = time.monotonic() - begin
    random.seed(20261128)
    landed = {"before the first step": 0, "while training": 0}
    torn = {"run.h5.tmp": 0, "a checkpoint's .tmp": 0}
    completed = 0
    while completed < runs or sum(landed.values()) < wanted:
        folder = work / f"k{completed}"
        shutil.rmtree(folder, ignore_errors=True)
        kills = 0
        # A run that is faster than every blow is taken again, with earlier blows.
        for _ in range(12):
            log = work / "steps"
            with log.open("w") as out:
                child = subprocess.Popen([program.motley, *train(120)[:1], "--progress", "json", *train(120)[2:], "-r", folder],
                                         cwd=work, env=environment(), stdout=out, stderr=subprocess.PIPE, text=True)
                time.sleep(random.uniform(0, 0.5 * length))
                child.kill()
                said = child.communicate()[1]
            if child.returncode == 0:
                break
            expect(child.returncode == -signal.SIGKILL, f"run {completed}: exit {child.returncode}\n{said}")
            kills += 1
            landed["while training" if '"update"' in log.read_text() else "before the first step"] += 1
            torn["run.h5.tmp"] += (folder / "run.h5.tmp").exists()
            torn["a checkpoint's .tmp"] += len(list(folder.glob("checkpoints/*.tmp"))) > 0
            want.check_left(folder, f"run {completed}, kill {kills}")
        if kills == 0:
            length *= 0.8
            continue
        done(*train(120), "-r", folder, cwd=work)
        want.check_same(folder, f"run {completed} after {kills} kills")
        shutil.rmtree(folder)
        completed += 1
    count = sum(landed.values())
    print(f"{completed} runs, {count} kills ({landed}; left {torn}), {completed} of {completed} digests equal")
    expect(all(landed.values()), f"no kill landed in one of {landed}")


def points_of_program(work):
    """The list the program itself gives when asked for a point it does not know."""
    refused = run("info", cwd=work, env=environment(MOTLEY_CRASH_AT="after_dat"))
    text = program.one_line(refused, 2, 'unknown point, got "after_dat"', 'did you mean "after_data"?')
    for bad in ("after_data:0", "after_data:x", "after_data:"):
        program.one_line(run("info", cwd=work, env=environment(MOTLEY_CRASH_AT=bad)), 2, f'not a count, got "{bad}"')
    return re.search(r"allowed: ([a-z_, ]+);", text).group(1).split(", ")


def every_point(work):
    """Each point, several visits: of a new run, of a resumed one, and of the base policy's own file."""
    listed = points_of_program(work)
    expect(sorted(listed) == sorted(NEW + RESUMED + BOTH), f"the program has other points than are tested: {sorted(set(listed) ^ set(NEW + RESUMED + BOTH))}")
    want = Undisturbed(work, 30)
    half = work / "half"
    stopped = run(*train(30), "-o", half, cwd=work, env=environment(MOTLEY_CRASH_AT="after_step:15"))
    expect(stopped.returncode == -signal.SIGKILL, f"after_step:15 was not reached: {stopped.returncode}\n{stopped.stderr}")
    visits = (1, 2, 3, 5, 8, 13) if program.full else (1, 2, 5)
    kills = 0
    for point in listed:
        for kind in ("new", "resumed"):
            for visit in visits:
                folder = work / "killed"
                shutil.rmtree(folder, ignore_errors=True)
                if kind == "resumed":
                    shutil.copytree(half, folder)
                killed = run(*train(30), "-r", folder, cwd=work, env=environment(MOTLEY_CRASH_AT=f"{point}:{visit}"))
                what = f"{kind} run, {point}:{visit}"
                if killed.returncode == 0:
                    needed = visit == 1 and point in (BOTH + (NEW if kind == "new" else RESUMED))
                    expect(not needed, f"{what}: not reached")
                    want.check_same(folder, what)
                    break  # nor is any later visit
                expect(killed.returncode == -signal.SIGKILL, f"{what}: exit {killed.returncode}\n{killed.stderr}")
                kills += 1
                want.check_left(folder, what)
                done(*train(30), "-r", folder, cwd=work)
                want.check_same(folder, what)
    # The base policy's file is made by the first run that wants it.
    for point in ("mid_checkpoint", "before_rename", "after_rename", "before_removal"):
        words = ("train", "-q", "-c", "tiny.ini", "run.steps=4", f"pretrain.cache=base-{point}", "-r", work / f"base-of-{point}")
        killed = run(*words, cwd=work, env=environment(MOTLEY_CRASH_AT=point))
        expect(killed.returncode == -signal.SIGKILL and not (work / f"base-of-{point}" / "run.h5").exists(), f"base policy, {point}: exit {killed.returncode}")
        kills += 1
        done(*words, cwd=work)
    same = {digest(work / f"base-of-{point}") for point in ("mid_checkpoint", "before_rename", "after_rename", "before_removal")}
    expect(len(same) == 1, "runs from base policies that were killed in the writing differ")
    print(f"{kills} kills at {len(listed)} points, all digests equal")


def packed(work):
    """Points of a batch of two runs, which are written one after the other."""
    (work / "sweep.ini").write_text("[sweep]\nname = two\nbase = learnt.ini\nseeds = 1:3\n[arm.darling]\nrun.method = darling\n")
    words = ("sweep", "run", "-q", "sweep.ini", "run.steps=12")
    done(*words, cwd=work)
    cells = sorted(p.parent.name for p in (work / "runs/two").glob("*/run.h5"))
    expect(len(cells) == 2, f"cells {cells}")
    want = [digest(work / "runs/two" / cell) for cell in cells]
    kills = 0
    for point in ("config_written", "after_live", "mid_evaluation", "after_commit", "after_rename", "mid_checkpoint_row", "after_integrity", "after_close"):
        for visit in (1, 2, 3):
            shutil.rmtree(work / "runs/two")
            killed = run(*words, cwd=work, env=environment(MOTLEY_CRASH_AT=f"{point}:{visit}"))
            allowed = (0, -signal.SIGKILL) if visit > 2 else (-signal.SIGKILL,)
            expect(killed.returncode in allowed, f"{point}:{visit}: exit {killed.returncode}\n{killed.stderr}")
            kills += killed.returncode != 0
            done(*words, cwd=work)
            expect([digest(work / "runs/two" / cell) for cell in cells] == want, f"packed, {point}:{visit}: another digest")
    print(f"{kills} kills of a batch of two runs, all digests equal")


if __name__ == "__main__":
    program.main([random_moments, every_point, packed])
