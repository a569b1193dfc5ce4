"""motley and its peers side by side: one table of step times, one of sweep throughput, ratios.

    compare.py MOTLEY PYTHON [--rounds 3] [--cases S,M,L] [--seconds 4] [-o results.json]

Programs alternate within each round, so that a machine that slows down slows all of them; figures are
medians over the rounds. Every peer runs at one thread and at all, and the better figure counts.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
PEERS = {
    "torch eager": ["torch_step.py"],
    "torch compiled": ["torch_step.py", "--compile"],
    "torch compiled, bf16": ["torch_step.py", "--compile", "--bf16"],
    "jax": ["jax_step.py"],
    "trl": ["trl_step.py"],
}
SWEEP = 16


def last_json(words, **settings):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **settings)
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(map(str, words))}: exit {done.returncode}")
    return parsed(done.stdout)


def parsed(text):
    # motley prints one object over many lines, a peer one on its last line, whatever its library printed before.
    text = text.strip()
    return json.loads(text if text.startswith("{\n") else text.splitlines()[-1])


class Bench:
    def __init__(self, args):
        self.args = args
        self.threads = len(os.sched_getaffinity(0))

    def motley(self, case, threads, *more):
        words = [self.args.motley, "bench", "--case", case, "--threads", threads, "--blocks", 4, "--block-seconds", self.args.seconds / 4, "--json", *more]
        return last_json(words)

    def peer(self, name, case, threads, *more):
        words = [self.args.python, HERE / PEERS[name][0], *PEERS[name][1:], "--case", case, "--threads", threads, "--seconds", self.args.seconds, *more]
        return last_json(words)

    def check(self, folder):
        for name in ("torch eager", "jax", "trl"):
            found = self.peer(name, "S", self.threads, "--check", folder)
            print(f"{name}: {found['compared']} log-probabilities, largest difference to motley's {found['largest_difference']:.1e}", flush=True)

    def steps(self, case):
        """Median seconds of a step by (program, threads), over the rounds."""
        rows = {}
        for _ in range(self.args.rounds):
            for threads in sorted({1, self.threads}):
                rows.setdefault(("motley", threads), []).append(self.motley(case, threads))
                # Logs, clusters with a learned classifier; the peers do neither: so here is a step that clusters by equality.
                rows.setdefault(("motley, grpo without classifier", threads), []).append(self.motley(case, threads, "run.method=grpo", "partition.method=exact"))
                rows.setdefault(("motley, bf16", threads), []).append(self.motley(case, threads, "model.precision=bf16"))
                for name in self.args.peers:
                    rows.setdefault((name, threads), []).append(self.peer(name, case, threads))
        return {key: {"step_s": statistics.median(r["step_s"] for r in found), "rounds": found} for key, found in rows.items()}

    def sweep(self):
        """Steps per second of 16 runs of case S at the machine's disposal."""
        rows = {}
        for _ in range(self.args.rounds):
            packed = self.motley("S", self.threads, "-R", SWEEP)
            rows.setdefault("motley, packed", []).append(SWEEP / packed["step_s"])
            rows.setdefault("motley, one core, packed", []).append(SWEEP / self.motley("S", 1, "-R", SWEEP)["step_s"])
            rows.setdefault("motley, alone", []).append(1 / self.motley("S", self.threads)["step_s"])
            rows.setdefault("motley, a process per core", []).append(self.side_by_side([self.args.motley, "bench", "--case", "S", "--threads", 1, "--json"]))
            for name in self.args.peers:
                words = [self.args.python, HERE / PEERS[name][0], *PEERS[name][1:], "--case", "S", "--threads", 1, "--seconds", self.args.seconds]
                rows.setdefault(f"{name}, a process per core", []).append(self.side_by_side(words))
            if "jax" in self.args.peers:
                vmapped = self.peer("jax", "S", self.threads, "--replicas", SWEEP)
                rows.setdefault("jax, vmap", []).append(SWEEP / vmapped["step_s"])
        return {name: statistics.median(values) for name, values in rows.items()}

    def side_by_side(self, words):
        """Steps per second of one process on each core, all at once."""
        cores = sorted(os.sched_getaffinity(0))
        children = [subprocess.Popen(["taskset", "-c", str(core), *map(str, words)], stdout=subprocess.PIPE, text=True) for core in cores]
        rate = 0.0
        for child in children:
            rate += 1 / parsed(child.communicate()[0])["step_s"]
        return rate


def print_steps(case, rows):
    best = min(row["step_s"] for (name, _), row in rows.items() if name == "motley")
    print(f"\ncase {case}: seconds per step\n\n| program | threads | step | against motley's best |\n| --- | --- | --- | --- |")
    for (name, threads), row in sorted(rows.items(), key=lambda item: item[1]["step_s"]):
        print(f"| {name} | {threads} | {row['step_s']:.4f} | {row['step_s'] / best:.2f} |")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("motley")
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=lambda s: s.split(","), default=["S", "M", "L"])
    parser.add_argument("--peers", type=lambda s: s.split("/"), default=list(PEERS), help="separated by /")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--check", metavar="FOLDER")
    parser.add_argument("--no-sweep", action="store_true")
    parser.add_argument("-o", "--output")
    args = parser.parse_args()
    bench = Bench(args)
    results = {"cases": {}}
    if args.check:
        bench.check(args.check)
    for case in args.cases:
        rows = bench.steps(case)
        print_steps(case, rows)
        results["cases"][case] = [{"program": name, "threads": threads, **row} for (name, threads), row in rows.items()]
    if not args.no_sweep:
        results["sweep"] = rates = bench.sweep()
        print(f"\n{SWEEP} runs of case S: steps per second of all runs together\n\n| how | steps/s | of motley packed |\n| --- | --- | --- |")
        for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
            print(f"| {name} | {rate:.1f} | {rate / rates['motley, packed']:.3f} |")
    if args.output:
        pathlib.Path(args.output).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
