"""A policy and rollouts of motley for the peers to be checked against.

    reference.py MOTLEY DIR     writes DIR/hf and DIR/rollouts.npz
"""

import pathlib
import subprocess
import sys

import h5py
import numpy

CONFIG = """
[model]
layers = 2
width = 64
heads = 4
kv_heads = 4
ff = 192
[pretrain]
steps = 200
habit_steps = 20
gate = off
[classifier]
steps = 20
[run]
steps = 1
[rollout]
prompts = 16
group_size = 8
[optim]
lr = 0
[eval]
samples = 4
k = 1
"""


def main():
    motley, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reference.ini").write_text(CONFIG)
    subprocess.run([motley, "train", "-c", "reference.ini", "pretrain.cache=base", "-o", "run", "--overwrite", "-q"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([motley, "export", "run", "--to", "hf", "-o", "hf"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with h5py.File(folder / "run" / "run.h5") as run:
        rollouts = run["rollouts"]
        prompts = run["prompts"]
        ids = rollouts["prompt_id"][0]
        lengths = prompts["length"][:][ids]
        assert len(set(lengths)) == 1, "prompts of several lengths"
        numpy.savez(folder / "rollouts.npz", prompt=prompts["token"][:][ids][:, : lengths[0]].astype(numpy.int32), token=rollouts["token"][0].astype(numpy.int32),
                    length=rollouts["length"][0].astype(numpy.int32), log_prob=rollouts["log_prob"][0])


if __name__ == "__main__":
    main()
