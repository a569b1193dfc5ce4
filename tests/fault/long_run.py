#!/usr/bin/env python3
"""A long run takes no more memory than a short one, and its file grows by the step.

usage: long_run.py MOTLEY CASE [--full]      CASE: steady
Short: 3200 steps. Full: 20 000.
"""

import json
import subprocess

import numpy
import program
from program import done, environment, expect


def resident(pid):
    """VmRSS in kB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def steady(work):
    steps = 20000 if program.full else 3200
    done(*program.train(4), "-o", "warm", cwd=work)
    folder = work / "run"
    # Columns grow by 1024 rows at a time: evaluations and checkpoints fall into the same rhythm.
    words = ["train", "-c", "learnt.ini", f"run.steps={steps}", "checkpoint.every_steps=128", "eval.every_steps=128", "--progress", "json", "-o", str(folder)]
    child = subprocess.Popen([program.motley, *words], cwd=work, env=environment(), stdout=subprocess.PIPE, text=True)
    memory, size = {}, {}
    for line in child.stdout:
        note = json.loads(line)
        if note["event"] != "update" or note["step"] == steps:
            continue
        step = note["step"]
        if step % 16 == 0:
            memory[step] = resident(child.pid)
        if step % 1024 == 32:
            size[step] = (folder / "run.h5").stat().st_size
    expect(child.wait() == 0, f"exit {child.returncode}")
    # Warm: each column has begun its second chunk.
    warm = numpy.array([kilobytes for step, kilobytes in memory.items() if step > 1100], float)
    tenth = len(warm) // 10
    first, last = warm[:tenth].mean(), warm[-tenth:].mean()
    growth, most = last / first - 1, warm.max() / first - 1
    at, bytes_ = (numpy.array(column, float) for column in zip(*list(size.items())[1:]))
    expect(len(at) >= 3 and len(warm) > 100, f"{len(at)} and {len(warm)} samples only")
    line = numpy.polyfit(at, bytes_, 1)
    off = numpy.abs(bytes_ - numpy.polyval(line, at)).max() / bytes_[-1]
    print(f"{steps} steps: memory {first / 1024:.2f} MiB in the first tenth after warm-up, {last / 1024:.2f} in the last ({100 * growth:+.2f} %), at most {warm.max() / 1024:.2f} ({100 * most:+.2f} %) in {len(warm)} samples; "
          f"file {bytes_[-1] / 1e6:.2f} MB at step {at[-1]:.0f}, {line[0]:.0f} bytes a step, at most {100 * off:.2f} % of it off the line")
    expect(growth < 0.01, f"memory grows by {100 * growth:.2f} %")
    expect(most < 0.03, f"memory is {100 * most:.2f} % larger for a moment")  # while a checkpoint is written, say
    expect(off < 0.01, f"the file's size is {100 * off:.2f} % off the line")


if __name__ == "__main__":
    program.main([steady])
