#!/usr/bin/env python3
"""Run files and checkpoints of every format so far are read by this version.

usage: old_files.py MOTLEY CASE      CASE: finished | killed | newer
The files are in tests/golden/run_files/VERSION and change never.
"""

import gzip
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py

motley = ""
GOLDEN = pathlib.Path(__file__).parent.parent / "golden/run_files"


def run(*words, cwd):
    return subprocess.run([motley, *map(str, words)], cwd=cwd, capture_output=True, text=True)


def expect(ok, what):
    if not ok:
        raise SystemExit(what)


def unpacked(work, version, name):
    """A copy of a kept run folder under its own name."""
    folder = work / f"{version}-{name}"
    shutil.copytree(GOLDEN / version / name, folder)
    (folder / "run.h5").write_bytes(gzip.decompress((folder / "run.h5.gz").read_bytes()))
    (folder / "run.h5.gz").unlink()
    return folder


def versions():
    found = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
    expect(found == ["1.0.0", "1.1.0"], f"no golden run files in {GOLDEN}")
    return found


def finished(work):
    """Whole, the digest that was recorded, and every reader takes it."""
    for version in versions():
        folder = unpacked(work, version, "finished")
        digest = (folder / "digest.txt").read_text().strip()
        done = run("verify", folder.name, cwd=work)
        expect(done.returncode == 0 and digest in done.stdout and "damaged" not in done.stdout, f"{version}: {done.stdout}{done.stderr}")
        expect(("not sealed" in done.stdout) == (version == "1.0.0"), done.stdout)
        expect(run("digest", folder.name, cwd=work).stdout.strip() == digest, f"{version}: another digest")
        for words in (("inspect", folder.name, "--step", "5", "--prompt", "0"), ("config", "show", folder.name), ("status", folder.name),
                      ("export", folder.name, "--to", "csv", "-o", f"{version}-csv"), ("eval", folder.name, "--samples", "2", "-k", "1")):
            done = run(*words, cwd=work)
            expect(done.returncode == 0, f"{version}: motley {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
        # Without a seal the hashes of the datasets still find changed values.
        with h5py.File(folder / "run.h5", "r+") as f:
            f["metrics/reward"][3] += 1
        done = run("verify", folder.name, cwd=work)
        expect(done.returncode == 4 and "damaged" in done.stdout, f"{version}: a changed reward is believed: {done.stdout}")


def killed(work):
    """A run killed under the old version is finished by this one."""
    for version in versions():
        folder = unpacked(work, version, "killed")
        done = run("verify", folder.name, cwd=work)
        expect(done.returncode == 0 and "running" in done.stdout, f"{version}: {done.stdout}{done.stderr}")
        done = run("train", "-q", "-r", folder.name, cwd=work)
        expect(done.returncode == 0, f"{version}: {done.stderr}")
        done = run("verify", folder.name, cwd=work)
        expect(done.returncode == 0 and "complete, 300 of 300 steps" in done.stdout, f"{version}: {done.stdout}")


def newer(work):
    """A file of a newer major version is refused in one clear line."""
    folder = unpacked(work, versions()[0], "finished")
    with h5py.File(folder / "run.h5", "r+") as f:
        f.attrs["format_version"] = "2.0.0"
    for words in (("digest", folder.name), ("inspect", folder.name), ("train", "-r", folder.name), ("compare", folder.name, folder.name)):
        done = run(*words, cwd=work)
        expect(done.returncode == 4 and "format version 2.0.0" in done.stderr and "newer motley" in done.stderr, f"{words}: {done.returncode} {done.stderr}")


def main():
    global motley
    motley = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        {"finished": finished, "killed": killed, "newer": newer}[sys.argv[2]](pathlib.Path(folder))


if __name__ == "__main__":
    main()
