#!/usr/bin/env python3
"""Rules about the tree that no compiler checks. `--self-test` plants a violation of each and must catch it.

usage: check_tree.py ROOT [--self-test]
"""

import pathlib
import re
import shutil
import sys
import tempfile

MAY_INCLUDE = {  # folder -> folders it may include
    "core/base": {"core/base"},
    "core": {"core/base", "core"},
    "models": {"core/base", "core", "models"},
    "io": {"core/base", "core", "io"},
    "experiments": {"core/base", "core", "models", "io", "experiments"},
}
LIBRARIES = [  # pattern of an include, where it may stand
    (r"<Eigen/", r"^tests/"),
    (r"<hdf5", r"^(io|tests/io)/"),
    (r"<boost/", r"^experiments/options\.cpp$"),
    (r"<(tbb|oneapi)/", r"^(io/log_writer\.cpp|experiments/sweep\.cpp)$"),
    (r"<cu(da|blas)", r"^core/base/gemm_device\.cpp$"),
]
SPACES = re.compile(r"Kokkos::(OpenMP|Serial|Threads|Cuda|HIP)\b")
LABEL = re.compile(r"parallel_(?:for|reduce|scan)\(\s*\"([^\"]*)\"", re.S)


def sources(root):
    for folder in ("core", "models", "io", "experiments", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".hpp", ".cpp"):
                yield path, path.relative_to(root).as_posix(), path.read_text()


def module_of(name):
    return "core/base" if name.startswith("core/base/") else name.split("/")[0]


def check(root):
    faults = []
    for _, name, text in sources(root):
        module = module_of(name)
        for include in re.findall(r'#include "([^"]+)"', text):
            target = module_of(include)
            if name.startswith("tests/oracle/"):
                if not include.startswith("tests/oracle/"):
                    faults.append(f"{name}: an oracle includes {include}")
            elif module in MAY_INCLUDE and "/" in include and target not in MAY_INCLUDE[module]:
                faults.append(f"{name}: {module} may not include {include}")
        for pattern, allowed in LIBRARIES:
            if re.search(r"#include " + pattern, text) and not re.search(allowed, name):
                faults.append(f"{name}: includes {pattern} outside of {allowed}")
        if SPACES.search(text):
            faults.append(f"{name}: names a Kokkos space other than the default ones")
        for label in LABEL.findall(text):
            if not label.startswith("motley::"):
                faults.append(f"{name}: kernel label {label!r} does not begin with motley::")
        if "\t" in text:
            faults.append(f"{name}: has a tab")
        if len(text.splitlines()) > (600 if name.startswith("tests/") else 500):
            faults.append(f"{name}: has {len(text.splitlines())} lines, too many")
        if re.search(r"\b(TO" + r"DO|FIX" + r"ME)\b", text):
            faults.append(f"{name}: has a left-over note")
    return faults


def self_test(root):
    plants = {
        "core/planted.hpp": '#include "models/net.hpp"\n',
        "core/base/planted.hpp": '#include "core/rollout.hpp"\n',
        "models/planted.cpp": '#include "io/run_file.hpp"\n',
        "io/planted.cpp": '#include "models/net.hpp"\n',
        "models/planted2.cpp": "#include <Eigen/Dense>\n",
        "experiments/planted.cpp": "#include <hdf5.h>\n",
        "core/planted.cpp": "#include <boost/version.hpp>\n",
        "models/planted3.cpp": "#include <tbb/task.h>\n",
        "tests/oracle/planted.hpp": '#include "core/rollout.hpp"\n',
        "core/planted2.cpp": "using Space = Kokkos::Serial;\n",
        "core/planted3.cpp": 'void f() { Kokkos::parallel_for("mine", 3, g); }\n',
        "core/planted4.cpp": "\tint x;\n",
        "core/planted5.cpp": "// x\n" * 501,
        "core/planted6.cpp": "// TO" + "DO\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in ("core", "models", "io", "experiments", "tests"):
            shutil.copytree(root / name, copy / name)
        for name, text in plants.items():
            (copy / name).write_text(text)
        faults = check(copy)
        return [f"not caught: {name}" for name in plants if not any(f.startswith(name + ":") for f in faults)]


def main():
    root = pathlib.Path(sys.argv[1])
    faults = self_test(root) if "--self-test" in sys.argv else check(root)
    print("\n".join(faults) if faults else "the tree keeps its rules")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
