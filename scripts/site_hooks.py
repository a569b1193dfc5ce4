"""Hooks of the site (mkdocs.yml): links that leave docs/, pages the menu does not name, formulas without a network."""

import os
import pathlib
import re
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[1]
KATEX = pathlib.Path("/usr/share/javascript/katex")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
START = """document.addEventListener("DOMContentLoaded", function () {
  document.querySelectorAll(".arithmatex").forEach(function (element) {
    renderMathInElement(element, {
      delimiters: [{left: "\\\\(", right: "\\\\)", display: false}, {left: "\\\\[", right: "\\\\]", display: true}]
    });
  });
});
"""


def on_page_markdown(markdown, page, config, files):
    """On a code host a link may lead to any file of the tree; the site holds docs/ alone: there only the text stays, or a
    link to repo_url where it is set."""
    folder = (ROOT / "docs" / page.file.src_path).parent

    def link(found):
        text, target, anchor = found.group(1), found.group(2), found.group(3) or ""
        if "://" in target or target.startswith("mailto:"):
            return found.group(0)
        path = os.path.relpath(os.path.normpath(folder / target), ROOT)
        if path.startswith("docs/") and not (ROOT / path).is_dir():
            return found.group(0)
        if config.get("repo_url"):
            return f"[{text}]({config['repo_url'].rstrip('/')}/blob/main/{path}{anchor})"
        return text

    return LINK.sub(link, markdown)


def named_in(nav):
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from named_in(value) if isinstance(value, list) else [value]


def on_config(config):
    """A page that the menu of mkdocs.yml does not name goes to the end of the section that has pages of its folder."""
    named = list(named_in(config["nav"]))
    sections = [value for entry in config["nav"] if isinstance(entry, dict) for value in entry.values() if isinstance(value, list)]
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").as_posix()
        if name in named:
            continue
        folder = os.path.dirname(name)
        homes = [s for s in sections if any(os.path.dirname(page) == folder for page in named_in(s))]
        (homes or sections)[-1].append(name)
    return config


def on_post_build(config):
    """KaTeX of the machine goes into the site, so that a reader needs no network."""
    target = pathlib.Path(config["site_dir"]) / "katex"
    for name in ("katex.min.js", "katex.min.css", "contrib/auto-render.js"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(KATEX / name, target / name)
    shutil.copytree(KATEX / "fonts", target / "fonts", dirs_exist_ok=True, symlinks=False, ignore=shutil.ignore_patterns("*.ttf", "*.woff"))
    (target / "start.js").write_text(START)
