#!/usr/bin/env python3
"""Runs the commands of a page as a reader would, in a scratch copy, with models so small that it takes seconds.

usage: run_docs.py ROOT MOTLEY PAGE [--full] [--keep FOLDER]     PAGE relative to ROOT, or `self-test`
       --full   at the sizes the page states, printing every output: to renew what the page shows
       --keep   in FOLDER, which is not removed

In a page, ```sh blocks are run in order in one folder that holds experiments/, docs/ and build/release/motley (also on
PATH); ```python blocks by Python. Comments before a block say how:
    <!-- skip: REASON -->      not run; counted, and printed
    <!-- exit: N -->           its last command returns N (or `N or M`); else every command must return 0
    <!-- file: NAME -->        written to NAME; a sweep's seeds are cut to two
    <!-- output -->            what the block before printed, to the letter; a line `...` stands for any lines
    <!-- output: form -->      the same, numbers and widths aside
    <!-- output: form 3 -->    the same, of the first three lines
The sizes come from SMALL, which replaces keys in the copy of the shipped experiments. In README.md the indented lines are the
commands.
"""

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SMALL = {
    "run": {"steps": "110"},
    "task": {"train_prompts": "32", "eval_prompts": "8"},
    "model": {"layers": "1", "width": "16", "heads": "2", "kv_heads": "2", "ff": "32"},
    "pretrain": {"steps": "6", "gate_every": "3", "batch": "8", "habit_steps": "3", "gate": "off"},
    "classifier": {"layers": "1", "width": "16", "heads": "2", "ff": "16", "steps": "4"},
    "reward_model": {"pairs": "64", "steps": "4"},
    "rollout": {"prompts": "4"},
}
COMMENT = re.compile(r"^\s*<!--\s*(skip|exit|file|output)(?::\s*(.*?))?\s*-->\s*$")
NUMBER = re.compile(r"\b[0-9a-f]{8,64}\b|[-+]?\d[\d.,/:]*(?:e[-+]?\d+)?(?:[kMG]?B?|ms|s|%)?(?=$|[\s,;)\]/|-])")
README_SKIPS = {  # how a line begins -> why it is not run
    "scripts/quickstart": "the whole experiment, minutes",
    "scripts/test": "these tests",
    "notebooks/sweeps/make": "the notebooks' own fixture runs it",
    "build/release/motley sweep run experiments/methods.ini": "168 runs; tests/experiments/presets.py trains every method",
}
README_FIRST = "motley sweep run experiments/quickstart.ini"  # what its `scripts/quickstart` has left behind


class Block:
    def __init__(self, language, text, line, marks):
        self.language, self.text, self.line, self.marks = language, text, line, marks


def blocks_of(text):
    """The fenced blocks of a page, each with the comments that stand right before it."""
    blocks, marks, lines, i = [], {}, text.splitlines(), 0
    while i < len(lines):
        comment, fence = COMMENT.match(lines[i]), re.match(r"^(\s*)```(\w*)\s*$", lines[i])
        if comment:
            marks[comment.group(1)] = comment.group(2) or ""
        elif fence:
            first, indent = i + 1, len(fence.group(1))
            i = next((j for j in range(first, len(lines)) if lines[j].strip() == "```"), len(lines))
            if i == len(lines):
                raise SystemExit(f"line {first}: the block does not end")
            blocks.append(Block(fence.group(2), "\n".join(line[indent:] for line in lines[first:i]) + "\n", first, marks))
            marks = {}
        elif lines[i].strip():
            if marks:
                raise SystemExit(f"line {i + 1}: {marks} stands before no block")
        i += 1
    return blocks


