#!/usr/bin/env python3
"""Every registered value of a method has a test that checks its numbers.

usage: check_evidence.py MOTLEY ROOT [--self-test]

tests/structural/evidence.txt names, for every value of every option below and every logged metric, one test whose
numbers come from elsewhere: a golden case, a number of a paper, or an independent oracle. This script asks the program
for its values and refuses a value without a line, a line without a value, a test that does not exist, and a test
that never mentions the value, neither in its file nor in the helpers, oracles and golden vectors that the file reads,
unless it loops over the whole registry (EnumNames, metric_info).
"""

import json
import pathlib
import re
import subprocess
import sys

OPTIONS = ["diversity.shaping", "diversity.reward_bias", "advantage.estimator", "advantage.baseline", "advantage.norm", "loss.policy", "loss.agg",
           "kl.estimator", "kl.direction", "kl.placement", "entropy.adaptive", "filter_groups.metric", "partition.method", "partition.linkage",
           "partition.merge", "partition.embedding", "rollout.temperature_schedule", "mismatch.correction", "task.name"]


def registered(motley, root):
    schema = json.loads(subprocess.run([motley, "config", "schema", "--json"], capture_output=True, text=True, check=True).stdout)
    values = {o["key"]: re.split(r"[,|]\s*", o["allowed"]) for o in schema}
    out = {(key, value.split(":")[0].strip()) for key in OPTIONS if key in values for value in values[key]}
    for source in ("core/metrics.cpp", "core/step_metrics.cpp"):
        path = root / source
        if path.exists():
            table = re.search(r"metric_info\(Metric metric\) \{(.*?)\n\}\n", path.read_text(), re.S)
            if table:
                out |= {("metrics", name) for name in re.findall(r"\{\s*\"(\w+)\",\s*\"", table.group(1))}
    return out


def tests_of(root):
    """Test name -> text of the file it stands in."""
    found = {}
    for path in sorted((root / "tests").rglob("*_test.cpp")):
        text = path.read_text()
        read = re.findall(r'#include "(tests/[^"]+)"', text) + [f"tests/golden/{name}" for name in re.findall(r'"(\w+\.json)"', text)]
        text = "\n".join([text] + [(root / name).read_text() for name in read if (root / name).exists()])
        for suite, name in re.findall(r"^(?:TYPED_TEST|TEST|TEST_P|TEST_F)\((\w+),\s*(\w+)\)", text, re.M):
            found[f"{suite}.{name}"] = text
    for path in sorted((root / "tests").rglob("CMakeLists.txt")):
        for suite, script, cases in re.findall(r"program_test\((\w+) (\w+\.py) ([\w ]+)\)", path.read_text()):
            for case in cases.split():
                found[f"{suite}.{case}"] = (path.parent / script).read_text()
    return found


def read_evidence(text):
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {(line[0], line[1]): line[2] for line in lines}


def check(values, evidence, tests):
    faults = [f"{key} = {value}: no test is named for it" for key, value in sorted(values - set(evidence))]
    faults += [f"{key} = {value}: is named, but the program has no such value" for key, value in sorted(set(evidence) - values)]
    for (key, value), test in sorted(evidence.items()):
        if test not in tests:
            faults.append(f"{key} = {value}: no test {test}")
        elif not any(re.search(r"\b" + re.escape(word) + r"\b", tests[test]) for word in (value, value.replace("-", "_"), "EnumNames", "metric_info")):
            faults.append(f"{key} = {value}: the file of {test} never mentions it")
    return faults


def main():
    root = pathlib.Path(sys.argv[2])
    values = registered(sys.argv[1], root)
    evidence = read_evidence((root / "tests/structural/evidence.txt").read_text())
    tests = tests_of(root)
    if "--self-test" in sys.argv:
        some = sorted(evidence)[0]
        planted = [
            ({**evidence, ("diversity.shaping", "planted"): evidence[some]}, "no such value"),
            ({k: v for k, v in evidence.items() if k != some}, "no test is named"),
            ({**evidence, some: "No.Such"}, "no test No.Such"),
        ]
        for changed, expected in planted:
            if not any(expected in fault for fault in check(values, changed, tests)):
                raise SystemExit(f"a planted fault was not caught: {expected}")
        if not check(values | {("loss.policy", "planted")}, evidence, tests):
            raise SystemExit("a value without a test was not caught")
        return
    faults = check(values, evidence, tests)
    if faults:
        raise SystemExit("\n".join(faults) + f"\n{len(faults)} of {len(values)} values lack evidence (tests/structural/evidence.txt)")
    print(f"{len(values)} values, each with its test")


if __name__ == "__main__":
    main()
