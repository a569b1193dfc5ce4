#!/usr/bin/env python3
"""What the documents name exists. usage: check_docs.py ROOT MOTLEY CASE

CASE: paper_map   options, functions and tests of docs/paper_map.md exist in the tree
      paths       files named in README.md and docs/ exist
      metrics     the table of /metrics in docs/metrics.md is metric_info of core/metrics.cpp
      options     `motley config explain KEY --json` answers in full for every key
      schema      docs/schema.md is what scripts/schema_page makes of a run (needs h5py)
      self-test   the first three catch planted faults
With --write, `metrics` and `schema` write their page instead of comparing.
"""

import difflib
import fnmatch
import json
import pathlib
import re
import subprocess
import sys
import tempfile

TINY = """[run]
steps = 2
[task]
modulus = 2
digits = 6
train_prompts = 8
eval_prompts = 4
[model]
layers = 1
width = 16
heads = 2
kv_heads = 2
ff = 24
[pretrain]
steps = 2
gate_every = 2
batch = 4
habit_steps = 2
gate = off
[classifier]
layers = 1
width = 16
heads = 2
ff = 16
steps = 2
batch = 8
[rollout]
prompts = 2
group_size = 2
max_tokens = 12
[eval]
samples = 4
k = 1,4
"""
CODE = re.compile(r"`([^`]+)`")
PATH = re.compile(r"\b(?:core|models|io|experiments|tests|scripts|docs|cmake)/[\w./-]*\w")


def text_of_sources(root):
    return "\n".join(
        p.read_text() for f in ("core", "models", "io", "experiments") for p in (root / f).rglob("*") if p.suffix in (".hpp", ".cpp")
    )


