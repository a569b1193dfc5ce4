#!/usr/bin/env python3
"""Every single call that makes, writes, syncs, cuts or renames a file of a run fails once; and the order of these calls.

usage: errors.py MOTLEY CASE --helper FOLDER [--full]      CASE: new_run | resumed_run | base_policy | every_call | injected | order
Without --full the calls are sampled. every_call, injected and order need strace.
"""

import pathlib
import re
import shutil
import signal
import subprocess

import program
from program import IO, REFUSED, Undisturbed, done, environment, expect, run, skip, train

STEPS = 70  # more than the 64 rows that wait in memory, so that the writer's own thread writes too
RARE = ("checkpoint.every_steps=24", "eval.every_steps=36")  # fewer calls of one kind
# The text of a lock only serves the message to a second writer; the copy in which a resume is rehearsed is thrown
# away. A run need not stop for either.
UNIMPORTANT = (".lock", ".turn", "run.h5.trial")


def failing(work, at, log=""):
    """Environment in which the at-th call fails; 0: they are only counted."""
    library = pathlib.Path(program.helper) / "libfailing_calls.so"
    expect(library.exists(), f"no {library}")
    return environment(LD_PRELOAD=library, FAULT_FOLDER=work, FAULT_AT=at, FAULT_LOG=log)


def logged(log):
    """(call, path) of every call that was counted; the log is removed."""
    lines = [line.split(" ", 2) for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return [(call, pathlib.Path(path)) for _, call, path in sorted(lines, key=lambda line: int(line[0]))]


def calls_of(work, words):
    """The calls of a run that is not disturbed."""
    log = work.parent / (work.name + ".calls")
    log.unlink(missing_ok=True)
    done(*words, cwd=work, env=failing(work, 0, log))
    return logged(log)


def sample(count, few):
    """Numbers of the calls to fail: all of them, or `few` spread over all, the first and the last included."""
    if program.full or count <= few:
        return range(1, count + 1)
    return sorted({1 + round(i * (count - 1) / (few - 1)) for i in range(few)})


def fail_each(work, words, prepare, folder, few, want, only=lambda path: True, most=0.9):
    """Fails call after call of `words`; afterwards the run is readable and goes on to the same digest."""
    prepare()
    calls = calls_of(work, words)
    numbers = [n for n in range(1, len(calls) + 1) if only(calls[n - 1][1])]
    numbers = [numbers[i - 1] for i in sample(len(numbers), few)]
    codes, missed = {}, 0
    for n in numbers:
        prepare()
        log = work.parent / (work.name + ".calls")
        failed = run(*words, cwd=work, env=failing(work, n, log), timeout=60)
        made = logged(log)
        if len(made) < n:  # rows are committed by the clock too: a faster run has fewer calls
            expect(failed.returncode == 0, f"call {n} was not made: exit {failed.returncode}\n{failed.stderr}")
            missed += 1
            continue
        call, path = made[n - 1]
        what = f"call {n} of {len(calls)}, {call} of {path.relative_to(work)}"
        codes[failed.returncode] = codes.get(failed.returncode, 0) + 1
        if failed.returncode == 0:
            # A folder is asked for again by the next who wants it.
            expect(path.name in UNIMPORTANT or call == "mkdir", f"{what}: the failure went unnoticed")
        else:
            expect(failed.returncode in (IO, REFUSED), f"{what}: exit {failed.returncode}\n{failed.stderr}")
            begun = (folder / "run.h5").exists()
            expect(failed.returncode == IO or not begun or path.name in UNIMPORTANT, f"{what}: refused, though the run was under way\n{failed.stderr}")
            place = path.name.removesuffix(".tmp")
            text = program.one_line(failed, failed.returncode)
            expect(place in text or path.parent.name in text, f"{what}: not named in: {text}")
            expect("No space left" in text, f"{what}: no cause in: {text}")
        want.check_left(folder, what)
        done(*words, cwd=work)
        want.check_same(folder, what)
    expect(sum(codes.values()) - codes.get(0, 0) > most * len(numbers), f"most calls did nothing: {codes}, {missed} not made")
    print(f"{len(numbers) - missed} of {len(calls)} calls failed once: exit codes {codes}; all readable, all digests equal")


def new_run(work):
    want = Undisturbed(work, STEPS, *RARE)
    folder = work / "run"
    fail_each(work, (*train(STEPS, *RARE), "-r", folder), lambda: shutil.rmtree(folder, ignore_errors=True), folder, 50, want)


def resumed_run(work):
    want = Undisturbed(work, STEPS, *RARE)
    folder, half = work / "run", work / "half"
    run(*train(STEPS, *RARE), "-o", half, cwd=work, env=environment(MOTLEY_CRASH_AT="after_step:66"))

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(half, folder)

    fail_each(work, (*train(STEPS, *RARE), "-r", folder), prepare, folder, 50, want)


def base_policy(work):
    """The files of a cache that is empty."""
    want = Undisturbed(work, 12)
    folder = work / "run"
    cold = work / "runs"

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(cold, ignore_errors=True)

    fail_each(work, (*train(12), "-r", folder), prepare, folder, 20, want, only=lambda path: cold == path or cold in path.parents, most=0.5)


CALLS = "open,openat,creat,write,writev,pwrite64,fsync,fdatasync,ftruncate,truncate,rename,renameat,renameat2,link,linkat,mkdir,sendfile,copy_file_range"


def traced(work, words, *more):
    """Lines of strace, with the paths of file descriptors; ends of calls that were cut in two by another thread's are dropped."""
    if shutil.which("strace") is None:
        skip("no strace")
    log = work.parent / (work.name + ".strace")
    result = run(*words, cwd=work, before=("strace", "-f", "-y", "-s", "0", "-o", log, "-e", f"trace={CALLS},unlink,unlinkat", *more))
    if "ptrace" in result.stderr and not log.exists():
        skip(f"strace may not trace here: {result.stderr.strip()}")
    lines = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if " resumed>" not in line]
    log.unlink()
    return result, lines


