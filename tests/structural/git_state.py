#!/usr/bin/env python3
"""The commit that a build states is that of the build, not of its configuration: cmake/git_state.cmake on a repository of its own.

usage: git_state.py ROOT        exit 77 = no git here
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def main():
    script = pathlib.Path(sys.argv[1]).resolve() / "cmake" / "git_state.cmake"
    git = shutil.which("git")
    if git is None:
        print("no git here")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        source, out = work / "source", work / "git_state.cpp"
        source.mkdir()

        def call(*words):
            identity = ("-c", "user.name=motley", "-c", "user.email=motley@localhost")
            return subprocess.run([git, "-C", source, *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

        def commit(text):
            (source / "a").write_text(text)
            call("add", "a")
            call("commit", "-q", "--no-gpg-sign", "-m", text)
            return call("rev-parse", "HEAD")

        def expect(wanted, dirty, what, program=git):
            words = ["cmake", f"-DGIT={program}", f"-DSOURCE={source}", f"-DOUT={out}", "-P", script]
            subprocess.run(words, check=True, capture_output=True)
            got = re.search(r'kGitCommit = "(\w+)";.*kGitDirty = (\w+);', out.read_text(), re.S).groups()
            if got != (wanted, dirty):
                raise SystemExit(f"FAILED: {what}: stated {got}, wanted {(wanted, dirty)}")

        expect("unknown", "false", "outside a repository")
        call("init", "-q")
        first = commit("one")
        expect(first, "false", "a clean tree")
        (source / "new").write_text("not tracked")
        expect(first, "false", "a file that git does not know")
        (source / "a").write_text("changed")
        expect(first, "true", "a changed tree")
        second = commit("two")
        expect(second, "false", "the next commit")
        before = out.stat().st_mtime_ns
        expect(second, "false", "the same commit again")
        if out.stat().st_mtime_ns != before:
            raise SystemExit("FAILED: the file is written where nothing changed, so every build links anew")
        expect("unknown", "false", "no git", program="")
    print("unknown, clean, changed and the next commit are stated")


if __name__ == "__main__":
    main()
