#!/usr/bin/env python3
"""A program of its own builds against the installed tree and runs.

usage: installed_client.py ROOT BUILD_DIR MOTLEY       exit 77 = cannot be tried here
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CMAKE = """cmake_minimum_required(VERSION 3.25)
project(client CXX)
find_package(motley REQUIRED)
add_executable(client client.cpp)
target_link_libraries(client PRIVATE motley::models motley::io)
motley_program(mine own/own_shaping.cpp)
"""
CLIENT = r"""#include <cstdio>

#include "io/run_reader.hpp"
#include "models/tasks/task.hpp"

int main(int argc, char** argv) {
  const Kokkos::ScopeGuard kokkos(argc, argv);
  const auto task = motley::make_task({.modulus = 2, .digits = 6, .train_prompts = 16, .eval_prompts = 8}, {7});
  const motley::RunReader run(argv[1]);
  std::printf("%s %lld\n", task->name().c_str(), static_cast<long long>(run.committed()));
}
"""


def call(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main():
    root, build, motley = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
    sys.path.insert(0, str(root / "tests/structural"))
    from check_docs import TINY

    cache = (build / "CMakeCache.txt").read_text()
    if "MOTLEY_SANITIZE:STRING=\n" not in cache:
        print("a build with sanitizers is not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        call("cmake", "--install", build, "--prefix", work / "installed")
        (work / "CMakeLists.txt").write_text(CMAKE)
        (work / "client.cpp").write_text(CLIENT)
        (work / "own").mkdir()
        shutil.copy(root / "docs/examples/own_shaping.cpp", work / "own")
        (work / "tiny.ini").write_text(TINY)
        generator = ["-G", "Ninja"] if "CMAKE_GENERATOR:INTERNAL=Ninja" in cache else []
        call("cmake", *generator, "-S", work, "-B", work / "build", f"-DCMAKE_PREFIX_PATH={work}/installed",
             f"-DCMAKE_TOOLCHAIN_FILE={root}/cmake/toolchain.cmake", "-DCMAKE_BUILD_TYPE=Release")
        call("cmake", "--build", work / "build")
        # The program installed beside the libraries makes the run, the client reads it.
        call(work / "installed/bin/motley", "train", "-q", "-c", "tiny.ini", "-o", "run", cwd=work)
        said = call(work / "build/client", work / "run/run.h5", env=dict(os.environ, OMP_PROC_BIND="false"))
        if said != "scratchpad 2\n":
            raise SystemExit(f"the client said {said!r}")
        # A program with a method of the client's own.
        call(work / "build/mine", "train", "-q", "-c", "tiny.ini", "diversity.shaping=shortest_first", "-o", "own-run", cwd=work)
        if "[shortest_first]\n" not in call(work / "build/mine", "config", "show", "own-run", cwd=work):
            raise SystemExit("the client's own shaping left no trace in its run")
        foreign = [p for p in (work / "installed").rglob("*.cmake") if str(root) in p.read_text()]
        if foreign:
            raise SystemExit(f"installed files name the source tree: {foreign}")
    print("a client builds against the installed tree")


if __name__ == "__main__":
    main()