def readme_blocks(text):
    """Indented paragraphs: shell, or Python where the first line imports."""
    blocks = [Block("sh", README_FIRST + "\n", 0, {})]
    for found in re.finditer(r"(?:^ {4}\S.*\n)+", text, re.M):
        lines = [line[4:] for line in found.group(0).splitlines()]
        at = text[: found.start()].count("\n") + 1
        if lines[0].startswith("import "):
            blocks.append(Block("python", "\n".join(lines) + "\n", at, {}))
            continue
        for number, line in enumerate(lines):
            marks = {"skip": why for start, why in README_SKIPS.items() if line.startswith(start)}
            blocks.append(Block("sh", line + "\n", at + number, marks))
    return blocks


def smaller(ini):
    """The text of a base configuration at test size: its sections and keys stay, those of SMALL get other values."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"), strict=False)
    head = re.match(r"(?:\s*(?:[;#].*)?\n)*(?:include\s*=.*\n)?", ini).group(0)
    parser.read_string(ini[len(head) :])
    for section, keys in SMALL.items():
        if not parser.has_section(section):
            parser.add_section(section)
        for key, value in keys.items():
            parser.set(section, key, value)
    return head + "".join(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in parser[name].items()) for name in parser.sections())


def fewer_seeds(ini):
    return re.sub(r"^(seeds\s*=\s*)(\d+):(\d+)", lambda m: f"{m[1]}{m[2]}:{min(int(m[3]), int(m[2]) + 2)}", ini, flags=re.M)


def make_folder(root, motley, work, full):
    (work / "build/release").mkdir(parents=True)
    (work / "build/release/motley").symlink_to(motley)
    shutil.copytree(root / "docs", work / "docs")
    (work / "experiments").mkdir()
    for path in (root / "experiments").glob("*.ini"):
        text = path.read_text()
        if not full:
            text = fewer_seeds(text) if re.search(r"^\[sweep\]", text, re.M) else smaller(text)
        (work / "experiments" / path.name).write_text(text)


def form(text):
    lines = []
    for line in text.splitlines():
        line = NUMBER.sub("N", line)
        line = re.sub(r"-{3,}", "---", line)
        line = re.sub(r"(?<=\s)-(?=\s|$)", "N", line)
        lines.append(re.sub(r"\s+", " ", line).strip())
    return "\n".join(lines)


def differs(shown, printed, how):
    """None, or the first difference between what the page shows and what was printed."""
    if how.startswith("form"):
        shown, printed = form(shown), form(printed)
    want, have = shown.strip("\n").splitlines(), printed.strip("\n").splitlines()
    if count := how[4:].strip():
        want, have = want[: int(count)], have[: int(count)]
    i = 0
    while want:
        if want[0].strip() == "...":
            want = want[1:]
            if not want:
                return None
            while i < len(have) and have[i] != want[0]:
                i += 1
        if i >= len(have):
            return f"the page shows\n  {want[0]}\nwhere the output ends"
        if want[0] != have[i]:
            return f"the page shows\n  {want[0]}\nprinted is\n  {have[i]}"
        want, i = want[1:], i + 1
    return None if i == len(have) else f"the output goes on with\n  {have[i]}"


def missing_module(text):
    found = re.search(r"^ModuleNotFoundError: No module named '([\w.]+)'", text, re.M)
    return found and found.group(1)


def run_page(page, blocks, work, full):
    env = dict(os.environ, PATH=f"{work / 'build/release'}:{os.environ['PATH']}", TERM="dumb", MPLBACKEND="Agg")
    env.setdefault("OMP_PROC_BIND", "false")
    env.pop("SLURM_PROCID", None)
    faults, skips, ran, last = [], [], 0, ""
    for block in blocks:
        where = f"{page}:{block.line}"
        if "skip" in block.marks:
            skips.append(f"{where}: not run: {block.marks['skip']}")
        elif "file" in block.marks:
            (work / block.marks["file"]).parent.mkdir(parents=True, exist_ok=True)
            (work / block.marks["file"]).write_text(block.text if full else fewer_seeds(block.text))
        elif "output" in block.marks:
            difference = None if full else differs(block.text, last, block.marks["output"])
            if difference:
                faults.append(f"{where}: {difference}")
        elif block.language in ("sh", "python"):
            words = ["bash", "-e", "-o", "pipefail", "-c", block.text] if block.language == "sh" else [sys.executable, "-c", block.text]
            done = subprocess.run(words, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            last, ran = done.stdout, ran + 1
            if full:
                print(f"--- {where}\n{block.text}--- {done.returncode}\n{last}", flush=True)
            if block.language == "python" and done.returncode and missing_module(last):
                skips.append(f"{where}: not run: no module {missing_module(last)} here")
                continue
            allowed = [int(code) for code in block.marks.get("exit", "0").split(" or ")]
            if done.returncode not in allowed:
                faults.append(f"{where}: exit {done.returncode}, not {block.marks.get('exit', '0')}\n{block.text}{last[-1500:]}")
    return faults, skips, ran


def check_page(root, motley, page, full, keep):
    text = (root / page).read_text()
    blocks = readme_blocks(text) if page == "README.md" else blocks_of(text)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(keep or folder).resolve()
        make_folder(root, motley, work, full)
        faults, skips, ran = run_page(page, blocks, work, full)
    print("\n".join(skips + faults))
    print(f"{page}: {ran} blocks run, {len(skips)} skipped, {len(faults)} faults")
    return bool(faults) or ran + len(skips) == 0


def self_test(root, motley):
    """Pages with a fault each, and without one."""
    def faults(text):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder).resolve()
            make_folder(root, motley, work, False)
            return len(run_page("x.md", blocks_of(text), work, False)[0])

    cases = [
        ("```sh\nmotley info\n```\n", 0),
        ("```sh\nmotley no-such-command\n```\n", 1),
        ("<!-- exit: 2 -->\n```sh\nmotley no-such-command\n```\n", 0),
        ("```sh\nfalse; true\n```\n", 1),
        ("```sh\nfalse | cat\n```\n", 1),
        ("<!-- skip: no reason -->\n```sh\nfalse\n```\n", 0),
        ("```sh\nprintf 'a 1.5\\nb\\n'\n```\n<!-- output -->\n```text\na 1.5\nb\n```\n", 0),
        ("```sh\nprintf 'a 1.5\\nb\\n'\n```\n<!-- output -->\n```text\na 1.6\nb\n```\n", 1),
        ("```sh\nprintf 'a  1.5\\nb\\n'\n```\n<!-- output: form -->\n```text\na 12.67\nb\n```\n", 0),
        ("```sh\nprintf 'a 1.5\\nb\\n'\n```\n<!-- output: form -->\n```text\na 1.5\nc\n```\n", 1),
        ("```sh\nprintf 'a 1.5\\nb\\n'\n```\n<!-- output: form 1 -->\n```text\na 1.5\nc\n```\n", 0),
        ("```sh\nprintf 'a\\nb\\nc\\n'\n```\n<!-- output -->\n```text\na\n...\nc\n```\n", 0),
        ("```sh\nprintf 'a\\nb\\nc\\n'\n```\n<!-- output -->\n```text\na\n...\nd\n```\n", 1),
        ("```sh\nprintf 'a\\nb\\n'\n```\n<!-- output -->\n```text\na\n```\n", 1),
        ("<!-- file: x/y.ini -->\n```ini\nseeds = 1:9\n```\n```sh\ngrep -q 'seeds = 1:3' x/y.ini\n```\n", 0),
        ("```python\nraise SystemExit(3)\n```\n", 1),
        ("```sh\ngrep -q 'width = 16' experiments/base.ini && ! grep -q 'width = 64' experiments/base.ini\n```\n", 0),
    ]
    wrong = [(text, want) for text, want in cases if faults(text) != want]
    for text, want in wrong:
        print(f"self-test: not {want} faults in\n{text}")
    return bool(wrong)


def main():
    root, motley, page = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3]
    if page == "self-test":
        sys.exit(self_test(root, motley))
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    sys.exit(check_page(root, motley, page, "--full" in sys.argv, keep))


if __name__ == "__main__":
    main()
