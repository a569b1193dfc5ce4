#!/usr/bin/env python3
"""Every relative link of every Markdown page leads to a file, and every anchor to a heading. Standard library only.

usage: check_links.py ROOT | self-test
"""

import pathlib
import re
import sys
import tempfile

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)


def anchors(text):
    """The anchors of a page's headings, as code hosts and MkDocs make them."""
    out, seen = set(), {}
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*$", FENCE.sub("", text), re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
        count = seen[slug] = seen.get(slug, -1) + 1
        out.add(slug if count == 0 else f"{slug}-{count}")
    return out


def faults(root):
    pages = [p for p in sorted(root.glob("*.md")) + sorted(root.glob("docs/**/*.md")) + sorted(root.glob("tests/**/README.md"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in LINK.findall(FENCE.sub("", text)):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _, anchor = target.partition("#")
            to = (page.parent / path).resolve() if path else page
            where = f"{page.relative_to(root)}: link to {target}"
            if not to.exists():
                yield f"{where}: there is no such file"
            elif anchor and to.suffix == ".md" and anchor not in anchors(to.read_text(encoding="utf-8")):
                yield f"{where}: no such heading"


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "docs").mkdir()
        (root / "README.md").write_text("# A b!\n[x](docs/a.md#one-two) [y](#a-b)\n```\n[not](a-link)\n```\n")
        (root / "docs" / "a.md").write_text("## One, two\n[up](../README.md)\n")
        assert list(faults(root)) == [], list(faults(root))
        (root / "docs" / "a.md").write_text("## One, three\n[up](../README)\n")
        assert len(list(faults(root))) == 2, list(faults(root))


if __name__ == "__main__":
    if sys.argv[1] == "self-test":
        self_test()
        sys.exit(0)
    found = list(faults(pathlib.Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "links: fine")
    sys.exit(1 if found else 0)
