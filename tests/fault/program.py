"""The program under faults: a tiny run that learns, its undisturbed result, and what must hold after a fault.

Shared by the scripts of this folder. Needs h5py and numpy.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "experiments"))
from reproduce import LEARNT, TINY  # noqa: E402

REFUSED, INPUT, IO, STOPPED = 3, 4, 5, 75
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

motley = ""
helper = ""  # folder of the built helpers
full = False  # --full: the counts of a soak


class Failure(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failure(text)


def skip(text):
    print(f"skipped: {text}")
    sys.exit(SKIPPED)


def environment(**more):
    base = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", OMP_PROC_BIND="false", ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0")
    base.pop("MOTLEY_CRASH_AT", None)
    return dict(base, **{k: str(v) for k, v in more.items()})


def run(*words, cwd, env=None, before=(), timeout=120):
    """Runs motley to its end; one that hangs is a failure."""
    try:
        return subprocess.run([*map(str, before), motley, *map(str, words)], cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as stuck:
        raise Failure(f"motley {' '.join(map(str, words))} hangs: {stuck}") from None


def start(*words, cwd, env=None, before=(), **pipes):
    """Starts motley and returns the process."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **pipes}
    return subprocess.Popen([*map(str, before), motley, *map(str, words)], cwd=cwd, env=env or environment(), text=True, **pipes)


def done(*words, cwd, **more):
    """Runs motley, which must succeed."""
    result = run(*words, cwd=cwd, **more)
    expect(result.returncode == 0, f"motley {' '.join(map(str, words))}: exit {result.returncode}\n{result.stderr}")
    return result


def digest(folder):
    return done("digest", folder, cwd=".").stdout.split()[0]


def one_line(result, code, *parts):
    """Exit code and a single line on stderr that holds every part."""
    text = result.stderr.strip()
    expect(result.returncode == code, f"exit {result.returncode}, expected {code}\n{text}")
    expect(len(text.splitlines()) == 1, f"not one line:\n{text}")
    for part in parts:
        expect(part in text, f"no '{part}' in: {text}")
    return text


def train(steps, *more):
    """Words of the run every case disturbs: evaluations and checkpoints at different steps."""
    keys = {word.split("=")[0] for word in map(str, more)}
    usual = [word for word in ("checkpoint.every_steps=4", "eval.every_steps=6") if word.split("=")[0] not in keys]
    return ("train", "-q", "-c", "learnt.ini", f"run.steps={steps}", *usual, *more)


class Undisturbed:
    """The run as it should come out, and its rows."""

    def __init__(self, work, steps, *more):
        self.folder = work / f"undisturbed{steps}"
        if not self.folder.exists():
            done(*train(steps, *more), "-o", self.folder, cwd=work)
        self.digest = digest(self.folder)
        with h5py.File(self.folder / "run.h5", "r") as file:
            self.metrics = {name: column[:] for name, column in file["metrics"].items()}
            self.rollouts = {name: file["rollouts"][name][:] for name in ("step", "token", "reward")}
        # What does not learn agrees with anything.
        moved = float((self.metrics["grad_norm"] > 0).mean())
        expect(moved > 0.5, f"the policy moves in {moved:.0%} of the steps only")

    def check_same(self, folder, what):
        expect(digest(folder) == self.digest, f"{what}: another digest")

    def check_rows(self, path):
        """Every committed row is that of the undisturbed run; returns how many there are."""
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            committed = int(file["committed"][()])
            for name, want in self.metrics.items():
                got = file["metrics"][name][:committed]
                expect(len(got) == committed, f"{path}: metrics/{name} has {len(got)} of {committed} committed rows")
                expect(numpy.array_equal(got, want[:committed], equal_nan=True), f"{path}: metrics/{name} differs in committed rows")
            for name, want in self.rollouts.items():
                got = file["rollouts"][name][:committed]
                expect(numpy.array_equal(got, want[:committed], equal_nan=True), f"{path}: rollouts/{name} differs in committed rows")
            return committed

    def check_left(self, folder, what):
        """What a fault has left: no run yet, or one whose committed rows are right and readable by the program."""
        if not (folder / "run.h5").exists():
            return 0
        try:
            committed = self.check_rows(folder / "run.h5")
        except OSError as error:
            raise Failure(f"{what}: h5py cannot read the file: {error}") from None
        if committed > 0:
            done("inspect", folder, "--step", committed - 1, "--prompt", 0, cwd=".")
        return committed


def roomy_memory():
    """A folder in memory where there is room, else None: a kill loses nothing of the page cache, so syncing costs time and tests nothing
    (that it happens, and when, is seen by errors.py order)."""
    try:
        info = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if info.f_bavail * info.f_frsize > 1 << 30 and os.access("/dev/shm", os.W_OK) else None


def main(cases):
    """usage: SCRIPT MOTLEY CASE [--full] [--helper FOLDER]"""
    global motley, helper, full
    words = [w for w in sys.argv[1:] if w != "--full"]
    full = "--full" in sys.argv
    motley = str(pathlib.Path(words[0]).resolve())
    if "--helper" in words:
        helper = str(pathlib.Path(words[words.index("--helper") + 1]).resolve())
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR") or roomy_memory()) as name:
        work = pathlib.Path(name).resolve()
        (work / "learnt.ini").write_text(LEARNT)
        (work / "tiny.ini").write_text(TINY)
        try:
            {c.__name__: c for c in cases}[words[1]](work)
        except (Failure, subprocess.TimeoutExpired) as failure:
            sys.exit(f"FAILED: {failure}")
