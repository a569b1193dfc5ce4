#!/usr/bin/env python3
"""motley partition and reshape on a small run, against numbers worked out here from its run file.

usage: counterfactual.py MOTLEY CASE      CASE: partition | reshape | side_file | refusals
Needs h5py and numpy.
"""

import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import expect, run

def make_run(work, name="a", *words):
    run("train", "-c", "tiny.ini", "run.steps=8", "log.pair_score=on", *words, "-o", name, cwd=work)
    return work / name / "run.h5"


def same_pairs(labels):
    """[..., G] -> [..., G, G], True where two completions share a cluster (negative: never)."""
    a, b = labels[..., :, None], labels[..., None, :]
    return (a == b) & (a >= 0)


def upper(matrix):
    i, j = np.triu_indices(matrix.shape[-1], 1)
    return matrix[..., i, j]


def ari(truth, predicted):
    """Adjusted Rand index from pair counts (Hubert and Arabie 1985), one group."""
    t, p = upper(same_pairs(truth)), upper(same_pairs(predicted))
    both, a, b, n = (t & p).sum(), t.sum(), p.sum(), t.size
    expected = a * b / n
    most = (a + b) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def exact_labels(token):
    """Smallest index with the same token string."""
    same = (token[..., :, None, :] == token[..., None, :, :]).all(-1)
    return same.argmax(-1)


def class_labels(class_id):
    return (class_id[..., :, None] == class_id[..., None, :]).argmax(-1)


def diversity(labels):
    G = labels.shape[-1]
    return (G - same_pairs(labels).sum(-1)) / (G - 1)


def partition(work):
    file = make_run(work)
    out = json.loads(run("partition", str(file.parent), "--method", "oracle,exact,logged,classifier", "--json").stdout)
    with h5py.File(file) as f:
        token, class_id = f["rollouts/token"][:], f["rollouts/class_id"][:]
        logged, quality = f["partition/cluster"][:], f["rollouts/quality"][:]
    expect(out["groups"] == token.shape[0] * token.shape[1], f"{out['groups']} groups")
    truth, exact = class_labels(class_id), exact_labels(token)
    pairs = {(p["truth"], p["against"]): p for p in out["pairs"]}
    t, e = upper(same_pairs(truth)), upper(same_pairs(exact))
    mine = {
        "ari": np.mean([ari(a, b) for a, b in zip(truth.reshape(-1, truth.shape[-1]), exact.reshape(-1, exact.shape[-1]))]),
        "pair_precision": (t & e).sum() / e.sum() if e.any() else 1.0,
        "pair_recall": (t & e).sum() / t.sum(),
        "pair_f1": 2 * (t & e).sum() / (t.sum() + e.sum()),
        "false_merge": (~t & e).sum() / max(1, (~t).sum()),
        "false_split": (t & ~e).sum() / t.sum(),
        "diversity_correlation": np.corrcoef(diversity(truth).ravel(), diversity(exact).ravel())[0, 1],
        "diversity_mae": np.abs(diversity(truth) - diversity(exact)).mean(),
    }

    def advantage(labels):
        r = quality * np.maximum(diversity(labels), 0.1)
        return np.where(np.ptp(r, axis=-1, keepdims=True) == 0, 0, r - r.mean(-1, keepdims=True))

    # Float and double may disagree about the sign of a rounding error around 0: leave ties out.
    a, b = advantage(truth), advantage(exact)
    mine["advantage_sign_agreement"] = (np.sign(np.round(a, 6)) == np.sign(np.round(b, 6))).mean()
    for key, value in mine.items():
        got = pairs["oracle", "exact"][key]
        expect(abs(got - value) < 1e-5, f"oracle against exact, {key}: {got}, worked out {value}")
    expect(pairs["logged", "classifier"]["ari"] == 1.0, "the run's own method gives other clusters than the run")
    expect(abs(pairs["logged", "classifier"]["gradient_cosine"] - 1) < 1e-6, "and another gradient")
    expect(out["gradient_steps"] == 2, f"{out['gradient_steps']} steps with a policy, expected 0 and 4")
    methods = {m["method"]: m for m in out["methods"]}
    expect(abs(methods["exact"]["num_clusters"] - np.mean([len(set(g)) for g in exact.reshape(-1, exact.shape[-1])])) < 1e-9, "clusters of exact")
    for name in ("oracle", "exact"):
        expect(methods[name]["order_ari"] == 1.0 and methods[name]["over_merge"] == 0.0, f"{name} depends on the order")
    everything = run("partition", str(file.parent)).stdout
    for name in ("oracle", "logged", "exact", "ngram", "classifier", "classifier/greedy_first"):
        expect(f"\n{name} " in everything, f"{name} is not in the default table")
    noisy = json.loads(run("partition", str(file.parent), "--method", "oracle,noisy_oracle@0,noisy_oracle@1", "--json").stdout)
    rates = {p["against"]: p for p in noisy["pairs"] if p["truth"] == "oracle"}
    expect(rates["noisy_oracle@0"]["ari"] == 1.0, "a judge without errors is not the oracle")
    expect(rates["noisy_oracle@1"]["ari"] < 0.5, "a judge that always errs agrees with the oracle")
    one = json.loads(run("partition", str(file.parent), "--method", "oracle,exact", "--step", "3", "--json").stdout)
    expect(one["groups"] == token.shape[1], "--step takes more than one step")