def parsed(line, work):
    """(call, path) of a line that changes a file below `work`, else nothing."""
    call = line.split("(", 1)[0]
    if call in ("write", "writev", "pwrite64", "fsync", "fdatasync", "ftruncate", "sendfile"):
        path = re.search(r"\(\d+<(/[^>]*)>", line)
    elif call == "copy_file_range":
        path = re.search(r"\(\d+<[^>]*>, [^,]*, \d+<([^>]*)>", line)
    elif call in ("openat", "open"):
        if not re.search(r"O_WRONLY|O_RDWR|O_CREAT", line) or ("O_CREAT" not in line and "ENOENT" in line):
            return None
        path = re.search(r'"([^"]*)"', line)
    else:
        names = re.findall(r'"([^"]*)"', line)
        path = re.search(r"()(.*)", names[-1]) if names else None
        if path:
            return (call.removesuffix("at"), work / path.group(2)) if below(work / path.group(2), work) else None
    if path is None or not below(work / path.group(1), work):
        return None
    return call.removesuffix("at") if call == "openat" else call, work / path.group(1)


def below(path, work):
    return work in path.parents


def every_call(work):
    """Nothing escapes the counting: strace sees the same calls on the same files."""
    done(*train(STEPS, *RARE), "-o", "warm", cwd=work)
    for kind in ("new", "resumed"):
        folder = work / "run"

        def prepare():
            shutil.rmtree(folder, ignore_errors=True)
            if kind == "resumed":
                run(*train(STEPS, *RARE), "-o", folder, cwd=work, env=environment(MOTLEY_CRASH_AT="after_step:66"))

        words = (*train(STEPS, *RARE), "-r", folder)
        prepare()
        counted = sorted(calls_of(work, words))
        prepare()
        _, lines = traced(work, words)
        seen = sorted(c for c in (parsed(line, work) for line in lines) if c is not None and c[0] not in ("unlink",))
        # Rows are committed by the clock as well as by their number, so the count of writes to run.h5 may differ.
        steady = lambda calls: [c for c in calls if c[1].name not in ("run.h5", ".lock", ".turn") or c[0] != "pwrite64"]
        expect(steady(seen) == steady(counted), f"{kind}: counted and seen differ: {sorted(set(map(str, steady(seen))) ^ set(map(str, steady(counted))))[:10]}, {len(steady(counted))} and {len(steady(seen))}")
        expect({c for c in seen if c not in steady([c])} == {c for c in counted if c not in steady([c])}, f"{kind}: writes of run.h5 differ in kind")
        print(f"{kind} run: {len(counted)} calls counted, {len(seen)} seen by strace")


