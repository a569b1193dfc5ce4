#!/usr/bin/env python3
"""Every header compiles alone. usage: check_headers.py BUILD_DIR ROOT [--self-test]

Takes the compile command of a source of the header's own folder. Kokkos_Core.hpp is precompiled for
the headers that include it themselves, directly or through others; the rest are read without it.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

FOLDERS = ("core", "models", "io", "experiments")


def flags_of(build, root, module):
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if pathlib.Path(entry["file"]).parent == root / module:
            words = shlex.split(entry["command"])
            words = [w for w in words if not w.endswith("ccache")]
            at = words.index("-o")
            del words[at : at + 2]
            at = words.index("-c")
            del words[at : at + 2]
            return [w for w in words if not re.fullmatch(r"-O\d|-g", w)], entry["directory"]
    raise SystemExit(f"no compile command for a source of {module}/ in {build}")


def with_kokkos(root, name, known):
    """Does the header include Kokkos_Core.hpp, itself or through headers of the tree?"""
    if name not in known:
        known[name] = False
        path = root / name
        text = path.read_text() if path.exists() else ""
        known[name] = "#include <Kokkos_Core.hpp>" in text or any(
            [with_kokkos(root, n, known) for n in re.findall(r'#include "([^"]+)"', text)]
        )
    return known[name]


def run(words, directory):
    return subprocess.run(words, cwd=directory, capture_output=True, text=True)


def check(build, root, headers):
    faults, known = [], {}
    flags = {m: flags_of(build, root, m) for m in FOLDERS}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pch = {}
        for words, directory in flags.values():  # one per set of flags that matters to the compiler
            key = tuple(w for w in words if not w.startswith(("-I", "-isystem", "/")))
            if key not in pch:
                at = folder / str(len(pch)) / "kokkos_pch.hpp"
                at.parent.mkdir()
                at.write_text("#include <Kokkos_Core.hpp>\n")
                done = run([*words, "-x", "c++-header", str(at), "-o", str(at) + ".gch"], directory)
                if done.returncode != 0:
                    raise SystemExit(done.stderr)
                pch[key] = at

        def compile_one(name):
            words, directory = flags[name.split("/")[0]]
            key = tuple(w for w in words if not w.startswith(("-I", "-isystem", "/")))
            start = ["-include", str(pch[key])] if with_kokkos(root, name, known) else []
            unit = folder / (name.replace("/", "_") + ".cpp")
            unit.write_text(f'#include "{name}"\n#include "{name}"\n')
            done = run([*words, f"-I{root}", *start, "-fsyntax-only", str(unit)], directory)
            if done.returncode != 0:
                first = next((l for l in done.stderr.splitlines() if "error" in l), done.stderr)
                faults.append(f"{name}: does not compile alone: {first}")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(compile_one, headers))
    return faults


def main():
    build, root = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
    headers = sorted(p.relative_to(root).as_posix() for f in FOLDERS for p in (root / f).rglob("*.hpp"))
    if "--self-test" in sys.argv:
        # A copy of the tree's names is not needed: the planted header stands in a folder of its own.
        with tempfile.TemporaryDirectory() as folder:
            planted = pathlib.Path(folder)
            (planted / "core").mkdir()
            (planted / "core" / "planted.hpp").write_text("#pragma once\ninline std::vector<int> f() { return {}; }\n")
            (planted / "core" / "good.hpp").write_text("#pragma once\n#include <vector>\ninline std::vector<int> f() { return {}; }\n")
            flags = {m: flags_of(build, root, m) for m in ("core",)}
            words, directory = flags["core"]
            results = []
            for name in ("planted", "good"):
                unit = planted / f"{name}.cpp"
                unit.write_text(f'#include "core/{name}.hpp"\n')
                results.append(run([*words, f"-I{planted}", "-fsyntax-only", str(unit)], directory).returncode)
            if results[0] == 0 or results[1] != 0:
                raise SystemExit("a header without its includes was not caught, or a good one was refused")
        print("a header that does not stand alone is caught")
        return
    faults = check(build, root, headers)
    print("\n".join(faults) if faults else f"{len(headers)} headers compile alone")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
