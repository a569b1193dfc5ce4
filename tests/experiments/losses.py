#!/usr/bin/env python3
"""Policy losses, entropy and divergence controls in whole runs with several updates per step.

usage: losses.py MOTLEY CASE      CASE: packed | resumed | off_policy | controls | refusals
Needs h5py and numpy.
"""

import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import digest, expect, expect_equal_alone, run

# A policy that has learnt enough for groups to hold right and wrong answers.
LEARNT = """
include = tiny.ini
[model]
width = 32
[task]
rare_prior = 0.1
digits = 4
train_prompts = 6
eval_prompts = 4
[pretrain]
steps = 200
gate_every = 200
batch = 64
[rollout]
group_size = 8
[partition]
method = oracle
"""
OFF_POLICY = ["loss.epochs=2", "loss.minibatches=2", "optim.lr=3e-3", "loss.clip_ratio_low=0.05", "loss.clip_ratio_high=0.05"]
ARMS = {  # a name and the keys of its run
    "ppo": ["loss.policy=ppo"],
    "gspo": ["loss.policy=gspo", "loss.agg=seq-mean-token-mean"],
    "cispo": ["loss.policy=cispo"],
    "clip_cov": ["loss.policy=clip_cov", "clip_cov.ratio=0.1", "clip_cov.lower=0"],
    "kl_cov": ["loss.policy=kl_cov", "kl_cov.fraction=0.1"],
    "gmpo": ["loss.policy=gmpo"],
    "sapo": ["loss.policy=sapo"],
    "simko": ["loss.policy=simko", "simko.alpha=0.3", "simko.quantile=0.5"],
    "simko_wide": ["loss.policy=simko", "simko.top_k=5", "simko.alpha=0.3", "simko.quantile=0.5"],
    "divpo": ["loss.policy=divpo"],
    "divpo_reset": ["loss.policy=divpo", "divpo.beta=0.5", "kl.reset_every=2"],
    "answers": ["diversity.shaping=batch", "outcome_bonus.coef=1"],
    "no_answers": ["diversity.shaping=batch", "outcome_bonus.coef=1", "outcome_bonus.on_answer=off"],
    "states": ["diversity.shaping=multiplicative", "partition.method=agglomerative", "partition.embedding=policy", "partition.threshold=0.05"],
    "uncertain": ["loss.top_entropy_quantile=0.2"],
    "threshold": ["entropy.adaptive=threshold", "entropy.target=1.5", "entropy.delta=1e-3"],
    "lagrangian": ["entropy.adaptive=lagrangian", "entropy.target=3", "entropy.delta=0.01"],
    "forward": ["kl.coef=0.1", "kl.estimator=exact", "kl.direction=forward"],
    "reset": ["kl.coef=0.1", "kl.estimator=k3_unbiased", "kl.reset_every=3"],
}


def metrics(folder):
    with h5py.File(folder / "run.h5") as f:
        return {name: f["metrics"][name][:] for name in f["metrics"]}


def train(work, name, *words, **more):
    return run("train", "-c", "learnt.ini", "run.steps=8", *words, "-o", name, cwd=work, **more)


def packed(work):
    lines = ["[sweep]", "name = mixed", "base = mixed.ini", "seeds = 3"]
    for name, words in ARMS.items():
        lines += [f"[arm.{name}]", *words]
    (work / "mixed.sweep").write_text("\n".join(lines) + "\n")
    run("train", "-c", "learnt.ini", *OFF_POLICY, "run.steps=5", "-o", "base", cwd=work)
    (work / "mixed.ini").write_text(run("config", "show", "base", cwd=work).stdout)
    run("sweep", "run", "mixed.sweep", cwd=work)
    cells = sorted((work / "runs" / "mixed").glob("*/run.h5"))
    expect(len(cells) == len(ARMS), f"{len(cells)} cells instead of {len(ARMS)}")
    digests = set()
    for cell in cells:
        with h5py.File(cell) as f:
            expect(f["provenance"].attrs["replicas"] == len(ARMS), "the arms were not packed")
        expect_equal_alone(work, cell)
        digests.add(digest(cell.parent))
    expect(len(digests) == len(ARMS), "two losses gave the same run")
    # Launches of an update and threads change no bit.
    for name in ("clip_cov", "gspo"):
        whole = metrics(next(c.parent for c in cells if name in c.parent.name))
        for n in (2, 4):
            run("train", "-c", "mixed.ini", *ARMS[name], "run.seed=3", f"loss.micro_batches={n}", "-o", f"{name}{n}", cwd=work, threads=n)
            for column, values in metrics(work / f"{name}{n}").items():
                expect(np.array_equal(values, whole[column], equal_nan=True), f"{name}: {column} differs with {n} micro-batches")


