#!/usr/bin/env python3
"""The pages of docs/howto quote the examples as they are.

usage: check_quotes.py ROOT [--write | --self-test]

A line `<!-- FILE NAME -->` of a page stands before a block of code that is the part of FILE between two lines
`//! [NAME]`, without the lines of other parts. --write writes the blocks anew.
"""

import pathlib
import re
import sys
import textwrap

QUOTE = re.compile(r"^<!-- (\S+\.\w+) (\w+) -->\n(?:\n?```cpp\n.*?^```\n)?", re.M | re.S)
MARK = re.compile(r"^\s*//! \[(\w+)\]$")


def part(text, name):
    """Lines between the two marks of a name, or None."""
    out, inside, seen = [], False, 0
    for line in text.splitlines():
        mark = MARK.match(line)
        if mark:
            if mark.group(1) == name:
                inside, seen = not inside, seen + 1
        elif inside:
            out.append(line)
    return textwrap.dedent("\n".join(out)).strip("\n") if seen == 2 else None


def quoted(page, root):
    """The page as it should be, and what it names that is not there."""
    faults = []

    def block(match):
        path, name = root / match.group(1), match.group(2)
        code = part(path.read_text(), name) if path.exists() else None
        if code is None:
            faults.append(f"no part {name} in {match.group(1)}")
            return match.group(0)
        return f"<!-- {match.group(1)} {name} -->\n```cpp\n{code}\n```\n"

    return QUOTE.sub(block, page), faults


def check(root, write=False):
    faults, named = [], set()
    for page in sorted((root / "docs/howto").glob("*.md")):
        text = page.read_text()
        wanted, missing = quoted(text, root)
        named |= {(m.group(1), m.group(2)) for m in QUOTE.finditer(text)}
        faults += [f"{page.name}: {m}" for m in missing]
        if wanted != text and write:
            page.write_text(wanted)
        elif wanted != text:
            faults.append(f"{page.name}: a quotation differs from its file; write it anew with tests/structural/check_quotes.py . --write")
    for example in sorted((root / "docs/examples").glob("*.cpp")):
        name = example.relative_to(root).as_posix()
        for mark in {m.group(1) for line in example.read_text().splitlines() if (m := MARK.match(line))}:
            if (name, mark) not in named:
                faults.append(f"{name}: part {mark} is quoted nowhere")
    return faults


def self_test():
    text = "//! [a]\nint x;\n  //! [b]\n  int y;\n  //! [b]\n//! [a]\nint z;\n"
    expect = [(part(text, "a"), "int x;\n  int y;"), (part(text, "b"), "int y;"), (part(text, "c"), None), (part("//! [a]\n", "a"), None)]
    faults = [f"{got!r} instead of {want!r}" for got, want in expect if got != want]
    root = pathlib.Path(__file__).parent
    page = f"x\n<!-- {pathlib.Path(__file__).name} none -->\n```cpp\nold\n```\ny\n"
    if quoted(page, root)[1] == [] or QUOTE.sub("", page) != "x\ny\n":
        faults.append("a missing part, or an old block, is not seen")
    return faults


def main():
    root = pathlib.Path(sys.argv[1])
    faults = self_test() if "--self-test" in sys.argv else check(root, "--write" in sys.argv)
    print("\n".join(faults) if faults else "quotations: fine")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
