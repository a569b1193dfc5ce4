#!/usr/bin/env python3
"""The digest of a fixed tiny run on one thread. usage: signature.py ROOT MOTLEY BUILD_DIR [--write]

Bits depend on the compiler, its flags and the instruction set (-march=native), so tests/signature.txt
holds one line per machine and build: `<fingerprint> <digest> <what the fingerprint is made of>`. Without
a line for this one the test prints its own and is skipped (exit 77). `--write` puts it there.
"""

import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

RUN = """[run]
method = darling
seed = 11
steps = 20
[task]
modulus = 3
digits = 4
train_prompts = 24
eval_prompts = 6
[model]
layers = 2
width = 24
heads = 3
kv_heads = 1
ff = 40
[pretrain]
steps = 12
gate_every = 6
batch = 12
habit_steps = 4
gate = off
[classifier]
layers = 1
width = 16
heads = 2
ff = 24
steps = 6
batch = 16
[rollout]
prompts = 6
group_size = 5
max_tokens = 14
[kl]
coef = 0.01
[entropy]
coef = 0.001
[eval]
every_steps = 10
samples = 8
k = 1,8
"""


def environment(threads):
    return dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive", OMP_PROC_BIND="false")


def facts(motley, build):
    """What the bits of the build depend on."""
    info = json.loads(subprocess.run([motley, "info", "--json"], check=True, capture_output=True, text=True).stdout)
    command = next(
        e["command"] for e in json.loads((build / "compile_commands.json").read_text()) if e["file"].endswith("/models/policy.cpp")
    )
    flags = [w for w in shlex.split(command) if re.match(r"-(O|m|f|D|std=|W,)", w)]
    cpu = next((l for l in open("/proc/cpuinfo") if l.startswith("flags")), "")
    return {
        "compiler": info["compiler"],
        "kokkos": info["kokkos_version"],
        "flags": " ".join(flags),
        "cpu": hashlib.sha256(" ".join(sorted(cpu.split())).encode()).hexdigest()[:12],
    }


def digest(motley, threads=1):
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "signature.ini").write_text(RUN)
        env = environment(threads)
        done = subprocess.run([motley, "train", "-q", "-c", "signature.ini", "-o", "run"], cwd=work, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"the run failed: {done.stderr}")
        return subprocess.run([motley, "digest", "run"], cwd=work, env=env, check=True, capture_output=True, text=True).stdout.strip()


def main():
    root, build = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[3]).resolve()
    motley = str(pathlib.Path(sys.argv[2]).resolve())
    record = root / "tests/signature.txt"
    made_of = facts(motley, build)
    fingerprint = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    got = digest(motley)
    line = f"{fingerprint} {got} {made_of['compiler']}, Kokkos {made_of['kokkos']}, cpu {made_of['cpu']}, {made_of['flags']}"
    lines = record.read_text().splitlines() if record.exists() else []
    known = {l.split()[0]: l.split()[1] for l in lines if l and not l.startswith("#")}
    if "--write" in sys.argv:
        kept = [l for l in lines if not l.startswith(fingerprint)]
        record.write_text("\n".join([*kept, line]) + "\n")
        print(f"Signature: {got}")
    elif fingerprint not in known:
        print(f"no record for this build and machine; its line would be\n{line}")
        sys.exit(77)
    elif known[fingerprint] != got:
        print(f"got {got}, recorded {known[fingerprint]}: results have changed. If they should, run scripts/record and say why.")
        sys.exit(1)
    else:
        print(f"Signature: {got}")


if __name__ == "__main__":
    main()
