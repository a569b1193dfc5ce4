#!/usr/bin/env python3
"""What a run says it will take of memory, against what the kernel says it took.

usage: memory.py MOTLEY CASE      CASE: peaks | refused
Exits 1 with the first figure that is off.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "experiments"))
import reproduce  # noqa: E402
from reproduce import expect  # noqa: E402
from tasks import REWARD, task_words  # noqa: E402

TOLERANCE = 0.10

SHORT = ["run.steps=3", "pretrain.steps=2", "pretrain.gate_every=2", "pretrain.habit_steps=1", "classifier.steps=1", "checkpoint.every_steps=2", "eval.every_steps=0"]

# Twelve shapes that differ in what takes the memory.
CONFIGS = {
    "small": [],
    "prompts": ["rollout.prompts=512", "rollout.group_size=32"],
    "group": ["rollout.prompts=4", "rollout.group_size=512", "partition.method=oracle"],
    "pairs": ["rollout.prompts=64", "rollout.group_size=128", "log.pair_score=on"],
    "wide": ["model.width=256", "model.heads=8", "model.kv_heads=8", "model.ff=1024", "model.layers=4"],
    "deep_reference": ["model.width=96", "model.heads=6", "model.kv_heads=3", "model.ff=384", "model.layers=12", "kl.coef=0.1", "kl.estimator=exact", "kl.reset_every=2"],
    "cross_encoder": ["classifier.form=cross_encoder", "classifier.width=128", "classifier.heads=4", "classifier.layers=3", "classifier.ff=512", "rollout.prompts=32", "rollout.group_size=16"],
    "embeddings": ["partition.method=kmeans", "partition.embedding=ngram", "partition.across_steps=on", "rollout.prompts=256", "rollout.group_size=64"],
    "evaluation": ["eval.samples=160", "task.digits=10", "task.eval_prompts=160", "eval.k=1", "eval.partition=oracle"],
    "classified_evaluation": ["eval.samples=384", "task.eval_prompts=16", "eval.k=1", "eval.partition=classifier", "log.eval_samples=on"],
    "countdown": [*task_words("countdown"), "rollout.prompts=256", "rollout.group_size=16", "loss.policy=simko", "filter_groups.metric=acc", "mismatch.correction=tis", "log.diagnostics=every:2", "model.width=64"],
    "ideas": [*task_words("ideas"), "reward_model.width=128", "reward_model.layers=4", "reward_model.pairs=2000", "reward_model.steps=2", "rollout.prompts=64", "rollout.group_size=32"],
}
PACK = """
[sweep]
name = pack
base = tiny.ini
seeds = 1:9
[arm.darling]
run.method = darling
[arm.kl]
run.method = grpo
kl.coef = 0.1
"""


# A child's largest resident size is at least its parent's at the fork: a small parent stands between.
LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def start(work, words, before=(), threads=2, watch=False):
    """Exit code, largest resident size, the largest proportional size that was seen, stdout, stderr.

    The proportional size counts pages that stand at many places once; it is looked at from outside, so it is a lower bound."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive", OMP_PROC_BIND="false")
    seen = 0
    with open(work / "out", "w") as out, open(work / "err", "w") as err:
        launcher = subprocess.Popen([sys.executable, "-I", "-S", "-c", LAUNCHER, work / "peak", *before, reproduce.motley, *map(str, words)],
                                    cwd=work, env=env, stdout=out, stderr=err)
        while watch and launcher.poll() is None:
            try:
                children = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
                rollup = pathlib.Path(f"/proc/{children[0]}/smaps_rollup").read_text()
                seen = max(seen, next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024)
            except (OSError, IndexError, StopIteration):
                pass
            time.sleep(0.005)
        launcher.wait()
    return launcher.returncode, int((work / "peak").read_text()) * 1024, seen, (work / "out").read_text(), (work / "err").read_text()


def planned(work, words, threads=2):
    code, _, most, out, err = start(work, ["train", "-c", "tiny.ini", *words, "--dry-run", "--json"], threads=threads, watch=True)
    expect(code == 0, f"dry run {words}: exit {code}\n{err}")
    memory = json.loads(out)["memory"]
    parts = max(memory["pretraining_bytes"], memory["training_bytes"] + memory["file_bytes"] + memory["base_bytes"] + memory["checkpoint_bytes"])
    expect(memory["peak_bytes"] == memory["program_bytes"] + parts, f"the parts do not add up: {memory}")
    return memory["peak_bytes"], most


