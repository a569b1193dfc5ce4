#!/usr/bin/env python3
"""Sweeps as a user runs them: by hand, in shards, side by side, killed as a whole, indexed, compared.

usage: sweep.py MOTLEY CASE     CASE: commands | shards | processes | killed | status | collect | emit | compare | docs
Needs h5py and numpy. Exits 1 with the first difference.
"""

import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import reproduce
from reproduce import digest, expect, run

SWEEP = """
[sweep]
name = tiny
base = tiny.ini
seeds = 1:3
exclude.no-kl = arm=kl & run.seed=2
[arm.grpo]
run.method = grpo
[arm.darling]
run.method = darling
partition.method = oracle
[arm.kl]
run.method = darling
kl.coef = 0.01
partition.method = exact
"""  # the collect case appends to the last section
CELLS = 5


def cells_of(work, name="tiny"):
    return sorted(p.parent for p in (work / "runs" / name).glob("*/run.h5"))


def digests_of(work, name="tiny"):
    return {cell.name: digest(cell) for cell in cells_of(work, name)}


def reference(work):
    """Digests of the sweep, undisturbed and in one process; its folder is moved away."""
    run("sweep", "run", "sweep.ini", cwd=work)
    want = digests_of(work)
    expect(len(want) == CELLS, f"{len(want)} cells instead of {CELLS}")
    (work / "runs" / "tiny").rename(work / "runs" / "undisturbed")
    return want


def commands(work):
    """`sweep list --commands` gives lines that make the same runs."""
    listing = json.loads(run("sweep", "list", "sweep.ini", "--json", cwd=work).stdout)
    expect([c["state"] for c in listing] == ["to do"] * CELLS, "cells of a new sweep are not to do")
    expect(all(c["seconds"] is None and not c["disk_measured"] for c in listing), "a measure before the first run")
    lines = run("sweep", "list", "--commands", "sweep.ini", cwd=work).stdout.splitlines()
    expect(len(lines) == CELLS, f"{len(lines)} commands instead of {CELLS}")
    for line in lines:
        words = shlex.split(line)
        expect(words[0] == "motley", f"not a motley command: {line}")
        run(*words[1:], cwd=work)
    by_hand = digests_of(work)
    expect(set(by_hand) == {pathlib.Path(c["folder"]).name for c in listing}, "commands write other folders")
    expect(run("sweep", "list", "--commands", "sweep.ini", cwd=work).stdout == "", "finished cells have commands")
    done = run("sweep", "run", "sweep.ini", cwd=work)
    expect(f"{CELLS} of {CELLS} cells are done already" in done.stderr, "cells made by hand are not the sweep's")
    shutil.rmtree(work / "runs" / "tiny")
    expect(reference(work) == by_hand, "a cell by hand has another digest than in the sweep")
    (work / "runs" / "undisturbed").rename(work / "runs" / "tiny")
    measured = json.loads(run("sweep", "list", "sweep.ini", "--json", cwd=work).stdout)
    expect(all(c["seconds"] > 0 and c["disk_measured"] for c in measured), "no measure after a run")
    for before, now in zip(listing, measured):
        expect(now["disk_bytes"] <= before["disk_bytes"], f"disk estimate too low: {before['disk_bytes']} < {now['disk_bytes']}")
    table = run("sweep", "list", "sweep.ini", cwd=work).stdout
    expect(f"{CELLS} cells, {CELLS} done" in table, f"no count in\n{table}")


