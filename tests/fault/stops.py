#!/usr/bin/env python3
"""Signals, time limits, stop files, and a clock that jumps.

usage: stops.py MOTLEY CASE [--full]      CASE: at_random | in_pretraining | twice | clock
clock needs libfaketime.
"""

import glob
import random
import re
import shutil
import signal
import time

import h5py
import program
from program import STOPPED, Undisturbed, done, environment, expect, one_line, run, skip, start, train

INTERRUPTED = 2  # /status


def at_random(work):
    """Each way to stop, at random moments: exit 75 at a step's end, resumed to the same digest."""
    steps = 150
    want = Undisturbed(work, steps)
    random.seed(5)
    begin = time.monotonic()
    done(*train(steps), "-o", "timed", cwd=work)
    length = time.monotonic() - begin
    ways = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "--max-time", "stop_now")
    rounds = 20 if program.full else 3
    stopped_at = []
    for i in range(rounds * len(ways)):
        way = ways[i % len(ways)]
        folder = work / "run"
        for attempt in range(100):  # a run that ends before it is asked to is taken again
            shutil.rmtree(folder, ignore_errors=True)
            wait = random.uniform(0, length) * 0.95**attempt
            limit = ("--max-time", f"{wait:.3f}") if way == "--max-time" else ()
            child = start(*train(steps), *limit, "-o", folder, cwd=work)
            while not (folder / ".lock").exists() and child.poll() is None:  # from here on signals are heard
                time.sleep(0.001)
            if way == "stop_now":
                time.sleep(wait)
                (folder / "stop_now").touch()
            elif way != "--max-time":
                time.sleep(wait)
                child.send_signal(getattr(signal, way))
            said = child.communicate(timeout=120)[1]
            if child.returncode != 0:
                break
            want.check_same(folder, f"{way}: not stopped")
        what = f"{way} after {wait:.3f} s"
        expect(child.returncode == STOPPED, f"{what}: exit {child.returncode}\n{said}")
        step = re.fullmatch(r"stopped at step (\d+); go on with: motley train -r .*", said.strip())
        expect(step, f"{what}: {said}")
        step = int(step.group(1))
        with h5py.File(folder / "run.h5", "r") as file:
            expect(int(file["status"][()]) == INTERRUPTED, f"{what}: status {file['status'][()]}")
            expect(int(file["committed"][()]) == step, f"{what}: stopped at step {step}, {file['committed'][()]} committed")
        expect((folder / "checkpoints" / f"step-{step:08d}.safetensors").exists(), f"{what}: no checkpoint of step {step}")
        expect(not (folder / "stop_now").exists(), "stop_now stays")
        want.check_left(folder, what)
        done(*train(steps), "-r", folder, cwd=work)
        want.check_same(folder, what)
        stopped_at.append(step)
    expect(len(set(stopped_at)) > len(ways), f"stopped at few steps only: {stopped_at}")
    print(f"{len(stopped_at)} stops at steps {min(stopped_at)} to {max(stopped_at)}, all digests equal")


def in_pretraining(work):
    """A base policy that takes long does not keep a run from stopping."""
    for stage in ("pretrain.steps=1000000", "pretrain.habit_steps=1000000", "classifier.steps=1000000"):
        for number in (signal.SIGTERM, signal.SIGUSR1, None):  # None: --max-time
            folder = work / "run"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(work / "runs", ignore_errors=True)
            child = start("train", "-q", "-c", "tiny.ini", "pretrain.gate_every=1000000", stage, *(() if number else ("--max-time", "1")), "-o", folder, cwd=work)
            while not glob.glob(str(work / "runs/base/*/.turn")):
                expect(child.poll() is None, f"{stage}: ended with {child.returncode}")
                time.sleep(0.005)
            time.sleep(0.2)
            if number:
                child.send_signal(number)
            said = child.communicate(timeout=60)[1].strip()
            expect(child.returncode == STOPPED, f"{stage}: exit {child.returncode}\n{said}")
            expect(len(said.splitlines()) == 1 and "before the first step" in said, f"{stage}: {said}")
            expect(not (folder / "run.h5").exists(), f"{stage}: a run was begun")
    print("stopped in every stage before the first step")


def twice(work):
    """The second SIGINT does not wait for the step's end, and what it leaves can be resumed."""
    words = train(30, "eval.samples=512", "eval.k=1,4")
    want = Undisturbed(work, 30, "eval.samples=512", "eval.k=1,4")
    at_once = 0
    for attempt in range(200):
        folder = work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        child = start(*words, "-o", folder, cwd=work)
        while not (folder / "run.h5").exists():
            expect(child.poll() is None, f"ended with {child.returncode}")
            time.sleep(0.001)
        while child.poll() is None:
            child.send_signal(signal.SIGINT)
            time.sleep(0.001)
        said = child.communicate()[1]
        expect(child.returncode == STOPPED, f"exit {child.returncode}\n{said}")
        with h5py.File(folder / "run.h5", "r", libver="latest", swmr=True) as file:
            left_running = int(file["status"][()]) == 0
        expect(left_running or "stopped at step" in said, f"neither at once nor at a step's end: {said}")
        done(*words, "-r", folder, cwd=work)
        want.check_same(folder, "interrupted twice")
        at_once += left_running
        if at_once == 3:
            break
    expect(at_once == 3, f"the second SIGINT ended {at_once} of {attempt + 1} runs at once")
    print(f"{at_once} of {attempt + 1} ended at once, all digests equal")


def clock(work):
    """The wall clock jumps by years while the run goes on: same digest, no negative time, checkpoints by minutes still come."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        skip("no libfaketime")
    steps = 400
    want = Undisturbed(work, steps)
    jumps = ("+0", "-1y", "+3y", "-20y", "+1d", "-1d")
    stamp = work / "clock"
    stamp.write_text("-2y\n")
    fake = environment(LD_PRELOAD=found[0], FAKETIME_TIMESTAMP_FILE=stamp, FAKETIME_NO_CACHE=1, FAKETIME_DONT_FAKE_MONOTONIC=1, DONT_FAKE_MONOTONIC=1)
    child = start("train", "-q", "-c", "learnt.ini", f"run.steps={steps}", "eval.every_steps=6", "checkpoint.every_steps=0", "checkpoint.every_minutes=0.003",
                  "-o", "run", cwd=work, env=fake)
    made = 0
    while child.poll() is None:
        if (work / "run/run.h5").exists():
            made += 1
            (work / "clock.new").write_text(jumps[made % len(jumps)] + "\n")
            (work / "clock.new").rename(stamp)
        time.sleep(0.005)
    said = child.communicate()[1]
    expect(child.returncode == 0, f"exit {child.returncode}\n{said}")
    expect(made >= len(jumps), f"{made} jumps only")
    want.check_same(work / "run", "with a jumping clock")
    with h5py.File(work / "run/run.h5", "r") as file:
        created = int(file.attrs["created_utc"][:4])
        expect(created == time.gmtime().tm_year - 2, f"the clock was not changed: created in {created}")
        for name, column in file["timing"].items():
            expect((column[:] >= 0).all(), f"timing/{name} has a negative time")
        expect(0 <= file["timing/total_s"][:].sum() < 600, f"the run says it took {file['timing/total_s'][:].sum()} s")
        expect(len(file["checkpoints/step"]) > 1, "no checkpoint came by the clock")
    print(f"{made} jumps, digest equal")


if __name__ == "__main__":
    program.main([at_random, in_pretraining, twice, clock])