def peaks(work):
    """Planned against measured, with the base policy still to be trained and with one that is there."""
    off = []
    for i, (name, more) in enumerate(CONFIGS.items()):
        words = [*SHORT, *more, f"pretrain.cache=base-{name}"]
        threads = 1 + i % 2
        for cached in ("fresh", "cached"):
            want, cost = planned(work, words, threads)
            folder = f"{name}-{cached}"
            code, took, _, _, err = start(work, ["train", "-q", "-c", "tiny.ini", *words, "-o", folder], threads=threads)
            expect(code == 0, f"{name}: exit {code}\n{err}")
            ratio = want / took
            print(f"{name:22} {cached:7} planned {want / 1e6:7.1f} MB, took {took / 1e6:7.1f} MB, {100 * (ratio - 1):+6.1f} %; planning took {cost / 1e6:5.1f} MB")
            if abs(ratio - 1) > TOLERANCE:
                off.append(folder)
            # Planning itself does not take what it plans.
            expect(cost < max(120e6, 0.5 * took), f"{name}: planning took {cost / 1e6:.0f} MB of {took / 1e6:.0f} MB")
            shutil.rmtree(work / folder)
    # What an enumeration holds depends on the policy: the plan bounds it.
    words = [*SHORT[:-1], "eval.exact=on", "eval.exact_prefixes=8000", "eval.exact_min_mass=0", "rollout.max_tokens=16", "task.digits=8", "task.eval_prompts=100", "eval.exact_prompts=20", "eval.k=1"]
    want, _ = planned(work, words)
    code, took, _, _, err = start(work, ["train", "-q", "-c", "tiny.ini", *words, "-o", "exact"])
    expect(code == 0, f"exact: exit {code}\n{err}")
    print(f"{'exact':22} fresh   planned {want / 1e6:7.1f} MB, took {took / 1e6:7.1f} MB, {100 * (want / took - 1):+6.1f} %")
    if not -TOLERANCE < want / took - 1 < 1:
        off.append("exact")
    # A batch says what it will take when it starts.
    for runs, seeds, more in ((4, "1:3", []), (16, "1:9", []), (16, "1:9", ["rollout.prompts=48", "rollout.group_size=16", "model.width=64"])):
        (work / "pack.ini").write_text(PACK.replace("1:9", seeds))
        shutil.rmtree(work / "runs", ignore_errors=True)
        code, took, _, out, err = start(work, ["sweep", "run", "pack.ini", *SHORT, *more, "--progress", "json"])
        expect(code == 0, f"pack: exit {code}\n{err}")
        want = next(json.loads(line)["memory_bytes"] for line in out.splitlines() if '"start"' in line)
        name = f"pack of {runs}"
        print(f"{name:22} fresh   planned {want / 1e6:7.1f} MB, took {took / 1e6:7.1f} MB, {100 * (want / took - 1):+6.1f} %")
        if abs(want / took - 1) > TOLERANCE:
            off.append(name)
    expect(not off, f"off by more than {100 * TOLERANCE:.0f} %: {off}")


def refused(work):
    """More than there is: exit 3 in one line, with the figures and the keys, and nothing taken or made."""
    huge = ["rollout.prompts=20000", "rollout.group_size=256", "partition.method=oracle"]
    exact = ["eval.exact=on", "eval.exact_prefixes=1000000", "eval.exact_min_mass=0", "rollout.max_tokens=24", "task.digits=8", "task.eval_prompts=100", "eval.k=1"]
    for name, words, key in (("huge", huge, "rollout.prompts"), ("exact", exact, "eval.exact_prefixes"), ("eval", ["eval.samples=65535", "task.digits=11", "task.eval_prompts=500", "eval.k=1"], "eval.samples"),
                             ("model", ["model.width=4096", "model.heads=32", "model.kv_heads=32", "model.ff=16384", "model.layers=16"], "model.width")):
        for before in (("prlimit", "--as=3000000000"), ("prlimit", "--data=1500000000")):
            begin = time.monotonic()
            code, _, took, _, err = start(work, ["train", "-q", "-c", "tiny.ini", "--any-disk", *words, "-o", name], before, watch=True)
            lines = err.strip().splitlines()
            expect(code == 3 and len(lines) == 1, f"{name} {before}: exit {code}\n{err}")
            expect(" free (RLIMIT_" in lines[0] or "out of memory" in lines[0], lines[0])
            expect(key in lines[0], f"{name}: {key} is not named: {lines[0]}")
            expect(took < 200e6, f"{name}: took {took / 1e6:.0f} MB to refuse")
            expect(not (work / name).exists() and not (work / "runs").exists(), f"{name}: a refused run left a folder")
            print(f"{name}: {lines[0]} ({time.monotonic() - begin:.1f} s, {took / 1e6:.0f} MB)")
    # A sweep finds out how many of its runs fit together without taking their memory.
    (work / "pack.ini").write_text(PACK)
    code, _, took, _, err = start(work, ["sweep", "run", "pack.ini", *huge, "-q"], ("prlimit", "--as=3000000000"), watch=True)
    expect(code == 3 and took < 200e6, f"sweep: exit {code}, {took / 1e6:.0f} MB\n{err}")
    expect(not list((work / "runs").rglob("run.h5")) if (work / "runs").exists() else True, "a run of the sweep was begun")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (peaks, refused)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.TINY + REWARD)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