def resumed(work):
    """Stopped after each of the first six steps, and going on, gives the run that never stopped."""
    for name in ("kl_cov", "clip_cov", "threshold", "lagrangian", "reset", "divpo_reset"):
        words = [*OFF_POLICY, *ARMS[name], "run.steps=8"]
        run("train", "-c", "learnt.ini", *words, "-o", name, cwd=work)
        folder = work / f"{name}_stopped"
        folder.mkdir()
        for _ in range(6):
            (folder / "stop_now").touch()
            done = run("train", "-c", "learnt.ini", *words, "-r", str(folder), check=False, cwd=work)
            expect(done.returncode == 75, f"{name}: exit {done.returncode}\n{done.stderr}")
        run("train", "-c", "learnt.ini", *words, "-r", str(folder), cwd=work)
        expect(digest(folder) == digest(work / name), f"{name}: a stopped run has another digest")


def off_policy(work):
    train(work, "on", "optim.lr=3e-3")
    on = metrics(work / "on")
    expect((on["ratio_mean"] == 1).all() and (on["ratio_max"] == 1).all(), "the ratio of the only update is not 1")
    expect((on["clip_frac_low"] + on["clip_frac_high"] == 0).all(), "clipped at ratio 1")
    for name in ("ppo", "gspo", "cispo", "gmpo"):
        train(work, name, *OFF_POLICY, *ARMS[name])
        m = metrics(work / name)
        expect((m["ratio_max"] > 1).any() and (m["ratio_mean"] != 1).any(), f"{name}: no update off policy")
        expect((m["clip_frac_low"] + m["clip_frac_high"] > 0).any(), f"{name}: nothing was clipped")
        expect((np.abs(m["kl_old"]) > 0).any(), f"{name}: the policy did not move within a step")
    for name, words in (("epochs", ["loss.epochs=2"]), ("minibatches", ["loss.minibatches=4"])):
        train(work, name, *words, "optim.lr=3e-3")
        expect((metrics(work / name)["ratio_max"] > 1).any(), f"loss.{name} alone leaves the ratio at 1")