def tests_of(root):
    names = set()
    for path in (root / "tests").rglob("*.cpp"):
        for suite, name in re.findall(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", path.read_text()):
            names.add(f"{suite}.{name}")
    return names


def rows(text):
    for number, line in enumerate(text.splitlines(), 1):
        cells = [c.strip() for c in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and len(cells) >= 5 and not set(line) <= set("|- ") and cells[1] != "option":
            yield number, cells


def check_paper_map(text, root, options):
    faults = []
    sources, tests = text_of_sources(root), tests_of(root)
    values = {v for o in options for v in o["allowed"].split(", ")}
    keys = {o["key"]: o for o in options}
    for number, (_, option, function, test, *_) in rows(text):
        def fault(what):
            faults.append(f"docs/paper_map.md:{number}: {what}")

        last = ""
        for code in CODE.findall(option):
            key, _, value = (part.strip() for part in code.partition("="))
            if key.startswith("_"):  # `loss.clip_ratio_low`, `_high`
                key = last[: last.rfind("_")] + key
            if "." in key:
                last = key
                if key.endswith(".*"):
                    if not any(k.startswith(key[:-1]) for k in keys):
                        fault(f"no option begins with {key[:-1]}")
                elif key not in keys:
                    fault(f"no option {key}")
                elif value and keys[key]["type"] == "choice" and value not in keys[key]["allowed"].split(", "):
                    fault(f"{key} has no value {value}")
                elif value and key == "run.method" and value not in values:
                    fault(f"no method {value}")
            elif key not in values:
                fault(f"no option has the value {key}")
        for name in CODE.findall(function):
            for part in name.split("::"):
                if not re.search(rf"\b{re.escape(part)}\b", sources):
                    fault(f"no {name} in the sources")
                    break
        for pattern in re.findall(r"\b\w+\.[\w*]+", test):
            if not fnmatch.filter(tests, pattern):
                fault(f"no test {pattern}")
    return faults


def check_paths(documents, root):
    faults = []
    for name, text in documents.items():
        for number, line in enumerate(text.splitlines(), 1):
            for path in PATH.findall(line):
                if "*" in line[line.find(path) : line.find(path) + len(path) + 1]:
                    continue
                if not (root / path).exists() and not list(root.glob(path + ".*")):
                    faults.append(f"{name}:{number}: there is no {path}")
    return faults


def metric_rows(root):
    """Rows of the table of /metrics, from metric_info."""
    text = (root / "core/metrics.cpp").read_text()
    table = text[text.index("metric_info") : text.index("return table.at")]
    rows = []
    for name, unit, literals in re.findall(r'\{"(\w+)",\s*"([^"]*)",\s*((?:"[^"]*"\s*)+)\}', table):
        sentence = "".join(re.findall(r'"([^"]*)"', literals)).replace("|", "\\|")
        rows.append(f"| `{name}` | {unit} | {sentence} |")
    return rows


METRICS_HEAD = "| column | unit | meaning |\n| --- | --- | --- |\n"


def with_metric_rows(text, rows):
    """docs/metrics.md with the table of /metrics written anew."""
    first = text.index(METRICS_HEAD) + len(METRICS_HEAD)
    return text[:first] + "\n".join(rows) + text[text.index("\n\n", first) :]


def check_metrics(text, rows):
    faults = [f"docs/metrics.md: lacks the row {row}" for row in rows if row not in text.splitlines()]
    if not faults and with_metric_rows(text, rows) != text:
        faults.append("docs/metrics.md: a row of /metrics is no column, or stands elsewhere than in the file")
    return faults and faults + ["write it anew with scripts/record"]


def config_schema(motley):
    return json.loads(subprocess.run([motley, "config", "schema", "--json"], check=True, capture_output=True, text=True).stdout)


def check_options(motley):
    faults = []
    for option in config_schema(motley):
        key = option["key"]
        words = [motley, "config", "explain", key]
        done = subprocess.run([*words, "--json"], capture_output=True, text=True)
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
        if key == "run.method":
            answer.pop("presets", None)
        if sorted(answer) != ["allowed", "default", "key", "text", "type", "unit"]:
            faults.append(f"{key}: explain --json has the fields {sorted(answer)}")
            continue
        for field in ("key", "type", "unit", "allowed", "text"):
            if not isinstance(answer[field], str) or not answer[field].strip():
                faults.append(f"{key}: {field} is empty")
        if answer != {field: option[field] for field in answer}:
            faults.append(f"{key}: explain and schema differ")
        if len(answer["text"].split()) < 2:
            faults.append(f"{key}: no sentence")
        plain = subprocess.run(words, capture_output=True, text=True).stdout
        if answer["text"] not in plain or answer["allowed"] not in plain:
            faults.append(f"{key}: the plain explanation lacks its text")
    return faults


def schema_page(root, motley):
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(TINY)
        subprocess.run([motley, "train", "-q", "-c", "tiny.ini", "-o", "run"], cwd=work, check=True, capture_output=True)
        done = subprocess.run(
            [sys.executable, str(root / "scripts/schema_page"), "run/run.h5"], cwd=work, check=True, capture_output=True, text=True
        )
        return done.stdout


def check_schema(root, motley):
    want = (root / "docs/schema.md").read_text().splitlines()
    lines = list(difflib.unified_diff(want, schema_page(root, motley).splitlines(), "docs/schema.md", "generated", lineterm="", n=0))
    return lines and lines + ["write it anew with scripts/record"]


def documents_of(root):
    files = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return {p.relative_to(root).as_posix(): p.read_text() for p in files if p.name != "log.md"}


def self_test(root, motley):
    options, text = config_schema(motley), (root / "docs/paper_map.md").read_text()
    line = "| x | {} | {} | {} | same |\n"
    plants = [
        ("`partition.tresh`", "`pair_scores`", "Golden.Partition"),
        ("`partition.method = nonsense`", "`pair_scores`", "Golden.Partition"),
        ("`run.method = nonsense`", "`pair_scores`", "Golden.Partition"),
        ("`nonsense.*`", "`pair_scores`", "Golden.Partition"),
        ("-", "`no_such_function`", "Golden.Partition"),
        ("-", "`pair_scores`", "Golden.NoSuchTest"),
    ]
    base = len(check_paper_map(text, root, options))
    faults = []
    for plant in plants:
        if len(check_paper_map(text.rstrip("\n") + "\n" + line.format(*plant), root, options)) != base + 1:
            faults.append(f"not caught: {plant}")
    if not check_paths({"x.md": "see core/no_such_file.cpp"}, root):
        faults.append("a missing file is not caught")
    known = METRICS_HEAD + "| `known` | 1 | a sentence |\n\nrest"
    rows_known = ["| `known` | 1 | a sentence |"]
    if check_metrics(known, rows_known) or len(metric_rows(root)) < 30:
        faults.append("a good table of metrics is refused")
    if not check_metrics(known, [*rows_known, "| `other` | 1 | x |"]) or not check_metrics(known.replace("\n\n", "\n| `gone` | 1 | x |\n\n"), rows_known):
        faults.append("a metric without its row, or a row without its metric, is not caught")
    return faults


def main():
    root, motley, case = pathlib.Path(sys.argv[1]).resolve(), str(pathlib.Path(sys.argv[2]).resolve()), sys.argv[3]
    if case == "schema" and "--write" in sys.argv:
        (root / "docs/schema.md").write_text(schema_page(root, motley))
        return
    if case == "metrics" and "--write" in sys.argv:
        page = root / "docs/metrics.md"
        page.write_text(with_metric_rows(page.read_text(), metric_rows(root)))
        return
    faults = {
        "paper_map": lambda: check_paper_map((root / "docs/paper_map.md").read_text(), root, config_schema(motley)),
        "paths": lambda: check_paths(documents_of(root), root),
        "metrics": lambda: check_metrics((root / "docs/metrics.md").read_text(), metric_rows(root)),
        "options": lambda: check_options(motley),
        "schema": lambda: check_schema(root, motley),
        "self-test": lambda: self_test(root, motley),
    }[case]()
    print("\n".join(faults) if faults else f"{case}: fine")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