def injected(work):
    """The same by strace, which fails the n-th call of each thread: another tool, the same result."""
    want = Undisturbed(work, 30)
    folder = work / "run"
    words = (*train(30), "-r", folder)
    files = [folder / name for name in ("run.h5.tmp", "run.h5", "config.ini.tmp", "config.ini")]
    files += [folder / "checkpoints" / f"step-{step:08d}.safetensors{end}" for step in range(4, 31) for end in ("", ".tmp") if step % 4 == 0 or step == 30]
    paths = [word for file in files for word in ("-P", file)]
    total = 0
    for call in ("pwrite64", "write", "fsync", "ftruncate", "rename", "openat"):
        n = 0
        while True:
            n += 1 if program.full else 3 if call in ("fsync", "rename", "ftruncate") else 31
            shutil.rmtree(folder, ignore_errors=True)
            failed, lines = traced(work, words, *paths, "-e", f"inject={call}:error=ENOSPC:when={n}")
            hit = [line for line in lines if "(INJECTED)" in line]
            if not hit:
                expect(failed.returncode == 0, f"{call} {n}: nothing injected, exit {failed.returncode}")
                break
            total += 1
            reading = call == "openat" and "O_RDONLY" in hit[0]
            expect(failed.returncode in ((IO, REFUSED, program.INPUT) if reading else (IO, REFUSED)), f"{call} {n}: exit {failed.returncode}\n{failed.stderr}\n{hit}")
            program.one_line(failed, failed.returncode, "No space left")
            want.check_left(folder, f"{call} {n}")
            done(*words, cwd=work)
            want.check_same(folder, f"{call} {n}")
    expect(total > 20, f"{total} calls only")
    print(f"{total} calls failed by strace, all readable, all digests equal")


def order(work):
    """A power cut finds whole files: data, fsync, rename, fsync of the folder; and rows before the checkpoint that counts on them."""
    done(*train(30), "-o", "warm", cwd=work)
    _, lines = traced(work, (*train(30), "-o", work / "run"))
    events = [c for c in (parsed(line, work) for line in lines) if c is not None]
    events = [(call, str(path.relative_to(work / "run"))) for call, path in events if path == work / "run" or work / "run" in path.parents]

    def last_before(index, wanted):
        return max((i for i in range(index) if wanted(*events[i])), default=-1)

    renamed = [i for i, (call, path) in enumerate(events) if call.startswith("rename")]
    names = [events[i][1] for i in renamed]
    expect(names.count("run.h5") == 1 and names.count("config.ini") == 1 and len(names) >= 9, f"files put in place: {names}")
    for i in renamed:
        path = events[i][1]
        temporary, parent = path + ".tmp", str(pathlib.PurePath(path).parent)
        written = last_before(i, lambda call, p: p == temporary and call in ("write", "writev", "pwrite64", "ftruncate"))
        synced = last_before(i, lambda call, p: p == temporary and call == "fsync")
        expect(0 <= written < synced, f"{path}: renamed before its data are durable: {events[max(0, i - 6) : i + 1]}")
        after = next((e for e in events[i + 1 :] if e[1] == parent or e[1].startswith(parent + "/") or parent == "."), None)
        expect(after == ("fsync", parent), f"{path}: after the rename comes {after}, not the fsync of its folder")
        if path.startswith("checkpoints/"):
            begun = last_before(i, lambda call, p: p == temporary and call == "open")
            rows = last_before(begun, lambda call, p: p == "run.h5" and call == "pwrite64")
            durable = last_before(begun, lambda call, p: p == "run.h5" and call == "fsync")
            expect(0 <= rows < durable, f"{path}: begun before the rows it counts on are durable")
    removed = [i for i, (call, path) in enumerate(events) if call.startswith("unlink") and path.endswith(".safetensors")]
    expect(removed, "no old checkpoint was removed")
    for i in removed:
        expect(last_before(i, lambda call, p: call == "fsync" and p == "checkpoints") > last_before(i, lambda call, p: call.startswith("rename")), "an old checkpoint goes before the new one is durable")
    ends = [i for i, (call, path) in enumerate(events) if path == "run.h5" and call in ("pwrite64", "fsync")]
    expect(events[ends[-1]][0] == "fsync", "the complete run is not durable")
    print(f"{len(names)} files put in place, {len(removed)} old checkpoints removed, in order")


if __name__ == "__main__":
    program.main([new_run, resumed_run, base_policy, every_call, injected, order])