def controls(work):
    for name in ("clip_cov", "kl_cov", "uncertain"):
        train(work, name, *ARMS[name])
    m = metrics(work / "kl_cov")
    tokens = np.diff(m["tokens_total"], prepend=0)
    expect(np.allclose(m["penalised_frac"], np.maximum(1, np.floor(0.1 * tokens)) / tokens), "kl_cov: another share of tokens")
    m = metrics(work / "uncertain")
    expect(np.allclose(1 - m["dropped_frac"], np.ceil(0.2 * tokens_of(m) - 1e-9) / tokens_of(m)), "another share of uncertain tokens")
    # A pair's loss starts at ln 2: policy and reference are one.
    train(work, "divpo", *ARMS["divpo"], "optim.lr=3e-3")
    m = metrics(work / "divpo")
    expect(m["policy_loss"][0] == np.float32(np.log(2)), f"divpo starts at {m['policy_loss'][0]}")
    # Only a group whose qualities differ holds a pair; a step without one has neither loss nor gradient.
    with h5py.File(work / "divpo" / "run.h5") as f:
        paired = (np.ptp(f["rollouts/quality"][:], axis=-1) > 0).any(axis=-1)
    expect(1 < paired.sum() < len(paired), f"{paired.sum()} of {len(paired)} steps hold a pair")
    expect(((m["grad_norm"] > 0) == paired).all() and ((m["policy_loss"] != 0) == paired).all(), f"divpo: {m['grad_norm']}, {paired}")
    expect((m["policy_loss"][paired][1:] != m["policy_loss"][0]).all(), "divpo does not move")
    m = metrics(work / "clip_cov")
    expect((m["dropped_frac"] <= np.maximum(1, np.floor(0.1 * tokens_of(m) + 0.5)) / tokens_of(m) + 1e-7).all(), "clip_cov drops too many")
    train(work, "off", "entropy.coef=0.01")
    expect((metrics(work / "off")["entropy_coef"] == np.float32(0.01)).all(), "a fixed coefficient moved")

    # The control from the logged entropies alone. The targets are between the entropies of the run.
    middle = float(np.median(metrics(work / "off")["entropy"])) + 1e-4
    for kind in ("threshold", "lagrangian"):
        train(work, kind, f"entropy.adaptive={kind}", f"entropy.target={middle}", "entropy.delta=0.01", "entropy.max=0.025", "entropy.coef=0.01")
        m = metrics(work / kind)
        c, want = 0.01, []
        for h in m["entropy"].astype(float):
            c = min(max(c + (0.01 if h <= middle else -0.01), 0), 0.025) if kind == "threshold" else max(0.0, c + 0.01 * (middle - h))
            want.append(c)
        expect(np.allclose(m["entropy_coef"], want, rtol=1e-4, atol=1e-7), f"{kind}: {m['entropy_coef']} instead of {want}")
        expect(len(set(want)) > 1, f"{kind}: the coefficient never moved")

    # On a step after a reset policy and reference are one; between resets they part.
    train(work, "reset", *ARMS["reset"], "optim.lr=3e-3")
    k2 = metrics(work / "reset")["kl_k2"]
    expect((k2[[0, 3, 6]] == 0).all() and (k2[[1, 2, 4, 5, 7]] > 0).all(), f"kl_k2 with a reset every 3 steps: {k2}")
    for direction in ("reverse", "forward", "js"):
        train(work, direction, "kl.coef=0.1", "kl.estimator=exact", f"kl.direction={direction}", "optim.lr=3e-3")
        m = metrics(work / direction)
        same = np.array_equal(m["kl_ref"], m["kl_exact"])
        expect(same == (direction == "reverse"), f"{direction}: kl_ref and kl_exact")
        expect((m["kl_ref"][1:] > 0).all() and abs(m["kl_ref"][0]) < 1e-6, f"{direction}: {m['kl_ref']}")


def tokens_of(m):
    return np.diff(m["tokens_total"], prepend=0)


def refusals(work):
    def fails(text, *words):
        done = run("train", "-c", "learnt.ini", *words, "-o", "refused", check=False, cwd=work)
        expect(done.returncode == 2, f"{words}: exit {done.returncode}\n{done.stderr}")
        expect(text in done.stderr and len(done.stderr.strip().splitlines()) == 1, f"{words}: no '{text}' in\n{done.stderr}")
        expect(not (work / "refused").exists(), "a refused run left a folder")

    fails("kl.direction (command line): only the exact divergence has a direction, got js with kl.estimator = k3; allowed: reverse, or kl.estimator = exact", "kl.direction=js")
    fails("entropy.min (command line): must not exceed entropy.max = 0.005, got 0.1", "entropy.min=0.1")
    fails("loss.top_entropy_quantile (command line): the ratio of loss.policy = gspo belongs to a whole completion, got 0.2; allowed: 1", "loss.policy=gspo", "loss.top_entropy_quantile=0.2")
    fails("clip_cov.lower (command line): must be below clip_cov.upper = 5, got 6", "loss.policy=clip_cov", "clip_cov.lower=6")
    fails("kl.coef (command line): loss.policy = divpo holds the reference in its pairs, got 0.1; allowed: 0", "loss.policy=divpo", "kl.coef=0.1")
    fails("entropy.coef (command line): loss.policy = divpo has no loss but that of its pairs, got 0.1; allowed: 0", "loss.policy=divpo", "entropy.coef=0.1")
    fails("simko.top_k", "loss.policy=simko", "simko.top_k=9")
    fails("divpo.band", "loss.policy=divpo", "divpo.band=0.5")
    fails("loss.top_entropy_quantile", "loss.top_entropy_quantile=0")
    fails('unknown', "loss.policy=clipcov")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (packed, resumed, off_policy, controls, refusals)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.TINY)
        (work / "learnt.ini").write_text(LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
