#!/usr/bin/env python3
"""A long run takes no more memory than a short one, and its file grows by the step.

usage: long_run.py MOTLEY CASE [--full]      CASE: steady
Short: 1500 steps. Full: 20 000.
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
    steps = 20000 if program.full else 1500
    done(*program.train(4), "-o", "warm", cwd=work)
    folder = work / "run"
    words = ["train", "-c", "learnt.ini", f"run.steps={steps}", "checkpoint.every_steps=100", "eval.every_steps=100", "--progress", "json", "-o", str(folder)]
    child = subprocess.Popen([program.motley, *words], cwd=work, env=environment(), stdout=subprocess.PIPE, text=True)
    seen = []
    for line in child.stdout:
        note = json.loads(line)
        if note.get("step", 0) % (steps // 300) == 0 and child.poll() is None:
            try:
                seen.append((note["step"], resident(child.pid), (folder / "run.h5").stat().st_size))
            except (StopIteration, FileNotFoundError):
                pass  # at its end
    expect(child.wait() == 0, f"exit {child.returncode}")
    step, memory, size = (numpy.array(column, float) for column in zip(*seen))
    expect(len(seen) > 200, f"{len(seen)} samples only")
    warm = step > 0.1 * steps
    first = memory[warm][: len(memory) // 10].mean()
    growth = memory[warm].max() / first - 1
    line = numpy.polyfit(step[warm], size[warm], 1)
    off = numpy.abs(size[warm] - numpy.polyval(line, step[warm])).max() / size[-1]
    print(f"{steps} steps, {len(seen)} samples: memory {first / 1024:.1f} MiB after warm-up, at most {memory.max() / 1024:.1f} (+{100 * growth:.2f} %); "
          f"file {size[-1] / 1e6:.2f} MB, {line[0]:.0f} bytes a step, at most {100 * off:.2f} % of it off the line")
    expect(growth < 0.01, f"memory grows by {100 * growth:.2f} %")
    expect(off < 0.01, f"the file's size is {100 * off:.2f} % off the line")


if __name__ == "__main__":
    program.main([steady])