def reshape(work):
    file = make_run(work)
    out = json.loads(run("reshape", str(file.parent), "--set", "diversity.shaping=none", "--set",
                         "partition.method=oracle", "--set", "diversity.shaping=multiplicative", "--json").stdout)
    with h5py.File(file) as f:
        quality, mine = f["rollouts/quality"][:].astype(float), f["rollouts/advantage"][:].astype(float)
    logged, none, oracle, own = out
    expect(own["sign_flips"] == 0 and own["signal_born"] == 0 and abs(own["gradient_cosine"] - 1) < 1e-6, f"the run's own setting changes it: {own}")
    expect(own["reward"] == logged["reward"] and own["advantage_magnitude"] == logged["advantage_magnitude"], "and its rewards")
    a = quality - quality.mean(-1, keepdims=True)
    expect(abs(none["reward"] - quality.mean()) < 1e-6, f"reward without shaping {none['reward']}, quality {quality.mean()}")
    expect(abs(none["advantage_magnitude"] - np.abs(a).mean()) < 1e-6, "advantage without shaping")
    expect(abs(none["sign_flips"] - (a * mine < 0).mean()) < 1e-6, "sign flips")
    expect(abs(none["silent_groups"] - (np.ptp(quality, axis=-1) == 0).mean()) < 1e-9, "silent groups")
    expect(abs(none["advantage_correlation"] - np.corrcoef(a.ravel(), mine.ravel())[0, 1]) < 1e-5, "correlation of advantages")
    expect(none["gradient_cosine"] < 1, "another shaping has the same gradient")
    table = run("reshape", str(file.parent), "--set", "diversity.shaping=none").stdout
    expect("diversity.shaping=none" in table and "logged" in table, table)


def side_file(work):
    file = make_run(work)
    before = file.read_bytes()
    run("partition", str(file.parent), "--method", "logged,exact,classifier/greedy_first", "-o", "side.h5", cwd=work)
    with h5py.File(file) as f, h5py.File(work / "side.h5") as s:
        expect(s.attrs["format"] in ("motley-side", b"motley-side"), "format of a side file")
        for key, place in (("cluster", "partition"), ("cluster_size", "partition"), ("num_clusters", "partition"),
                           ("diversity", "rollouts"), ("reward", "rollouts"), ("advantage", "rollouts")):
            expect(np.array_equal(s[f"logged/{key}"][:], f[f"{place}/{key}"][:]), f"logged/{key} is not what the run says")
        labels = exact_labels(f["rollouts/token"][:])
        expect(np.array_equal(s["exact/cluster"][:], labels), "exact/cluster")
        expect(np.allclose(s["exact/diversity"][:], diversity(labels)), "exact/diversity")
        expect("classifier-greedy_first" in s, "name of a method with a linkage")
        expect(np.array_equal(s["exact/step"][:], f["rollouts/step"][:]), "steps")
    again = run("partition", str(file.parent), "--method", "oracle,exact", "-o", "side.h5", cwd=work, check=False)
    expect(again.returncode == 3 and "--overwrite" in again.stderr, again.stderr)
    run("partition", str(file.parent), "--method", "oracle,exact", "-o", "side.h5", "--overwrite", cwd=work)
    for words in (["--overwrite"], []):
        over = run("partition", str(file.parent), "--method", "oracle,exact", "-o", str(file), *words, check=False)
        expect(over.returncode == 3 and len(over.stderr.strip().splitlines()) == 1 and "no side file" in over.stderr, over.stderr)
    (work / "text").write_text("mine")
    over = run("partition", str(file.parent), "--method", "oracle,exact", "-o", "text", "--overwrite", cwd=work, check=False)
    expect(over.returncode == 3 and (work / "text").read_text() == "mine", over.stderr)
    expect(file.read_bytes() == before, "the run file was changed")


def refusals(work):
    make_run(work)
    make_run(work, "quiet", "log.rollouts=none")
    make_run(work, "short", "log.log_prob=none")

    def fails(code, text, *words):
        done = run(*words, check=False, cwd=work)
        expect(done.returncode == code and len(done.stderr.strip().splitlines()) == 1, f"{words}: exit {done.returncode}\n{done.stderr}")
        expect(text in done.stderr, f"{words}: no '{text}' in\n{done.stderr}")

    fails(2, 'did you mean "classifier"?', "partition", "a", "--method", "oracle,clasifier")
    fails(2, 'did you mean "greedy_first"?', "partition", "a", "--method", "oracle,classifier/greedy_firs")
    fails(2, "at least two", "partition", "a", "--method", "oracle")
    fails(2, "given twice", "partition", "a", "--method", "oracle,oracle")
    fails(2, "soft linkage", "partition", "a", "--method", "oracle,classifier/soft")
    fails(2, "an error rate in [0, 1]", "partition", "a", "--method", "oracle,noisy_oracle@2")
    fails(2, "an error rate in [0, 1]", "partition", "a", "--method", "oracle,exact@0.1")
    fails(2, "not a logged step", "partition", "a", "--step", "99")
    fails(4, "no rollouts are logged", "partition", "quiet")
    fails(2, "nothing to change", "reshape", "a")
    fails(2, "has shaped the logged rollouts", "reshape", "a", "--set", "rollout.temperature=2")
    fails(2, 'did you mean "diversity.shaping"?', "reshape", "a", "--set", "diversity.shapin=none")
    fails(2, "log-probabilities", "reshape", "short", "--set", "diversity.shaping=unlikelihood")
    fails(4, "", "partition", "nowhere")


def main():
    reproduce.motley = str(pathlib.Path(sys.argv[1]).resolve())
    cases = {c.__name__: c for c in (partition, reshape, side_file, refusals)}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(reproduce.LEARNT)
        cases[sys.argv[2]](work)


if __name__ == "__main__":
    main()
