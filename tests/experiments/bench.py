#!/usr/bin/env python3
"""motley bench: fixed work, counted right, the same weights for the same seed; and what it refuses.

usage: bench.py MOTLEY CASE      CASE: work | refusals
Standard library only. No assertion depends on how long anything takes.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

QUICK = ["--blocks", "1", "--block-seconds", "0.001"]
SMALL = ["model.layers=1", "model.width=16", "model.heads=2", "model.kv_heads=2", "model.ff=32", "rollout.prompts=3", "rollout.group_size=4",
         "rollout.max_tokens=9", "classifier.layers=1", "classifier.width=16", "classifier.heads=2", "classifier.ff=16", "--vocab", "12", "--prompt-tokens", "5"]


def expect(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def run(*words, check=True, cwd=None):
    done = subprocess.run([motley, "bench", *map(str, words)], capture_output=True, text=True, cwd=cwd)
    expect(not check or done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stderr}")
    return done


def bench(*words):
    return json.loads(run(*QUICK, "--json", *words).stdout)


def work(folder):
    for replicas in (1, 3):
        one = bench(*SMALL, "-R", replicas, "-o", folder)
        B, G, T, P, V, D, F = 3, 4, 9, 5, 12, 16, 32
        expect(one["shape"] == {"R": replicas, "B": B, "G": G, "P": P, "T": T, "V": V, "width": D, "layers": 1, "heads": 2, "ff": F}, one["shape"])
        # Every completion has T tokens, though a random policy ends one in twelve by its end token.
        expect(one["tokens"] == replicas * B * G * T, one["tokens"])
        expect(one["classifier_pairs"] == replicas * B * G * (G - 1) / 2, one["classifier_pairs"])
        expect(0 < one["classifier_calls"] <= one["classifier_pairs"], "calls")
        # Operations, counted once more by hand: rows of the layers, attended positions, head.
        rows = B * P + B * G * (T - 1)
        attended = B * P * (P + 1) / 2 + B * G * sum(P + t for t in range(1, T))
        forward = replicas * (2 * (4 * D * D + 3 * D * F) * rows + 4 * D * attended + 2 * D * V * (B + B * G * (T - 1)))
        seconds = one["stages"]["rollout"]["seconds"]["median"]
        expect(abs(one["stages"]["rollout"]["gflops"] * 1e9 * seconds / forward - 1) < 1e-9, "operations of the rollout")
        update = one["stages"]["update"]
        expect(update["gflops"] * 1e9 * update["seconds"]["median"] >= 3 * forward * (1 - 1e-9), "operations of the update")
    for key in ("step_s", "rollout_s", "partition_s", "update_s", "rollout_tokens_per_s", "update_tokens_per_s", "gemm_peak_gflops",
                "rollout_peak_share", "update_peak_share", "peak_memory_bytes"):
        expect(one[key] > 0, f"{key}: {one[key]}")
    expect(one["log_s"] >= 0 and 0 <= one["log_share"] <= 1, "log")
    stages = sum(one["stages"][s]["seconds"]["median"] for s in one["stages"])
    expect(abs(stages / one["step_s"] - 1) < 1e-6, f"one block: stages {stages}, step {one['step_s']}")
    expect(list(pathlib.Path(folder).iterdir()) == [], "run files were left behind")
    grpo = bench(*SMALL, "run.method=grpo", "partition.method=exact", "-o", folder)
    expect(grpo["classifier_calls"] == 0 and grpo["method"] == "grpo", "an exact partition asks no classifier")
    text = run(*QUICK, *SMALL, "-o", folder).stdout
    for word in ("rollout", "update", "of the peak", "steps per second", "bytes per token"):
        expect(word in text, f"no '{word}' in\n{text}")


def refusals(folder):
    def fails(code, text, *words):
        done = run(*QUICK, *words, check=False, cwd=folder)
        expect(done.returncode == code, f"{words}: exit {done.returncode}, expected {code}\n{done.stderr}")
        expect(text in done.stderr and len(done.stderr.strip().splitlines()) == 1, f"{words}: no '{text}' in\n{done.stderr}")

    fails(2, 'got "XL"; allowed: S, M, L', "--case", "XL")
    fails(2, "--vocab", "--vocab", "3")
    fails(2, "task.modulus (command line): bench trains a random policy", "task.modulus=7")
    fails(2, "eval.samples (command line): bench", "eval.samples=7")
    fails(2, 'did you mean "rollout.prompts"?', "rollout.prompt=7")
    fails(2, "--block-seconds", "--block-seconds", "0")
    fails(2, "--replicas", "-R", "0")
    (pathlib.Path(folder) / "file").write_text("")
    fails(3, "cannot be made", "-o", "file")


def main():
    global motley
    motley = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        {"work": work, "refusals": refusals}[sys.argv[2]](folder)


if __name__ == "__main__":
    main()