def shards(work):
    want = reference(work)
    run("sweep", "run", "sweep.ini", "--index", "2", cwd=work)
    expect(len(cells_of(work)) == 1, "--index runs other than one cell")
    run("sweep", "run", "sweep.ini", "--shard", "1/2", cwd=work)
    expect(len(cells_of(work)) == 3, f"{len(cells_of(work))} cells after --index 2 and --shard 1/2 of {CELLS}")
    os.environ.update(SLURM_PROCID="0", SLURM_NTASKS="2")
    run("sweep", "run", "sweep.ini", "--shard", "auto", cwd=work)
    expect(digests_of(work) == want, "shards have other digests than the whole")
    # Many at once: one freezes the manifest, each base policy is trained once, all come out the same.
    shutil.rmtree(work / "runs")
    at_once = [subprocess.Popen([reproduce.motley, "sweep", "run", "sweep.ini", "--index", str(i), "--progress", "plain"], cwd=work,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for i in range(CELLS)]
    said = [p.communicate()[1] for p in at_once]
    expect(all(p.returncode == 0 for p in at_once), f"together: {[p.returncode for p in at_once]}\n{''.join(said)}")
    expect(digests_of(work) == want, "cells that ran at once have other digests")
    (work / "tiny.ini").write_text((work / "tiny.ini").read_text().replace("steps = 30", "steps = 31"))
    other = run("sweep", "run", "sweep.ini", check=False, cwd=work)
    expect(other.returncode == 3 and "began with other cells" in other.stderr, f"a changed base is taken: {other.stderr}")


def processes(work):
    text = SWEEP.replace("[arm.grpo]", "[grid]\nrollout.group_size = 3, 4\n[arm.grpo]")
    (work / "sweep.ini").write_text(text)
    run("sweep", "run", "sweep.ini", cwd=work)
    want = digests_of(work)
    shutil.rmtree(work / "runs" / "tiny")
    done = run("sweep", "run", "sweep.ini", "-j", "2", "--progress", "plain", cwd=work)
    expect(digests_of(work) == want and len(want) == 2 * CELLS, "-j 2 has other digests")
    expect("[2/2 packs]" in done.stderr, f"two shapes are not two packs:\n{done.stderr}")
    # A signal stops the children at their next step; the same command goes on.
    shutil.rmtree(work / "runs" / "tiny")
    words = [reproduce.motley, "sweep", "run", "sweep.ini", "-j", "2", "run.steps=2000"]
    child = subprocess.Popen(words, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(cells_of(work)) < 2 * CELLS:
        time.sleep(0.05)
        expect(child.poll() is None, "the sweep ended before it could be stopped")
    child.terminate()
    said = child.communicate()[1]
    expect(child.returncode == 75 and "goes on" in said, f"stopped with {child.returncode}:\n{said}")
    reports = json.loads(run("sweep", "status", "sweep.ini", "run.steps=2000", "--json", cwd=work).stdout)
    expect(reports["interrupted"] == 2 * CELLS and reports["running"] == 0, f"after the stop: {reports}")


def killed(work):
    """The runner and its children, killed -9 together at random moments, then run to the end."""
    want = reference(work)
    random.seed(2)
    words = [reproduce.motley, "sweep", "run", "sweep.ini", "-j", "2", "--pack", "2", "--progress", "plain"]
    shutil.rmtree(work / "runs" / "tiny", ignore_errors=True)
    begin = time.monotonic()
    run(*words[1:], cwd=work)
    length = time.monotonic() - begin
    kills = 0
    for attempt in range(3):
        landed = 0
        while landed < 2:  # a sweep that was faster than the blows is taken again
            shutil.rmtree(work / "runs" / "tiny", ignore_errors=True)
            landed = 0
            for _ in range(4):
                child = subprocess.Popen(words, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
                time.sleep(random.uniform(0.02, length))
                if child.poll() is None:
                    landed += 1
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            length = length if landed >= 2 else 0.7 * length
        kills += landed
        states = json.loads(run("sweep", "status", "sweep.ini", "--json", cwd=work).stdout)
        finished = {pathlib.Path(r["run"]).name for r in states["runs"] if r["state"] == "done"}
        before = {name: (work / "runs" / "tiny" / name / "run.h5").stat().st_mtime_ns for name in finished}
        run("sweep", "run", "sweep.ini", cwd=work)
        expect(digests_of(work) == want, f"attempt {attempt}: digests differ after kills")
        for name, stamp in before.items():
            expect((work / "runs" / "tiny" / name / "run.h5").stat().st_mtime_ns == stamp, f"finished cell {name} was run again")
    print(f"{kills} kills of a whole sweep, all digests equal")


def status(work):
    words = [reproduce.motley, "sweep", "run", "sweep.ini", "run.steps=3000", "--quiet"]
    child = subprocess.Popen(words, cwd=work, stdout=subprocess.DEVNULL)
    live = {}
    for _ in range(600):
        time.sleep(0.1)
        if not (work / "runs" / "tiny").exists():
            continue
        live = json.loads(run("sweep", "status", "sweep.ini", "run.steps=3000", "--json", cwd=work).stdout)
        if any(r["step"] > 3 for r in live["runs"]):
            break
    expect(live["running"] == CELLS, f"running cells are called {live}")
    moving = [r for r in live["runs"] if r["step"] > 3]
    expect(moving and all(r["steps_per_s"] > 0 and r["seconds_left"] > 0 and r["quality"] is not None for r in moving), f"{moving}")
    table = run("status", "runs/tiny", cwd=work).stdout
    expect("running" in table and "\x1b" not in table and "\r" not in table, f"status says\n{table}")
    child.kill()
    child.wait()
    after = json.loads(run("status", "runs/tiny", "--json", cwd=work).stdout)
    expect(after["interrupted"] == CELLS and after["running"] == 0, f"killed cells are called {after}")
    expect(after["runs"][0]["steps"] == 3000, "planned steps are not known")
    run("sweep", "run", "sweep.ini", "run.steps=3000", "--max-time", "1", "-o", "elsewhere", check=False, cwd=work)
    cut = sorted((work / "elsewhere" / "tiny").glob("*/run.h5"))[0]
    cut.write_bytes(cut.read_bytes()[:100])
    broken = json.loads(run("status", "elsewhere/tiny", "--json", cwd=work).stdout)
    expect(broken["unreadable"] == 1, f"a cut file is called {broken}")
    watched = run("sweep", "status", "sweep.ini", "run.steps=3000", "--watch", "0.2", "--cells", "0", cwd=work).stdout
    expect(watched.count("1 runs:") == 1, "a watch goes on where nothing runs")


def collect(work):
    import h5py
    import numpy as np

    (work / "sweep.ini").write_text(SWEEP + "run.steps = 12\n")  # the last arm ends earlier
    run("sweep", "run", "sweep.ini", cwd=work)
    kept = digests_of(work)
    run("sweep", "collect", "sweep.ini", cwd=work)
    os.chdir("/")  # sources are found from the index, not from here
    with h5py.File(work / "runs" / "tiny" / "index.h5", "r") as f:
        files = [s.decode() for s in f["runs/file"][:]]
        expect(len(files) == CELLS and f["metrics/entropy"].shape == (CELLS, 30), f"shape {f['metrics/entropy'].shape}")
        expect(sorted(f["runs/seed"][:]) == [1, 1, 1, 2, 2], f"seeds {f['runs/seed'][:]}")
        expect({s.decode() for s in f["runs/arm"][:]} == {"grpo", "darling", "kl"}, "arms")
        expect({s.decode() for s in f["runs/run.method"][:]} == {"grpo", "darling"}, "options that differ")
        for i, file in enumerate(files):
            with h5py.File(work / "runs" / "tiny" / file, "r") as one:
                steps = one["metrics/step"].shape[0]
                for name in one["metrics"]:
                    if name == "step":
                        continue
                    all_rows, real = f["metrics"][name][i], one["metrics"][name].dtype.kind == "f"
                    same = np.array_equal(all_rows[:steps], one["metrics"][name][:], equal_nan=real)
                    expect(same, f"{file}: {name} reads differently through the index")
                    beyond = all_rows[steps:]
                    expect(np.isnan(beyond).all() if real else (beyond == -1).all(), f"{file}: {name} has values behind its end")
                expect(steps == f["runs/rows"][i] and steps == f["runs/run.steps"][i], "rows")
                evals = one["eval/step"].shape[0]
                expect(np.array_equal(f["eval/pass_at_k"][i][:evals], one["eval/pass_at_k"][:]), "pass_at_k")
                expect(np.array_equal(f["eval/step"][i][:evals], one["eval/step"][:]), "steps of the evaluations")
                expect(list(f["eval/k"][:]) == list(one["eval/k"][:]), "k")
        expect(f["metrics/entropy"].dims[0][0].name == "/metrics/run", "no scale on the runs' axis")
    expect(digests_of(work) == kept, "collecting changed a run")
    (work / "runs" / "tiny" / "index.h5").write_bytes(b"mine")
    refused = run("sweep", "collect", "sweep.ini", check=False, cwd=work)
    expect(refused.returncode == 3 and "no index" in refused.stderr, f"a foreign index.h5 is replaced: {refused.stderr}")


def emit(work):
    script = run("sweep", "emit", "--slurm", "sweep.ini", "--time", "00:10:00", "--cpus", "2", "--at-once", "2", "--partition", "short", "-o", "first", cwd=work).stdout
    (work / "job.sh").write_text(script)
    subprocess.run(["bash", "-n", "job.sh"], cwd=work, check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "bash", "job.sh"], cwd=work, check=True)
    for line in (f"--array=0-{CELLS - 1}%2", "--requeue", "--signal=B:TERM@120", "--time=00:10:00", "--cpus-per-task=2", "--partition=short"):
        expect(f"#SBATCH {line}\n" in script, f"no {line} in\n{script}")
    # The script itself, with scontrol replaced: stopped by TERM it queues itself again, then it ends.
    (work / "bin").mkdir()
    (work / "bin" / "scontrol").write_text("#!/bin/sh\necho \"$@\" >> scontrol.log\n")
    (work / "bin" / "sleep").write_text("#!/bin/sh\n")
    for tool in ("scontrol", "sleep"):
        (work / "bin" / tool).chmod(0o755)
    long = run("sweep", "emit", "--slurm", "sweep.ini", "run.steps=400", cwd=work)
    (work / "long.sh").write_text(long.stdout)
    env = dict(os.environ, PATH=f"{work / 'bin'}:{os.environ['PATH']}", SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="77", SLURM_JOB_ID="78")
    job = subprocess.Popen(["bash", "long.sh"], cwd=work, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not cells_of(work):
        time.sleep(0.02)
        expect(job.poll() is None, "the job ended before it could be stopped")
    job.terminate()
    expect(job.wait() == 75, f"a stopped job ends with {job.returncode}")
    expect((work / "scontrol.log").read_text() == "requeue 77_1\n", "the job did not queue itself again")
    expect(subprocess.run(["bash", "long.sh"], cwd=work, env=env, capture_output=True).returncode == 0, "the job did not go on")
    cell = cells_of(work)[0]
    alone = run("sweep", "list", "sweep.ini", "run.steps=400", "--json", cwd=work)
    words = json.loads(alone.stdout)[1]["words"]
    run("train", "-c", "tiny.ini", *words, "-o", "alone", cwd=work)
    expect(digest(cell) == digest(work / "alone"), "a stopped and requeued cell has another digest")
    shards = run("sweep", "emit", "--slurm", "sweep.ini", "run.steps=400", "--tasks", "2", cwd=work).stdout
    expect("--array=0-1\n" in shards and '--shard "$SLURM_ARRAY_TASK_ID/2"' in shards, f"no shards in\n{shards}")
    snake = run("sweep", "emit", "--snakemake", "sweep.ini", cwd=work).stdout
    table = snake[snake.index("CELLS = ") + 8 : snake.index("\n\nrule all")]
    expect(len(json.loads(table)) == CELLS, "the Snakefile has other cells")
    expect(run("sweep", "emit", "sweep.ini", check=False, cwd=work).returncode == 2, "emit for nobody")


def compare(work):
    (work / "sweep.ini").write_text(SWEEP.replace("exclude.no-kl = arm=kl & run.seed=2\n", ""))
    run("sweep", "run", "sweep.ini", cwd=work)
    text = run("compare", "runs/tiny", cwd=work).stdout
    expect("demonstration, not evidence" in text and "pass@4" in text, f"compare says\n{text}")
    words = ("compare", "runs/tiny", "--metric", "metrics.entropy", "--metric", "eval.pass_at_4", "--json")
    out = json.loads(run(*words, cwd=work).stdout)
    expect(out == json.loads(run(*words, cwd=work).stdout), "a comparison does not repeat")
    expect(out["reps"] == 50000 and not out["enough_seeds"] and out["baseline"] == "grpo", "defaults")
    for arm in out["arms"]:
        expect(arm["low"] <= arm["mean"] <= arm["high"] and arm["n_seeds"] == 2 and len(arm["values"]) == 2, f"{arm}")
    by = {(a["arm"], a["metric"]): a for a in out["arms"]}
    for pair in out["pairs"]:
        ours, theirs = by[pair["arm"], pair["metric"]], by["grpo", pair["metric"]]
        mean = sum(a - b for a, b in zip(ours["values"], theirs["values"])) / 2
        expect(abs(pair["difference"] - mean) < 1e-12, f"{pair}")
        expect(pair["p"] >= 0.5 and pair["p_holm"] >= pair["p"], f"p of two seeds: {pair}")
    details = run("compare", "runs/tiny", "--metric", "eval.pass_at_4", cwd=work).stdout
    for head in ("Student's t", "IQM", "P(better)", "p (Holm)", "seeds needed"):
        expect(head in details, f"no {head} in\n{details}")
    markdown = run("compare", "runs/tiny", "--markdown", cwd=work).stdout
    expect("| arm | seeds |" in markdown and "| --- |" in markdown, markdown)
    latex = run("compare", "runs/tiny", "--latex", cwd=work).stdout
    expect(latex.count("\\begin{tabular}") == 2 and "\\bottomrule" in latex and "@4" in latex, latex)
    fails = run("compare", "runs/tiny", "--metric", "eval.pass_at_5", check=False, cwd=work)
    expect(fails.returncode == 2 and "k was not evaluated" in fails.stderr, fails.stderr)
    named = json.loads(run("compare", "runs/tiny", "--baseline", "run.name=darling", "--json", cwd=work).stdout)
    expect(named["baseline"] == "darling", "the baseline by KEY=ARM")
    unknown = run("compare", "runs/tiny", "--baseline", "darlin", check=False, cwd=work)
    expect(unknown.returncode == 2 and 'did you mean "darling"' in unknown.stderr, unknown.stderr)
    # A default column that a file lacks is left out; asked for, it is a fault.
    run("train", "-c", "tiny.ini", "run.name=odd", "eval.k=2", "-o", "odd", cwd=work)
    mixed = run("compare", "runs/tiny", "odd", cwd=work).stdout
    expect("pass@2" in mixed and "odd" in mixed, mixed)
    expect(run("compare", "runs/tiny", "odd", "--metric", "eval.pass_at_4", check=False, cwd=work).returncode == 2, "a missing column passes")
    # Another task makes a second stratum; seeds pair within their task.
    for arm in ("grpo", "darling"):
        run("train", "-c", "tiny.ini", f"run.name={arm}", f"run.method={arm}", "run.seed=1", "task.digits=5", "-o", f"other/{arm}", cwd=work)
    both = json.loads(run("compare", "runs/tiny", "other", "--metric", "metrics.entropy", "--json", cwd=work).stdout)
    expect(both["tasks"] == 2, f"{both['tasks']} tasks")
    grpo = next(a for a in both["arms"] if a["arm"] == "grpo")
    one, two = sorted((v for v in grpo["values"] if v not in by["grpo", "metrics.entropy"]["values"])), by["grpo", "metrics.entropy"]["mean"]
    expect(abs(grpo["mean"] - (one[0] + two) / 2) < 1e-12, "tasks do not weigh the same")


def docs(work):
    """Every motley command of docs/sweeps.md, on the sweep of the page with fewer seeds."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    ini = re.search(r"```ini\n(.*?)```", page, re.S).group(1)
    expect("seeds = 1:11" in ini, "the page's sweep has other seeds")
    (work / "sweep.ini").write_text(ini.replace("1:11", "1:3"))
    lines = [re.split(r"\s+#", line)[0].strip() for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()]
    lines = [line for line in lines if line.startswith("motley ")]
    expect(len(lines) >= 12, f"only {len(lines)} commands in the page")
    (work / "bin").mkdir()
    (work / "bin" / "motley").symlink_to(reproduce.motley)
    env = dict(os.environ, PATH=f"{work / 'bin'}:{os.environ['PATH']}", OMP_PROC_BIND="false")
    for line in lines:
        if "| parallel" in line and not shutil.which("parallel"):
            line = line.split("|")[0]
        line = line.split("&& sbatch")[0]
        done = subprocess.run(["bash", "-c", line], cwd=work, env=env, capture_output=True, text=True)
        expect(done.returncode == 0, f"{line}: exit {done.returncode}\n{done.stderr}")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (commands, shards, processes, killed, status, collect, emit, compare, docs)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.LEARNT)
        (work / "sweep.ini").write_text(SWEEP)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
